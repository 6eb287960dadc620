//! What a completion belongs to, packed into the 64 bits that io_uring carries along.
//! Every core; must never hold a pointer.

/// Kinds of operations. The discriminants only have to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Multishot accept; the index is the listener's.
    Accept = 1,
    /// Multishot receive; index and generation are the connection's.
    Receive = 2,
    /// Send; index and generation are the connection's.
    Send = 3,
    /// Cancellation of another operation: its own end is of no interest.
    Cancel = 4,
    /// A read of this core's eventfd.
    Event = 5,
    /// A message ring wake-up, on the woken core and, if it failed, on the waking one.
    Wake = 6,
    /// A step of a file operation; the index is its slot's.
    File = 7,
    /// Connect; index and generation are the dial's.
    Connect = 8,
    /// The time limit of a connect, likewise.
    ConnectTimeout = 9,
}

/// `kind` in 8 bits, generation modulo 2^24, index in 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub generation: u32,
    pub index: u32,
}

pub const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Token {
    pub fn new(kind: Kind, generation: u32, index: u32) -> Self {
        Self { kind, generation: generation & GENERATION_MASK, index }
    }

    pub fn pack(self) -> u64 {
        (u64::from(self.kind as u8) << 56)
            | (u64::from(self.generation) << 32)
            | u64::from(self.index)
    }

    /// `None` for a value that `pack` never makes.
    pub fn unpack(value: u64) -> Option<Self> {
        let kind = match (value >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Cancel,
            5 => Kind::Event,
            6 => Kind::Wake,
            7 => Kind::File,
            8 => Kind::Connect,
            9 => Kind::ConnectTimeout,
            _ => return None,
        };
        let generation = (value >> 32) as u32 & GENERATION_MASK;
        Some(Self { kind, generation, index: value as u32 })
    }
}
