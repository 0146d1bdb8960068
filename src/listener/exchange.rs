//! What the guard of a connection and the requests on it tell each other.
//!
//! Both run in the connection's task, so relaxed atomics suffice. Only [`Interim`](super::Interim)
//! responses come from elsewhere; what they are checked against here is checked again in that task.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use prometheus::{IntCounter, IntGauge};

use super::Fault;
use super::interim::Outbox;
use crate::telemetry::metrics::ListenerMetrics;

/// The counters of a listener, looked up once.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    in_flight: IntGauge,
    /// Indexed by `Fault as usize`.
    rejected: Arc<[IntCounter]>,
}

impl Counters {
    pub(super) fn new(metrics: &ListenerMetrics) -> Self {
        let rejected = Fault::ALL.iter().map(|fault| metrics.rejected.with_label_values(&[fault.as_str()]));
        Self { in_flight: metrics.in_flight.clone(), rejected: rejected.collect() }
    }
}

/// The requests of one connection, counted.
#[derive(Debug)]
pub(super) struct Exchange {
    started: AtomicU64,
    answered: AtomicU64,
    finished: AtomicU64,
    switched: AtomicBool,
    /// How many requests precede the refused one, and why it is refused.
    refused: OnceLock<(u64, Fault)>,
    outbox: Outbox,
    counters: Counters,
}

impl Exchange {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            started: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            switched: AtomicBool::new(false),
            refused: OnceLock::new(),
            outbox: Outbox::default(),
            counters,
        }
    }

    /// A request has come through: how many there were before it, and the fault, if it stands in for
    /// one that was refused.
    pub(super) fn begin(self: &Arc<Self>) -> (InFlight, u64, Option<Fault>) {
        let index = self.started.fetch_add(1, Relaxed);
        self.counters.in_flight.inc();
        let fault = self.refused.get().filter(|(at, _)| *at == index).map(|(_, fault)| *fault);
        (InFlight(self.clone()), index, fault)
    }

    /// The response to the latest request is on its way to the library: whatever is written from now
    /// on is part of it.
    pub(super) fn answer(&self) {
        self.answered.store(self.started.load(Relaxed), Relaxed);
    }

    /// How many requests precede the one that waits for its response. There is at most one: the
    /// library takes up a request when it has taken in the whole response to the one before.
    pub(super) fn current(&self) -> Option<u64> {
        let answered = self.answered.load(Relaxed);
        (answered < self.started.load(Relaxed)).then_some(answered)
    }

    /// The next interim response to write; the one before it is written.
    pub(super) fn next_interim(&self) -> Option<Bytes> {
        self.outbox.next(self.current())
    }

    /// Interim responses that are not written yet.
    pub(super) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The request after the first `preceding` is refused.
    pub(super) fn refuse(&self, preceding: u64, fault: Fault) {
        if self.refused.set((preceding, fault)).is_ok() {
            self.count(fault);
        }
    }

    /// Counts a fault.
    pub(super) fn count(&self, fault: Fault) {
        if let Some(counter) = self.counters.rejected.get(fault as usize) {
            counter.inc();
        }
    }

    /// How many requests are answered to the last byte.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Relaxed)
    }

    /// The latest response was 101: what follows is not HTTP.
    pub(super) fn switch(&self) {
        self.switched.store(true, Relaxed);
    }

    /// Whether a response was 101.
    pub(super) fn switched(&self) -> bool {
        self.switched.load(Relaxed)
    }
}

/// A request under way; dropped with the last byte of its response, or when it is given up.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Exchange>);

impl InFlight {
    /// The response is 101.
    pub(super) fn switch(&self) {
        self.0.switch();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Relaxed);
        self.0.counters.in_flight.dec();
    }
}

pin_project_lite::pin_project! {
    /// A response body that knows its request.
    pub(super) struct Tracked<B> {
        #[pin]
        body: B,
        in_flight: InFlight,
    }
}

impl<B> Tracked<B> {
    pub(super) const fn new(body: B, in_flight: InFlight) -> Self {
        Self { body, in_flight }
    }
}

impl<B: Body<Data = Bytes>> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
