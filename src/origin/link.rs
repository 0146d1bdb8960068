//! One connection to the origin: its socket, what was read of it and not used yet, and its timer.
//!
//! It belongs to whoever has a request on it and is driven by that task alone, so that nothing is handed
//! from task to task. Between two requests it lies in the pool and nobody looks at it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::queue::Turn;
use crate::wire::alarm::Alarm;
use crate::wire::{Tcp, Tunnel, scratch};

/// A connection to the origin. Dropping it closes the connection at once, whatever is under way on it.
pub(super) struct Link(Box<Inner>);

/// Fields are dropped in this order: the descriptor is closed before its slot is free, so the origin
/// never sees more than `max_connections` at once.
struct Inner {
    tcp: Tcp,
    slot: OwnedSemaphorePermit,
    /// What was read and is not yet used. Empty between two requests.
    kept: BytesMut,
    /// Kept from request to request, since a timer is cheaper to postpone than to make.
    alarm: Alarm,
    /// Where the socket is watched.
    home: Option<Id>,
    /// Where the timer runs.
    timed_by: Option<Id>,
    reused: bool,
}

impl Link {
    /// A fresh connection, which owns `slot` until its socket is closed.
    pub(super) fn new(tcp: TcpStream, slot: OwnedSemaphorePermit) -> Self {
        let here = runtime();
        Self(Box::new(Inner {
            tcp: tcp.into(),
            slot,
            kept: BytesMut::new(),
            alarm: Alarm::default(),
            home: here,
            timed_by: here,
            reused: false,
        }))
    }

    /// Whether this connection served a request before.
    pub(super) fn is_reused(&self) -> bool {
        self.0.reused
    }

    /// Whether the origin has neither closed the connection nor spoken unasked. What it has said by now could
    /// only be taken for the answer to the next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let tcp = &mut self.0.tcp;
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        // A socket whose runtime has ended is ready with an error.
        let read = poll_fn(|cx| Pin::new(&mut *tcp).poll_read(cx, &mut buf));
        // Nobody is to be woken, and a task that should yield must not take that for silence.
        let silent = pin!(unconstrained(read)).poll(&mut Context::from_waker(Waker::noop())).is_pending();
        silent && self.0.kept.is_empty()
    }

    /// Prepares a connection that was idle for another request; false if it must not have one. Asks the kernel, since
    /// the runtime may not have heard yet of what has come a moment ago, and it would be taken for the answer.
    pub(super) fn resume(&mut self) -> bool {
        let Inner { tcp, kept, alarm, home, timed_by, reused, .. } = &mut *self.0;
        *reused = true;
        let here = runtime();
        if *timed_by != here {
            // A timer fails when its runtime ends, which need not be ours.
            (*alarm, *timed_by) = (Alarm::default(), here);
        }
        let sound = kept.is_empty() && tcp.is_silent();
        // Only a runtime that is not ours can have ended.
        sound && (*home == here || self.is_quiet())
    }

    /// What was read and is not used.
    pub(super) fn kept(&mut self) -> &mut BytesMut {
        &mut self.0.kept
    }

    /// Reads once behind what is kept; the end of the stream is an error,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Inner { tcp, kept, .. } = &mut *self.0;
        scratch::poll_read(cx, tcp, |bytes| {
            if kept.is_empty() {
                // Its size, and not that of what was here before.
                *kept = BytesMut::from(bytes);
            } else {
                kept.extend_from_slice(bytes);
            }
        })
    }

    /// Reads at most `most` bytes of what will be large into memory of their own, past what is kept, which is
    /// nothing. The end of the stream is an error here as well.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Bytes>> {
        let tcp = &mut self.0.tcp;
        // First, so that no memory is taken for nothing.
        ready!(tcp.poll_read_ready(cx))?;
        let mut bytes = BytesMut::with_capacity(most);
        match ready!(pin!(tcp.read_buf(&mut (&mut bytes).limit(most))).poll(cx))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            // The memory would be held for as long as the bytes are.
            read if read < most / 2 => Poll::Ready(Ok(Bytes::copy_from_slice(&bytes))),
            _ => Poll::Ready(Ok(bytes.freeze())),
        }
    }

    /// Writes what the socket takes of these.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tcp = Pin::new(&mut self.0.tcp);
        match pieces {
            [piece] => tcp.poll_write(cx, piece),
            pieces => tcp.poll_write_vectored(cx, pieces),
        }
    }

    /// Ready once `deadline` has passed.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.0.alarm.poll_from_any(cx, deadline)
    }

    /// Leaves the connection to the two ends that agreed on another protocol; `turn` ends with it.
    pub(super) fn into_tunnel(self, turn: Turn) -> Tunnel {
        let Inner { tcp, slot, kept, .. } = *self.0;
        Tunnel::new(tcp, kept.freeze(), (slot, turn))
    }
}

fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}
