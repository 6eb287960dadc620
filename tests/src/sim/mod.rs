//! The simulator: a node's real `Core`s on a virtual disk, network and clock, in one thread, from
//! one seed. A seed that fails is a bug report: the same seed fails again.
//!
//! # Layout
//! - [`disk`]: what was synced apart from what is being written. [`node`]: cores, mesh and clock.
//! - [`quiet`]: one client and no troubles, for tests that want a disk or a core in a given state.
//!   `hand`: nothing goes on by itself.
//! - [`client`]: virtual clients that speak RESP. [`workload`]: what they do.
//! - [`checker`]: what their histories must obey; [`own_keys`] and [`accounts`]: what may have
//!   become of those. [`world`]: one seed, from start to verdict;
//!   [`outcome`]: what came of it.

pub mod accounts;
pub mod checker;
pub mod client;
pub mod disk;
pub mod files;
pub mod node;
pub mod outcome;
pub mod own_keys;
pub mod quiet;
pub mod workload;
pub mod world;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod checker_tests;
#[cfg(test)]
mod hand;
#[cfg(test)]
mod log_bounds;
#[cfg(test)]
mod parked;
#[cfg(test)]
mod published;
#[cfg(test)]
mod scans;
#[cfg(test)]
mod starts;
#[cfg(test)]
mod tests;
