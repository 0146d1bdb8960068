//! What a client sends: read from its socket and taken apart into heads and bodies.
//!
//! All connections of a thread read into one buffer. What is complete is taken from there; only the
//! beginning of what is not yet complete is kept, so that an idle connection holds no buffer at all.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::request::Parts;
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::Fault;
use super::body::Upload;
use super::request::{Bounds, Head, HeadParser};
use super::spare;
use super::timeouts::{Awaited, ReadClock};
use crate::config::Limits;
use crate::wire::scratch::poll_read;

/// Bytes of further requests that are read while one is under way; the rest waits in the kernel.
const MAX_AHEAD: usize = 16 * 1024;

/// What comes next on a connection.
pub(super) enum Next {
    /// A request.
    Request(Box<Parts>, Head),
    /// Something that is not to be answered as a request.
    Refused(Fault),
    /// Nothing: the client has left, or was idle for too long.
    End,
}

/// The receiving side of one connection.
pub(super) struct Inbound {
    bounds: Bounds,
    /// What was read and is not yet used.
    kept: BytesMut,
    parser: HeadParser,
    /// Whether the empty line that may precede a head was there (RFC 9112 section 2.2).
    empty_line: bool,
    clock: ReadClock,
}

impl Inbound {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bounds: Bounds::from(limits),
            kept: BytesMut::new(),
            parser: HeadParser::default(),
            empty_line: false,
            clock: ReadClock::new(limits),
        }
    }

    /// Whether nothing of a request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.kept.is_empty()
    }

    /// The wait for the next request began at this moment.
    pub(super) fn idle_since(&mut self, moment: Instant) {
        self.clock.idle_since(moment);
    }

    /// What was read and belongs to no request.
    pub(super) fn into_rest(self) -> Bytes {
        self.kept.freeze()
    }

    /// The next request.
    pub(super) fn poll_next<T: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut T) -> Poll<Next> {
        if !self.kept.is_empty()
            && let Some(next) = self.next_kept()
        {
            return Poll::Ready(next);
        }
        loop {
            let read = poll_read(cx, io, |bytes| {
                if self.kept.is_empty() {
                    return self.next_in(bytes);
                }
                self.kept.extend_from_slice(bytes);
                self.next_kept()
            });
            match read {
                Poll::Ready(Ok(Some(next))) => return Poll::Ready(next),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => {
                    let awaited = if self.is_idle() { Awaited::Request } else { Awaited::Head };
                    ready!(self.clock.poll_overdue(cx, awaited));
                    let idle = awaited == Awaited::Request;
                    return Poll::Ready(if idle { Next::End } else { self.refused(Fault::HeadTimeout) });
                }
            }
        }
    }

    /// The request in bytes that were just read, before which nothing is kept.
    fn next_in(&mut self, bytes: &[u8]) -> Option<Next> {
        match self.find(bytes) {
            Ok((skipped, None)) => {
                self.kept.extend_from_slice(&bytes[skipped..]);
                None
            }
            Ok((skipped, Some((length, head)))) => {
                let end = skipped + length;
                self.kept.extend_from_slice(&bytes[end..]);
                Some(self.request(&Bytes::copy_from_slice(&bytes[skipped..end]), head))
            }
            Err(fault) => {
                // There is more that nobody will read.
                self.kept.extend_from_slice(bytes);
                Some(self.refused(fault))
            }
        }
    }

    /// The request in what is kept.
    fn next_kept(&mut self) -> Option<Next> {
        let kept = std::mem::take(&mut self.kept);
        let found = self.find(&kept);
        self.kept = kept;
        match found {
            Ok((skipped, found)) => {
                self.kept.advance(skipped);
                let (length, head) = found?;
                let bytes = self.kept.split_to(length).freeze();
                if self.kept.is_empty() {
                    // Slow clients are many: give the memory back.
                    self.kept = BytesMut::new();
                }
                Some(self.request(&bytes, head))
            }
            Err(fault) => Some(self.refused(fault)),
        }
    }

    /// Looks for a head: how many bytes stand before it that mean nothing, and how many it has.
    fn find(&mut self, bytes: &[u8]) -> Result<(usize, Option<(usize, Head)>), Fault> {
        let skipped = match bytes {
            [] => return Ok((0, None)),
            [b'\r'] if !self.empty_line => return Ok((0, None)),
            [b'\r', b'\n', ..] if !self.empty_line => {
                self.empty_line = true;
                2
            }
            _ => 0,
        };
        let rest = &bytes[skipped..];
        Ok((skipped, if rest.is_empty() { None } else { self.parser.advance(rest, &self.bounds)? }))
    }

    fn request(&mut self, bytes: &Bytes, head: Head) -> Next {
        self.clock.progress();
        self.empty_line = false;
        match self.parser.finish_with(bytes, spare::take()) {
            Ok(parts) => Next::Request(parts, head),
            Err(fault) => Next::Refused(fault),
        }
    }

    fn refused(&mut self, fault: Fault) -> Next {
        self.clock.progress();
        Next::Refused(fault)
    }

    /// Reads on in a body: ready with something of it, or with its end; an error if the client has left.
    pub(super) fn poll_body<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        upload: &mut Upload,
    ) -> Poll<io::Result<()>> {
        if self.feed(upload) {
            return Poll::Ready(Ok(()));
        }
        loop {
            let read = poll_read(cx, io, |bytes| {
                if !self.kept.is_empty() {
                    self.kept.extend_from_slice(bytes);
                    return self.feed(upload);
                }
                let taken = upload.take(bytes, &self.bounds);
                self.kept.extend_from_slice(&bytes[taken..]);
                taken > 0 || upload.is_over()
            });
            match read {
                Poll::Ready(Ok(true)) => {
                    self.clock.progress();
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.clock.poll_overdue(cx, Awaited::Body));
                    upload.refuse(Fault::BodyTimeout);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Gives a body what is kept of it. Whether that was anything.
    pub(super) fn feed(&mut self, upload: &mut Upload) -> bool {
        let taken = upload.take(&self.kept, &self.bounds);
        self.kept.advance(taken);
        if self.kept.is_empty() {
            self.kept = BytesMut::new();
        }
        taken > 0 || upload.is_over()
    }

    /// Ready once the client has left, which shows in nothing but reading on.
    pub(super) fn poll_left<T: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut T) -> Poll<()> {
        while self.kept.len() < MAX_AHEAD {
            let read = poll_read(cx, io, |bytes| self.kept.extend_from_slice(bytes));
            if ready!(read).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
