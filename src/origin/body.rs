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
/// While it arrives it holds a connection and a turn, until it ended, failed or was dropped. After its end the
/// connection is reused; in the other cases it is closed. A gap longer than
/// `between_bytes_timeout` and an exchange longer than `total_timeout` end it with their faults,
/// but only while somebody reads: a slow reader is not the origin's fault.
///
/// What is left of the request's own body is sent while this one is read.
pub struct ResponseBody(State);

enum State {
    /// It came with its head, as most do whose length is known, and holds nothing.
    Whole(Bytes),
    /// Boxed, because a response is moved about.
    Arriving(Box<Arriving>),
    /// That of a 101: none, but the connection itself.
    Switched(Option<Box<Tunnel>>),
}

/// A body on its way.
struct Arriving {
    download: Download,
    /// `None` once the body ended or failed.
    lease: Option<Lease>,
    trailers: Option<HeaderMap>,
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
    /// One that is here.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(State::Whole(bytes))
    }

    /// One on its way.
    pub(super) fn arriving(
        download: Download,
        lease: Lease,
        between_bytes: Duration,
        total: Option<Instant>,
        metrics: Arc<OriginMetrics>,
    ) -> Self {
        let (trailers, gap) = (None, None);
        let mut body = Arriving { download, lease: Some(lease), trailers, between_bytes, gap, total, metrics };
        body.end_if_complete();
        Self(State::Arriving(Box::new(body)))
    }

    /// That of a 101.
    pub(super) fn switched(tunnel: Tunnel) -> Self {
        Self(State::Switched(Some(Box::new(tunnel))))
    }

    /// All of it, if it came with its head. Nothing of it may have been read before.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            State::Whole(bytes) => Ok(bytes),
            state => Err(Self(state)),
        }
    }

    /// Lifts `total_timeout`: for event streams, which are meant to last.
    pub fn exempt_from_total(&mut self) {
        if let State::Arriving(body) = &mut self.0 {
            body.total = None;
        }
    }

    /// The connection, if the response is a 101. It holds the turn, and is closed if nobody takes it.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        let State::Switched(tunnel) = &mut self.0 else { return None };
        tunnel.take().map(|tunnel| *tunnel)
    }
}

impl Arriving {
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

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        let trailers = match ready!(self.poll_piece(cx)) {
            Ok(Piece::Data(data)) => {
                self.end_if_complete();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Ok(Piece::Last(data, trailers)) => {
                self.end();
                self.trailers = trailers;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Ok(Piece::End(trailers)) => {
                self.end();
                trailers.or_else(|| self.trailers.take())
            }
            Err(fault) => return Poll::Ready(Some(Err(self.fail(fault)))),
        };
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = OriginFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OriginFault>>> {
        match &mut self.0 {
            State::Whole(bytes) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            State::Arriving(body) => body.poll_frame(cx),
            State::Whole(_) | State::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole(bytes) => bytes.is_empty(),
            State::Arriving(body) => body.lease.is_none() && body.trailers.is_none(),
            State::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Arriving(body) => body.download.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            State::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.is_end_stream()).finish_non_exhaustive()
    }
}
