//! A small HTTP/1.1 client: whole answers, answers piece by piece, raw bytes, and herds.

mod answer;
mod herd;
mod pending;
mod raw;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub(crate) use answer::{Answer, CacheStatus, NoAnswer};
pub(crate) use herd::{Herd, herd};
pub(crate) use pending::Pending;
pub(crate) use raw::RawConnection;

use super::soon;

/// A client of one address. Every request has a connection of its own unless it goes through
/// [`Client::connect`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    addr: SocketAddr,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    addr: SocketAddr,
    request: Request<Full<Bytes>>,
    receive_buffer: Option<u32>,
}

impl Client {
    /// A client of `addr`.
    pub(crate) const fn to(addr: SocketAddr) -> Self {
        Self { addr }
    }

    /// A GET.
    pub(crate) fn get(&self, target: &str) -> Ask {
        self.ask("GET", target)
    }

    /// A request with any method.
    pub(crate) fn ask(&self, method: &str, target: &str) -> Ask {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", self.addr.to_string())
            .body(Full::default())
            .expect("a request that hyper can send; use `raw` for others");
        Ask { addr: self.addr, request, receive_buffer: None }
    }

    /// Sends a GET and returns while the answer is under way.
    pub(crate) async fn start(&self, target: &str) -> Pending {
        self.get(target).start().await
    }

    /// A connection that is kept open from request to request.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.addr, None).await.expect("connect")
    }

    /// A connection on which bytes go out as they are.
    pub(crate) async fn connect_raw(&self) -> RawConnection {
        RawConnection::open(self.addr).await
    }

    /// Sends these bytes and returns what comes back until the other side closes.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut connection = self.connect_raw().await;
        connection.send(bytes).await;
        connection.until_closed().await
    }
}

impl Ask {
    /// Adds a field; for `host`, replaces it.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        if name == http::header::HOST {
            self.request.headers_mut().insert(name, value);
        } else {
            self.request.headers_mut().append(name, value);
        }
        self
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    /// Makes the client's receive buffer as small as the system allows, so that a client that does
    /// not read is soon felt by its peer.
    pub(crate) const fn small_buffer(mut self) -> Self {
        self.receive_buffer = Some(2048);
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    ///
    /// When no response head comes back.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("the answer to {} {}", self.request.method(), self.request.uri());
        soon(&what, self.try_send()).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it and reads the whole answer, for as long as that takes.
    pub(crate) async fn try_send(self) -> Result<Answer, NoAnswer> {
        let start = Instant::now();
        Pending::open(self).await?.answer(start).await
    }

    /// Sends it and returns while the answer is under way.
    pub(crate) async fn start(self) -> Pending {
        Pending::open(self).await.expect("connect")
    }
}

/// A connection; dropping it closes the socket.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    addr: SocketAddr,
    _driver: Driver,
}

/// The task that moves a connection's bytes; it ends, and closes the socket, with this handle.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    async fn open(addr: SocketAddr, receive_buffer: Option<u32>) -> Result<Self, NoAnswer> {
        let connected = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            let stream = socket.connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connected.await.map_err(|error: std::io::Error| NoAnswer::because("no connection", &error))?;
        let handshake = http1::Builder::new().max_headers(300).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| NoAnswer::because("no handshake", &error))?;
        Ok(Self { sender, addr, _driver: Driver(tokio::spawn(connection).abort_handle()) })
    }

    /// Sends a GET on this connection and reads the whole answer.
    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        let ask = Client::to(self.addr).get(target);
        let what = format!("the answer to GET {target} on an open connection");
        soon(&what, self.send(ask)).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends `ask` on this connection and reads the whole answer.
    pub(crate) async fn send(&mut self, ask: Ask) -> Result<Answer, NoAnswer> {
        let start = Instant::now();
        self.sender.ready().await.map_err(|error| NoAnswer::because("the connection is closed", &error))?;
        let response = self.sender.send_request(ask.request).await;
        let response = response.map_err(|error| NoAnswer::because("no response head", &error))?;
        Ok(Answer::read(response, start).await)
    }
}
