//! A client that costs little: it shares a core with the origin.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// A connection that sends one request at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether the server ends it after the last response.
    closing: bool,
}

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 << 10), closing: false })
    }

    /// Sends a request and reads its response to the end; the status.
    pub(crate) async fn exchange(&mut self, request: &[u8], head_only: bool) -> Result<u16, Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
            if let Some(head) = head(&self.buffer)? {
                break head;
            }
        };
        while !head_only && self.buffer.len() < head.whole {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection in a body".into());
            }
        }
        self.closing = head.closing;
        Ok(head.status)
    }

    /// Whether another request may follow.
    pub(crate) fn is_open(&self) -> bool {
        !self.closing
    }
}

/// What the head of a response says.
struct Head {
    status: u16,
    /// Bytes of the response, head and body.
    whole: usize,
    /// Whether the connection ends with it.
    closing: bool,
}

/// The head of a response, once it is there. Bodies have a `Content-Length` here.
fn head(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let value = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| std::str::from_utf8(field.value).unwrap_or_default().trim())
    };
    let body: usize = value("content-length").map_or(Ok(0), str::parse)?;
    let closing = value("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status: response.code.unwrap_or(0), whole: head + body, closing }))
}
