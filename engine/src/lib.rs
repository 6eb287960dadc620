//! The `engine` crate.

pub mod hash;
pub mod table;
pub mod value;
