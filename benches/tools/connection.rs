//! A connection of a load: a request at a time, written in one call, and answers of which no more is looked at than their
//! status, their length and whether the connection goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use memchr::{memchr_iter, memmem};
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use crate::{Failure, now};

pub(crate) struct Connection {
    stream: TcpStream,
    /// When its request was sent, or should have been.
    pub(crate) sent: Instant,
    /// Bytes of a head of which the end is not there yet.
    partial: Vec<u8>,
    status: u16,
    /// What is left of the response, once its head is there.
    left: Option<u64>,
    /// Whether it ends after this response, or has ended.
    pub(crate) closes: bool,
}

/// What has come of a response.
pub(crate) enum Received {
    /// Not the end of it.
    Part,
    /// All of it, with this status.
    Whole(u16),
    /// The end of the connection in its place.
    End,
}

impl Connection {
    /// A connection that the list of events knows by this number.
    pub(crate) fn open(server: SocketAddr, poll: &Poll, number: usize) -> Result<Self, Failure> {
        let stream = std::net::TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        Ok(Self { stream, sent: now(), partial: Vec::new(), status: 0, left: None, closes: false })
    }

    /// Sends a request that was due at this time. False if the server has ended the connection.
    pub(crate) fn send(&mut self, request: &[u8], due: Instant) -> Result<bool, Failure> {
        self.sent = due;
        // A request is far shorter than what a socket takes at once.
        match self.stream.write(request) {
            Ok(written) if written == request.len() => Ok(true),
            Ok(_) => Err("a socket took a part of a request".into()),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what is there. `closed` if the server has closed its side.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], closed: bool, head_only: bool) -> Result<Received, Failure> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Part),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error.into()),
            };
            if read == 0 {
                self.closes = true;
                return Ok(Received::End);
            }
            self.take(&buffer[..read], head_only)?;
            if self.left == Some(0) {
                self.left = None;
                // The end is no event of its own any more.
                self.closes |= closed;
                return Ok(Received::Whole(self.status));
            }
            if read < buffer.len() && !closed {
                // What comes later is a further event.
                return Ok(Received::Part);
            }
        }
    }

    /// Takes bytes of the response.
    fn take(&mut self, bytes: &[u8], head_only: bool) -> Result<(), Failure> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or("a response is longer than it says")?;
            return Ok(());
        }
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.partial);
            return self.take(&whole, head_only);
        }
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            self.partial.extend_from_slice(bytes);
            return Ok(());
        };
        let head = head(&bytes[..end + 2])?;
        let body = if head_only || head.status == 304 { 0 } else { head.length };
        (self.status, self.closes) = (head.status, head.closes);
        let here = (bytes.len() - end - 4) as u64;
        self.left = Some(body.checked_sub(here).ok_or("a response is longer than it says")?);
        Ok(())
    }
}

/// What the head of a response says.
struct Head {
    status: u16,
    length: u64,
    closes: bool,
}

/// Reads a head, up to the end of its last line. Bodies have a `Content-Length` here.
fn head(text: &[u8]) -> Result<Head, Failure> {
    let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let mut head = Head { status: status.ok_or("no response of HTTP/1.1")?, length: 0, closes: false };
    let mut start = 0;
    for end in memchr_iter(b'\n', text) {
        let line = text[start..end].trim_ascii_end();
        start = end + 1;
        if let Some(value) = field(line, b"content-length:") {
            head.length = std::str::from_utf8(value)?.parse()?;
        } else if let Some(value) = field(line, b"connection:") {
            head.closes = value.eq_ignore_ascii_case(b"close");
        } else if field(line, b"transfer-encoding:").is_some() {
            return Err("a response without a length".into());
        }
    }
    Ok(head)
}

/// The value of a line, if it is a field of this name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}
