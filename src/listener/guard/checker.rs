//! The byte stream of one connection as a row of requests: which bytes may go on. Pure.

use super::bounds::Bounds;
use super::chunked::Chunked;
use super::head::{Framing, HeadParser};
use crate::listener::Fault;

/// Follows requests from head to body to the next head.
#[derive(Debug)]
pub(super) struct Checker {
    bounds: Bounds,
    place: Place,
    /// Heads that passed.
    heads: u64,
    /// Whether the request under way asks for an upgrade.
    upgrade: bool,
    /// Whether the empty line that may precede a head was there (RFC 9112 section 2.2).
    empty_line: bool,
}

/// Where in a request the next byte belongs.
#[derive(Debug)]
enum Place {
    Head(HeadParser),
    Length(u64),
    Chunked(Chunked),
}

/// What a piece of the stream comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// How many bytes may go on.
    pub(super) passed: usize,
    /// What is with the byte after them.
    pub(super) stop: Stop,
}

/// Why a scan ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// What is left is no whole unit: show it again with what follows.
    NeedMore,
    /// A request that asks for an upgrade is complete: whether what follows is HTTP depends on
    /// its response (RFC 9110 section 7.8).
    Hold,
    /// The next head is refused.
    Head(Fault),
    /// The body of the request whose head passed last is refused.
    Body(Fault),
}

impl Checker {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, place: Place::Head(HeadParser::default()), heads: 0, upgrade: false, empty_line: false }
    }

    /// Heads that passed since the connection was opened.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the next byte belongs to a head.
    pub(super) const fn expects_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Checks `bytes`. Those that do not pass are to be shown again, followed by at least one more.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut passed = 0;
        let stop = loop {
            match self.step(&bytes[passed..]) {
                (count, None) => passed += count,
                (count, Some(stop)) => {
                    passed += count;
                    break stop;
                }
            }
        };
        Scan { passed, stop }
    }

    /// One unit: how many bytes of it pass, and whether the scan ends there.
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Stop>) {
        match &mut self.place {
            Place::Head(_) => self.head(bytes),
            Place::Length(left) => {
                let available = bytes.len() as u64;
                if available < *left {
                    *left -= available;
                    return (bytes.len(), Some(Stop::NeedMore));
                }
                // No truncation: `left` is at most a slice's length here.
                let count = usize::try_from(*left).unwrap_or(bytes.len());
                (count, self.end_request())
            }
            Place::Chunked(chunked) => {
                let progress = chunked.advance(bytes, &self.bounds);
                let stop = match progress.done {
                    Ok(true) => self.end_request(),
                    Ok(false) => Some(Stop::NeedMore),
                    Err(fault) => Some(Stop::Body(fault)),
                };
                (progress.passed, stop)
            }
        }
    }

    fn head(&mut self, bytes: &[u8]) -> (usize, Option<Stop>) {
        let Place::Head(parser) = &mut self.place else { return (0, None) };
        if !self.empty_line {
            match bytes {
                [b'\r', b'\n', ..] => {
                    self.empty_line = true;
                    return (2, None);
                }
                [] | [b'\r'] => return (0, Some(Stop::NeedMore)),
                _ => {}
            }
        }
        if bytes.is_empty() {
            return (0, Some(Stop::NeedMore));
        }
        let (length, head) = match parser.advance(bytes, &self.bounds) {
            Ok(Some(complete)) => complete,
            Ok(None) => return (0, Some(Stop::NeedMore)),
            Err(fault) => return (0, Some(Stop::Head(fault))),
        };
        self.heads += 1;
        self.empty_line = false;
        self.upgrade = head.upgrade;
        match head.framing {
            Framing::Length(0) => (length, self.end_request()),
            Framing::Length(left) => {
                self.place = Place::Length(left);
                (length, None)
            }
            Framing::Chunked => {
                self.place = Place::Chunked(Chunked::new());
                (length, None)
            }
        }
    }

    fn end_request(&mut self) -> Option<Stop> {
        self.place = Place::Head(HeadParser::default());
        std::mem::take(&mut self.upgrade).then_some(Stop::Hold)
    }
}
