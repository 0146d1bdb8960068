//! HTTP/1.1 as bytes: requests are kept as they arrived, replies are written as scripted.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::reply::{Body, Reply};

const MAX_FIELDS: usize = 200;
const MAX_HEAD: usize = 256 * 1024;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The method.
    pub(crate) method: String,
    /// Path and query, or whatever the request line named.
    pub(crate) target: String,
    /// Names and values in order of arrival, spelled as they came.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub(crate) body: Bytes,
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
}

impl Received {
    /// The values of a field, joined by `, `.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .fields
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether it asks for `path`: with its query, or without to mean any query.
    pub(super) fn is_for(&self, path: &str) -> bool {
        self.target == path || self.target.split('?').next() == Some(path)
    }
}

/// Why there is no further request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed the connection between two requests, or it broke.
    Closed,
    /// What arrived is not HTTP/1.1.
    Malformed,
}

/// One connection.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    unread: BytesMut,
    number: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, number: usize) -> Self {
        Self { stream, unread: BytesMut::new(), number }
    }

    /// Reads the next request with its body.
    pub(super) async fn request(&mut self) -> Result<Received, End> {
        loop {
            if let Some((mut request, length)) = self.head()? {
                let _ = self.unread.split_to(length);
                request.body = self.body(&request).await?;
                return Ok(request);
            }
            if self.unread.len() > MAX_HEAD {
                return Err(End::Malformed);
            }
            self.fill().await?;
        }
    }

    /// The head at the start of the unread bytes and its length, once it is complete.
    fn head(&self) -> Result<Option<(Received, usize)>, End> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(&self.unread) {
            Ok(httparse::Status::Partial) => Ok(None),
            Err(_) => Err(End::Malformed),
            Ok(httparse::Status::Complete(length)) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let request = Received {
                    method: head.method.unwrap_or_default().to_owned(),
                    target: head.path.unwrap_or_default().to_owned(),
                    fields: head.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect(),
                    body: Bytes::new(),
                    connection: self.number,
                };
                Ok(Some((request, length)))
            }
        }
    }

    async fn body(&mut self, request: &Received) -> Result<Bytes, End> {
        let length = request.header("content-length").map(|text| text.parse::<usize>());
        let chunked = request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let expects = request.header("expect").is_some();
        if expects && (chunked || length.is_some()) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| End::Closed)?;
        }
        match length {
            None if chunked => self.chunked().await,
            None => Ok(Bytes::new()),
            Some(Ok(length)) if !chunked => self.take(length).await,
            // Two framings, or none that can be read.
            Some(_) => Err(End::Malformed),
        }
    }

    async fn chunked(&mut self) -> Result<Bytes, End> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(|_| End::Malformed)?;
            if size == 0 {
                // Trailers, up to the empty line.
                while !self.line().await?.is_empty() {}
                return Ok(body.freeze());
            }
            body.extend_from_slice(&self.take(size).await?);
            if !self.line().await?.is_empty() {
                return Err(End::Malformed);
            }
        }
    }

    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.split_to(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, End> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.split_to(length).freeze())
    }

    async fn fill(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(1..) => Ok(()),
            _ => Err(End::Closed),
        }
    }

    /// Bytes that arrived after the request.
    pub(super) fn take_unread(&mut self) -> BytesMut {
        self.unread.split()
    }

    /// Returns when the client has closed the connection; what it sends until then is kept.
    pub(super) async fn closed(&mut self) {
        while self.fill().await.is_ok() {}
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes a reply; without its body where the request or the status forbids one.
    pub(super) async fn reply(&mut self, reply: &Reply, method: &str) -> io::Result<()> {
        let bare = method == "HEAD" || matches!(reply.status, 204 | 304);
        let framing = match &reply.body {
            _ if matches!(reply.status, 204 | 304) => String::new(),
            Body::Whole(body) => format!("Content-Length: {}\r\n", body.len()),
            Body::Chunks(..) => "Transfer-Encoding: chunked\r\n".to_owned(),
            Body::UntilClose(_) => String::new(),
        };
        let mut bytes = reply.head_bytes(&framing);
        match &reply.body {
            _ if bare => {}
            Body::Whole(body) | Body::UntilClose(body) => bytes.extend_from_slice(body),
            Body::Chunks(chunks, trailers) => {
                for chunk in chunks {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n");
                push_fields(&mut bytes, trailers);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.write(&bytes).await
    }
}

impl Reply {
    /// The head with these framing fields.
    pub(super) fn head_bytes(&self, framing: &str) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        push_fields(&mut bytes, &self.fields);
        bytes.extend_from_slice(framing.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

fn push_fields(bytes: &mut Vec<u8>, fields: &[(String, String)]) {
    for (name, value) in fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
}
