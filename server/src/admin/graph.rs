//! LATENCY GRAPH: an event's history as a picture of letters. Columns are the newest moments, the
//! newest to the right; below each stands how long ago it was.

use super::latency::{Event, Sample, short_time};

/// Columns, and rows of the picture, as wide as a terminal is.
const COLUMNS_MAX: usize = 80;
const ROWS: u64 = 4;

/// Steps within one row, from its floor to its ceiling.
const STEPS: &[char] = &['_', 'o', '#'];

/// Draws the history, whose name a client gave.
pub fn draw(name: &str, event: &Event, now_s: i64) -> String {
    let first = event.samples.len().saturating_sub(COLUMNS_MAX);
    let shown: Vec<Sample> = event.samples.iter().skip(first).copied().collect();
    let high = shown.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let low = shown.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.ms_max,
        "-".repeat(COLUMNS_MAX)
    );
    for row in (0..ROWS).rev() {
        let line: String = shown.iter().map(|sample| step(sample.ms, low, high, row)).collect();
        text += line.trim_end();
        text.push('\n');
    }
    let ages: Vec<String> = shown.iter().map(|s| short_time((now_s - s.unix_s).max(0))).collect();
    text.push('\n');
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        let letters = ages.iter().map(|age| age.chars().nth(line).unwrap_or(' '));
        text += letters.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

/// The letter of a column in one of the rows, the lowest being row 0.
fn step(ms: u64, low: u64, high: u64, row: u64) -> char {
    let steps = STEPS.len() as u64;
    let level = if high == low { 0 } else { (ms - low) * (ROWS * steps - 1) / (high - low) };
    if level < row * steps {
        ' '
    } else {
        let within = (level - row * steps).min(steps - 1);
        STEPS[within as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_stands_above_low_and_the_newest_to_the_right() {
        let mut event = Event { ms_max: 90, ..Event::default() };
        for (unix_s, ms) in [(100, 10), (3_700, 21), (7_290, 43)] {
            event.samples.push_back(Sample { unix_s, ms });
        }
        let rule = "-".repeat(80);
        let expected = format!(
            "command - high 43 ms, low 10 ms (all time high 90 ms)\n{rule}\n  #\n  #\n _#\n_##\n\n\
             155\nh9s\n m\n"
        );
        assert_eq!(draw("command", &event, 7_295), expected);
    }
}
