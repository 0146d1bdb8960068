//! Interim responses (RFC 9110 section 15.2): what a client is told while it waits.
//!
//! The library has no way to send them, so the guard writes them to the socket itself. Heads wait
//! here until it is their turn: whoever hears of them runs elsewhere and never waits for a client.
//! The guard writes none but those of the [oldest unanswered request](super::exchange), and only
//! where the library has nothing left to write.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::exchange::Exchange;

/// Interim responses per request. A long job that says once in twenty seconds that it is still
/// under way needs three a minute.
const MOST: usize = 64;
/// Bytes of all interim responses to one request, sent or waiting.
const MOST_BYTES: usize = 32 * 1024;

/// Tells the client of one HTTP/1.1 request something before its response.
#[derive(Clone, Debug)]
pub struct Interim {
    exchange: Arc<Exchange>,
    index: u64,
}

impl Interim {
    /// For the request after the first `index` of a connection.
    pub(super) const fn new(exchange: Arc<Exchange>, index: u64) -> Self {
        Self { exchange, index }
    }

    /// Sends an interim response with these fields, which the caller has freed of those of another
    /// connection. Returns at once, from any thread.
    ///
    /// It is dropped if the response has begun, if there were more than a client should have to
    /// read, and if the status is not the handler's to send: `100` follows from reading the request's
    /// body, `101` is final, and from 200 on so is everything.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        let ours = status.is_informational() && status > StatusCode::SWITCHING_PROTOCOLS;
        if ours && self.exchange.current() == Some(self.index) {
            self.exchange.outbox().put(self.index, || encode(status, fields));
        }
    }
}

/// Names and values are checked by their types: none contains a line end.
fn encode(status: StatusCode, fields: &HeaderMap) -> Bytes {
    let mut head = BytesMut::new();
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in fields {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

/// The interim responses of one connection that are not written yet. Those of one request at a time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Whether anything is to be written: all that a connection without any looks at.
    filled: AtomicBool,
    heads: Mutex<Heads>,
    /// The connection's task, while it waits for a response.
    connection: AtomicWaker,
}

/// Heads of the request after the first `index`.
#[derive(Debug, Default)]
struct Heads {
    index: u64,
    waiting: VecDeque<Bytes>,
    /// How many there were in all.
    count: usize,
    bytes: usize,
}

impl Outbox {
    fn put(&self, index: u64, head: impl FnOnce() -> Bytes) {
        let mut heads = self.heads.lock();
        if heads.index != index {
            if heads.index > index {
                return;
            }
            *heads = Heads { index, ..Heads::default() };
        }
        if heads.count == MOST {
            return;
        }
        let head = head();
        if heads.bytes + head.len() > MOST_BYTES {
            return;
        }
        heads.count += 1;
        heads.bytes += head.len();
        heads.waiting.push_back(head);
        self.filled.store(true, Ordering::Release);
        drop(heads);
        self.connection.wake();
    }

    /// The next head to write while the request after the first `current` waits for its response. It
    /// counts as written when the caller asks for the next one; without a next one nothing is left.
    pub(super) fn next(&self, current: Option<u64>) -> Option<Bytes> {
        let mut heads = self.heads.lock();
        if current != Some(heads.index) {
            // The response has overtaken them.
            heads.waiting.clear();
        }
        let next = heads.waiting.pop_front();
        if next.is_none() {
            heads.waiting = VecDeque::new();
            self.filled.store(false, Ordering::Release);
        }
        next
    }

    /// Has the current task woken when something comes in.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.connection.register(cx.waker());
    }

    /// Whether there is something to write, or being written.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }
}
