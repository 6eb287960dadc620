//! The data and the only ways to change it.
//!
//! - [`shards`]: the shards held here; [`shard`]: one of them.
//! - [`space`]: what a command sees, and every read.
//! - Mutators: [`key`], [`string`], [`hash`], [`set`], [`list`], [`zset`]; [`update`] is how a
//!   collection is looked up and changed.
//! - [`entry`]: a key and its value in one allocation.
//! - [`garbage`]: what is freed in slices; [`eviction`]: what goes when memory runs out, by what
//!   [`access`] has noted.
//! - [`digest`], [`rebuild`]: data compared, and made anew from images.
//! - [`touched`], [`watched`], [`waiters`]: who has to know of a change.

pub mod access;
pub mod digest;
pub mod entry;
pub mod eviction;
pub mod garbage;
pub mod hash;
pub mod key;
pub mod list;
pub mod rebuild;
pub mod set;
pub mod shard;
pub mod shards;
pub mod space;
pub mod string;
pub mod touched;
pub mod update;
pub mod waiters;
pub mod watched;
pub mod zset;

pub use entry::{Entry, Value, ValueRef};
pub use shard::Shard;
pub use shards::{KeyPlace, Shards};
pub use space::Space;
pub use string::Expiry;
pub use update::{Missing, Update};
