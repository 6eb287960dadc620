//! What this turn may still do, and what the last one had to leave to it. Lives on its core.

use crate::limits::COMMANDS_PER_CLOCK_READING;

#[derive(Debug, Default)]
pub struct Budget {
    /// Commands of clients that may still run in this turn.
    pub commands_left: usize,
    /// Commands since the clock was last read.
    unclocked: usize,
    /// The last turn had no place for some clients: they come before what arrives in this one.
    pub crowded: bool,
    /// Shards at home for which more has waited than the last turn had room for.
    pub parked_left: Vec<u16>,
    /// More keys are due than the last turn deleted.
    pub more_expired: bool,
}

impl Budget {
    /// Something took as long as so many commands.
    #[inline]
    pub fn spend(&mut self, commands: usize) {
        self.commands_left = self.commands_left.saturating_sub(commands);
    }

    /// Whether it is time to look at the clock after so many more commands.
    #[inline]
    pub fn wants_clock(&mut self, commands: usize) -> bool {
        self.unclocked += commands;
        let wants = self.unclocked >= COMMANDS_PER_CLOCK_READING;
        if wants {
            self.unclocked = 0;
        }
        wants
    }

    #[inline]
    pub fn is_spent(&self) -> bool {
        self.commands_left == 0
    }
}
