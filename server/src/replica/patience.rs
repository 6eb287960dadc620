//! When a core takes another node's checkpoint again after one could not be written here, or came
//! damaged: a disk that is full or fails is not to cost both nodes the whole file again and again.
//! Pure.

use replication::fault::{Fault, is_planted};

use crate::limits::{RECEIVE_RETRY_NS, RECEIVE_RETRY_NS_MAX};

#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    delay_ns: u64,
    until_ns: u64,
}

impl Patience {
    /// Waits twice as long as the last time, up to a bound. Returns how long.
    pub fn on_failed(&mut self, now_ns: u64) -> u64 {
        self.delay_ns = (self.delay_ns * 2).clamp(RECEIVE_RETRY_NS, RECEIVE_RETRY_NS_MAX);
        self.until_ns = now_ns + self.delay_ns;
        self.delay_ns
    }

    /// One is there.
    pub fn on_received(&mut self) {
        *self = Patience::default();
    }

    pub fn waits(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns && !is_planted(Fault::SpoiltAtOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_bound_and_a_checkpoint_ends_it() {
        let mut patience = Patience::default();
        assert!(!patience.waits(0));
        let mut now_ns = 5;
        for times in [1, 2, 4, 8, 8] {
            let delay_ns = patience.on_failed(now_ns);
            assert_eq!(delay_ns, times * RECEIVE_RETRY_NS);
            assert!(patience.waits(now_ns + delay_ns - 1) && !patience.waits(now_ns + delay_ns));
            now_ns += delay_ns;
        }
        assert_eq!(RECEIVE_RETRY_NS_MAX, 8 * RECEIVE_RETRY_NS);
        patience.on_received();
        assert!(!patience.waits(now_ns));
        assert_eq!(patience.on_failed(now_ns), RECEIVE_RETRY_NS);
    }
}
