//! Chunked bodies (RFC 9112 section 7.1), without the leniencies.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::bounds::Bounds;
use super::field;
use super::head::is_guarded;
use crate::listener::Fault;

/// Hexadecimal digits of a chunk size: what fits 64 bits.
const MAX_DIGITS: usize = 16;
/// Bytes of the extensions of one chunk. Nobody is known to use them; attackers do.
const MAX_EXTENSION: usize = 256;
/// Bytes of the extensions of all chunks of one body.
const MAX_EXTENSIONS: usize = 8 * 1024;
/// Bytes of a trailer section.
const MAX_TRAILERS: usize = 8 * 1024;

/// Where in a chunked body the next byte belongs.
#[derive(Debug)]
enum Place {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// The framing of one chunked body.
#[derive(Debug)]
pub(in crate::listener) struct Chunked {
    place: Place,
    /// Bytes of data announced so far.
    total: u64,
    extensions: usize,
    trailer_bytes: usize,
    trailers: HeaderMap,
}

/// What a piece of a body comes to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::listener) struct Progress {
    /// How many bytes are whole and valid.
    pub(in crate::listener) passed: usize,
    /// Whether the body is complete, or what is wrong with the byte after `passed`.
    pub(in crate::listener) done: Result<bool, Fault>,
}

impl Chunked {
    pub(in crate::listener) fn new() -> Self {
        Self { place: Place::Size, total: 0, extensions: 0, trailer_bytes: 0, trailers: HeaderMap::new() }
    }

    /// Takes in as many whole lines and as much data as `bytes` holds; the data go to `sink`. The rest is
    /// to be shown again with what follows it.
    pub(in crate::listener) fn advance(
        &mut self,
        bytes: &[u8],
        bounds: &Bounds,
        mut sink: impl FnMut(&[u8]),
    ) -> Progress {
        let mut passed = 0;
        loop {
            match self.step(&bytes[passed..], bounds) {
                Ok(Step::Line(count)) => passed += count,
                Ok(Step::Data(count)) => {
                    sink(&bytes[passed..passed + count]);
                    passed += count;
                }
                Ok(Step::Last(count)) => return Progress { passed: passed + count, done: Ok(true) },
                Ok(Step::NeedMore) => return Progress { passed, done: Ok(false) },
                Err(fault) => return Progress { passed, done: Err(fault) },
            }
        }
    }

    /// The fields behind the last chunk, once all of it was taken in.
    pub(in crate::listener) fn take_trailers(&mut self) -> Option<HeaderMap> {
        let trailers = std::mem::take(&mut self.trailers);
        (!trailers.is_empty()).then_some(trailers)
    }

