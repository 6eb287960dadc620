//! When a link that broke, or could not be made, is tried again: at once, then after twice as long
//! each time, up to a bound, so that a node that is away costs nothing and one that is back is
//! found soon.

const FIRST_NS: u64 = 10_000_000;
const LONGEST_NS: u64 = 1_000_000_000;
/// A link that has held so long starts anew.
const HELD_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Backoff {
    delay_ns: u64,
    made_ns: Option<u64>,
}

impl Backoff {
    /// The link stands.
    pub fn on_made(&mut self, now_ns: u64) {
        self.made_ns = Some(now_ns);
    }

    /// It broke, or was not made. Returns when to try; `chance` spreads nodes that lost the same
    /// peer over up to half of the delay.
    pub fn on_failed(&mut self, now_ns: u64, chance: u64) -> u64 {
        let held = self.made_ns.take().is_some_and(|since_ns| now_ns >= since_ns + HELD_NS);
        if held {
            self.delay_ns = 0;
        }
        let delay_ns = self.delay_ns;
        self.delay_ns = (delay_ns * 2).clamp(FIRST_NS, LONGEST_NS);
        now_ns + delay_ns + chance % (delay_ns / 2 + 1)
    }
}
