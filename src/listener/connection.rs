//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::exchange::{Counters, Exchange, Tracked};
use super::guard::Guard;
use super::interim::Interim;
use super::seat::Seat;
use crate::config::Limits;
use crate::telemetry::metrics::ListenerMetrics;

/// The HTTP library parses up to so many fields without allocating.
const INLINE_FIELDS: usize = 100;
/// Bytes that the library buffers per direction, at least.
const BUFFER: usize = 128 * 1024;

/// What the connections of one thread, or of one runtime, share.
pub(super) struct Shared<H> {
    handler: H,
    limits: Limits,
    counters: Counters,
    http: http1::Builder,
    drain: CancellationToken,
    /// Set before `drain` is cancelled: one load tells what the token would take a lock for.
    draining: AtomicBool,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(handler: H, limits: Limits, metrics: &ListenerMetrics) -> Self {
        Self {
            http: http_builder(&limits),
            counters: Counters::new(metrics),
            handler,
            limits,
            drain: CancellationToken::new(),
            draining: AtomicBool::new(false),
        }
    }

    /// From now on each answer announces the end of its connection, and so ends it.
    pub(super) fn announce_drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Asks every connection to end after the requests under way; idle ones end now.
    pub(super) fn drain(&self) {
        self.announce_drain();
        self.drain.cancel();
    }
}

/// The library's settings. Its time-outs are off, since the guard's cover more. A client that
/// closes its sending side is taken to have left, so that work for it stops (no half-close). Its
/// pipelined flush stays off: with it, a response is buffered without bound while the next request
/// waits.
fn http_builder(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.half_close(false).header_read_timeout(None).max_buf_size(BUFFER.max(limits.head_bytes + BUFFER / 16));
    if limits.head_fields > INLINE_FIELDS {
        http.max_headers(limits.head_fields);
    }
    http
}

/// What the requests of one connection share.
struct Link<H> {
    shared: Arc<Shared<H>>,
    exchange: Arc<Exchange>,
    peer: SocketAddr,
}

/// Serves the requests of one connection until either side closes it.
pub(super) async fn serve<T, H>(io: T, peer: SocketAddr, seat: Seat, shared: Arc<Shared<H>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let exchange = Arc::new(Exchange::new(shared.counters.clone()));
    let guard = Guard::new(io, &shared.limits, exchange.clone(), seat);
    let link = Arc::new(Link { shared: shared.clone(), exchange, peer });
    let service = service_fn(move |request| answer(link.clone(), request));
    let mut connection = pin!(shared.http.serve_connection(TokioIo::new(guard), service).with_upgrades());
    let mut drain = pin!(shared.drain.cancelled());
    // The token is polled once, to leave the waker of this task, and again when it has rung.
    let mut watch_drain = true;
    let mut asked = false;
    let ended = poll_fn(|cx| {
        // First the connection: a request that has arrived is served, drain or not.
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if asked || !(watch_drain || shared.draining.load(Relaxed)) {
            return Poll::Pending;
        }
        watch_drain = false;
        if drain.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        asked = true;
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        // Clients that leave in the middle are everyday.
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// Answers one request: by the handler, or as the refusal that it stands for.
async fn answer<H: Handler>(
    link: Arc<Link<H>>,
    request: Request<Incoming>,
) -> Result<Response<Tracked<H::Body>>, Infallible> {
    let (in_flight, index, refused) = link.exchange.begin();
    let handler = &link.shared.handler;
    let mut response = match refused {
        Some(fault) => handler.reject(fault, link.peer),
        None => {
            // RFC 9110 section 15.2: HTTP/1.0 has no interim responses.
            let interim = (request.version() == Version::HTTP_11).then(|| Interim::new(link.exchange.clone(), index));
            handled(&link.exchange, pin!(handler.handle(request, link.peer, interim))).await
        }
    };
    link.exchange.answer();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        in_flight.switch();
    } else if refused.is_some() || link.shared.draining.load(Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked::new(body, in_flight)))
}

/// The response of a handler, once the client has been told everything that comes before it.
async fn handled<T>(exchange: &Exchange, mut response: Pin<&mut impl Future<Output = T>>) -> T {
    let response = poll_fn(|cx| {
        let polled = response.as_mut().poll(cx);
        if polled.is_pending() {
            exchange.outbox().watch(cx);
        }
        polled
    });
    let response = response.await;
    // This is the task in which the guard writes: it does so after each poll, and has it polled again.
    poll_fn(|_| if exchange.outbox().is_filled() { Poll::Pending } else { Poll::Ready(()) }).await;
    response
}
