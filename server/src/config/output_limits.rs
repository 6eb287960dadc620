//! `client-output-buffer-limit`: how much a client may leave unread before it is closed.

use super::memory_text::parse_memory;

/// 0 stands for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    /// How long the soft limit may be passed.
    pub soft_s: u64,
}

impl OutputLimit {
    pub fn is_set(&self) -> bool {
        self.hard_bytes > 0 || self.soft_bytes > 0
    }
}

/// The kinds of clients that have a limit of their own, in the order in which Redis prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    Normal,
    Replica,
    Pubsub,
}

const CLASSES: [(ClientClass, &[&str]); 3] = [
    (ClientClass::Normal, &["normal"]),
    (ClientClass::Replica, &["slave", "replica"]),
    (ClientClass::Pubsub, &["pubsub"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits([OutputLimit; 3]);

impl Default for OutputLimits {
    /// Redis's defaults.
    fn default() -> OutputLimits {
        let limit = |hard_bytes, soft_bytes, soft_s| OutputLimit { hard_bytes, soft_bytes, soft_s };
        OutputLimits([limit(0, 0, 0), limit(256 << 20, 64 << 20, 60), limit(32 << 20, 8 << 20, 60)])
    }
}

impl OutputLimits {
    pub fn of(&self, class: ClientClass) -> OutputLimit {
        self.0[class as usize]
    }

    /// Takes `class hard soft seconds`, once or several times; other classes stay.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut changed = *self;
        for group in words.chunks_exact(4) {
            let class = CLASSES
                .iter()
                .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(group[0])))
                .ok_or("Invalid client class specified in buffer limit configuration.")?
                .0;
            let soft_s = group[3].parse::<u32>().ok();
            let values = (parse_memory(group[1]), parse_memory(group[2]), soft_s);
            let (Some(hard_bytes), Some(soft_bytes), Some(soft_s)) = values else {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit \
                            configuration."
                    .into());
            };
            changed.0[class as usize] =
                OutputLimit { hard_bytes, soft_bytes, soft_s: u64::from(soft_s) };
        }
        *self = changed;
        Ok(())
    }
}

impl std::fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (class, names)) in CLASSES.iter().enumerate() {
            let OutputLimit { hard_bytes, soft_bytes, soft_s } = self.of(*class);
            let space = if place > 0 { " " } else { "" };
            write!(f, "{space}{} {hard_bytes} {soft_bytes} {soft_s}", names[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_redis_reads_them() {
        let mut limits = OutputLimits::default();
        let default = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(limits.to_string(), default);
        limits.set("normal 1mb 2kb 30 replica 1 2 3").unwrap();
        let changed = "normal 1048576 2048 30 slave 1 2 3 pubsub 33554432 8388608 60";
        assert_eq!(limits.to_string(), changed);
        for wrong in ["", "normal 1 2", "foo 1 2 3", "normal a 2 3", "normal 1 2 3 normal 1 2 -3"] {
            assert!(limits.set(wrong).is_err(), "{wrong}");
            assert_eq!(limits.to_string(), changed);
        }
    }
}
