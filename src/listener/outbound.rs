//! What a client is sent: in order, as fast as it reads, and no slower than it may.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::timeouts::WriteClock;
use crate::config::Limits;

/// Pieces that are written at once.
const PIECES: usize = 16;
/// Bodies up to this length are copied behind their head: that costs less than a second piece does in the kernel.
pub(super) const COPIED: usize = 4 * 1024;
/// Bytes that may wait to be written before a body is asked for more.
const ENOUGH: usize = 128 * 1024;
/// Pieces that may: each takes memory of its own, however short it is.
const MANY: usize = 1024;

/// The sending side of one connection.
pub(super) struct Outbound {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    clock: WriteClock,
}

impl Outbound {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, clock: WriteClock::new(limits) }
    }

    /// Has these written after all that waits.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.waiting.push_back(bytes);
        }
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether more would only wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= ENOUGH || self.waiting.len() >= MANY
    }

    /// Writes a head and what follows it. What the socket does not take waits; of the head only that is
    /// copied.
    pub(super) fn write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        head: &mut Vec<u8>,
        mut body: Bytes,
    ) -> io::Result<()> {
        if body.len() <= COPIED {
            head.extend_from_slice(&body);
            body.clear();
        }
        let mut written = 0;
        if self.is_empty() {
            let io = Pin::new(io);
            let done = if body.is_empty() {
                io.poll_write(cx, head)
            } else {
                io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&body)])
            };
            if let Poll::Ready(count) = self.clock.watch(cx, done) {
                written = count?;
            }
        }
        self.push(Bytes::copy_from_slice(&head[written.min(head.len())..]));
        body.advance(written.saturating_sub(head.len()));
        self.push(body);
        Ok(())
    }

    /// Ready when everything is written; an error if the client is gone, or has not read for too long.
    pub(super) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (piece, bytes) in pieces.iter_mut().zip(&self.waiting) {
                *piece = IoSlice::new(bytes);
                count += 1;
            }
            let written = Pin::new(&mut *io).poll_write_vectored(cx, &pieces[..count]);
            match ready!(self.clock.watch(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written(count),
            }
        }
        Pin::new(io).poll_flush(cx)
    }

    fn written(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = self.waiting.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::tests::limits;

    #[test]
    fn short_pieces_are_enough_sooner_than_their_bytes_say() {
        let mut outbound = Outbound::new(&limits());
        (0..MANY).for_each(|_| outbound.push(Bytes::from_static(b"x")));
        assert!(outbound.is_full());
        outbound.written(1);
        assert!(!outbound.is_full());
    }
}
