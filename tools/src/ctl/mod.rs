//! `quoring-ctl`: looks at a data directory without changing anything in it.
//!
//! - [`log`]: prints what lies in segments. [`verify`]: says whether a directory is sound.
//! - [`effects`]: effects as a person reads them.

pub mod effects;
pub mod log;
pub mod verify;
