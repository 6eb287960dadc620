//! From effects to released replies (design §8).
//!
//! - [`gate`]: what waits for which write of this core's log.

pub mod gate;
