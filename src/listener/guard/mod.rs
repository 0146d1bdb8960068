//! The guard: every byte between client and HTTP library passes through it.
//!
//! It reads the stream by one strict set of rules and lets a request head go on only when it is
//! whole and valid, so that the library never sees bytes that two parsers could read differently.
//! A whole head that arrives in one read is checked where it lies, in the library's own buffer;
//! only what is incomplete is copied aside.
//!
//! A refused head is replaced by a [stand-in request](STAND_IN), so that the answer takes its turn
//! behind the requests before it. A fault inside a body is an error of that body. After a request
//! that asks for an upgrade nothing goes on until its response is known: the stream is then either
//! no longer HTTP, or the next request.
//!
//! In the other direction the library's bytes pass as they are. Interim responses, which the library
//! cannot write, are written in between: where it has nothing left to write and the response to the
//! request in turn has not begun.

mod alarm;
mod bounds;
mod checker;
mod chunked;
mod field;
mod head;
mod linger;
mod target;
#[cfg(test)]
mod tests;
mod timeouts;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use self::bounds::Bounds;
use self::checker::{Checker, Stop};
use self::linger::Linger;
use self::timeouts::{Awaited, ReadClock, WriteClock};
use super::exchange::Exchange;
use super::seat::Seat;
use crate::config::Limits;
use crate::listener::Fault;

/// What the library reads in place of a refused request. It is recognised by its place in the row
/// of requests, never by what it says.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// Bytes kept while the answer to a request for an upgrade is awaited; the rest waits in the kernel.
const MAX_HELD: usize = 16 * 1024;

/// A connection with the guard around it.
pub(super) struct Guard<T> {
    io: T,
    checker: Checker,
    exchange: Arc<Exchange>,
    mode: Mode,
    /// Bytes that were read but not handed on: first `cleared` bytes that may go on, then the
    /// beginning of a unit that is incomplete, or whatever follows a request for an upgrade.
    kept: BytesMut,
    cleared: usize,
    /// What is left of the interim response that is being written. Nothing else is written before.
    telling: Bytes,
    read_clock: ReadClock,
    write_clock: WriteClock,
    linger: Option<Linger>,
    /// Given back when the connection is closed, by whoever owns it then.
    _seat: Seat,
}

