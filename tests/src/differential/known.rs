//! The differences that are meant, each with its reason. `server/COMPATIBILITY.md` says the same.

use super::resp::Node;
use super::step::Words;

pub struct Known {
    /// Redis is as we are from this version on.
    pub until: (u32, u32),
    pub why: &'static str,
    /// Whether the difference between Redis's reply and ours, in this order, is this one.
    pub applies: fn(&Words, &Node, &Node) -> bool,
}

pub static KNOWN: &[Known] = &[];
