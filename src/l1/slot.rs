//! All that is known of one URL: its stored variants and whether it was uncacheable of late.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::DATE;
use smallvec::SmallVec;

use crate::clock::Moment;
use crate::entry::{Entry, Joined, Parts, allocated};
use crate::policy::dates;
use crate::policy::validation;
use crate::policy::vary::Selecting;

/// What is stored under one key. Slots are replaced, never changed.
#[derive(Clone, Debug)]
pub struct Slot(Held);

/// Most keys have one response and nothing else: for that a slot takes no memory besides moka's.
#[derive(Clone, Debug)]
enum Held {
    One(Arc<Entry>),
    Several(Arc<Several>),
}

#[derive(Debug)]
struct Several {
    /// The most recent first.
    variants: Variants,
    /// Parts of variants that are not stored as a whole.
    parts: Vec<Arc<Parts>>,
    marker: Option<Marker>,
}

impl Several {
    /// Bytes of what is not in its entries.
    fn handles(&self) -> usize {
        let handle = size_of::<Arc<Entry>>();
        allocated(2 * handle + size_of::<Self>())
            + if self.variants.spilled() { allocated(self.variants.capacity() * handle) } else { 0 }
            + allocated(self.parts.capacity() * handle)
    }
}

type Variants = SmallVec<[Arc<Entry>; 1]>;

/// Why the URL is not worth waiting for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marker {
    pub(super) until: Moment,
    /// Whether it is because the whole is too large to store, which a part of it need not be.
    pub(super) too_large: bool,
}

/// What a part is stored by.
pub(super) struct Terms<V> {
    pub(super) max_variants: usize,
    /// Bytes in the parts of one variant.
    pub(super) max_bytes: u64,
    /// Whether no purge came after what is stored.
    pub(super) valid: V,
}

impl Slot {
    /// `old` with `entry` added. Entries with the same selecting fields are superseded. `None` if
    /// that would be more than `max_variants`.
    pub(super) fn with(old: Option<&Self>, entry: &Arc<Entry>, max_variants: usize, now: Moment) -> Option<Self> {
        let others = old.into_iter().flat_map(|slot| slot.others(entry.selecting(), now));
        let mut variants: Variants = others.map(Arc::clone).collect();
        // Of those that match a request the most recent by Date is used (RFC 9111 section 4), but one
        // that is stale is not: it would keep the origin busy in the place of a fresh one.
        let more_recent = |other: &Entry| made(other).zip(made(entry)).is_some_and(|(other, new)| other > new);
        let place = variants.iter().position(|other| other.fresh_left(now).is_zero() || !more_recent(other));
        variants.insert(place.unwrap_or(variants.len()), Arc::clone(entry));
        // The whole takes the place of its parts.
        let parts: Vec<_> =
            old.into_iter().flat_map(|slot| slot.other_parts(entry.selecting(), now)).cloned().collect();
        (variants.len() + parts.len() <= max_variants).then(|| Self::new(variants, parts, None))
    }

    /// `old` with a part added, joined with those stored before if they belong together; the whole, if
    /// nothing is missing any more. `None` if there are too many variants.
    pub(super) fn with_part(
        old: Option<&Self>,
        part: Parts,
        terms: &Terms<impl Fn(&Entry) -> bool>,
        now: Moment,
    ) -> Option<Self> {
        let selecting = part.entry().selecting();
        // A part that comes late must not outlive what is newer.
        let newer = old.into_iter().flat_map(Slot::entries).any(|whole| {
            let fields = (whole.fields(), part.entry().fields());
            whole.selecting() == selecting
                && (terms.valid)(whole)
                && !whole.fresh_left(now).is_zero()
                && !validation::same_representation(fields.0, fields.1)
        });
        if newer {
            return old.map(Slot::renewed);
        }
        let before = old.and_then(|slot| slot.parts().iter().find(|parts| parts.entry().selecting() == selecting));
        let others = |slot: &Self| slot.other_parts(selecting, now).cloned().collect::<Vec<_>>();
        let mut parts = old.map(others).unwrap_or_default();
        let joined = match before.filter(|before| (terms.valid)(before.entry())) {
            Some(before) => part.joined(before, terms.max_bytes),
            None => part.alone(),
        };
        match joined {
            Joined::Whole(entry) => Self::with(old, &Arc::new(entry), terms.max_variants, now),
            Joined::Parts(joined) => {
                // A whole that was purged has nothing to say any more, and takes no place.
                let stands =
                    |entry: &&Arc<Entry>| entry.selecting() != joined.entry().selecting() || (terms.valid)(entry);
                let wholes = old.map_or(&[][..], Slot::entries);
                let variants: Variants = wholes.iter().filter(stands).cloned().collect();
                parts.push(Arc::new(joined));
                let fits = variants.len() + parts.len() <= terms.max_variants;
                fits.then(|| Self::new(variants, parts, old.and_then(Slot::marker)))
            }
        }
    }

