//! What a link has to send: the frames of a turn go out as one send, and while one is under way the
//! next ones collect.

use super::LINK_BYTES_MAX;
use super::frame::{FRAME_HEAD_BYTES, Frame, FrameWriter};
use crate::buggify::{Point, is_taken};

#[derive(Debug)]
pub struct Outbox {
    writer: FrameWriter,
    waiting: Vec<u8>,
    in_flight_bytes: usize,
    /// Messages that found no room.
    pub dropped: u64,
}

impl Outbox {
    pub fn new(send_seed: u32) -> Outbox {
        let writer = FrameWriter::new(send_seed);
        Outbox { writer, waiting: Vec::new(), in_flight_bytes: 0, dropped: 0 }
    }

    /// Adds a message, or drops it if more than [`LINK_BYTES_MAX`] would wait. Returns whether it
    /// was added.
    pub fn push(&mut self, frame: Frame<'_>) -> bool {
        let bytes = self.bytes() + FRAME_HEAD_BYTES + frame.payload.len();
        if bytes > LINK_BYTES_MAX && self.bytes() > 0 || is_taken(Point::LinkFull) {
            self.dropped += 1;
            return false;
        }
        self.writer.write(frame, &mut self.waiting);
        true
    }

    /// What is to be sent now; nothing while the last send is under way.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.in_flight_bytes > 0 || self.waiting.is_empty() {
            return None;
        }
        self.in_flight_bytes = self.waiting.len();
        Some(std::mem::take(&mut self.waiting))
    }

    /// All of what [`Outbox::take`] gave is with the kernel. Its buffer comes back for the next.
    pub fn on_sent(&mut self, mut buffer: Vec<u8>) {
        self.in_flight_bytes = 0;
        if self.waiting.is_empty() {
            buffer.clear();
            self.waiting = buffer;
        }
    }

    /// Bytes that wait or are being sent.
    pub fn bytes(&self) -> usize {
        self.waiting.len() + self.in_flight_bytes
    }
}
