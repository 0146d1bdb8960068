//! How a response is written (RFC 9112 sections 4 to 7).

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::time::SystemTime;

use bytes::{BufMut, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};

use super::Payload;
use super::request::Head;
use crate::wire::field::write as line;
use crate::wire::trailers::{chunk_size, last_chunk, named};

/// What of a request its response depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The method is HEAD: the response has no body.
    head: bool,
    http10: bool,
    /// Whether the client would send a further request on the same connection.
    keeps: bool,
    /// Whether the client takes trailers.
    trailers: bool,
}

impl Asked {
    pub(super) fn new(parts: &Parts, head: Head) -> Self {
        Self {
            head: parts.method == Method::HEAD,
            http10: parts.version == Version::HTTP_10,
            keeps: head.keeps,
            trailers: head.trailers,
        }
    }

    /// Of a request that was refused: nothing it says counts.
    pub(super) const fn refused() -> Self {
        Self { head: false, http10: false, keeps: false, trailers: false }
    }
}

/// How the end of a response's body is told.
#[derive(Debug)]
enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk. Trailers with these names may follow.
    Chunked(Vec<HeaderName>),
    /// By the end of the connection.
    ToClose,
}

/// A response on its way: how its body is framed, and whether the connection lives on.
#[derive(Debug)]
pub(super) struct Writing {
    asked: Asked,
    framing: Framing,
    /// The length of the body, where it is known.
    exact: Option<u64>,
    keeps: bool,
}

impl Writing {
    /// How to answer `asked` with `response`. `last` if nothing shall follow on the connection.
    pub(super) fn new(asked: Asked, response: &Response<impl Payload>, last: bool) -> Self {
        let exact = response.body().size_hint().exact();
        let framing = framing(asked, response, exact);
        let keeps = asked.keeps && !last && !matches!(framing, Framing::ToClose);
        Self { asked, framing, exact, keeps }
    }

    /// Whether a further request may follow.
    pub(super) const fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether the end of the body is told by its length.
    pub(super) const fn is_sized(&self) -> bool {
        matches!(self.framing, Framing::Length(_))
    }

    /// Whether the end of the body follows from what was written.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// Writes the head to `out`. `now` tells the time, where the response does not.
    pub(super) fn head(&self, out: &mut Vec<u8>, response: &Response<impl Payload>, now: impl FnOnce() -> SystemTime) {
        status_line(out, self.asked, response.status());
        let lines = response.body().lines();
        out.put_slice(lines);
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in response.headers() {
            // Who frames a message says how; nobody else.
            let framing = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || (*name == CONNECTION && !switches);
            if !framing {
                line(out, name.as_str(), value.as_bytes());
            }
        }
        response.body().sign(out);
        match &self.framing {
            Framing::Length(length) => line(out, "content-length", itoa::Buffer::new().format(*length).as_bytes()),
            Framing::Chunked(_) => line(out, "transfer-encoding", b"chunked"),
            Framing::None => self.length_of_absent(out, response),
            Framing::ToClose => {}
        }
        if !switches && !self.keeps {
            line(out, "connection", b"close");
        } else if !switches && self.asked.http10 {
            line(out, "connection", b"keep-alive");
        }
        if lines.is_empty() && !response.headers().contains_key(DATE) {
            date(out, now());
        }
        out.put_slice(b"\r\n");
    }

    /// The length that a response to GET would have had (RFC 9110 section 8.6). Never where a body could not
    /// even have been.
    fn length_of_absent<B>(&self, out: &mut Vec<u8>, response: &Response<B>) {
        if response.status().is_informational() || response.status() == StatusCode::NO_CONTENT {
            return;
        }
        if let Some(length) = response.headers().get(CONTENT_LENGTH) {
            line(out, "content-length", length.as_bytes());
        } else if let Some(length) = self.exact.filter(|length| self.asked.head && *length > 0) {
            line(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
        }
    }

    /// Appends a body to its head, if its end is told by its length, and it is here and short. Whether that was done.
    pub(super) fn append(&mut self, body: &mut impl Payload, most: usize, out: &mut Vec<u8>) -> bool {
        let Framing::Length(left) = &mut self.framing else { return false };
        // What is longer than announced is cut, piece by piece.
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(most);
        let Some(length) = body.append(most, out) else { return false };
        *left -= length as u64;
        true
    }

    /// Frames a piece of the body: what to write before, the piece, and what to write after it. A piece
    /// that exceeds the announced length is cut, since what follows would be read as another response.
    pub(super) fn data(&mut self, mut data: Bytes) -> [Bytes; 3] {
        match &mut self.framing {
            Framing::Length(left) => {
                if data.len() as u64 > *left {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.keeps = false;
                }
                *left -= data.len() as u64;
                [Bytes::new(), data, Bytes::new()]
            }
            Framing::Chunked(_) if data.is_empty() => Default::default(),
            Framing::Chunked(_) => {
                let size = chunk_size(data.len());
                [size, data, Bytes::from_static(b"\r\n")]
            }
            Framing::ToClose => [Bytes::new(), data, Bytes::new()],
            Framing::None => Default::default(),
        }
    }

    /// The end of the body; `None` if it ended before its announced length.
    pub(super) fn end(&self, trailers: Option<&HeaderMap>) -> Option<Bytes> {
        match &self.framing {
            Framing::Length(left) if *left > 0 => None,
            Framing::Chunked(named) => Some(last_chunk(named, trailers)),
            _ => Some(Bytes::new()),
        }
    }
}

fn framing<B>(asked: Asked, response: &Response<B>, exact: Option<u64>) -> Framing {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if asked.head || bodiless || response.status().is_informational() {
        return Framing::None;
    }
    match exact.or_else(|| announced(response.headers())) {
        Some(length) => Framing::Length(length),
        None if asked.http10 => Framing::ToClose,
        None => Framing::Chunked(if asked.trailers { named(response.headers()) } else { Vec::new() }),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn status_line(out: &mut Vec<u8>, asked: Asked, status: StatusCode) {
    if status == StatusCode::OK && !asked.http10 {
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.put_slice(if asked.http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

thread_local! {
    /// The second that was last written, and what it is in a field.
    static DATE_OF: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

fn date(out: &mut Vec<u8>, now: SystemTime) {
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    DATE_OF.with_borrow_mut(|(of, text)| {
        if *of != second {
            (*of, *text) = (second, httpdate::fmt_http_date(now));
        }
        line(out, "date", text.as_bytes());
    });
}

/// An interim response.
pub(super) fn interim(status: StatusCode, fields: &HeaderMap) -> Bytes {
    let mut out = Vec::new();
    status_line(&mut out, Asked { http10: false, ..Asked::refused() }, status);
    for (name, value) in fields {
        line(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.into()
}
