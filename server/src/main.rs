//! The `quoring` program.
fn main() {}
