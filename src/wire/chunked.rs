//! Chunked bodies (RFC 9112 section 7.1), without the leniencies.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::field::{self, is_guarded};
use super::flaw::Flaw;

/// Hexadecimal digits of a chunk size: what fits 64 bits.
const MAX_DIGITS: usize = 16;
/// Bytes of the extensions of one chunk. Nobody is known to use them; attackers do.
const MAX_EXTENSION: usize = 256;
/// Bytes of the extensions of all chunks of one body.
const MAX_EXTENSIONS: usize = 8 * 1024;
/// Bytes of a trailer section.
const MAX_TRAILERS: usize = 8 * 1024;

/// What a chunked body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of data.
    pub(crate) body: Option<u64>,
    /// Bytes of trailers, but never more than a few KiB.
    pub(crate) trailer_bytes: usize,
    /// Trailer fields.
    pub(crate) trailer_fields: usize,
    /// Whether white space may stand behind a size, as old servers have it, which write sizes of one width.
    pub(crate) padded: bool,
}

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
pub(crate) struct Chunked {
    place: Place,
    /// Bytes of data announced so far.
    total: u64,
    extensions: usize,
    trailer_bytes: usize,
    trailers: HeaderMap,
}

/// What a piece of a body comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many bytes are whole and valid.
    pub(crate) passed: usize,
    /// Whether the body is complete, or what is wrong with the byte after `passed`.
    pub(crate) done: Result<bool, Flaw>,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self { place: Place::Size, total: 0, extensions: 0, trailer_bytes: 0, trailers: HeaderMap::new() }
    }

    /// Takes in as many whole lines and as much data as `bytes` holds; the data go to `sink`. The rest is
    /// to be shown again with what follows it.
    pub(crate) fn advance(&mut self, bytes: &[u8], bounds: &Bounds, mut sink: impl FnMut(&[u8])) -> Progress {
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
                Err(flaw) => return Progress { passed, done: Err(flaw) },
            }
        }
    }

    /// The fields behind the last chunk, once all of it was taken in.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        let trailers = std::mem::take(&mut self.trailers);
        (!trailers.is_empty()).then_some(trailers)
    }

    fn step(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Flaw> {
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
                _ => Err(Flaw::ChunkEnd),
            },
            Place::Trailers => self.trailer(bytes, bounds),
        }
    }

    fn size(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Flaw> {
        let Some((line, next)) = field::line(bytes, 0)? else {
            let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            return match bytes.get(digits) {
                _ if digits > MAX_DIGITS => Err(Flaw::ChunkSize),
                Some(b' ' | b'\t') if bounds.padded && digits > 0 && bytes.len() <= MAX_EXTENSION => Ok(Step::NeedMore),
                None => Ok(Step::NeedMore),
                Some(b'\r') if bytes.len() == digits + 1 && digits > 0 => Ok(Step::NeedMore),
                Some(b';') if bytes.len() - digits <= MAX_EXTENSION + 1 => Ok(Step::NeedMore),
                Some(b';') => Err(Flaw::ChunkExtension),
                Some(_) => Err(Flaw::ChunkSize),
            };
        };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let behind = &line[digits..];
        self.extension(if bounds.padded { field::trim(behind) } else { behind })?;
        let size = hexadecimal(&line[..digits]).ok_or(Flaw::ChunkSize)?;
        if size == 0 {
            self.place = Place::Trailers;
            return Ok(Step::Line(next));
        }
        self.total = self.total.checked_add(size).ok_or(Flaw::ChunkSize)?;
        if bounds.body.is_some_and(|most| self.total > most) {
            return Err(Flaw::BodyTooLarge);
        }
        self.place = Place::Data(size);
        Ok(Step::Line(next))
    }

    fn extension(&mut self, text: &[u8]) -> Result<(), Flaw> {
        match text {
            [] => Ok(()),
            [b';', ..] => {
                self.extensions += text.len();
                let fits = text.len() <= MAX_EXTENSION && self.extensions <= MAX_EXTENSIONS;
                if fits && !field::has_control(text) { Ok(()) } else { Err(Flaw::ChunkExtension) }
            }
            // White space after the size is what RFC 9112 errata and parsers disagree about.
            _ => Err(Flaw::ChunkSize),
        }
    }

    fn trailer(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Step, Flaw> {
        let most = MAX_TRAILERS.min(bounds.trailer_bytes);
        let Some((line, next)) = field::line(bytes, 0)? else {
            let fits = self.trailer_bytes + bytes.len() <= most;
            return if fits { Ok(Step::NeedMore) } else { Err(Flaw::TrailersTooLarge) };
        };
        if line.is_empty() {
            return Ok(Step::Last(next));
        }
        self.trailer_bytes += next;
        if self.trailer_bytes > most || self.trailers.len() == bounds.trailer_fields {
            return Err(Flaw::TrailersTooLarge);
        }
        let trailer = field::parse(line)?;
        if is_guarded(trailer.name) {
            return Err(Flaw::Trailer);
        }
        let name = HeaderName::from_bytes(trailer.name).map_err(|_| Flaw::FieldName)?;
        let value = HeaderValue::from_bytes(trailer.value).map_err(|_| Flaw::ControlCharacter)?;
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

    const BOUNDS: Bounds = Bounds { body: Some(1000), trailer_bytes: 16 * 1024, trailer_fields: 4, padded: false };

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
        for (body, passed, flaw) in [
            ("\r\n", 0, Flaw::ChunkSize),
            ("x\r\n", 0, Flaw::ChunkSize),
            ("-1\r\n", 0, Flaw::ChunkSize),
            ("0x5\r\n", 0, Flaw::ChunkSize),
            ("5 \r\nhello\r\n", 0, Flaw::ChunkSize),
            ("5 ;a\r\nhello\r\n", 0, Flaw::ChunkSize),
            (" 5\r\nhello\r\n", 0, Flaw::ChunkSize),
            ("5\nhello\r\n", 0, Flaw::BareLineFeed),
            ("10000000000000000\r\n", 0, Flaw::ChunkSize),
            ("00000000000000005\r\nhello", 0, Flaw::ChunkSize),
            ("fffffffffffffffff", 0, Flaw::ChunkSize),
            ("5 ", 0, Flaw::ChunkSize),
            ("5;\rx\r\nhello\r\n", 0, Flaw::ChunkExtension),
            ("5;\0\r\nhello\r\n", 0, Flaw::ChunkExtension),
            ("5;a\nhello\r\n", 0, Flaw::BareLineFeed),
            (&long, 0, Flaw::ChunkExtension),
            (&unending, 0, Flaw::ChunkExtension),
            ("5\r\nhelloX", 8, Flaw::ChunkEnd),
            ("5\r\nhello\n", 8, Flaw::ChunkEnd),
            ("5\r\nhello\rX", 8, Flaw::ChunkEnd),
            ("5\r\nhello\r\n3e4\r\n", 10, Flaw::BodyTooLarge),
            ("0\r\nX\r\n\r\n", 3, Flaw::FieldName),
            ("0\r\nX : 1\r\n\r\n", 3, Flaw::SpaceBeforeColon),
            ("0\r\nX: 1\n\r\n", 3, Flaw::BareLineFeed),
            ("0\r\nX: 1\r\n folded\r\n\r\n", 9, Flaw::FoldedField),
            ("0\r\nContent-Length: 5\r\n\r\n", 3, Flaw::Trailer),
            ("0\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\n\r\n", 19, Flaw::TrailersTooLarge),
        ] {
            assert_eq!(check(body.as_bytes()), Progress { passed, done: Err(flaw) }, "{body:?}");
        }
    }

    #[test]
    fn white_space_behind_a_size_is_taken_where_it_may_stand() {
        let body = b"5  \r\nhello\r\n0 ;x\r\n\r\n";
        let check = |body| Chunked::new().advance(body, &Bounds { padded: true, ..BOUNDS }, |_| {});
        assert_eq!(check(body), Progress { passed: body.len(), done: Ok(true) });
        for open in [b"5 ", b"5\t"] {
            assert_eq!(check(open), Progress { passed: 0, done: Ok(false) });
        }
        for bad in [&b"5 6\r\n"[..], b"5 \n", b"5\r\r\n", b"5\x0c\r\n", b" 5\r\n", &[&b"5"[..], &[b' '; 300]].concat()]
        {
            assert!(check(bad).done.is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn trailers_without_end_are_refused_at_their_bound() {
        let body = format!("0\r\nX: {}", "a".repeat(MAX_TRAILERS));
        assert_eq!(check(body.as_bytes()).done, Err(Flaw::TrailersTooLarge));
    }

    #[test]
    fn extensions_of_a_whole_body_are_bounded() {
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(200));
        let progress = check(chunk.repeat(50).as_bytes());
        assert_eq!(progress.done, Err(Flaw::ChunkExtension));
    }
}
