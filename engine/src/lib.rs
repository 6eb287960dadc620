//! Redis's semantics: keyspace, values, commands, effects. No socket, file, clock, thread or random
//! source of its own: what it does is decided by what it is given.
//!
//! # Layout
//! - [`command`]: the one command table and the commands, family by family.
//! - [`keyspace`]: shards and the mutators, the only way to change data.
//! - [`value`]: how strings and collections lie in memory; [`table`]: the hash table under them.
//! - [`effect`]: changes as they stand in the log; [`image`]: whole values as bytes;
//!   [`checkpoint`]: a shard at one index, written while it changes.
//! - [`args`], [`reply`], [`error`], [`number`], [`slot`], [`hash`], [`rng`]: the small parts.
//! - [`settings`]: what an operator can set; [`limits`]: what nobody can.

pub mod args;
pub mod checkpoint;
pub mod command;
pub mod effect;
pub mod error;
pub mod hash;
pub mod image;
pub mod keyspace;
pub mod limits;
pub mod number;
pub mod reply;
pub mod rng;
pub mod settings;
pub mod slot;
pub mod table;
pub mod value;
