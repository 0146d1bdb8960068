//! A keep-alive HTTP/1.1 client connection, as small as a load generator wants it.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// One open connection; dropping it closes the socket.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    driver: AbortHandle,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// Bytes of the body, which was read to its end.
    pub(super) bytes: usize,
}

impl Connection {
    /// Connects to `addr`.
    pub(super) async fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self { sender, host: addr.to_string(), driver })
    }

    /// Asks for `path` and reads the whole answer. After an error the connection is of no use.
    pub(super) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = Request::get(path).header(HOST, &self.host).body(Empty::new()).map_err(io::Error::other)?;
        self.sender.ready().await.map_err(io::Error::other)?;
        let mut response = self.sender.send_request(request).await.map_err(io::Error::other)?;
        let mut bytes = 0;
        while let Some(frame) = response.frame().await {
            bytes += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Answer { status: response.status(), bytes })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
