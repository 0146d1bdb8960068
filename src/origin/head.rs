//! The head of a response: read, and refused where two parsers could read its framing differently.

use bytes::{Buf, BytesMut};
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue, TRAILER, UPGRADE};
use memchr::memchr;

use super::request::Asked;
use crate::policy::fields::{is_hop_by_hop, nominated};
use crate::reason::OriginFault;
use crate::wire::Lines;
use crate::wire::field::{self, Field, Next};
use crate::wire::lines::LONGEST_NAME;

/// What a head begins with, but for its minor version.
const BEGIN: &[u8] = b"HTTP/1.";
/// Bytes of a response head, and of each interim one before it.
const MOST_BYTES: usize = 400 * 1024;
/// Fields of a response head.
const MOST_FIELDS: usize = 100;
/// Bytes of the fields of a usual head.
const USUAL: usize = 512;

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
    /// Its status.
    pub(super) status: StatusCode,
    /// Its fields, but for those that frame the message or belong to the connection.
    pub(super) fields: Lines,
    /// Those of them that others act upon: `Trailer`, and `Upgrade` of a 101. Boxed, since hardly any head has one.
    pub(super) apart: Option<Box<HeaderMap>>,
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
    /// Whether there is a `Date`.
    dated: bool,
    /// The fields that `Connection` names.
    nominated: Vec<HeaderName>,
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
        // No empty line, of whatever is left from before, is skipped.
        if bytes.first().is_some_and(|first| *first != b'H') {
            return Err(OriginFault::Protocol);
        }
        let fresh = &bytes[self.seen..];
        // What comes byte by byte is not read from its start for each, but for the first, which tell what is not HTTP.
        let worthwhile = self.seen < BEGIN.len() || memchr(b'\n', fresh).is_some();
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
    let protocol = |_| OriginFault::Protocol;
    let Some((line, mut at)) = field::line(bytes, 0).map_err(protocol)? else {
        let begins = BEGIN.iter().zip(bytes).all(|(expected, byte)| expected == byte);
        return if begins { Ok(None) } else { Err(OriginFault::Protocol) };
    };
    let (http10, status) = status_line(line).ok_or(OriginFault::Protocol)?;
    let fields = Lines::with_capacity(bytes.len().min(USUAL));
    let mut head = Head { status, fields, apart: None, seen: Seen { http10, ..Seen::default() } };
    let mut count = 0;
    while let Some((next, after)) = field::next(bytes, at).map_err(protocol)? {
        let Next::Field(Field { name, value, .. }) = next else {
            return Ok(Some((after, head.without_nominated())));
        };
        count += 1;
        if count > MOST_FIELDS || name.len() > LONGEST_NAME {
            return Err(OriginFault::Protocol);
        }
        if !head.keep_back(name, value)? {
            head.fields.push(name, value);
        }
        at = after;
    }
    Ok(None)
}

/// Whether the version is 1.0, and the status. The reason may be left out, and many then leave out the space as well.
fn status_line(line: &[u8]) -> Option<(bool, StatusCode)> {
    let (http10, rest) = match line.strip_prefix(BEGIN)? {
        [b'1', b' ', rest @ ..] => (false, rest),
        [b'0', b' ', rest @ ..] => (true, rest),
        _ => return None,
    };
    let (code, reason) = rest.split_at_checked(3)?;
    let sound = matches!(reason.first(), None | Some(b' ')) && !field::has_control(reason);
    StatusCode::from_bytes(code).ok().filter(|_| sound).map(|status| (http10, status))
}

impl Head {
    /// Takes note of a field that frames the message, belongs to the connection, or is not for the eyes of a client alone.
    /// Whether that is all that becomes of it.
    fn keep_back(&mut self, name: &[u8], value: &[u8]) -> Result<bool, OriginFault> {
        let seen = &mut self.seen;
        // Names are told apart by length first: almost every field is none of these.
        match name.len() {
            4 => {
                seen.dated |= name.eq_ignore_ascii_case(b"date");
                return Ok(false);
            }
            7 if name.eq_ignore_ascii_case(b"trailer") => self.set_apart(TRAILER, value)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                if self.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.set_apart(UPGRADE, value)?;
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => seen.connection(value)?,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                seen.ambiguous |= seen.length.is_some() || !value.iter().all(u8::is_ascii_digit);
                seen.length = Some(field::number(value).ok_or(OriginFault::Protocol));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                seen.ambiguous |= seen.chunked || !value.eq_ignore_ascii_case(b"chunked");
                seen.chunked = true;
            }
            _ => return Ok(is_hop_by_hop(name)),
        }
        Ok(true)
    }

    fn set_apart(&mut self, name: HeaderName, value: &[u8]) -> Result<(), OriginFault> {
        let value = HeaderValue::from_bytes(value).map_err(|_| OriginFault::Protocol)?;
        self.apart.get_or_insert_default().append(name, value);
        Ok(())
    }

    /// The same without the fields that `Connection` names (RFC 9110 section 7.6.1).
    fn without_nominated(mut self) -> Self {
        if !self.seen.nominated.is_empty() {
            self.fields = self.fields.select(|name| !self.seen.nominated.iter().any(|nominated| nominated == name));
        }
        self
    }

    /// Whether it says when it was made.
    pub(super) const fn is_dated(&self) -> bool {
        self.seen.dated
    }

    /// `Content-Length`, where it is a number.
    pub(super) fn length(&self) -> Option<u64> {
        self.seen.length.as_ref()?.as_ref().ok().copied()
    }

    /// Whether it announces a body.
    pub(super) const fn announces_body(&self) -> bool {
        self.seen.length.is_some() || self.seen.chunked
    }

    /// Whether something follows that is the answer (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
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
        let switches = self.status == StatusCode::SWITCHING_PROTOCOLS;
        if ambiguous || (chunked && length.is_some()) || (switches && !asked.upgrade) {
            return Err(OriginFault::Protocol);
        }
        if asked.head || switches || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
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

