//! One connection, from its first byte to its last: requests in turn, each with its response.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, Version};
use http_body::Body as _;
use prometheus::{IntCounter, IntGauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::{RequestBody, Upload};
use super::inbound::{Inbound, Next};
use super::interim::Outbox;
use super::linger::{self, Linger};
use super::outbound::{COPIED, Outbound};
use super::request::Head;
use super::response::{Asked, Writing};
use super::seat::Seat;
use super::tunnel;
use super::{Client, Fault, Handler};
use crate::clock::Clock;
use crate::config::Limits;
use crate::telemetry::metrics::ListenerMetrics;
use crate::wire::Tunnel;

/// How often what is left of a body is read after the response.
const LATE_READS: usize = 4;
const CONTINUE: Bytes = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");

thread_local! {
    /// Heads of responses are put together here: most are written at once, and need no memory of their own.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the connections of one thread, or of one runtime, share.
pub(super) struct Shared<H> {
    handler: H,
    limits: Limits,
    clock: Clock,
    in_flight: IntGauge,
    /// Indexed by `Fault as usize`.
    rejected: Vec<IntCounter>,
    drain: CancellationToken,
    /// Set before `drain` is cancelled: one load tells what the token would take a lock for.
    draining: AtomicBool,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(handler: H, limits: Limits, metrics: &ListenerMetrics) -> Self {
        let rejected = Fault::ALL.iter().map(|fault| metrics.rejected.with_label_values(&[fault.as_str()]));
        Self {
            handler,
            limits,
            clock: Clock::system(),
            in_flight: metrics.in_flight.clone(),
            rejected: rejected.collect(),
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

    fn count(&self, fault: Fault) {
        if let Some(counter) = self.rejected.get(fault as usize) {
            counter.inc();
        }
    }
}

/// Counts a request as under way from the first time that it waits for anything: the others are answered in microseconds.
async fn in_flight<T>(gauge: &IntGauge, mut request: Pin<&mut impl Future<Output = T>>) -> T {
    let mut counted = None;
    poll_fn(|cx| {
        let answered = request.as_mut().poll(cx);
        if answered.is_pending() {
            counted.get_or_insert_with(|| InFlight::new(gauge));
        }
        answered
    })
    .await
}

/// A request under way, in the metrics.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Serves the requests of one connection until either side closes it.
pub(super) async fn serve<T, H>(io: T, peer: SocketAddr, seat: Seat, shared: Arc<Shared<H>>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let mut connection = Connection {
        io,
        peer,
        inbound: Inbound::new(&shared.limits),
        outbound: Outbound::new(&shared.limits),
        upload: None,
        expects: false,
        refused: false,
        waited: false,
        outbox: Arc::default(),
        shared: &shared,
    };
    let mut drain = pin!(shared.drain.cancelled());
    // The token is polled once, to leave the waker of this task, and again when it has rung.
    let mut watch_drain = true;
    loop {
        let next = poll_fn(|cx| {
            // First the client: a request that has arrived is served, drain or not.
            if let Poll::Ready(next) = connection.inbound.poll_next(cx, &mut connection.io) {
                return Poll::Ready(next);
            }
            if watch_drain || shared.draining.load(Relaxed) {
                watch_drain = false;
                if drain.as_mut().poll(cx).is_ready() && connection.inbound.is_idle() {
                    return Poll::Ready(Next::End);
                }
            }
            Poll::Pending
        });
        let ended = match next.await {
            Next::Request(parts, head) => in_flight(&shared.in_flight, pin!(connection.exchange(parts, head))).await,
            Next::Refused(fault) => in_flight(&shared.in_flight, pin!(connection.refuse(fault))).await,
            Next::End => Ok(Then::Close),
        };
        match ended {
            Ok(Then::Next) => {}
            Ok(Then::Close) => return connection.close().await,
            Ok(Then::Switch(switch)) => {
                // Without a receiver nobody wants the connection, and it closes.
                let _ = switch.send(Tunnel::new(connection.io, connection.inbound.into_rest(), seat));
                return;
            }
            // Clients that leave in the middle are everyday.
            Err(error) => return tracing::debug!(%peer, %error, "connection ended early"),
        }
    }
}

/// What follows a response.
enum Then {
    /// Another request.
    Next,
    /// The end of the connection.
    Close,
    /// Another protocol.
    Switch(tunnel::Switch),
}

/// One connection.
struct Connection<'a, T, H> {
    io: T,
    peer: SocketAddr,
    inbound: Inbound,
    outbound: Outbound,
    /// The body of the request under way.
    upload: Option<Upload>,
    /// Whether the client waits to be told to send it.
    expects: bool,
    /// Whether something was refused: what follows it is not read.
    refused: bool,
    /// Whether anybody was waited for since the request under way arrived.
    waited: bool,
    outbox: Arc<Outbox>,
    shared: &'a Shared<H>,
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Connection<'_, T, H> {
    /// One request and its response.
    async fn exchange(&mut self, parts: Box<Parts>, head: Head) -> io::Result<Then> {
        let arrived = Instant::now();
        self.waited = false;
        let asked = Asked::new(&parts, head);
        let body = self.begin(head);
        // RFC 9110 section 15.2: HTTP/1.0 has no interim responses.
        let interim = Some(self.outbox.open()).filter(|_| parts.version == Version::HTTP_11);
        let (switch, upgrade) = head.upgrade.then(tunnel::offer).unzip();
        let client = Client { address: self.peer, arrived, interim, upgrade };
        let response = self.shared.handler.handle(parts, body, client);
        let mut response = self.handled(pin!(response)).await?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let ignored = self.ignores_body().await;
        let last = ignored || self.refused || self.shared.draining.load(Relaxed);
        let keeps = self.respond(&mut response, asked, last).await?;
        // What is logged of it is complete.
        drop(response);
        let then = if ignored || !(keeps || switches) { Then::Close } else { self.next().await? };
        if !self.waited {
            // All of that took no time.
            self.inbound.idle_since(arrived);
        }
        Ok(match (then, switch) {
            (Then::Next, Some(switch)) if switches => Then::Switch(switch),
            (Then::Next, None) if switches => Then::Close,
            (then, _) => then,
        })
    }

    /// Answers what is not to be answered as a request.
    async fn refuse(&mut self, fault: Fault) -> io::Result<Then> {
        self.shared.count(fault);
        self.refused = true;
        let mut response = self.shared.handler.reject(fault, self.peer);
        self.respond(&mut response, Asked::refused(), true).await?;
        Ok(Then::Close)
    }

    /// The body of the request whose head has just come, as far as that is here.
    fn begin(&mut self, head: Head) -> RequestBody {
        let (upload, body) = Upload::new(head.framing);
        self.upload = upload;
        self.expects = head.expects;
        if let Some(upload) = &mut self.upload {
            self.inbound.feed(upload);
        }
        self.note_refusal();
        body
    }

    /// Counts what the client has done wrong in a body, when it shows.
    fn note_refusal(&mut self) {
        if let Some(fault) = self.upload.as_mut().and_then(Upload::new_fault) {
            self.shared.count(fault);
            self.refused = true;
        }
    }

    /// The response of a handler, once the client is told everything that comes before it.
    async fn handled<R>(&mut self, mut response: Pin<&mut impl Future<Output = R>>) -> io::Result<R> {
        let response = poll_fn(|cx| {
            if let Poll::Ready(response) = response.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            self.waited = true;
            self.outbox.watch(cx);
            self.tell();
            if let Poll::Ready(Err(error)) = self.outbound.poll_write(cx, &mut self.io) {
                return Poll::Ready(Err(error));
            }
            self.poll_attend(cx).map(Err)
        });
        let response = response.await?;
        self.outbox.close();
        self.tell();
        Ok(response)
    }

    /// Has written what the client is to be told before the response.
    fn tell(&mut self) {
        if self.outbox.is_filled() {
            self.outbox.take().into_iter().for_each(|head| self.outbound.push(head));
        }
    }

    /// Attends to what the client sends while its request is under way. Ready when it has left.
    fn poll_attend(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while let Some(upload) = self.upload.as_mut().filter(|upload| !upload.is_over()) {
            ready!(upload.poll_wanted(cx));
            if std::mem::take(&mut self.expects) {
                self.outbound.push(CONTINUE);
                if let Poll::Ready(Err(error)) = self.outbound.poll_write(cx, &mut self.io) {
                    return Poll::Ready(error);
                }
            }
            if let Err(error) = ready!(self.inbound.poll_body(cx, &mut self.io, upload)) {
                return Poll::Ready(error);
            }
            self.note_refusal();
        }
        self.inbound.poll_left(cx, &mut self.io).map(|()| io::ErrorKind::UnexpectedEof.into())
    }

    /// Writes a response. Whether a further request may follow it.
    async fn respond(&mut self, response: &mut Response<H::Body>, asked: Asked, last: bool) -> io::Result<bool> {
        // It has its answer: there is no point in asking for the body any more.
        self.expects = false;
        let mut writing = Writing::new(asked, response, last);
        let mut begun = false;
        let mut ended = false;
        let written = poll_fn(|cx| {
            if !begun {
                begun = true;
                ended = HEAD.with_borrow_mut(|head| {
                    head.clear();
                    writing.head(head, response, || self.shared.clock.wall());
                    self.poll_first(cx, head, &mut writing, response.body_mut())
                })?;
            }
            let written = self.poll_rest(cx, &mut ended, &mut writing, response.body_mut());
            self.waited |= written.is_pending();
            written
        });
        written.await?;
        Ok(writing.keeps())
    }

    /// Writes the head with as much of the body as is there. Whether that was all of it.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Vec<u8>,
        writing: &mut Writing,
        body: &mut H::Body,
    ) -> io::Result<bool> {
        if writing.is_complete() || writing.append(body, COPIED, head) {
            self.outbound.write(cx, &mut self.io, head, Bytes::new())?;
            return Ok(writing.is_complete());
        }
        if writing.is_sized()
            && let Poll::Ready(Some(frame)) = Pin::new(body).poll_frame(cx)
            && let Ok(data) = frame.map_err(io::Error::other)?.into_data()
        {
            let [_, data, _] = writing.data(data);
            self.outbound.write(cx, &mut self.io, head, data)?;
            return Ok(writing.is_complete());
        }
        self.outbound.push(Bytes::copy_from_slice(head));
        Ok(false)
    }

    /// Writes what is left, and attends to the client meanwhile.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        ended: &mut bool,
        writing: &mut Writing,
        body: &mut H::Body,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut waits = false;
            while !*ended && !waits && !self.outbound.is_full() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(frame) => *ended = self.frame(frame.transpose().map_err(io::Error::other)?, writing)?,
                }
            }
            match self.outbound.poll_write(cx, &mut self.io) {
                Poll::Ready(Ok(())) if *ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if !waits => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                _ => return self.poll_attend(cx).map(Err),
            }
        }
    }

    /// Has a piece of a body written. Whether it was the last.
    fn frame(&mut self, frame: Option<http_body::Frame<Bytes>>, writing: &mut Writing) -> io::Result<bool> {
        let trailers = match frame.map(http_body::Frame::into_data) {
            Some(Ok(data)) => {
                writing.data(data).into_iter().for_each(|piece| self.outbound.push(piece));
                return Ok(writing.is_complete());
            }
            Some(Err(other)) => other.into_trailers().ok(),
            None => None,
        };
        // A body that is shorter than announced must not look whole.
        let end = writing.end(trailers.as_ref()).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.outbound.push(end);
        Ok(true)
    }

    /// Whether a part of the body stays unread for sure, so that nothing can follow the response. What nobody
    /// waits for is read if it is here already.
    async fn ignores_body(&mut self) -> bool {
        let Some(upload) = self.upload.as_ref().filter(|upload| !upload.is_over()) else { return false };
        if self.expects {
            // Who was not told to send a body may send another request in its place.
            return true;
        }
        if !upload.is_dropped() {
            // Somebody may go on reading while the response is written.
            return false;
        }
        // Who has sent all there will be, and less than announced, may still read what is answered.
        let _ = self.read_late().await;
        self.note_refusal();
        self.upload.as_ref().is_some_and(|upload| !upload.is_over())
    }

    /// What follows a response whose client would send more on the same connection.
    async fn next(&mut self) -> io::Result<Then> {
        self.read_late().await?;
        let whole = self.upload.as_ref().is_none_or(Upload::is_whole);
        Ok(if whole { Then::Next } else { Then::Close })
    }

    /// Reads the rest of a body as far as it is here already; else the client would be heard out for nothing.
    async fn read_late(&mut self) -> io::Result<()> {
        let Self { upload: Some(upload), inbound, io, .. } = self else { return Ok(()) };
        let read = poll_fn(|cx| {
            let mut reads = 0;
            while !upload.is_over() && reads < LATE_READS && inbound.poll_body(cx, io, upload)?.is_ready() {
                reads += 1;
            }
            Poll::Ready(Ok(()))
        });
        read.await
    }

    /// Whether the client may still be sending something that nobody will read.
    fn is_mid_stream(&self) -> bool {
        self.refused || !self.inbound.is_idle() || self.upload.as_ref().is_some_and(|upload| !upload.is_over())
    }

    /// Closes our side, then reads what the client still sends for a moment: closing a socket with
    /// unread data resets it, and a reset destroys the response on its way (RFC 9112 section 9.6).
    async fn close(mut self) {
        let closed = poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await;
        if closed.is_ok() && self.is_mid_stream() {
            let mut linger = Linger::until(Instant::now() + linger::LONGEST);
            poll_fn(|cx| linger.poll(cx, &mut self.io)).await;
        }
    }
}
