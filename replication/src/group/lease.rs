//! The leader's lease: until when no other node can have become leader, by the leader's own
//! monotonic clock.
//!
//! A round asks every member to confirm, and notes the time *before* it asks. Once a majority has
//! confirmed, each of them has heard of this leader after that time, and votes for nobody before
//! its election timeout has passed since. Clocks may run apart by [`DRIFT_PER_MILLE`]; a tick that
//! was under way when the message came counts as none.

/// By so many thousandths may the clocks of two nodes differ in speed.
pub const DRIFT_PER_MILLE: u64 = 50;

#[derive(Debug, Default)]
pub struct Lease {
    /// Number and beginning of the round under way.
    asked: Option<(u64, u64)>,
    last_round: u64,
    /// It holds before this time.
    until_ns: u64,
    /// Leadership is being handed over: there is none, and none will be.
    given_up: bool,
}

impl Lease {
    /// Begins a round, if none is under way that was asked less than `retry_ns` ago. Returns what
    /// is to be confirmed.
    pub fn begin_round(&mut self, now_ns: u64, retry_ns: u64) -> Option<u64> {
        let waits = self.asked.is_some_and(|(_, since_ns)| now_ns < since_ns + retry_ns);
        if waits || self.given_up {
            return None;
        }
        self.last_round += 1;
        self.asked = Some((self.last_round, now_ns));
        Some(self.last_round)
    }

    /// A majority has confirmed this round.
    pub fn on_confirmed(&mut self, round: u64, timeout_ns: u64) {
        if let Some((asked, since_ns)) = self.asked
            && asked == round
        {
            self.asked = None;
            if !self.given_up {
                self.until_ns = self.until_ns.max(since_ns + lease_ns(timeout_ns));
            }
        }
    }

    pub fn holds(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns
    }

    /// Whether it need not be extended yet: two thirds of the longest are left.
    pub fn is_fresh(&self, now_ns: u64, timeout_ns: u64) -> bool {
        self.fresh_ns(now_ns, timeout_ns) > 0
    }

    /// How long it stays so.
    pub fn fresh_ns(&self, now_ns: u64, timeout_ns: u64) -> u64 {
        self.until_ns.saturating_sub(now_ns + lease_ns(timeout_ns) * 2 / 3)
    }

    /// Whether a round is under way, which may have to be asked again.
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The time that it ends at, if it is not extended before.
    pub fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// Before leadership is handed over, whose successor need not wait for the timeout.
    pub fn give_up(&mut self) {
        self.until_ns = 0;
        self.given_up = true;
        self.asked = None;
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// A new term or role has begun. Rounds of before count no more.
    pub fn reset(&mut self) {
        *self = Lease { last_round: self.last_round, ..Lease::default() };
    }
}

/// How long a lease lasts if nobody votes within `timeout_ns`.
pub fn lease_ns(timeout_ns: u64) -> u64 {
    timeout_ns - timeout_ns * 2 * DRIFT_PER_MILLE / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_asking_not_from_the_answer() {
        let mut lease = Lease::default();
        let round = lease.begin_round(1_000, 100).unwrap();
        lease.on_confirmed(round, 10_000);
        assert!(lease.holds(1_000 + lease_ns(10_000) - 1));
        assert!(!lease.holds(1_000 + lease_ns(10_000)));
    }

    #[test]
    fn an_older_round_confirms_nothing() {
        let mut lease = Lease::default();
        let old = lease.begin_round(0, 100).unwrap();
        assert_eq!(lease.begin_round(99, 100), None);
        let new = lease.begin_round(100, 100).unwrap();
        lease.on_confirmed(old, 10_000);
        assert!(!lease.holds(100));
        lease.on_confirmed(new, 10_000);
        assert!(lease.holds(100));
    }

    #[test]
    fn it_is_given_up_before_a_hand_over_and_comes_back_with_a_reset() {
        let mut lease = Lease::default();
        let round = lease.begin_round(0, 100).unwrap();
        lease.give_up();
        lease.on_confirmed(round, 10_000);
        assert!(!lease.holds(1));
        assert_eq!(lease.begin_round(200, 100), None);
        lease.reset();
        let next = lease.begin_round(300, 100).unwrap();
        assert_ne!(next, round);
    }
}
