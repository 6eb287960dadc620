//! Versions of a cluster: what its members may say to each other in entries, whichever programs
//! they run. A program applies a range of them, and emits only what the cluster's own version
//! allows, so that nodes can be given a newer program one after the other, and the older one again
//! until the version is raised (`server/adr/0018`).
//!
//! | version | what it may emit beside all before it |
//! | --- | --- |
//! | 1 | entries with long heads, rosters that do not say the version |
//! | 2 | entries of effects with short heads (`group/payload.rs`), rosters that say the version |
//!
//! The version goes with the roster of each group's members (`group/roster.rs`): it is raised by an
//! entry, and holds in that group from where this is applied.
//!
//! Invariant: an entry that needs a version stands behind the one that raised the group to it.

use std::fmt;

/// One of them; 1 is that of clusters whose nodes never said any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl Version {
    /// What this program can still take part in.
    pub const OLDEST: Version = Version(1);
    /// What it can be raised to; new clusters begin with it.
    pub const NEWEST: Version = Version(2);
    /// The first one with short heads.
    pub const SHORT_HEADS: Version = Version(2);

    /// Less 1 (u16, little-endian): programs that say none leave zeros, and apply the first.
    pub fn encode(self) -> [u8; 2] {
        self.0.saturating_sub(1).to_le_bytes()
    }

    pub fn decode(bytes: [u8; 2]) -> Version {
        Version(u16::from_le_bytes(bytes).saturating_add(1))
    }
}

impl Default for Version {
    fn default() -> Version {
        Version(1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Those that a program applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub least: Version,
    pub most: Version,
}

impl Versions {
    /// Those of this program.
    pub const OWN: Versions = Versions { least: Version::OLDEST, most: Version::NEWEST };
    /// Those of programs that say none.
    pub const UNSAID: Versions = Versions { least: Version(1), most: Version(1) };

    pub fn contains(self, version: Version) -> bool {
        (self.least..=self.most).contains(&version)
    }

    /// Both, as [`Version::encode`] has them.
    pub fn encode(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.least.encode(), self.most.encode());
        [a, b, c, d]
    }

    pub fn decode([a, b, c, d]: [u8; 4]) -> Versions {
        Versions { least: Version::decode([a, b]), most: Version::decode([c, d]) }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.least, self.most)
    }
}

/// A program does not apply the version that something needs. What, and where, the caller says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotApplied {
    pub version: Version,
    pub applied: Versions,
}

impl NotApplied {
    pub fn check(applied: Versions, version: Version) -> Result<(), NotApplied> {
        if applied.contains(version) { Ok(()) } else { Err(NotApplied { version, applied }) }
    }
}

impl NotApplied {
    /// What an operator has to do, on the node whose program it is.
    pub fn remedy(&self, place: &str) -> String {
        let version = self.version;
        match version < self.applied.least {
            true => format!(
                "Start the program before it {place}, raise the version (quoring-ctl \
                 raise-version), and only then this one"
            ),
            false => format!("Start one that applies {version} {place}"),
        }
    }
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotApplied { version, applied } = self;
        write!(
            f,
            "version {version} of the cluster, and this program applies {applied}. {}",
            self.remedy("instead")
        )
    }
}

impl std::error::Error for NotApplied {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_back_and_zeros_are_the_first_version() {
        let range = Versions { least: Version(2), most: Version(0x0103) };
        assert_eq!(range.encode(), [1, 0, 2, 1]);
        assert_eq!(Versions::decode(range.encode()), range);
        assert_eq!(Versions::decode([0; 4]), Versions::UNSAID);
        assert!(range.contains(Version(2)) && range.contains(Version(0x0103)));
        assert!(!range.contains(Version(1)) && !range.contains(Version(0x0104)));
        let say = |version| NotApplied::check(range, Version(version)).unwrap_err().to_string();
        assert!(say(1).contains("the program before it") && say(300).contains("applies 300"));
    }
}