    /// `old` with a hit-for-miss marker.
    pub(super) fn marked(old: Option<&Self>, marker: Marker) -> Self {
        let (variants, parts) = old.map(|slot| (slot.entries().into(), slot.parts().to_vec())).unwrap_or_default();
        Self::new(variants, parts, Some(marker))
    }

    /// Variants that an entry with these selecting fields leaves in place.
    pub(super) fn others(&self, selecting: &Selecting, now: Moment) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries().iter().filter(move |o| o.selecting() != selecting && !o.useful_for(now).is_zero())
    }

    /// Parts that a part or a whole with these selecting fields leaves in place.
    fn other_parts(&self, selecting: &Selecting, now: Moment) -> impl Iterator<Item = &Arc<Parts>> {
        self.parts().iter().filter(move |parts| {
            let entry = parts.entry();
            entry.selecting() != selecting && !entry.useful_for(now).is_zero()
        })
    }

    /// How many variants, in whole or in part, one with these selecting fields leaves in place.
    pub(super) fn count_others(&self, selecting: &Selecting, now: Moment) -> usize {
        self.others(selecting, now).count() + self.other_parts(selecting, now).count()
    }

    /// Without the entries that `keep` refuses. `None` if nothing is left.
    pub(super) fn retain(&self, keep: impl Fn(&Entry) -> bool) -> Option<Self> {
        let variants: Variants = self.entries().iter().filter(|e| keep(e)).map(Arc::clone).collect();
        let parts: Vec<_> = self.parts().iter().filter(|parts| keep(parts.entry())).map(Arc::clone).collect();
        let empty = variants.is_empty() && parts.is_empty() && self.marker().is_none();
        (!empty).then(|| Self::new(variants, parts, self.marker()))
    }

    fn new(variants: Variants, parts: Vec<Arc<Parts>>, marker: Option<Marker>) -> Self {
        Self(match variants.as_slice() {
            [only] if parts.is_empty() && marker.is_none() => Held::One(Arc::clone(only)),
            _ => Held::Several(Arc::new(Several { variants, parts, marker })),
        })
    }

    /// The same anew, for what has changed inside its entries.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.entries().into(), self.parts().to_vec(), self.marker())
    }

    /// The most recent variant whose selecting fields match the request (RFC 9111 section 4.1), or else
    /// the most recent in the language that it likes best, or in a coding that it likes as well as any.
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        Some(&self.entries()[self.position(request)?])
    }

    /// Where [`select`](Self::select) finds it among the [entries](Self::entries).
    pub fn position(&self, request: &HeaderMap) -> Option<usize> {
        let negotiated = |entry: &Arc<Entry>| {
            let (selecting, response) = (entry.selecting(), entry.fields());
            selecting.speaks(response, request) || selecting.unpacks(response, request)
        };
        self.exact_position(request).or_else(|| self.entries().iter().position(negotiated))
    }

    /// The most recent variant whose selecting fields match the request: that which it would have brought.
    pub fn select_exactly(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        Some(&self.entries()[self.exact_position(request)?])
    }

    fn exact_position(&self, request: &HeaderMap) -> Option<usize> {
        self.entries().iter().position(|entry| entry.selecting().matches(request))
    }

    /// One of its [entries](Self::entries): a slot that has no other gives it away, instead of a share in it.
    pub fn into_entry(self, at: usize) -> Arc<Entry> {
        match self.0 {
            Held::One(entry) => entry,
            Held::Several(several) => Arc::clone(&several.variants[at]),
        }
    }

    /// The parts of the variant that matches the request.
    pub fn select_parts(&self, request: &HeaderMap) -> Option<&Arc<Parts>> {
        self.parts().iter().find(|parts| parts.entry().selecting().matches(request))
    }

    /// Everything stored, in whole or in part.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries().iter().map(|entry| &**entry).chain(self.parts().iter().map(|parts| parts.entry()))
    }

    /// Every variant that is stored as a whole, the most recent first.
    pub fn entries(&self) -> &[Arc<Entry>] {
        match &self.0 {
            Held::One(entry) => std::slice::from_ref(entry),
            Held::Several(several) => &several.variants,
        }
    }

    fn several(&self) -> Option<&Several> {
        match &self.0 {
            Held::One(_) => None,
            Held::Several(several) => Some(several),
        }
    }

    fn parts(&self) -> &[Arc<Parts>] {
        self.several().map_or(&[], |several| &several.parts)
    }

    fn marker(&self) -> Option<Marker> {
        self.several()?.marker
    }

    /// Whether the URL was found uncacheable a moment ago.
    pub fn is_uncacheable(&self, now: Moment) -> bool {
        self.marker().is_some_and(|marker| now < marker.until)
    }

    /// Whether that was because of its size alone.
    pub fn is_too_large(&self, now: Moment) -> bool {
        self.marker().is_some_and(|marker| now < marker.until && marker.too_large)
    }

    /// Whether anything of it can be of use.
    pub(super) fn is_useful(&self, now: Moment) -> bool {
        self.is_uncacheable(now) || self.all().any(|entry| !entry.useful_for(now).is_zero())
    }

    pub(super) fn weight(&self) -> usize {
        let variants: usize = self.entries().iter().map(|entry| entry.weight()).sum();
        let several = self.several().map_or(0, Several::handles);
        several + variants + self.parts().iter().map(|parts| parts.weight()).sum::<usize>()
    }
}

