//! A response body on its way from the origin, with its time-outs and what it holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::download::{Download, Piece};
use super::exchange::after;
use super::link::Link;
use super::pool::Pool;
use super::queue::Turn;
use super::upload::Upload;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;
use crate::wire::Tunnel;

/// The body of an origin's response.
///
/// It holds a connection and a turn until it ended, failed or was dropped. After its end the
/// connection is reused; in the other cases it is closed. A gap longer than
/// `between_bytes_timeout` and an exchange longer than `total_timeout` end it with their faults,
/// but only while somebody reads: a slow reader is not the origin's fault.
///
/// What is left of the request's own body is sent while this one is read.
pub struct ResponseBody {
    download: Download,
    /// `None` once the body ended or failed.
    lease: Option<Lease>,
    // Boxed, because most have neither, and a response is moved about.
    trailers: Option<Box<HeaderMap>>,
    tunnel: Option<Box<Tunnel>>,
    between_bytes: Duration,
    /// When the gap under way becomes too long.
    gap: Option<Instant>,
    total: Option<Instant>,
    metrics: Arc<OriginMetrics>,
}

/// What an exchange holds. Fields are dropped in this order: the connection is closed before the
/// next request may start.
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) pool: Arc<Pool>,
    /// Whether the origin takes another request on the same connection.
    pub(super) keeps: bool,
    /// What is left of the request, if anything is.
    pub(super) upload: Option<Box<Upload>>,
    pub(super) _turn: Turn,
}

impl Lease {
    /// Ends an exchange whose response is complete.
    ///
    /// An early response to an upload leaves a connection on which the rest of the request body
    /// would still have to go; it is closed, and with it ends the upload. So is one on which the origin
    /// has said more than it was asked for.
    fn end(mut self) {
        if self.keeps && self.upload.is_none() && self.link.kept().is_empty() {
            // Before the turn ends, so that the next request finds the connection.
            self.pool.put(self.link);
        }
    }
}

impl ResponseBody {
    pub(super) fn new(
        download: Download,
        lease: Lease,
        between_bytes: Duration,
        total: Option<Instant>,
        metrics: Arc<OriginMetrics>,
    ) -> Self {
        let (trailers, tunnel, gap) = (None, None, None);
        let mut body = Self { download, lease: Some(lease), trailers, tunnel, between_bytes, gap, total, metrics };
        body.end_if_complete();
        body
    }

    /// That of a 101: none, but the connection itself.
    pub(super) fn switched(tunnel: Tunnel, metrics: Arc<OriginMetrics>) -> Self {
        let (download, between_bytes) = (Download::none(), Duration::ZERO);
        let (lease, trailers, gap, total) = (None, None, None, None);
        Self { download, lease, trailers, tunnel: Some(Box::new(tunnel)), between_bytes, gap, total, metrics }
    }

    /// Lifts `total_timeout`: for event streams, which are meant to last.
    pub fn exempt_from_total(&mut self) {
        self.total = None;
    }

    /// The connection, if the response is a 101. It holds the turn, and is closed if nobody takes it.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnel.take().map(|tunnel| *tunnel)
    }

    fn end_if_complete(&mut self) {
        if self.download.is_complete() {
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

    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, OriginFault>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(Piece::End(None))) };
        let sent = match &mut lease.upload {
            Some(upload) => upload.poll(cx, &mut lease.link),
            None => Poll::Pending,
        };
        if let Poll::Ready(Ok(())) = sent {
            lease.upload = None;
        }
        // What has come already is not late.
        if lease.link.kept().is_empty() && self.total.is_some_and(|total| total <= Instant::now()) {
            return Poll::Ready(Err(OriginFault::TotalTimeout));
        }
        if let Poll::Ready(piece) = self.download.poll(cx, &mut lease.link) {
            self.gap = None;
            return Poll::Ready(piece);
        }
        if let Poll::Ready(Err(fault)) = sent {
            return Poll::Ready(Err(fault));
        }
        let gap = *self.gap.get_or_insert_with(|| after(self.between_bytes));
        let total = self.total.filter(|total| *total < gap);
        ready!(lease.link.poll_overdue(cx, total.unwrap_or(gap)));
        Poll::Ready(Err(if total.is_some() { OriginFault::TotalTimeout } else { OriginFault::BetweenBytesTimeout }))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = OriginFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        let this = self.get_mut();
        let trailers = match ready!(this.poll_piece(cx)) {
            Ok(Piece::Data(data)) => {
                this.end_if_complete();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Ok(Piece::Last(data, trailers)) => {
                this.end();
                this.trailers = trailers.map(Box::new);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Ok(Piece::End(trailers)) => {
                this.end();
                trailers.or_else(|| this.trailers.take().map(|trailers| *trailers))
            }
            Err(fault) => return Poll::Ready(Some(Err(this.fail(fault)))),
        };
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.lease.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.download.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.lease.is_none()).finish_non_exhaustive()
    }
}
