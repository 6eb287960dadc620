//! The commands.
//!
//! - [`table`]: the one table, made of [`spec`]s; [`keys`] derives key positions from it.
//! - [`call`]: what a command's code is given.
//! - The families: [`generic`], [`expiry`], [`sort`], [`string`] with [`lcs`], [`hash`],
//!   [`set`] with [`set_store`].
//! - [`memory`], [`debug`]: what keys cost and how they lie in memory.
//! - What families share: [`parse`], [`scan`], [`glob`], [`random`].
//! - `testing`: a command in process, and the law of effects. For tests only.

pub mod call;
pub mod debug;
pub mod expiry;
pub mod generic;
pub mod glob;
pub mod hash;
pub mod keys;
pub mod lcs;
pub mod list;
pub mod list_move;
pub mod memory;
pub mod parse;
pub mod random;
pub mod scan;
pub mod set;
pub mod set_store;
pub mod sort;
pub mod spec;
pub mod string;
pub mod table;
pub mod zset;
pub mod zset_pop;
pub mod zset_range;
pub mod zset_store;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