impl Seen {
    fn connection(&mut self, value: &[u8]) -> Result<(), OriginFault> {
        for option in field::list(value) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            if option.eq_ignore_ascii_case(b"keep-alive") {
                // The field of this name goes in any case, and most that say so say nothing else.
                self.keeps = true;
            } else {
                self.nominated.extend(nominated(option));
            }
        }
        // More than there can be fields.
        if self.nominated.len() > MOST_FIELDS { Err(OriginFault::Protocol) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let long = "x".repeat(1000);
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
        let found = found.unwrap();
        assert_eq!(found.fields.to_map()["x-other"], "y");
        assert!(bytes.is_empty());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MOST_BYTES));
        assert_eq!(HeadReader::default().take(&mut endless.as_str().into()).unwrap_err(), OriginFault::Protocol);
        let whole = endless + "\r\n\r\n";
        assert_eq!(HeadReader::default().take(&mut whole.as_str().into()).unwrap_err(), OriginFault::Protocol);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(HeadReader::default().take(&mut many.as_str().into()).unwrap_err(), OriginFault::Protocol);
    }

    /// The names of the fields that pass, in order.
    fn passing(fields: &str) -> Vec<String> {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap();
        head.fields.to_map().keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn f18_fields_of_the_connection_go_with_those_that_it_names_wherever_they_stand() {
        for hop in ["Te", "Keep-Alive", "Proxy-Connection", "Upgrade", "Trailer", "Content-Length", "Connection"] {
            assert_eq!(passing(&format!("a: 1\r\n{hop}: 1\r\nb: 1\r\n")), ["a", "b"], "{hop}");
        }
        let named = "X-Hop: 1\r\nconnection: keep-alive, x-HOP ,x-after\r\nx-after: 1\r\nx-stays: 1\r\n";
        assert_eq!(passing(named), ["x-stays"]);
        assert_eq!(passing("connection: close\r\nclose: 1\r\nx-stays: 1\r\n"), ["x-stays"]);
        assert_eq!(passing("connection: date, set-cookie\r\ndate: now\r\nset-cookie: a\r\n"), ["date", "set-cookie"]);
        let many = "a,".repeat(MOST_FIELDS + 1);
        assert_eq!(verdict(&format!("connection: {many}\r\n")), Err(OriginFault::Protocol));
    }

    #[test]
    fn what_others_act_upon_stands_apart() {
        let apart = |text: &str| head(text).unwrap().apart.map(|apart| *apart).unwrap_or_default();
        let trailers = apart("HTTP/1.1 200 OK\r\nTrailer: x-a\r\ntrailer: x-b\r\nupgrade: h2c\r\n\r\n");
        assert_eq!(trailers.get_all(TRAILER).iter().collect::<Vec<_>>(), ["x-a", "x-b"]);
        assert!(!trailers.contains_key(UPGRADE), "only a 101 changes the protocol");
        let switch = apart("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(switch[UPGRADE], "echo");
        assert!(head("HTTP/1.1 200 OK\r\nDate: now\r\n\r\n").unwrap().is_dated());
        assert!(!head("HTTP/1.1 200 OK\r\nx-date: now\r\n\r\n").unwrap().is_dated());
    }

    proptest! {
        #[test]
        fn what_is_read_another_parser_reads_alike(
            begin in "HTTP/1\\.[01] [1-9][0-9]{2}( [ -~]{0,8})?",
            lines in proptest::collection::vec(
                (
                    "[A-Za-z-]{1,6}",
                    prop_oneof![8 => Just(": "), 8 => Just(":"), 1 => Just(" :"), 1 => Just("")],
                    "[ -~\t\u{80}]{0,8}",
                    prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")],
                ),
                0..5,
            ),
        ) {
            let lines: String = lines.iter().flat_map(|(name, colon, value, end)| [name, *colon, value, *end]).collect();
            let text = format!("{begin}\r\n{lines}\r\n");
            let Ok(Some(head)) = HeadReader::default().take(&mut text.as_str().into()) else { return Ok(()) };
            let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
            let mut other = httparse::Response::new(&mut fields);
            let status = other.parse(text.as_bytes());
            prop_assert!(status.is_ok_and(|status| status.is_complete()), "{text:?}");
            prop_assert_eq!(other.code, Some(head.status.as_u16()));
            let own: Vec<_> = head.fields.to_map().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
            let mut others = HeaderMap::new();
            for field in other.headers {
                let name: HeaderName = field.name.parse().unwrap();
                if !is_hop_by_hop(name.as_str().as_bytes()) {
                    others.append(name, HeaderValue::from_bytes(field.value).unwrap());
                }
            }
            let others: Vec<_> = others.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
            prop_assert_eq!(own, others);
        }
    }
}
