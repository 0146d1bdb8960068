//! A request head: request line and fields, checked line by line as they arrive.

use std::ops::Range;

use super::bounds::Bounds;
use super::field::{self, Field};
use super::target;
use crate::listener::Fault;

/// No registered method is half as long.
const MAX_METHOD: usize = 32;

/// Fields that frame or route a message: naming them in `Connection` would have a hop remove them
/// (RFC 9110 section 7.6.1), and a trailer must not carry them (section 6.5.1).
const GUARDED: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"connection"];

/// Whether `name` is a field that frames or routes a message.
pub(super) fn is_guarded(name: &[u8]) -> bool {
    GUARDED.iter().any(|guarded| name.eq_ignore_ascii_case(guarded))
}

/// How the body of a request ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; zero without a body.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// What the connection needs to know of a checked head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether the client asks to leave HTTP, so that what follows may not be HTTP.
    pub(super) upgrade: bool,
}

/// The lines of one head that were checked so far. Offsets count from the head's first byte.
#[derive(Debug, Default)]
pub(super) struct HeadParser {
    /// Where the first unchecked line starts.
    at: usize,
    fields: usize,
    http10: bool,
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl HeadParser {
    /// Checks the lines that are complete. `bytes` starts with the head's first byte and holds at
    /// least what the previous call saw. Answers the head and its length once it is complete.
    pub(super) fn advance(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<(usize, Head)>, Fault> {
        if self.at == 0 {
            match field::line(bytes, 0)? {
                Some((line, next)) => {
                    self.request_line(line, bounds)?;
                    self.at = next;
                }
                None => return partial_request_line(bytes, bounds),
            }
        }
        while let Some((line, next)) = field::line(bytes, self.at)? {
            if next > bounds.head_bytes {
                break;
            }
            if line.is_empty() {
                return self.finish(bytes, bounds).map(|head| Some((next, head)));
            }
            self.field(line, bounds)?;
            self.at = next;
        }
        if bytes.len() > bounds.head_bytes { Err(Fault::HeadTooLarge) } else { Ok(None) }
    }

    fn request_line(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), Fault> {
        let space = |text: &[u8]| memchr::memchr(b' ', text).ok_or(Fault::RequestLine);
        let end = space(line)?;
        let (method, rest) = (&line[..end], &line[end + 1..]);
        if method.len() > MAX_METHOD || !field::is_token(method) {
            return Err(Fault::Method);
        }
        let target_end = space(rest)?;
        if target_end > bounds.target_bytes {
            return Err(Fault::TargetTooLong);
        }
        self.http10 = match &rest[target_end + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Fault::Version),
            _ => return Err(Fault::RequestLine),
        };
        let start = end + 1;
        let authority = target::check(method, &rest[..target_end])?;
        self.authority = authority.map(|within| start + within.start..start + within.end);
        Ok(())
    }

    fn field(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > bounds.head_fields {
            return Err(Fault::TooManyFields);
        }
        let Field { name, value } = field::parse(line)?;
        // Names are told apart by length first: almost every field is none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(line, value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade(value),
            10 if name.eq_ignore_ascii_case(b"connection") => connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, line: &[u8], value: &[u8]) -> Result<(), Fault> {
        if self.host.is_some() {
            return Err(Fault::HostRepeated);
        }
        target::check_host(value)?;
        // The value is the line's tail but for white space, which a host has none of.
        let lead = line[b"host:".len()..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let start = self.at + b"host:".len() + lead;
        self.host = Some(start..start + value.len());
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
        self.upgrade = true;
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() {
            return Err(Fault::ContentLengthRepeated);
        }
        self.length = Some(decimal(value).ok_or(Fault::ContentLength)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// What can be judged only when all fields are known.
    fn finish(&self, bytes: &[u8], bounds: &Bounds) -> Result<Head, Fault> {
        match (&self.authority, &self.host) {
            (_, None) if !self.http10 => return Err(Fault::HostMissing),
            (Some(authority), Some(host)) if !target::same_host(&bytes[authority.clone()], &bytes[host.clone()]) => {
                return Err(Fault::HostMismatch);
            }
            _ => {}
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Fault::FramingConflict),
            (true, None) if self.http10 => return Err(Fault::TransferEncoding),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        match framing {
            Framing::Length(length) if bounds.body.is_some_and(|most| length > most) => Err(Fault::BodyTooLarge),
            // RFC 9110 section 7.8: HTTP/1.0 has no upgrade.
            framing => Ok(Head { framing, upgrade: self.upgrade && !self.http10 }),
        }
    }
}

/// Refuses a request line that cannot become valid any more, without waiting for its end: another
/// protocol (TLS, say), or a target that is already too long.
#[cold]
fn partial_request_line(bytes: &[u8], bounds: &Bounds) -> Result<Option<(usize, Head)>, Fault> {
    let end = memchr::memchr(b' ', bytes);
    let method = &bytes[..end.unwrap_or(bytes.len())];
    if method.len() > MAX_METHOD || !field::is_token(method) {
        return Err(Fault::Method);
    }
    let rest = end.map_or(&[][..], |end| &bytes[end + 1..]);
    let target = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    if target > bounds.target_bytes {
        return Err(Fault::TargetTooLong);
    }
    if bytes.len() > bounds.head_bytes { Err(Fault::HeadTooLarge) } else { Ok(None) }
}

fn connection(value: &[u8]) -> Result<(), Fault> {
    if field::list(value).any(is_guarded) { Err(Fault::Connection) } else { Ok(()) }
}

/// Digits alone: no sign, no list, nothing that overflows.
fn decimal(value: &[u8]) -> Option<u64> {
    // Half of the range, so that sums of lengths cannot overflow either.
    const MOST: u64 = u64::MAX / 2;
    if value.is_empty() {
        return None;
    }
    let number = value.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (number <= MOST).then_some(number)
}
