//! `quoring-ctl`: looks at a data directory or a running server, and changes who is in a cluster.
//!
//! - [`log`]: prints what lies in segments. [`verify`]: says whether a directory is sound.
//! - [`effects`]: effects as a person reads them.
//! - [`nodes`]: who is in a cluster, and changes of that.
//! - [`status`]: a running server at a glance; [`cluster`]: how it stands among others.

pub mod cluster;
pub mod effects;
pub mod log;
pub mod nodes;
pub mod status;
pub mod verify;
