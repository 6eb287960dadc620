//! LOLWUT: a picture made by chance, another each time, and the version.

use engine::args::Args;
use engine::number::parse_i64;
use engine::rng::Rng;

use super::session::REDIS_VERSION;
use crate::connection::Connection;
use crate::core::Core;

/// Size of the picture unless the client asks for another, and what it may ask for.
const COLUMNS: i64 = 64;
const ROWS: i64 = 10;
const COLUMNS_MAX: i64 = 160;
const ROWS_MAX: i64 = 60;

/// How often the water may be disturbed.
const DROPS_MAX: u64 = 5;

/// From trough to crest.
const SHADES: &[char] = &[' ', '·', '-', '~', '=', '≈', '#'];

impl Core {
    /// LOLWUT [VERSION n] [columns [rows]]. There is one picture, whichever version is asked for.
    pub(crate) fn lolwut(&mut self, connection: &mut Connection, args: Args<'_>) {
        let first = if args.len() >= 3 && args.is(1, "version") { 3 } else { 1 };
        let mut numbers = Vec::new();
        for word in args.iter_from(if first == 3 { 2 } else { 1 }) {
            let Some(number) = parse_i64(word) else {
                return self.reply_with(connection, |reply| {
                    reply.error("ERR value is not an integer or out of range");
                });
            };
            numbers.push(number);
        }
        let sizes = if first == 3 { &numbers[1..] } else { &numbers[..] };
        let columns = sizes.first().copied().unwrap_or(COLUMNS).clamp(1, COLUMNS_MAX);
        let rows = sizes.get(1).copied().unwrap_or(ROWS).clamp(1, ROWS_MAX);
        let mut text = rings(&mut self.rng, columns as usize, rows as usize);
        text += &format!("\nRings on a pond, and no two ponds alike. Redis ver. {REDIS_VERSION}\n");
        self.reply_with(connection, |reply| reply.verbatim(&text));
    }
}

/// Rings on a pond into which a few drops fell.
fn rings(rng: &mut Rng, columns: usize, rows: usize) -> String {
    let mut place = |below: usize| rng.below(below as u64 * 16) as f64 / 16.0;
    let count = 2 + place(DROPS_MAX as usize - 1) as usize;
    let drops: Vec<(f64, f64, f64)> =
        (0..count).map(|_| (place(columns), place(rows), 0.5 + place(1))).collect();
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let height: f64 = drops
                .iter()
                .map(|(x, y, wave)| {
                    // A letter is twice as high as wide.
                    let distance = (column as f64 - x).hypot(2.0 * (row as f64 - y));
                    (distance * wave).cos() / (1.0 + distance / 8.0)
                })
                .sum();
            let shade = (height + 1.0) / 2.0 * SHADES.len() as f64;
            text.push(SHADES[(shade.max(0.0) as usize).min(SHADES.len() - 1)]);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_size_and_chance_decides_it() {
        let draw = |seed| rings(&mut Rng::new(seed), 40, 7);
        assert_eq!(draw(1).lines().map(|line| line.chars().count()).collect::<Vec<_>>(), [40; 7]);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
