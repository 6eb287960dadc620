//! The differential tester: the same random commands go to a real Redis and to Quoring, and their
//! replies are compared byte by byte where Redis's answer is determined.
//!
//! A seed is a list of steps (some 2,000 commands) after FLUSHALL, followed by a comparison of all
//! that both servers then hold. Odd seeds speak RESP3. What differs is cut down to few commands.
//!
//! # Layout
//! - [`step`]: what a seed is made of, and how it is printed.
//! - [`random`]: a small generator of random numbers with a seed.
//! - [`generate`]: steps from a seed: a grammar of templates and the values that fill them.
//! - [`resp`]: replies as trees, a pipelining connection.
//! - [`servers`]: starts both servers.
//! - [`compare`]: when two replies are the same. [`known`]: the differences that are meant.
//! - [`run`]: sends steps to both and finds the first difference. [`state`]: all keys of both.
//! - [`shrink`]: fewer steps with a difference.

pub mod compare;
pub mod generate;
pub mod known;
pub mod random;
pub mod resp;
pub mod run;
pub mod servers;
pub mod shrink;
pub mod state;
pub mod step;
