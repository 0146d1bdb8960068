//! A scripted origin, a client side under test, and ways to ask for responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use millpond::clock::Clock;
use millpond::config::OriginConfig;
use millpond::origin::{Fields, Origin, Outgoing, Reply, RequestBody, ResponseBody, UploadError};
use millpond::reason::OriginFault;
use millpond::telemetry::metrics::{Metrics, OriginMetrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longer than any test runs: a limit that must not matter.
pub(crate) const NEVER: Duration = Duration::from_hours(1);
/// A limit that a test waits for.
pub(crate) const SOON: Duration = Duration::from_millis(100);
/// A limit that a test waits for, and that an exchange on a busy machine keeps.
pub(crate) const LATER: Duration = Duration::from_secs(1);

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An origin under test and the handles that count what it does.
pub(crate) struct Subject {
    pub(crate) origin: Arc<Origin>,
    pub(crate) metrics: OriginMetrics,
}

/// A configuration in which no limit matters.
pub(crate) fn config(at: SocketAddr) -> OriginConfig {
    OriginConfig {
        name: "test".into(),
        authority: at.to_string().parse().unwrap(),
        host_header: None,
        connect_timeout: NEVER,
        first_byte_timeout: NEVER,
        between_bytes_timeout: NEVER,
        total_timeout: None,
        max_connections: 8,
        max_queue: 8,
        queue_timeout: NEVER,
        idle_timeout: NEVER,
    }
}

impl Subject {
    pub(crate) fn new(config: OriginConfig) -> Self {
        let metrics = Metrics::new().unwrap().origin(&config.name);
        let origin = Arc::new(Origin::new(Arc::new(config), metrics.clone(), Clock::system()));
        Self { origin, metrics }
    }

    pub(crate) fn at(at: SocketAddr) -> Self {
        Self::new(config(at))
    }

    pub(crate) async fn get(&self) -> Result<Response<ResponseBody>, OriginFault> {
        self.send(request(Method::GET, RequestBody::Empty)).await
    }

    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, OriginFault> {
        self.origin.send(outgoing(request)).await.map(Reply::into_response)
    }

    pub(crate) async fn post(&self, body: RequestBody) -> Result<Response<ResponseBody>, OriginFault> {
        self.send(request(Method::POST, body)).await
    }

    /// A request in a task of its own.
    pub(crate) fn spawn_get(&self) -> tokio::task::JoinHandle<Result<Response<ResponseBody>, OriginFault>> {
        let origin = Arc::clone(&self.origin);
        let request = outgoing(request(Method::GET, RequestBody::Empty));
        tokio::spawn(async move { origin.send(request).await.map(Reply::into_response) })
    }

    pub(crate) fn errors(&self, fault: OriginFault) -> u64 {
        self.metrics.errors[fault as usize].get()
    }

    /// Nothing is held, and exactly these faults were counted.
    pub(crate) fn assert_idle_after(&self, faults: &[OriginFault]) {
        assert_eq!((self.metrics.in_flight.get(), self.metrics.queued.get()), (0, 0), "in flight, queued");
        for fault in OriginFault::ALL {
            let expected = faults.iter().filter(|f| *f == fault).count();
            assert_eq!(self.errors(*fault), u64::try_from(expected).unwrap(), "{fault}");
        }
    }
}

pub(crate) fn request(method: Method, body: RequestBody) -> Request<RequestBody> {
    Request::builder().method(method).uri("/path?query").header("host", "client.test").body(body).unwrap()
}

/// What the origin is given for a request.
pub(crate) fn outgoing(request: Request<RequestBody>) -> Outgoing {
    let (mut parts, body) = request.into_parts();
    let mut fields = Fields::new();
    parts.headers.iter().for_each(|(name, value)| fields.add(name, value));
    let (interim, underway) = (parts.extensions.remove(), parts.extensions.remove());
    Outgoing { method: parts.method, uri: parts.uri, fields, body, interim, underway }
}

/// A body of known length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> RequestBody {
    RequestBody::Streaming(Box::pin(http_body_util::Full::new(bytes.into()).map_err(Into::into)))
}

/// A body whose pieces, or whose failure, the test sends.
pub(crate) fn channel() -> (mpsc::UnboundedSender<Result<Bytes, UploadError>>, RequestBody) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures_util::StreamExt::map(frames, |piece: Result<Bytes, _>| piece.map(http_body::Frame::data));
    (sender, RequestBody::Streaming(Box::pin(StreamBody::new(frames))))
}

/// The body as text, or the fault that ended it.
pub(crate) async fn text(response: Response<ResponseBody>) -> Result<String, OriginFault> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// What a test waits for, or a failure instead of a hang.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), event).await.unwrap_or_else(|_| panic!("no {what} within 10 s"))
}

/// The origin's end of a connection.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        Self(soon("connection", listener.accept()).await.unwrap().0)
    }

    /// Reads one request head.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads up to and including `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut seen = String::new();
        while !seen.ends_with(end) {
            let byte = soon(end, self.0.read_u8()).await.expect("the client closed the connection");
            seen.push(char::from(byte));
        }
        seen
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Answers one request.
    pub(crate) async fn answer(&mut self, text: &str) -> String {
        let head = self.head().await;
        self.say(text).await;
        head
    }

    /// Waits until the client closed the connection, whatever it sent before.
    pub(crate) async fn closed(&mut self) {
        // A reset is a way to close, too.
        let _ = soon("close", self.0.read_to_end(&mut Vec::new())).await;
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Lets the runtime see whatever the kernel already has, by an exchange that comes after it.
pub(crate) async fn let_the_runtime_look() {
    let (listener, at) = listen().await;
    let (near, far) = tokio::join!(TcpStream::connect(at), Peer::accept(&listener));
    let (mut near, mut far) = (near.unwrap(), far);
    for _ in 0..8 {
        far.say("x").await;
        near.read_u8().await.unwrap();
    }
}
