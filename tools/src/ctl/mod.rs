//! `quoring-ctl`: looks at a data directory or a running server without changing anything in it.
//!
//! - [`log`]: prints what lies in segments. [`verify`]: says whether a directory is sound.
//! - [`effects`]: effects as a person reads them.
//! - [`status`]: a running server at a glance.

pub mod effects;
pub mod log;
pub mod status;
pub mod verify;
