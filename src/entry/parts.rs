//! Parts of a representation that is not stored as a whole (RFC 9111 sections 3.3 and 3.4).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use super::body::shared_weight;
use super::{Entry, Fields, REFERENCE_COUNTS, StoredBody, allocated};
use crate::policy::ranges::{ContentRange, RangeSpec};
use crate::policy::tags::{self, MAX_TAGS};
use crate::policy::validation;

/// Pieces of one set. What is asked for in many small pieces is better stored as a whole.
const MAX_PIECES: usize = 64;
/// Neighbours that together have no more bytes than this are copied into one.
const JOINED: usize = 64 * 1024;

/// One run of bytes.
#[derive(Clone, Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
    /// When it came, counted in pieces: the one that came first goes first.
    turn: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What of it lies within `range`, as a handle to the same bytes.
    fn slice(&self, range: &Range<u64>) -> Bytes {
        let at = |position: u64| usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.slice(at(range.start).min(self.bytes.len())..at(range.end).min(self.bytes.len()))
    }

    /// The same as a copy, so that the rest of the memory can go.
    fn copy(&self, range: &Range<u64>) -> Self {
        Self { start: range.start.max(self.start), bytes: Bytes::copy_from_slice(&self.slice(range)), turn: self.turn }
    }
}

/// Parts that share one set of fields, hence one lifetime, and one strong validator where there are several.
#[derive(Debug)]
pub struct Parts {
    /// Everything but the body, as the whole would have it: status 200 and no `Content-Range`.
    entry: Entry,
    /// The length of the whole.
    complete: Option<u64>,
    /// By position; none overlaps another, none is empty.
    pieces: Vec<Piece>,
    /// Fields that must not come back from an older part.
    withheld: Vec<HeaderName>,
    /// Set for a part that is shorter than the origin said.
    contradicted: Option<Contradicted>,
}

/// How a part came that is shorter than its `Content-Range`. What arrived begins where the origin said, and
/// stays by itself: nothing is combined with the word of an origin that contradicts itself.
#[derive(Clone, Debug)]
struct Contradicted {
    /// What the client asked for: the same request may get the same answer.
    asked: RangeSpec,
    announced: ContentRange,
}

/// What a part and those stored before amount to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is matched where it is made and never kept")]
pub enum Joined {
    /// There are still gaps.
    Parts(Parts),
    /// Nothing is missing any more.
    Whole(Entry),
}

impl Parts {
    /// One part, whose bytes are the body of `entry`. `None` if there are more or fewer of them than
    /// `Content-Range` said.
    pub fn new(mut entry: Entry, part: &ContentRange, withheld: Vec<HeaderName>) -> Option<Self> {
        entry.status = StatusCode::OK;
        // It will go with other parts, and with the whole.
        entry.fields = entry.fields.select(|name| !validation::is_of_the_content(name));
        let bytes = std::mem::take(&mut entry.body).share();
        if bytes.len() as u64 != part.length() {
            return None;
        }
        let pieces = vec![Piece { start: part.range.start, bytes, turn: 0 }];
        Some(Self { entry, complete: part.complete, pieces, withheld, contradicted: None })
    }

    /// The same, where the origin had announced more bytes than it sent in answer to `asked`.
    #[must_use]
    pub fn contradicting(self, announced: ContentRange, asked: RangeSpec) -> Self {
        Self { contradicted: Some(Contradicted { asked, announced }), ..self }
    }

    /// The same parts with the fields and the lifetime of `entry`: the origin has confirmed them.
    #[must_use]
    pub fn confirmed(&self, mut entry: Entry, withheld: Vec<HeaderName>) -> Self {
        entry.body = StoredBody::default();
        let (pieces, contradicted) = (self.pieces.clone(), self.contradicted.clone());
        Self { entry, complete: self.complete, pieces, withheld, contradicted }
    }

    /// Everything but the bytes.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The length of the whole, where the origin said it.
    pub fn complete(&self) -> Option<u64> {
        self.complete
    }

    /// The part that answers a request for `asked`, and its bytes; `None` if one of them is missing.
    pub fn answer(&self, asked: RangeSpec) -> Option<(ContentRange, VecDeque<Bytes>)> {
        if let Some(contradicted) = self.contradicted.as_ref().filter(|contradicted| contradicted.asked == asked) {
            let bytes = self.pieces.iter().map(|piece| piece.bytes.clone());
            return Some((contradicted.announced.clone(), bytes.collect()));
        }
        let range = asked.within_known(self.complete)?;
        let bytes = self.cut(&range)?;
        Some((ContentRange { range, complete: self.complete }, bytes))
    }

    /// The bytes of `range`, in order; `None` if one of them is missing.
    pub fn cut(&self, range: &Range<u64>) -> Option<VecDeque<Bytes>> {
        let mut at = range.start;
        let mut slices = VecDeque::new();
        for piece in self.pieces.iter().filter(|piece| piece.start < range.end && range.start < piece.end()) {
            if piece.start > at {
                return None;
            }
            slices.push_back(piece.slice(range));
            at = piece.end();
        }
        (at >= range.end && !range.is_empty()).then_some(slices)
    }

