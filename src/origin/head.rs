//! The head of a response: read, and refused where two parsers could read its framing differently.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use httparse::{Header, ParserConfig, Status};
use memchr::{memchr, memchr_iter};

use super::request::Asked;
use crate::reason::OriginFault;
use crate::wire::field;

/// Bytes of a response head, and of each interim one before it.
const MOST_BYTES: usize = 400 * 1024;
/// Fields of a response head.
const MOST_FIELDS: usize = 100;
/// Room for the fields that are added before a client gets them, so that the map need not grow for them.
const ADDED: usize = 4;
/// Up to this length a head is read anew with whatever comes, so that what is not HTTP is found out at once.
const SHORT: usize = 256;

/// How the end of a response's body is told (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// After so many bytes; zero without a body.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    ToClose,
}

/// A head, and what it says of its connection.
#[derive(Debug)]
pub(super) struct Head {
    /// Status and fields.
    pub(super) response: Response<()>,
    seen: Seen,
}

/// What the fields say that the connection depends on.
#[derive(Debug, Default)]
struct Seen {
    http10: bool,
    /// `Content-Length`; a fault only where its number is needed.
    length: Option<Result<u64, OriginFault>>,
    chunked: bool,
    /// Whether two parsers could read the framing differently.
    ambiguous: bool,
    closes: bool,
    keeps: bool,
}

/// Finds heads in what comes over a connection.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// How many bytes were looked at in vain.
    seen: usize,
}

impl HeadReader {
    /// Takes a head from the front of `bytes`, once all of it is there.
    pub(super) fn take(&mut self, bytes: &mut BytesMut) -> Result<Option<Head>, OriginFault> {
        // httparse would skip empty lines, of whatever is left from before.
        if bytes.first().is_some_and(|first| *first != b'H') {
            return Err(OriginFault::Protocol);
        }
        let fresh = &bytes[self.seen..];
        // A head ends with a line: a long one that comes byte by byte is not read from its start for each.
        let worthwhile = !fresh.is_empty() && (bytes.len() <= SHORT || memchr(b'\n', fresh).is_some());
        self.seen = bytes.len();
        let found = if worthwhile { parse(bytes)? } else { None };
        if found.as_ref().map_or(bytes.len(), |(length, _)| *length) > MOST_BYTES {
            return Err(OriginFault::Protocol);
        }
        Ok(found.map(|(length, head)| {
            bytes.advance(length);
            self.seen = 0;
            head
        }))
    }
}

/// The head that `bytes` start with and its length, unless more is to come.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, OriginFault> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut found = httparse::Response::new(&mut []);
    let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut found, bytes, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(OriginFault::Protocol),
    };
    // Nor does httparse mind a line that ends with LF alone (RFC 9112 section 2.2).
    if memchr_iter(b'\n', &bytes[..length]).any(|at| bytes[at - 1] != b'\r') {
        return Err(OriginFault::Protocol);
    }
    let mut seen = Seen { http10: found.version == Some(0), ..Seen::default() };
    // All values share one copy.
    let text = Bytes::copy_from_slice(&bytes[..length]);
    let mut headers = HeaderMap::with_capacity(found.headers.len() + ADDED);
    for Header { name, value } in &*found.headers {
        let at = value.as_ptr().addr() - bytes.as_ptr().addr();
        seen.note(name.as_bytes(), value);
        let value = HeaderValue::from_maybe_shared(text.slice(at..at + value.len()));
        let value = value.map_err(|_| OriginFault::Protocol)?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| OriginFault::Protocol)?;
        headers.try_append(name, value).map_err(|_| OriginFault::Protocol)?;
    }
    let mut response = Response::new(());
    *response.status_mut() =
        found.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(OriginFault::Protocol)?;
    *response.headers_mut() = headers;
    Ok(Some((length, Head { response, seen })))
}

impl Seen {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        // Names are told apart by length first: almost every field is none of these.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in field::list(value) {
                    self.closes |= option.eq_ignore_ascii_case(b"close");
                    self.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.ambiguous |= self.length.is_some() || !value.iter().all(u8::is_ascii_digit);
                let number = str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.length = Some(number.ok_or(OriginFault::Protocol));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.ambiguous |= self.chunked || !value.eq_ignore_ascii_case(b"chunked");
                self.chunked = true;
            }
            _ => {}
        }
    }
}

impl Head {
    /// Whether something follows that is the answer (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.response.status().is_informational() && self.response.status() != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether the origin takes another request on the same connection behind a body that is framed like this
    /// (RFC 9112 section 9.3).
    pub(super) fn keeps(&self, framing: Framing) -> bool {
        let Seen { http10, closes, keeps, .. } = self.seen;
        !closes && (keeps || !http10) && framing != Framing::ToClose
    }

