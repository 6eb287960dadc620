//! The simulator of a whole cluster: real nodes on virtual disks, networks and clocks that drift,
//! in one thread, from one seed, with clients that move to who leads. A seed that fails is a bug
//! report: the same seed fails again.
//!
//! # Layout
//! - [`plan`]: what a seed is run with; [`outcome`]: what happened.
//! - [`world`]: events, in order; [`network`] and [`nodes`]: those of each kind; [`faults`]: what
//!   goes wrong, [`rot`]: on disks, [`spoiling`]: with checkpoints, [`clocks`]: with the time;
//!   [`ending`]: the faults cease, and the verdict.
//! - [`timeouts`]: the election timeout changes. [`members`]: machines join and are taken out.
//!   [`upgrades`]: programs change, and the cluster's version.
//! - [`machine`]: a node with its disk, clock and connections; [`wires`]: connections between them.
//! - [`client`]: what virtual clients hold; [`talk`]: what they do; [`operation`]: what they ask,
//!   [`transaction`]: of several keys at once.
//! - [`holders`]: whether nodes have on their disks what a client was told that they have.
//! - [`history`]: what was asked and answered, and what must hold of it: [`register`], [`growth`],
//!   [`graph`].
//! - Of the tests, `transfers`, `takeovers` and `stops` bring about what seeds seldom meet, and
//!   `bounds` fills bounds.

pub mod client;
pub mod clocks;
pub mod ending;
pub mod faults;
pub mod graph;
pub mod growth;
pub mod history;
pub mod holders;
pub mod machine;
pub mod members;
pub mod network;
pub mod nodes;
pub mod operation;
pub mod outcome;
pub mod plan;
pub mod register;
pub mod rot;
pub mod spoiling;
pub mod talk;
pub mod timeouts;
pub mod transaction;
pub mod upgrades;
pub mod wires;
pub mod world;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod takeovers;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transfers;
