//! All that is known of one URL: its stored variants and whether it was uncacheable of late.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use smallvec::SmallVec;

use crate::clock::Moment;
use crate::entry::Entry;
use crate::policy::age;
use crate::policy::vary::Selecting;

/// Tells moka when a slot has become useless; freshness itself is judged on every hit.
pub(super) struct Usefulness;

/// What is stored under one key. Slots are replaced, never changed.
#[derive(Debug)]
pub struct Slot {
    /// The most recent first.
    variants: SmallVec<[Arc<Entry>; 1]>,
    uncacheable_until: Option<Moment>,
    useful_for: Duration,
}

impl Slot {
    /// `old` with `entry` added. Entries with the same selecting fields are superseded. `None` if
    /// that would be more than `max_variants`.
    pub(super) fn with(old: Option<&Self>, entry: &Arc<Entry>, max_variants: usize, now: Moment) -> Option<Self> {
        let others = old.into_iter().flat_map(|slot| slot.others(entry.selecting(), now));
        let mut variants: SmallVec<[Arc<Entry>; 1]> = others.map(Arc::clone).collect();
        // Of those that match a request the most recent by Date is used (RFC 9111 section 4), but one
        // that is stale is not: it would keep the origin busy in the place of a fresh one.
        let place = variants.iter().position(|other| other.fresh_left(now).is_zero() || made(other) <= made(entry));
        variants.insert(place.unwrap_or(variants.len()), Arc::clone(entry));
        (variants.len() <= max_variants).then(|| Self::new(variants, None, now))
    }

    /// `old` with a hit-for-miss marker.
    pub(super) fn marked(old: Option<&Self>, until: Moment, now: Moment) -> Self {
        let variants = old.map(|slot| slot.variants.clone()).unwrap_or_default();
        Self::new(variants, Some(until), now)
    }

    /// Variants that an entry with these selecting fields leaves in place.
    pub(super) fn others(&self, selecting: &Selecting, now: Moment) -> impl Iterator<Item = &Arc<Entry>> {
        self.variants.iter().filter(move |o| o.selecting() != selecting && !o.useful_for(now).is_zero())
    }

    /// Without the entries that `keep` refuses. `None` if nothing is left.
    pub(super) fn retain(&self, keep: impl Fn(&Entry) -> bool, now: Moment) -> Option<Self> {
        let variants: SmallVec<[Arc<Entry>; 1]> = self.variants.iter().filter(|e| keep(e)).map(Arc::clone).collect();
        let empty = variants.is_empty() && self.uncacheable_until.is_none();
        (!empty).then(|| Self::new(variants, self.uncacheable_until, now))
    }

    /// The same anew, for what has changed inside its entries.
    pub(super) fn renewed(&self, now: Moment) -> Self {
        Self::new(self.variants.clone(), self.uncacheable_until, now)
    }

    fn new(variants: SmallVec<[Arc<Entry>; 1]>, uncacheable_until: Option<Moment>, now: Moment) -> Self {
        let marker = uncacheable_until.map_or(Duration::ZERO, |until| until.since(now));
        let useful_for = variants.iter().map(|entry| entry.useful_for(now)).fold(marker, Duration::max);
        Self { variants, uncacheable_until, useful_for }
    }

    /// The most recent variant whose selecting fields match the request (RFC 9111 section 4.1), or else
    /// the most recent in the language that it likes best, or in a coding that it likes as well as any.
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        let matching = self.variants.iter().find(|entry| entry.selecting().matches(request));
        let negotiated = |entry: &&Arc<Entry>| {
            let (selecting, response) = (entry.selecting(), &entry.content().headers);
            selecting.speaks(response, request) || selecting.unpacks(response, request)
        };
        matching.or_else(|| self.variants.iter().find(negotiated))
    }

    /// Every variant, the most recent first.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.variants
    }

    /// Whether the URL was found uncacheable a moment ago.
    pub fn is_uncacheable(&self, now: Moment) -> bool {
        self.uncacheable_until.is_some_and(|until| now < until)
    }

    /// How long from its making the slot can be of use.
    pub(super) fn useful_for(&self) -> Duration {
        self.useful_for
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.variants.iter().map(|entry| entry.weight()).sum::<usize>()
    }
}

/// When the origin made it.
fn made(entry: &Entry) -> Option<SystemTime> {
    age::date(&entry.content().headers, &DATE).and_then(Result::ok)
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderValue, Method, StatusCode};

    use super::*;
    use crate::bus::Seq;
    use crate::entry::{Content, Provenance};
    use crate::policy::Rules;
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
        let content = Content { status: StatusCode::OK, headers, body: bytes::Bytes::new() };
        let provenance =
            Provenance { born: Seq::default(), received: at(received), fetch_time: Duration::ZERO, jitter: 0.0 };
        Arc::new(Entry::new(storable, content, selecting, Vec::new(), "r".into(), provenance))
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
}
