//! An open connection to Redis, with its buffers and its one timer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use fred::clients::Client;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::ask::Ask;
use super::talk::Talk;
use crate::redis::{SILENCE, Socket};

/// Bytes that are read at once. What is longer grows the buffer until it has been read.
pub(super) const READ: usize = 64 * 1024;

/// An open connection.
pub(super) struct Connection {
    socket: Socket,
    talk: Talk,
    /// How much of what is to be written was.
    written: usize,
    buffer: Vec<u8>,
    /// How much of the buffer is the beginning of something.
    filled: usize,
    /// One timer for everything that is waited for.
    alarm: Pin<Box<Sleep>>,
    alarmed: Option<Instant>,
    /// Whether Redis has said anything since the alarm was set.
    heard: bool,
    quiet_since: Instant,
}

impl Connection {
    /// A connection on which everything has been answered.
    pub(super) fn new(socket: Socket, talk: Talk) -> Self {
        Self {
            socket,
            talk,
            written: 0,
            buffer: vec![0; READ],
            filled: 0,
            alarm: Box::pin(sleep(SILENCE)),
            alarmed: None,
            heard: true,
            quiet_since: Instant::now(),
        }
    }

    /// Look-ups that wait for an answer.
    pub(super) fn asked(&self) -> usize {
        self.talk.asked()
    }

    /// Asks all of this, and writes what the socket takes at once. The rest, the timer and whatever goes wrong are for
    /// the next [`poll`](Self::poll).
    pub(super) fn send(&mut self, asks: &mut Vec<Ask>, cx: &mut Context<'_>) {
        // The silence of a peer that nobody spoke to means nothing.
        self.heard |= !self.talk.is_waiting();
        self.talk.ask(asks);
        let _ = self.poll_write(cx);
    }

    /// Ready when the connection is lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let steps = [Self::poll_read, Self::poll_alarm, Self::poll_write];
        let lost = steps.into_iter().find_map(|step| step(self, cx).err());
        lost.map_or(Poll::Pending, Poll::Ready)
    }

    /// Gives up all that was asked.
    pub(super) fn lose(self, library: &Client) {
        self.talk.lose(library);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.buffer[self.filled..]);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(done) => done?,
            }
            let count = buffer.filled().len();
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.heard = true;
            self.filled += count;
            let understood = self.talk.hear(&self.buffer[..self.filled]).map_err(|_| io::ErrorKind::InvalidData)?;
            self.buffer.copy_within(understood..self.filled, 0);
            self.filled -= understood;
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            } else if self.filled == 0 && self.buffer.len() > READ {
                self.buffer = vec![0; READ];
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.written < self.talk.out().len() {
            let socket = Pin::new(&mut self.socket);
            match socket.poll_write(cx, &self.talk.out()[self.written..]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => self.written += count?,
            }
        }
        self.written = 0;
        self.talk.out().clear();
        Ok(())
    }

    /// Gives up what is too late, and the connection if its peer went silent.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let due = self.talk.take_due();
        self.set_alarm(due);
        while self.alarmed.is_some() && self.alarm.as_mut().poll(cx).is_ready() {
            self.alarmed = None;
            let now = Instant::now();
            if std::mem::take(&mut self.heard) {
                self.quiet_since = now;
            } else if now.duration_since(self.quiet_since) >= SILENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let silent = self.talk.is_waiting().then(|| self.quiet_since + SILENCE);
            let due = self.talk.expire(now);
            self.set_alarm(due.into_iter().chain(silent).min());
        }
        Ok(())
    }

    /// Sees to it that somebody looks at that moment, and while an answer is owed at all.
    fn set_alarm(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.alarmed.is_none_or(|alarmed| at < alarmed) {
            self.alarmed = Some(at);
            self.alarm.as_mut().reset(at);
        }
    }
}