    /// From the first missing byte to the last; `None` if the length of the whole is unknown.
    pub fn missing(&self) -> Option<Range<u64>> {
        let complete = self.complete?;
        let first = self.pieces.iter().fold(0, |at, piece| if piece.start == at { piece.end() } else { at });
        let last = self.pieces.iter().rfold(complete, |at, piece| if piece.end() == at { piece.start } else { at });
        (first < last).then_some(first..last)
    }

    /// Whether the rest can be asked for and combined with these (RFC 9111 section 3.4).
    pub fn can_be_completed(&self) -> bool {
        self.contradicted.is_none()
            && self.missing().is_some()
            && validation::strong_validator(&self.entry.fields).is_some()
    }

    /// These and no others.
    pub fn alone(self) -> Joined {
        if self.complete.is_some() && self.missing().is_none() {
            Joined::Whole(self.into_whole())
        } else {
            Joined::Parts(self)
        }
    }

    /// These, which came later, with those stored before, as far as they belong together; at most `limit`
    /// bytes. RFC 9111 section 3.4: the newer fields replace the older ones of the same name.
    #[must_use]
    pub fn joined(mut self, before: &Self, limit: u64) -> Joined {
        if !self.continues(before) {
            return self.alone();
        }
        let mut headers = validation::updates(before.entry.fields.to_map(), &self.entry.fields.to_map());
        for name in &self.withheld {
            headers.remove(name);
        }
        self.entry.fields = Fields::from_map(&headers);
        let tags = self.entry.tags().to_vec();
        self.entry.set_tags(tags::with_earlier(tags, before.entry.tags(), MAX_TAGS));
        self.complete = self.complete.or(before.complete);
        let turn = 1 + before.pieces.iter().map(|piece| piece.turn).max().unwrap_or_default();
        let newer = std::mem::replace(&mut self.pieces, before.pieces.clone());
        for piece in newer {
            self.insert(Piece { turn, ..piece });
        }
        self.shrink(turn, limit);
        self.merge_small();
        self.alone()
    }

    /// Whether these are of the same representation as those stored before.
    fn continues(&self, before: &Self) -> bool {
        let (new, old) = (&self.entry, &before.entry);
        let lengths = match (self.complete, before.complete) {
            (Some(new), Some(old)) => new == old,
            // A byte beyond the end of the whole would be of another representation.
            (Some(complete), None) => before.end() <= complete,
            (None, Some(complete)) => self.end() <= complete,
            (None, None) => true,
        };
        let more = old.tags().iter().filter(|tag| !new.tags().contains(tag)).count();
        lengths
            && self.contradicted.is_none()
            && before.contradicted.is_none()
            && new.tags().len() + more <= MAX_TAGS
            && new.selecting() == old.selecting()
            && validation::same_representation(&new.fields, &old.fields)
    }

    fn end(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::end)
    }

    /// Puts a piece in; of those that it overlaps, copies of the rest stay.
    fn insert(&mut self, new: Piece) {
        let (start, end) = (new.start, new.end());
        let mut pieces = Vec::with_capacity(self.pieces.len() + 2);
        for old in self.pieces.drain(..) {
            if old.end() <= start || end <= old.start {
                pieces.push(old);
                continue;
            }
            let rests = [old.start..start.max(old.start), end.min(old.end())..old.end()];
            pieces.extend(rests.iter().filter(|rest| !rest.is_empty()).map(|rest| old.copy(rest)));
        }
        let place = pieces.partition_point(|piece| piece.start < start);
        pieces.insert(place, new);
        self.pieces = pieces;
    }

    /// Makes one piece of small neighbours.
    fn merge_small(&mut self) {
        let mut merged: Vec<Piece> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces.drain(..) {
            match merged.last_mut() {
                Some(last) if last.end() == piece.start && last.bytes.len() + piece.bytes.len() <= JOINED => {
                    last.bytes = Bytes::from([last.bytes.as_ref(), piece.bytes.as_ref()].concat());
                    last.turn = last.turn.max(piece.turn);
                }
                _ => merged.push(piece),
            }
        }
        self.pieces = merged;
    }

    /// Drops what came first until the rest keeps the limits; what came in this turn stays.
    fn shrink(&mut self, turn: u64, limit: u64) {
        while self.pieces.len() > MAX_PIECES || self.bytes() > limit {
            let older = self.pieces.iter().enumerate().filter(|(_, piece)| piece.turn != turn);
            let Some((at, _)) = older.min_by_key(|(_, piece)| piece.turn) else { return };
            self.pieces.remove(at);
        }
    }

    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    /// The response that the pieces make up, none missing.
    fn into_whole(mut self) -> Entry {
        let body = match self.pieces.as_mut_slice() {
            [only] => std::mem::take(&mut only.bytes),
            pieces => Bytes::from(pieces.iter().map(|piece| piece.bytes.as_ref()).collect::<Vec<_>>().concat()),
        };
        self.entry.body = body.into();
        self.entry
    }

    /// Bytes it occupies, overhead included.
    pub fn weight(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| shared_weight(&piece.bytes)).sum();
        let table = allocated(self.pieces.capacity() * size_of::<Piece>());
        allocated(REFERENCE_COUNTS + size_of::<Self>()) + self.entry.weight() + table + pieces
    }
}

#[cfg(test)]
mod tests;