    /// How the body of this answer ends. Refuses what two parsers could read differently (RFC 9112 section
    /// 6.3), and a change of protocol that nobody asked for.
    pub(super) fn judge(&self, asked: Asked) -> Result<Framing, OriginFault> {
        let Seen { http10, length, chunked, ambiguous, .. } = self.seen;
        let status = self.response.status();
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        if ambiguous || (chunked && length.is_some()) || (switches && !asked.upgrade) {
            return Err(OriginFault::Protocol);
        }
        if asked.head || switches || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Framing::Length(0));
        }
        match length {
            // HTTP/1.0 knows no such thing (RFC 9112 section 6.1).
            None if chunked && http10 => Err(OriginFault::Protocol),
            None if chunked => Ok(Framing::Chunked),
            None => Ok(Framing::ToClose),
            Some(number) => number.map(Framing::Length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked = Asked { head: false, upgrade: false, idempotent: true };

    fn head(text: &str) -> Result<Head, OriginFault> {
        HeadReader::default().take(&mut text.into()).map(|head| head.expect("a whole head"))
    }

    fn verdict(fields: &str) -> Result<Framing, OriginFault> {
        head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))?.judge(GET)
    }

    #[test]
    fn f2_a_response_with_ambiguous_framing_is_refused() {
        for (sound, framing) in [
            ("", Framing::ToClose),
            ("content-length: 5\r\n", Framing::Length(5)),
            ("transfer-encoding: Chunked\r\n", Framing::Chunked),
        ] {
            assert_eq!(verdict(sound), Ok(framing), "{sound:?}");
        }
        for ambiguous in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "content-length: 5\r\n folded: 5\r\n",
            "x: a\rb\r\n",
            "x: a\0b\r\n",
            "x : a\r\n",
            "x: a\n",
            "x: a\r\n\n",
        ] {
            assert_eq!(verdict(ambiguous), Err(OriginFault::Protocol), "{ambiguous:?}");
        }
    }

    #[test]
    fn f2_a_head_begins_with_its_version_and_each_of_its_lines_ends_with_cr_lf() {
        for bad in
            ["\r\nHTTP/1.1 200 OK\r\n\r\n", "\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\r\n", " HTTP/1.1", "\r"]
        {
            let refused = HeadReader::default().take(&mut bad.into());
            assert_eq!(refused.unwrap_err(), OriginFault::Protocol, "{bad:?}");
        }
    }

    #[test]
    fn a_response_that_can_have_no_body_has_none_whatever_it_says() {
        let fields = "content-length: 5\r\n\r\n";
        for (status, asked) in [("200", Asked { head: true, ..GET }), ("204", GET), ("304", GET)] {
            let head = head(&format!("HTTP/1.1 {status} Some Reason\r\n{fields}")).unwrap();
            assert_eq!(head.judge(asked), Ok(Framing::Length(0)), "{status}");
        }
    }

    #[test]
    fn a_change_of_protocol_nobody_asked_for_is_refused() {
        let head = head("HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
        assert_eq!(head.judge(Asked { upgrade: true, ..GET }), Ok(Framing::Length(0)));
        assert_eq!(head.judge(GET), Err(OriginFault::Protocol));
    }

    #[test]
    fn a_connection_goes_on_unless_version_fields_or_framing_say_otherwise() {
        for (text, keeps) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x, Close\r\nconnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
        ] {
            let head = head(text).unwrap();
            assert_eq!(head.keeps(head.judge(GET).unwrap()), keeps, "{text:?}");
        }
        let old = head("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(old.judge(GET), Err(OriginFault::Protocol));
    }

    #[test]
    fn a_head_may_come_byte_by_byte_and_only_so_long() {
        let long = "x".repeat(3 * SHORT);
        let text = format!("HTTP/1.1 200 OK\r\nx-long: {long}\r\nx-other: y\r\n\r\nbody");
        let (mut reader, mut bytes) = (HeadReader::default(), BytesMut::new());
        let mut found = None;
        for byte in text.bytes() {
            bytes.extend_from_slice(&[byte]);
            found = found.or(reader.take(&mut bytes).unwrap());
            if found.is_some() {
                break;
            }
        }
        assert_eq!(found.unwrap().response.headers()["x-other"], "y");
        assert!(bytes.is_empty());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MOST_BYTES));
        assert_eq!(HeadReader::default().take(&mut endless.as_str().into()).unwrap_err(), OriginFault::Protocol);
        let whole = endless + "\r\n\r\n";
        assert_eq!(HeadReader::default().take(&mut whole.as_str().into()).unwrap_err(), OriginFault::Protocol);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(HeadReader::default().take(&mut many.as_str().into()).unwrap_err(), OriginFault::Protocol);
    }
}