/// When the origin made it, if its `Date` tells.
fn made(entry: &Entry) -> Option<SystemTime> {
    dates::timeless_date(entry.fields(), &DATE)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Method, StatusCode};

    use super::*;
    use crate::bus::Seq;
    use crate::entry::{Content, Fields, Provenance};
    use crate::policy::Rules;
    use crate::policy::ranges::ContentRange;
    use crate::policy::storability::{Exchange, ResponseVerdict, judge_response};

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const ARRIVAL: Duration = Duration::from_secs(784_111_777);

    pub(in crate::l1) fn at(second: u64) -> Moment {
        Moment::from_micros(second * 1_000_000)
    }

    /// A response that is fresh for a minute, selected by this field, dated this second of that minute.
    pub(in crate::l1) fn dated(field: &'static str, second: u32, received: u64) -> Arc<Entry> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
        headers.insert("vary", HeaderValue::from_static(field));
        let date = format!("Sun, 06 Nov 1994 08:49:{second:02} GMT");
        headers.insert(DATE, HeaderValue::try_from(date).unwrap());
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &HeaderMap::new(),
            status: StatusCode::OK,
            response_headers: &headers,
            received_at: SystemTime::UNIX_EPOCH + ARRIVAL,
            response_delay: Duration::ZERO,
        };
        let ResponseVerdict::Storable(storable) = judge_response(&Rules::default(), &exchange) else {
            panic!("it has a lifetime")
        };
        let selecting = Selecting::new(storable.vary.names(), &HeaderMap::new());
        let content = Content { status: StatusCode::OK, fields: Fields::from_map(&headers), body: bytes::Bytes::new() };
        let provenance =
            Provenance { born: Seq::default(), received: at(received), fetch_time: Duration::ZERO, jitter: 0.0 };
        Arc::new(Entry::new(storable, content, selecting, Vec::new(), "r", provenance))
    }

    /// One with a body of so many bytes.
    pub(in crate::l1) fn sized(length: usize) -> Arc<Entry> {
        let model = dated("x-a", 36, 1);
        let body = bytes::Bytes::from(vec![0; length]);
        let content = Content { status: model.status(), fields: model.fields().clone(), body };
        let (lifetimes, selecting) = (model.lifetimes(), model.selecting().clone());
        let provenance = Provenance { born: Seq::default(), received: at(1), fetch_time: Duration::ZERO, jitter: 0.0 };
        Arc::new(Entry::restored(&lifetimes, content, selecting, Vec::new(), "r", provenance))
    }

    fn selected(first: &Arc<Entry>, second: &Arc<Entry>, now: u64) -> Arc<Entry> {
        let slot = Slot::with(None, first, 9, at(now)).unwrap();
        let slot = Slot::with(Some(&slot), second, 9, at(now)).unwrap();
        assert_eq!(slot.entries().len(), 2);
        Arc::clone(slot.select(&HeaderMap::new()).unwrap())
    }

    #[test]
    fn of_those_that_match_the_most_recent_by_date_is_selected_whichever_came_first() {
        let (older, newer) = (dated("x-a", 36, 1), dated("x-b", 37, 1));
        assert!(Arc::ptr_eq(&selected(&older, &newer, 1), &newer));
        assert!(Arc::ptr_eq(&selected(&newer, &older, 1), &newer));
        let same = dated("x-c", 37, 1);
        assert!(Arc::ptr_eq(&selected(&newer, &same, 1), &same), "of one second, the one that came last");
    }

    #[test]
    fn what_is_stale_gives_way_to_what_comes_with_an_earlier_date() {
        let (newer, older) = (dated("x-a", 37, 1), dated("x-b", 36, 62));
        assert!(Arc::ptr_eq(&selected(&newer, &older, 62), &older));
    }

    /// The bytes of this range of ten zeros, selected by this field.
    pub(in crate::l1) fn part(field: &'static str, range: std::ops::Range<u64>) -> Parts {
        let mut entry = Arc::into_inner(dated(field, 36, 1)).unwrap();
        let length = usize::try_from(range.end - range.start).unwrap();
        let mut headers = entry.fields().to_map();
        headers.insert("etag", HeaderValue::from_static("\"1\""));
        let body = bytes::Bytes::from(vec![0; length]);
        let content = Content { status: entry.status(), fields: Fields::from_map(&headers), body };
        let (lifetimes, selecting) = (entry.lifetimes(), entry.selecting().clone());
        let provenance = Provenance { born: Seq::default(), received: at(1), fetch_time: Duration::ZERO, jitter: 0.0 };
        entry = Entry::restored(&lifetimes, content, selecting, Vec::new(), "r", provenance);
        Parts::new(entry, &ContentRange { range, complete: Some(10) }, Vec::new()).unwrap()
    }

    fn terms(max_variants: usize, valid: bool) -> Terms<impl Fn(&Entry) -> bool> {
        Terms { max_variants, max_bytes: 100, valid: move |_: &Entry| valid }
    }

    fn holds(slot: &Slot, range: std::ops::Range<u64>) -> bool {
        slot.select_parts(&HeaderMap::new()).is_some_and(|parts| parts.cut(&range).is_some())
    }

    #[test]
    fn parts_from_before_a_purge_are_not_joined() {
        for (valid, joined) in [(true, true), (false, false)] {
            let slot = Slot::with_part(None, part("x-a", 0..4), &terms(9, true), at(1)).unwrap();
            let slot = Slot::with_part(Some(&slot), part("x-a", 4..8), &terms(9, valid), at(1)).unwrap();
            assert_eq!((holds(&slot, 4..8), holds(&slot, 0..8)), (true, joined));
        }
    }

    #[test]
    fn the_whole_takes_the_place_of_its_parts_and_of_no_others() {
        let slot = Slot::with_part(None, part("x-a", 0..4), &terms(9, true), at(1)).unwrap();
        let slot = Slot::with_part(Some(&slot), part("x-b", 0..4), &terms(9, true), at(1)).unwrap();
        let slot = Slot::with(Some(&slot), &dated("x-a", 36, 1), 9, at(1)).unwrap();
        assert_eq!((slot.entries().len(), slot.parts().len(), slot.all().count()), (1, 1, 2));
        let slot = Slot::with_part(Some(&slot), part("x-b", 4..10), &terms(9, true), at(1)).unwrap();
        assert_eq!((slot.entries().len(), slot.parts().len()), (2, 0), "the last part made it whole");
        assert!(slot.entries().iter().any(|entry| entry.body().len() == 10));
    }

    #[test]
    fn parts_count_as_a_variant_weigh_what_they_hold_and_are_dropped_like_one() {
        let slot = Slot::with_part(None, part("x-a", 0..4), &terms(1, true), at(1)).unwrap();
        assert!(Slot::with_part(Some(&slot), part("x-b", 0..4), &terms(1, true), at(1)).is_none());
        assert!(Slot::with(Some(&slot), &dated("x-b", 36, 1), 1, at(1)).is_none());
        let more = Slot::with_part(Some(&slot), part("x-a", 5..9), &terms(1, true), at(1)).unwrap();
        assert!(more.weight() >= slot.weight() + 4);
        let end = 1 + part("x-a", 0..4).entry().useful_for(at(1)).as_secs();
        assert!(slot.is_useful(at(end - 1)) && !slot.is_useful(at(end)));
        assert!(slot.retain(|_| false).is_none());
        let purged = Slot::with(None, &dated("x-a", 36, 1), 1, at(1)).unwrap();
        let slot = Slot::with_part(Some(&purged), part("x-a", 0..4), &terms(1, false), at(1)).unwrap();
        assert!(slot.entries().is_empty() && holds(&slot, 0..4), "what was purged takes no place");
    }

    #[test]
    fn a_marker_keeps_parts_and_says_whether_size_is_the_reason() {
        let slot = Slot::with_part(None, part("x-a", 0..4), &terms(9, true), at(1)).unwrap();
        for too_large in [true, false] {
            let marked = Slot::marked(Some(&slot), Marker { until: at(5), too_large });
            let marked = Slot::with_part(Some(&marked), part("x-a", 4..8), &terms(9, true), at(1)).unwrap();
            assert!(holds(&marked, 0..8));
            assert_eq!((marked.is_uncacheable(at(4)), marked.is_too_large(at(4))), (true, too_large));
            assert!(!marked.is_uncacheable(at(5)) && !marked.is_too_large(at(5)));
        }
    }
}