    fn step(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Fault> {
        match &mut self.place {
            Place::Size => self.size(bytes, bounds),
            Place::Data(left) => {
                let available = bytes.len() as u64;
                if available < *left {
                    *left -= available;
                    return Ok(if bytes.is_empty() { Step::NeedMore } else { Step::Data(bytes.len()) });
                }
                // The cast cannot truncate: `left` is at most a slice's length here.
                let count = usize::try_from(*left).unwrap_or(bytes.len());
                self.place = Place::DataEnd;
                Ok(Step::Data(count))
            }
            Place::DataEnd => match bytes {
                [] | [b'\r'] => Ok(Step::NeedMore),
                [b'\r', b'\n', ..] => {
                    self.place = Place::Size;
                    Ok(Step::Line(2))
                }
                _ => Err(Fault::ChunkEnd),
            },
            Place::Trailers => self.trailer(bytes, bounds),
        }
    }

    fn size(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Fault> {
        let Some((line, next)) = field::line(bytes, 0)? else {
            let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            return match bytes.get(digits) {
                _ if digits > MAX_DIGITS => Err(Fault::ChunkSize),
                None => Ok(Step::NeedMore),
                Some(b'\r') if bytes.len() == digits + 1 && digits > 0 => Ok(Step::NeedMore),
                Some(b';') if bytes.len() - digits <= MAX_EXTENSION + 1 => Ok(Step::NeedMore),
                Some(b';') => Err(Fault::ChunkExtension),
                Some(_) => Err(Fault::ChunkSize),
            };
        };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        self.extension(&line[digits..])?;
        let size = hexadecimal(&line[..digits]).ok_or(Fault::ChunkSize)?;
        if size == 0 {
            self.place = Place::Trailers;
            return Ok(Step::Line(next));
        }
        self.total = self.total.checked_add(size).ok_or(Fault::ChunkSize)?;
        if bounds.body.is_some_and(|most| self.total > most) {
            return Err(Fault::BodyTooLarge);
        }
        self.place = Place::Data(size);
        Ok(Step::Line(next))
    }

    fn extension(&mut self, text: &[u8]) -> Result<(), Fault> {
        match text {
            [] => Ok(()),
            [b';', ..] => {
                self.extensions += text.len();
                let fits = text.len() <= MAX_EXTENSION && self.extensions <= MAX_EXTENSIONS;
                if fits && !field::has_control(text) { Ok(()) } else { Err(Fault::ChunkExtension) }
            }
            // White space after the size is what RFC 9112 errata and parsers disagree about.
            _ => Err(Fault::ChunkSize),
        }
    }

    fn trailer(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Fault> {
        let most = MAX_TRAILERS.min(bounds.head_bytes);
        let Some((line, next)) = field::line(bytes, 0)? else {
            let fits = self.trailer_bytes + bytes.len() <= most;
            return if fits { Ok(Step::NeedMore) } else { Err(Fault::TrailersTooLarge) };
        };
        if line.is_empty() {
            return Ok(Step::Last(next));
        }
        self.trailer_bytes += next;
        if self.trailer_bytes > most || self.trailers.len() == bounds.head_fields {
            return Err(Fault::TrailersTooLarge);
        }
        let trailer = field::parse(line)?;
        if is_guarded(trailer.name) {
            return Err(Fault::Trailer);
        }
        let name = HeaderName::from_bytes(trailer.name).map_err(|_| Fault::FieldName)?;
        let value = HeaderValue::from_bytes(trailer.value).map_err(|_| Fault::ControlCharacter)?;
        self.trailers.append(name, value);
        Ok(Step::Line(next))
    }
}

enum Step {
    /// So many bytes of framing are good; there may be more.
    Line(usize),
    /// So many bytes are data.
    Data(usize),
    /// So many bytes are good, and the body ends with them.
    Last(usize),
    /// What is there is no whole line.
    NeedMore,
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.len() > MAX_DIGITS {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { head_bytes: 16 * 1024, head_fields: 4, target_bytes: 1024, body: Some(1000) };

    fn check(body: &[u8]) -> Progress {
        Chunked::new().advance(body, &BOUNDS, |_| {})
    }

    #[test]
    fn a_body_ends_with_its_last_chunk_and_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "1\r\na\r\n1f\r\n0123456789012345678901234567890\r\n000\r\n\r\n",
            "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\n",
            "0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        ] {
            assert_eq!(check(body.as_bytes()), Progress { passed: body.len(), done: Ok(true) }, "{body:?}");
            let next = format!("{body}GET /");
            assert_eq!(check(next.as_bytes()), Progress { passed: body.len(), done: Ok(true) }, "{body:?}");
        }
    }

    #[test]
    fn f1_a_chunk_that_two_parsers_could_read_differently_is_refused() {
        let long = format!("1;{}\r\n", "a".repeat(MAX_EXTENSION));
        let unending = format!("1;{}", "a".repeat(MAX_EXTENSION + 1));
        for (body, passed, fault) in [
            ("\r\n", 0, Fault::ChunkSize),
            ("x\r\n", 0, Fault::ChunkSize),
            ("-1\r\n", 0, Fault::ChunkSize),
            ("0x5\r\n", 0, Fault::ChunkSize),
            ("5 \r\nhello\r\n", 0, Fault::ChunkSize),
            ("5 ;a\r\nhello\r\n", 0, Fault::ChunkSize),
            (" 5\r\nhello\r\n", 0, Fault::ChunkSize),
            ("5\nhello\r\n", 0, Fault::BareLineFeed),
            ("10000000000000000\r\n", 0, Fault::ChunkSize),
            ("00000000000000005\r\nhello", 0, Fault::ChunkSize),
            ("fffffffffffffffff", 0, Fault::ChunkSize),
            ("5 ", 0, Fault::ChunkSize),
            ("5;\rx\r\nhello\r\n", 0, Fault::ChunkExtension),
            ("5;\0\r\nhello\r\n", 0, Fault::ChunkExtension),
            ("5;a\nhello\r\n", 0, Fault::BareLineFeed),
            (&long, 0, Fault::ChunkExtension),
            (&unending, 0, Fault::ChunkExtension),
            ("5\r\nhelloX", 8, Fault::ChunkEnd),
            ("5\r\nhello\n", 8, Fault::ChunkEnd),
            ("5\r\nhello\rX", 8, Fault::ChunkEnd),
            ("5\r\nhello\r\n3e4\r\n", 10, Fault::BodyTooLarge),
            ("0\r\nX\r\n\r\n", 3, Fault::FieldName),
            ("0\r\nX : 1\r\n\r\n", 3, Fault::SpaceBeforeColon),
            ("0\r\nX: 1\n\r\n", 3, Fault::BareLineFeed),
            ("0\r\nX: 1\r\n folded\r\n\r\n", 9, Fault::FoldedField),
            ("0\r\nContent-Length: 5\r\n\r\n", 3, Fault::Trailer),
            ("0\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\n\r\n", 19, Fault::TrailersTooLarge),
        ] {
            assert_eq!(check(body.as_bytes()), Progress { passed, done: Err(fault) }, "{body:?}");
        }
    }

    #[test]
    fn trailers_without_end_are_refused_at_their_bound() {
        let body = format!("0\r\nX: {}", "a".repeat(MAX_TRAILERS));
        assert_eq!(check(body.as_bytes()).done, Err(Fault::TrailersTooLarge));
    }

    #[test]
    fn extensions_of_a_whole_body_are_bounded() {
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(200));
        let progress = check(chunk.repeat(50).as_bytes());
        assert_eq!(progress.done, Err(Fault::ChunkExtension));
    }
}
