//! A request head: request line and fields, checked line by line as they arrive.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};
use memchr::memchr;
use smallvec::SmallVec;

use super::bounds::Bounds;
use super::target;
use crate::listener::Fault;
use crate::wire::field::{self, Field, Next};

/// No registered method is half as long.
const MAX_METHOD: usize = 32;

/// How the body of a request ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listener) enum Framing {
    /// After so many bytes; zero without a body.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// What the connection needs to know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::listener) struct Head {
    /// How the body ends.
    pub(in crate::listener) framing: Framing,
    /// Whether the client asks to leave HTTP, so that what follows may not be HTTP.
    pub(in crate::listener) upgrade: bool,
    /// Whether the client would send a further request on the same connection (RFC 9112 section 9.3).
    pub(in crate::listener) keeps: bool,
    /// Whether the client waits to be told to send its body (RFC 9110 section 10.1.1).
    pub(in crate::listener) expects: bool,
    /// Whether the client takes trailers (RFC 9110 section 10.1.4).
    pub(in crate::listener) trailers: bool,
}

/// Where a field is, from the first byte of its head.
#[derive(Debug)]
struct Span {
    name: Range<usize>,
    value: Range<usize>,
}

/// Heads with more fields than this take memory of their own while they are read.
const USUAL_FIELDS: usize = 16;

/// The lines of one head that were read so far. Offsets count from the head's first byte.
#[derive(Debug, Default)]
pub(in crate::listener) struct HeadParser {
    /// Where the first unread line starts.
    at: usize,
    /// Bytes that were there at the last look, which found no end of a line behind `at`.
    searched: usize,
    method: Range<usize>,
    target: Range<usize>,
    fields: SmallVec<[Span; USUAL_FIELDS]>,
    seen: Seen,
}

/// What the lines said that the connection, or another line, depends on.
#[derive(Debug, Default)]
struct Seen {
    http10: bool,
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    closes: bool,
    keeps: bool,
    expects: bool,
    trailers: bool,
}

impl HeadParser {
    /// Reads the lines that are complete. `bytes` starts with the head's first byte and holds at
    /// least what the previous call saw. Answers the length of the head once it is complete.
    pub(in crate::listener) fn advance(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
    ) -> Result<Option<(usize, Head)>, Fault> {
        if self.at == 0 {
            match field::line(bytes, 0)? {
                Some((line, next)) => {
                    self.request_line(line, bounds)?;
                    self.at = next;
                }
                None => return partial_request_line(bytes, bounds),
            }
        }
        // What lies behind the bound is not read; and what comes byte by byte, not from the start of its line for each.
        let lines = &bytes[..bytes.len().min(bounds.head_bytes.max(self.at))];
        let fresh = &lines[self.searched.min(lines.len())..];
        if self.searched == 0 || memchr(b'\n', fresh).is_some() {
            while let Some((next, after)) = field::next(lines, self.at)? {
                match next {
                    Next::End => return self.finish(bytes, bounds).map(|head| Some((after, head))),
                    Next::Field(field) => self.field(&field, bounds)?,
                }
                self.at = after;
            }
        }
        self.searched = lines.len();
        if bytes.len() > bounds.head_bytes { Err(Fault::HeadTooLarge) } else { Ok(None) }
    }

