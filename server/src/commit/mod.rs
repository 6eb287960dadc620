//! From effects to released replies (design §8, §9).
//!
//! - [`transaction`]: which shards' open entries belong together.
//! - [`entry`]: the effects of a turn become one entry a shard.
//! - [`gate`]: what waits for which write of this core's log.
//! - [`release`]: a write is durable, another core reports: replies may leave.

pub mod entry;
pub mod gate;
pub mod release;
pub mod transaction;
