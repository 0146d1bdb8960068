//! A response body on its way from the origin, with its time-outs and what it holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::fault;
use super::link::Link;
use super::pool::Pool;
use super::queue::Turn;
use super::upload::Upload;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;

/// The body of an origin's response.
///
/// It holds a connection and a turn until it ended, failed or was dropped. After its end the
/// connection is reused; in the other cases it is closed. A gap longer than
/// `between_bytes_timeout` and an exchange longer than `total_timeout` end it with their faults,
/// but only while somebody reads: a slow reader is not the origin's fault.
pub struct ResponseBody {
    incoming: Incoming,
    /// `None` once the body ended or failed.
    lease: Option<Lease>,
    gap: Gap,
    total: Option<Pin<Box<Sleep>>>,
    metrics: Arc<OriginMetrics>,
}

/// What an exchange holds. Fields are dropped in this order: the connection is closed before the
/// next request may start.
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) pool: Arc<Pool>,
    pub(super) upload: Option<Arc<Upload>>,
    pub(super) turn: Turn,
}

impl Lease {
    /// Ends an exchange after which the connection speaks another protocol; the turn goes with it.
    pub(super) fn hand_over(self) {
        self.link.hand_over(self.turn);
    }

    /// Ends an exchange whose response is complete.
    ///
    /// An early response to an upload leaves a connection on which the rest of the request body
    /// would still have to go; it is closed, and with it ends the upload.
    fn end(self) {
        if self.upload.as_ref().is_none_or(|upload| upload.is_done()) {
            // Before the turn ends, so that the next request finds the connection.
            self.pool.put(self.link);
        }
    }
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Option<Lease>,
        between_bytes: Duration,
        total: Option<Pin<Box<Sleep>>>,
        metrics: Arc<OriginMetrics>,
    ) -> Self {
        let mut body = Self { incoming, lease, gap: Gap::new(between_bytes), total, metrics };
        body.end_if_complete();
        body
    }

    /// Lifts `total_timeout`: for event streams, which are meant to last.
    pub fn exempt_from_total(&mut self) {
        self.total = None;
    }

    fn end_if_complete(&mut self) {
        if self.incoming.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }

    fn fail(&mut self, fault: OriginFault) -> OriginFault {
        self.lease = None;
        self.metrics.errors[fault as usize].inc();
        fault
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        if self.total.as_mut().is_some_and(|total| total.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(OriginFault::TotalTimeout)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            return self.gap.poll(cx).map(|()| Some(Err(OriginFault::BetweenBytesTimeout)));
        };
        self.gap.stop();
        let upload = self.lease.as_ref().and_then(|lease| lease.upload.as_deref());
        Poll::Ready(frame.map(|frame| frame.map_err(|error| fault::of_body(&error, upload))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = OriginFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        let this = self.get_mut();
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(this.poll_incoming(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.end_if_complete();
                Some(Ok(frame))
            }
            Some(Err(fault)) => Some(Err(this.fail(fault))),
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Measures one gap after the other, with one timer that is made when it is first needed.
struct Gap {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Gap {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None, running: false }
    }

    /// Starts a gap unless one runs already; ready when it is too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !self.running {
            timer.set(sleep(self.limit));
            self.running = true;
        }
        timer.as_mut().poll(cx)
    }

    fn stop(&mut self) {
        self.running = false;
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.lease.is_none()).finish_non_exhaustive()
    }
}
