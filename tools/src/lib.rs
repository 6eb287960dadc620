//! Tools around the server.
//!
//! # Layout
//! - [`checks`]: tidiness of the repository, as a test.
//! - [`ctl`]: what `quoring-ctl` does for operators.

pub mod checks;
pub mod ctl;