/// What the guard does with the bytes that come next.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Check them.
    Checking,
    /// Keep them until the request for an upgrade is answered.
    Holding,
    /// The stream is no longer HTTP: pass them on.
    Tunnel,
    /// A body was refused: tell the library.
    Broken(Fault),
    /// A head was refused: the stand-in was the last request. No end of stream is reported, since
    /// that would drop the requests under way.
    Refused,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guard<T> {
    /// Guards `io` by `limits`.
    pub(super) fn new(io: T, limits: &Limits, exchange: Arc<Exchange>, seat: Seat) -> Self {
        Self {
            io,
            checker: Checker::new(Bounds::from(limits)),
            exchange,
            mode: Mode::Checking,
            kept: BytesMut::new(),
            cleared: 0,
            telling: Bytes::new(),
            read_clock: ReadClock::new(limits),
            write_clock: WriteClock::new(limits),
            linger: None,
            _seat: seat,
        }
    }

    /// Whether every request that passed is answered to its last byte.
    fn is_answered(&self) -> bool {
        self.exchange.finished() >= self.checker.heads()
    }

    /// What the client owes us, if it is its turn.
    fn awaited(&self) -> Option<Awaited> {
        if !self.checker.expects_head() {
            Some(Awaited::Body)
        } else if !self.kept.is_empty() {
            Some(Awaited::Head)
        } else {
            self.is_answered().then_some(Awaited::Request)
        }
    }

    /// Lets the outcome of a write through, unless the client has refused to read for too long.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(self.mode, Mode::Tunnel) {
            return written;
        }
        // The library may hold the end of a response whose body it has finished with.
        self.read_clock.not_idle();
        self.write_clock.watch(cx, written)
    }

    /// Writes the rest of an interim response that was begun.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.telling.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.telling);
            match ready!(self.written(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.telling.advance(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes interim responses. Only where the library has nothing left to write: whatever it had
    /// is of earlier responses, or complete in itself.
    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.exchange.outbox().is_filled() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_told(cx))?;
        while let Some(head) = self.exchange.next_interim() {
            self.telling = head;
            ready!(self.poll_told(cx))?;
        }
        // The response may have waited for this, and the library has asked for it already.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Checks what was read into `buf` after `start`, and keeps what may not go on yet.
    fn take_in(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        let read = &buf.filled()[start..];
        if self.kept.is_empty() {
            let scan = self.checker.scan(read);
            self.kept.extend_from_slice(&read[scan.passed..]);
            buf.set_filled(start + scan.passed);
            self.settle(scan.passed, scan.stop);
        } else {
            self.kept.extend_from_slice(read);
            buf.set_filled(start);
            self.check_kept();
        }
    }

    fn check_kept(&mut self) {
        let scan = self.checker.scan(&self.kept);
        self.cleared = scan.passed;
        self.settle(scan.passed, scan.stop);
    }

    /// Acts on the end of a scan that let `passed` bytes go on.
    fn settle(&mut self, passed: usize, stop: Stop) {
        if passed > 0 {
            self.read_clock.progress();
        }
        match stop {
            Stop::NeedMore => {}
            Stop::Hold => self.mode = Mode::Holding,
            Stop::Head(fault) => {
                self.exchange.refuse(self.checker.heads(), fault);
                self.kept.truncate(self.cleared);
                self.kept.extend_from_slice(STAND_IN);
                self.cleared = self.kept.len();
                self.mode = Mode::Refused;
            }
            Stop::Body(fault) => {
                self.exchange.count(fault);
                self.kept.truncate(self.cleared);
                self.mode = Mode::Broken(fault);
            }
        }
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.cleared.min(buf.remaining());
        buf.put_slice(&self.kept[..count]);
        self.kept.advance(count);
        self.cleared -= count;
        if self.kept.is_empty() {
            // Slow clients are many: give the memory back.
            self.kept = BytesMut::new();
        }
    }

    /// The request for an upgrade is answered: what was held is a tunnel's, or the next request.
    fn resume(&mut self) {
        if self.exchange.switched() {
            self.mode = Mode::Tunnel;
            self.cleared = self.kept.len();
        } else {
            self.mode = Mode::Checking;
            if !self.kept.is_empty() {
                self.check_kept();
            }
        }
    }

    /// Reads ahead while an upgrade is undecided, so that a client that leaves is noticed.
    fn poll_holding(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buf.filled().len();
        while self.kept.len() < MAX_HELD {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let read = &buf.filled()[start..];
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.kept.extend_from_slice(read);
            buf.set_filled(start);
        }
        // `poll_flush` wakes the task when the answer is out.
        Poll::Pending
    }

    /// The socket has nothing to read. Ready with what the client failed to send in time.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Awaited> {
        match self.awaited() {
            Some(awaited) => self.read_clock.poll_overdue(cx, awaited),
            None => Poll::Pending,
        }
    }

    /// Whether the client may still be sending something that nobody will read.
    fn is_mid_stream(&self) -> bool {
        match self.mode {
            Mode::Tunnel => false,
            Mode::Checking => !self.checker.expects_head() || !self.kept.is_empty(),
            Mode::Holding | Mode::Broken(_) | Mode::Refused => true,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        loop {
            if this.cleared > 0 {
                this.hand_out(buf);
                return Poll::Ready(Ok(()));
            }
            match this.mode {
                Mode::Checking => {}
                Mode::Holding if this.is_answered() => {
                    this.resume();
                    continue;
                }
                Mode::Holding => return this.poll_holding(cx, buf),
                Mode::Tunnel => return Pin::new(&mut this.io).poll_read(cx, buf),
                Mode::Broken(fault) => return Poll::Ready(Err(fault.into())),
                Mode::Refused => return Poll::Pending,
            }
            match Pin::new(&mut this.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() > start => this.take_in(buf, start),
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => match ready!(this.poll_overdue(cx)) {
                    // An idle connection is closed without a word, as if the client had left.
                    Awaited::Request => return Poll::Ready(Ok(())),
                    Awaited::Head => this.settle(0, Stop::Head(Fault::HeadTimeout)),
                    Awaited::Body => this.settle(0, Stop::Body(Fault::BodyTimeout)),
                },
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_told(cx))?;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_told(cx))?;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// The library flushes after the last byte of a response, and may not read again before it is
    /// woken: so here the idle time-out starts, and what was held for an upgrade is looked at. It
    /// flushes each time it runs, as soon as its own buffer is empty: so here interim responses go out.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_tell(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        if matches!(this.mode, Mode::Holding) && this.is_answered() {
            this.resume();
            if this.cleared > 0 {
                cx.waker().wake_by_ref();
            }
        }
        if matches!(this.mode, Mode::Checking) && this.awaited() == Some(Awaited::Request) {
            this.read_clock.start_idle(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads what the client still sends for a moment: closing a socket with
    /// unread data resets it, and a reset destroys the response on its way (RFC 9112 section 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if !this.is_mid_stream() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger::until(Instant::now() + linger::LONGEST));
        linger.poll(cx, &mut this.io).map(Ok)
    }
}
