//! Lines of one thread while they wait to be written.

use std::mem;

use crate::clock::Moment;

/// Lines that may wait on a shelf. Bounds memory, like the next.
pub(in crate::telemetry) const QUEUE_LINES: usize = 4096;
/// Bytes of their text; the last line may go beyond.
pub(super) const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Lines, and bytes of text, that an empty shelf keeps memory for.
pub(super) const USUAL: (usize, usize) = (1024, 128 * 1024);

/// Lines that nobody has written yet, in the order in which they were logged.
pub(super) struct Waiting<L> {
    pub(super) lines: Vec<Line<L>>,
    /// The text of all of them.
    pub(super) text: Vec<u8>,
}

pub(super) struct Line<L> {
    pub(super) at: Moment,
    pub(super) about: L,
    /// Bytes of its text.
    pub(super) length: usize,
}

impl<L> Waiting<L> {
    pub(super) const fn new() -> Self {
        Self { lines: Vec::new(), text: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= QUEUE_LINES || self.text.len() >= QUEUE_BYTES
    }

    /// Takes all that waits on a shelf.
    pub(super) fn take(&mut self, waiting: &mut Self) {
        if self.lines.is_empty() {
            mem::swap(self, waiting);
        } else {
            self.lines.append(&mut waiting.lines);
            self.text.append(&mut waiting.text);
        }
    }

    /// Removes the first lines and their text; of the memory it keeps what is usual.
    pub(super) fn remove(&mut self, Written { lines, bytes }: Written) {
        self.lines.drain(..lines);
        self.text.drain(..bytes);
        // After a stall there may be far more.
        self.lines.shrink_to(USUAL.0);
        self.text.shrink_to(USUAL.1);
    }
}

/// How much of what waits has been made lines of.
#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    pub(super) lines: usize,
    pub(super) bytes: usize,
}