    fn request_line(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), Fault> {
        // Methods are short: nothing finds the end of one sooner.
        let end = line.iter().position(|&b| b == b' ').ok_or(Fault::RequestLine)?;
        let (method, rest) = (&line[..end], &line[end + 1..]);
        if method.len() > MAX_METHOD || !field::is_token(method) {
            return Err(Fault::Method);
        }
        let target_end = memchr(b' ', rest).ok_or(Fault::RequestLine)?;
        if target_end > bounds.target_bytes {
            return Err(Fault::TargetTooLong);
        }
        self.method = 0..end;
        self.seen.http10 = match &rest[target_end + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Fault::Version),
            _ => return Err(Fault::RequestLine),
        };
        let start = end + 1;
        self.target = start..start + target_end;
        let authority = target::check(method, &rest[..target_end])?;
        self.seen.authority = authority.map(|within| start + within.start..start + within.end);
        Ok(())
    }

    fn field(&mut self, field: &Field<'_>, bounds: &Bounds) -> Result<(), Fault> {
        if self.fields.len() == bounds.head_fields {
            return Err(Fault::TooManyFields);
        }
        let Field { name, value, at } = *field;
        let value_at = self.at + at;
        self.fields.push(Span { name: self.at..self.at + name.len(), value: value_at..value_at + value.len() });
        // Names are told apart by length first: almost every field is none of these.
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => {
                self.seen.trailers |= field::list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                Ok(())
            }
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value_at, value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.seen.expects = value.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, at: usize, value: &[u8]) -> Result<(), Fault> {
        if self.seen.host.is_some() {
            return Err(Fault::HostRepeated);
        }
        target::check_host(value)?;
        self.seen.host = Some(at..at + value.len());
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for option in field::list(value) {
            if field::is_guarded(option) {
                return Err(Fault::Connection);
            }
            self.seen.closes |= option.eq_ignore_ascii_case(b"close");
            self.seen.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }

    fn upgrade(&mut self, value: &[u8]) -> Result<(), Fault> {
        let protocol = |text: &[u8]| {
            let mut parts = text.splitn(2, |&b| b == b'/');
            parts.all(field::is_token)
        };
        if field::list(value).next().is_none() || !field::list(value).all(protocol) {
            return Err(Fault::Upgrade);
        }
        self.seen.upgrade = true;
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.seen.length.is_some() {
            return Err(Fault::ContentLengthRepeated);
        }
        self.seen.length = Some(decimal(value).ok_or(Fault::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.seen.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::TransferEncoding);
        }
        self.seen.chunked = true;
        Ok(())
    }

    /// What can be judged only when all fields are known.
    fn finish(&self, bytes: &[u8], bounds: &Bounds) -> Result<Head, Fault> {
        match (&self.seen.authority, &self.seen.host) {
            (_, None) if !self.seen.http10 => return Err(Fault::HostMissing),
            (Some(authority), Some(host)) if !target::same_host(&bytes[authority.clone()], &bytes[host.clone()]) => {
                return Err(Fault::HostMismatch);
            }
            _ => {}
        }
        let framing = match (self.seen.chunked, self.seen.length) {
            (true, Some(_)) => return Err(Fault::FramingConflict),
            (true, None) if self.seen.http10 => return Err(Fault::TransferEncoding),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        match framing {
            Framing::Length(length) if bounds.body.is_some_and(|most| length > most) => Err(Fault::BodyTooLarge),
            framing => Ok(Head {
                framing,
                // RFC 9110 section 7.8: HTTP/1.0 has no upgrade; section 10.1.1: nor can it wait to be told.
                upgrade: self.seen.upgrade && !self.seen.http10,
                expects: self.seen.expects && !self.seen.http10,
                keeps: !self.seen.closes && (self.seen.keeps || !self.seen.http10),
                trailers: self.seen.trailers,
            }),
        }
    }

    /// Method, target and fields of the complete head in `head`. What follows is another head. They are put into
    /// `parts`, which are empty, and in a box, since many hands pass them on.
    pub(in crate::listener) fn finish_with(
        &mut self,
        head: &Bytes,
        mut parts: Box<Parts>,
    ) -> Result<Box<Parts>, Fault> {
        parts.method = Method::from_bytes(&head[self.method.clone()]).map_err(|_| Fault::Method)?;
        parts.uri = Uri::from_maybe_shared(head.slice(self.target.clone())).map_err(|_| Fault::Target)?;
        parts.version = if self.seen.http10 { Version::HTTP_10 } else { Version::HTTP_11 };
        parts.headers.reserve(self.fields.len());
        for Span { name, value } in self.fields.drain(..) {
            let name = HeaderName::from_bytes(&head[name]).map_err(|_| Fault::FieldName)?;
            let value = HeaderValue::from_maybe_shared(head.slice(value)).map_err(|_| Fault::ControlCharacter)?;
            parts.headers.append(name, value);
        }
        self.seen = Seen::default();
        (self.at, self.searched) = (0, 0);
        Ok(parts)
    }
}

/// Refuses a request line that cannot become valid any more, without waiting for its end: another
/// protocol (TLS, say), or a target that is already too long.
#[cold]
fn partial_request_line(bytes: &[u8], bounds: &Bounds) -> Result<Option<(usize, Head)>, Fault> {
    let end = memchr(b' ', bytes);
    let method = &bytes[..end.unwrap_or(bytes.len())];
    if method.len() > MAX_METHOD || !field::is_token(method) {
        return Err(Fault::Method);
    }
    let rest = end.map_or(&[][..], |end| &bytes[end + 1..]);
    let target = memchr(b' ', rest).unwrap_or(rest.len());
    if target > bounds.target_bytes {
        return Err(Fault::TargetTooLong);
    }
    if bytes.len() > bounds.head_bytes { Err(Fault::HeadTooLarge) } else { Ok(None) }
}

/// Digits alone: no sign, no list, nothing that overflows.
fn decimal(value: &[u8]) -> Option<u64> {
    // Half of the range, so that sums of lengths cannot overflow either.
    const MOST: u64 = u64::MAX / 2;
    field::number(value).filter(|number| *number <= MOST)
}
