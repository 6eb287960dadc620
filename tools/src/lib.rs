//! Tools around the server.
//!
//! # Layout
//! - [`checks`]: tidiness of the repository, as a test.

pub mod checks;
