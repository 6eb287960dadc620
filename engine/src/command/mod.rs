//! The commands.
//!
//! - [`table`]: the one table, made of [`spec`]s; [`keys`] derives key positions from it.
//! - [`call`]: what a command's code is given.
//! - The families: [`generic`], [`expiry`], [`string`] …

pub mod call;
pub mod expiry;
pub mod generic;
pub mod glob;
pub mod keys;
pub mod list;
pub mod list_move;
pub mod parse;
pub mod scan;
pub mod spec;
pub mod string;
pub mod table;
