//! Interim responses (RFC 9110 section 15.2): what a client is told while it waits.
//!
//! Heads wait here until the connection's task takes them: whoever hears of them runs elsewhere and
//! never waits for a client.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Context;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::response;

/// Interim responses per request. A long job that says once in twenty seconds that it is still
/// under way needs three a minute.
const MOST: usize = 64;
/// Bytes of all interim responses to one request, sent or waiting.
const MOST_BYTES: usize = 32 * 1024;

/// Tells the client of one HTTP/1.1 request something before its response.
#[derive(Clone, Debug)]
pub struct Interim {
    outbox: Arc<Outbox>,
    /// Which request of the connection.
    index: u64,
}

impl Interim {
    /// Sends an interim response with these fields, which the caller has freed of those of another
    /// connection. Returns at once, from any thread.
    ///
    /// It is dropped if the response has begun, if there were more than a client should have to
    /// read, and if the status is not the handler's to send: `100` follows from reading the request's
    /// body, `101` is final, and from 200 on so is everything.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        let ours = status.is_informational() && status > StatusCode::SWITCHING_PROTOCOLS;
        if ours && self.outbox.current.load(Ordering::Acquire) == self.index {
            self.outbox.put(self.index, || response::interim(status, fields));
        }
    }
}

/// The interim responses of one connection that are not written yet. Those of one request at a time.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The request that awaits its response, counted from 1; 0 for none.
    current: AtomicU64,
    /// Requests so far.
    requests: AtomicU64,
    /// Whether anything is to be written: all that a connection without any looks at.
    filled: AtomicBool,
    heads: Mutex<Heads>,
    /// The connection's task, while it waits for a response.
    connection: AtomicWaker,
}

/// Heads of one request.
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

    /// A further request awaits its response: what it can be told by.
    pub(super) fn open(self: &Arc<Self>) -> Interim {
        let index = self.requests.load(Ordering::Relaxed) + 1;
        self.requests.store(index, Ordering::Relaxed);
        self.current.store(index, Ordering::Release);
        Interim { outbox: Arc::clone(self), index }
    }

    /// Its response has come: what it can still be told stands before that.
    pub(super) fn close(&self) {
        self.current.store(0, Ordering::Release);
    }

    /// Takes what the request in turn is to be told. What the response has overtaken is dropped.
    pub(super) fn take(&self) -> VecDeque<Bytes> {
        let mut heads = self.heads.lock();
        self.filled.store(false, Ordering::Release);
        let waiting = std::mem::take(&mut heads.waiting);
        if heads.index == self.requests.load(Ordering::Relaxed) { waiting } else { VecDeque::new() }
    }

    /// Has the current task woken when something comes in.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        self.connection.register(cx.waker());
    }

    /// Whether there is something to write.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }
}
