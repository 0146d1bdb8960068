//! L1: stored responses in the memory of this process. The only module that names moka.

mod expiry;
mod front;
mod search;
mod slot;
mod table;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Clock, Moment};
use crate::entry::{Entry, Parts};
use crate::key::{self, Key};
use crate::policy::coding::Coding;
use crate::policy::search::Variance;
use crate::policy::vary::Selecting;
use crate::telemetry::metrics::L1Metrics;

pub use expiry::Expiry;
use search::Searches;
pub use slot::Slot;
use table::{Change, Table};

/// Bounds of L1.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes, overhead included.
    pub max_bytes: u64,
    /// URLs; with 0, only what is stale is kept, and only what is uncacheable remembered.
    pub max_entries: u64,
    /// Variants of one URL.
    pub max_variants: usize,
    /// Threads that look things up, about: each holds a few slots of its own.
    pub threads: usize,
}

/// What became of an entry offered to L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is in, perhaps in place of an older one, or is not to be kept here.
    Kept,
    /// The URL has too many variants already.
    TooManyVariants,
}

/// The in-process tier: all variants of a URL under one key, weighed in bytes.
pub struct L1 {
    table: Arc<Table>,
    searches: Searches,
    bounds: Bounds,
}

impl L1 {
    /// An empty L1.
    pub fn new(bounds: Bounds, metrics: &L1Metrics) -> Self {
        let [evicted, expired] = ["size", "expired"].map(|cause| metrics.evictions.with_label_values(&[cause]));
        let table = Arc::new(Table::new(&bounds, evicted, expired));
        Self { table, searches: Searches::new(bounds.max_bytes), bounds }
    }

    /// From now on what becomes useless is removed, for as long as the result is held. An error if the system has no thread
    /// for it.
    pub fn expire(&self, clock: Clock) -> io::Result<Expiry> {
        Expiry::start(Arc::clone(&self.table), clock)
    }

    /// Notes that a response with this `No-Vary-Search` is stored under `key`.
    pub fn learn(&self, key: &Key, variance: &Variance) {
        self.searches.learn(key, variance);
    }

    /// Other keys under which there may be a response that is good for `key`, if it says this.
    pub fn equivalents(&self, key: &[u8]) -> impl IntoIterator<Item = (Key, Variance)> {
        self.searches.equivalents(key)
    }

    /// Everything stored under a key, compared byte by byte.
    pub fn find(&self, key: &[u8]) -> Option<Slot> {
        self.table.find(key)
    }

    /// The same for what was not there a moment ago: if it still is not, that costs less, and does not count as a use.
    pub fn find_again(&self, key: &[u8]) -> Option<Slot> {
        self.table.peek(key)
    }

    /// Stores an entry in place of those it supersedes, and ends a hit-for-miss marker.
    pub fn store(&self, key: &Key, entry: &Arc<Entry>, now: Moment) -> Stored {
        if self.keeps_no_responses() && !entry.fresh_left(now).is_zero() {
            // Redis has it. What is stale is kept, or clients would wait for its refresh, or ask an origin that failed a
            // moment ago; that ends now, and so does a marker.
            if self.table.peek(key.as_bytes()).is_some() {
                self.table.change(key.as_bytes(), |_| Change::Remove);
            }
            return Stored::Kept;
        }
        self.offer(key, |old| Slot::with(old, entry, self.bounds.max_variants, now))
    }

    /// Stores a part of a response, joined with those of the same representation that are `valid`: at most
    /// `max_bytes` of them. A hit-for-miss marker stays, unless the whole is complete with it.
    pub fn store_part(
        &self,
        key: &Key,
        part: Parts,
        max_bytes: u64,
        now: Moment,
        valid: impl Fn(&Entry) -> bool,
    ) -> Stored {
        if self.keeps_no_responses() {
            return Stored::Kept;
        }
        let terms = slot::Terms { max_variants: self.bounds.max_variants, max_bytes, valid };
        self.offer(key, |old| Slot::with_part(old, part, &terms, now))
    }

    fn keeps_no_responses(&self) -> bool {
        self.bounds.max_entries == 0
    }

    fn offer(&self, key: &Key, with: impl FnOnce(Option<&Slot>) -> Option<Slot>) -> Stored {
        let mut verdict = Stored::Kept;
        self.table.change(key.as_bytes(), |old| match with(old) {
            Some(slot) => Change::Put(slot),
            None => {
                verdict = Stored::TooManyVariants;
                Change::Keep
            }
        });
        verdict
    }

    /// Remembers a URL as uncacheable until `until`, keeping its other variants.
    pub fn mark_uncacheable(&self, key: &Key, until: Moment) {
        self.mark(key, slot::Marker { until, too_large: false });
    }

    /// The same for one whose body is too large to be stored as a whole; parts of it may still be.
    pub fn mark_too_large(&self, key: &Key, until: Moment) {
        self.mark(key, slot::Marker { until, too_large: true });
    }

    fn mark(&self, key: &Key, marker: slot::Marker) {
        self.table.change(key.as_bytes(), |old| Change::Put(Slot::marked(old, marker)));
    }

    /// Hangs a coded body on an entry, if that is still stored and there is room. A slot is weighed when it is put in, so it
    /// is put in once more; nobody else changes it meanwhile.
    pub fn attach(&self, key: &Key, entry: &Arc<Entry>, coding: Coding, body: Bytes) -> bool {
        let mut attached = false;
        self.table.change(key.as_bytes(), |old| {
            let Some(slot) = old else { return Change::Keep };
            // A slot that outgrew the whole of L1 would be evicted, original and all.
            let fits = (slot.weight() + body.len()) as u64 <= self.bounds.max_bytes / 2;
            if !fits || !slot.entries().iter().any(|kept| Arc::ptr_eq(kept, entry)) {
                return Change::Keep;
            }
            entry.attach(coding, body);
            attached = true;
            Change::Put(slot.renewed())
        });
        attached
    }

    /// Drops the entries of one key for which `keep` is false.
    pub fn retain(&self, key: &Key, keep: impl Fn(&Entry) -> bool) {
        self.retain_under(key.as_bytes(), keep);
    }

    fn retain_under(&self, key: &[u8], keep: impl Fn(&Entry) -> bool) {
        self.table.change(key, |old| match old.map(|old| old.retain(&keep)) {
            Some(Some(slot)) => Change::Put(slot),
            Some(None) => Change::Remove,
            None => Change::Keep,
        });
    }

    /// Counts the entries of one key that `matches`, and drops them if told to.
    pub fn reclaim(&self, key: &[u8], drop: bool, matches: impl Fn(&Entry) -> bool) -> u64 {
        let Some(slot) = self.table.peek(key) else { return 0 };
        let count = slot.all().filter(|entry| matches(entry)).count() as u64;
        if drop && count > 0 {
            self.retain_under(key, |entry| !matches(entry));
        }
        count
    }

    /// The same for all of L1. Takes time in proportion to its size.
    pub fn sweep(&self, drop: bool, matches: impl Fn(&str, &Entry) -> bool) -> u64 {
        let keys = self.table.iter().map(|(key, _)| key);
        keys.map(|key| self.reclaim(&key, drop, |entry| matches(key::url_of(&key), entry))).sum()
    }

    /// Whether one more variant with these selecting fields fits under the key.
    pub fn has_room(&self, key: &Key, selecting: &Selecting, now: Moment) -> bool {
        let slot = self.table.peek(key.as_bytes());
        slot.is_none_or(|slot| slot.count_others(selecting, now) < self.bounds.max_variants)
    }

    /// URLs stored and their weight in bytes, as of moka's last maintenance.
    pub fn size(&self) -> (u64, u64) {
        self.table.size()
    }
}

#[cfg(test)]
mod tests {
    use super::slot::tests::{at, dated, part};
    use super::*;
    use crate::key::MethodClass;
    use crate::telemetry::metrics::Metrics;

    const MAX_BYTES: u64 = 100_000;

    fn l1() -> (L1, Key) {
        let bounds = Bounds { max_bytes: MAX_BYTES, max_entries: MAX_BYTES, max_variants: 2, threads: 1 };
        (L1::new(bounds, &Metrics::new().unwrap().l1), Key::of_url("http://h/a", MethodClass::Get))
    }

    #[test]
    fn where_no_responses_are_kept_what_is_stale_stays_and_markers_end_as_they_should() {
        let bounds = Bounds { max_bytes: MAX_BYTES, max_entries: 0, max_variants: 2, threads: 1 };
        let (l1, key) = (L1::new(bounds, &Metrics::new().unwrap().l1), l1().1);
        let entry = dated("x-a", 36, 1);
        let (fresh, stale) = (at(1), at(100));
        assert_eq!(l1.store(&key, &entry, fresh), Stored::Kept);
        assert!(l1.find(key.as_bytes()).is_none());
        l1.store(&key, &entry, stale);
        assert_eq!(l1.find(key.as_bytes()).unwrap().entries().len(), 1);
        l1.store(&key, &entry, fresh);
        assert!(l1.find(key.as_bytes()).is_none(), "a fresh one took its place, and is in Redis");
        l1.mark_too_large(&key, at(200));
        l1.store_part(&key, part("x-a", 0..4), 100, fresh, |_| true);
        assert!(l1.find(key.as_bytes()).unwrap().is_too_large(fresh), "a part ends no marker");
        l1.store(&key, &entry, fresh);
        assert!(l1.find(key.as_bytes()).is_none(), "the whole does");
    }

    fn body(length: usize) -> Bytes {
        vec![0; length].into()
    }

    #[test]
    fn a_coded_body_is_weighed_from_the_moment_it_is_there() {
        let (l1, key) = l1();
        let (first, second) = (dated("x-a", 36, 1), dated("x-b", 37, 1));
        for entry in [&first, &second] {
            l1.store(&key, entry, at(1));
        }
        let before = l1.size().1;
        assert!(l1.attach(&key, &first, Coding::Gzip, body(20_000)));
        let after = l1.size().1;
        assert!((before + 20_000..before + 21_000).contains(&after), "{before} {after}");
        assert_eq!(l1.find(key.as_bytes()).unwrap().entries().len(), 2, "its neighbour stays");
        l1.retain(&key, |entry| !std::ptr::eq(entry, &raw const *first));
        assert!(l1.size().1 < before, "it goes with its entry");
    }

    #[test]
    fn a_form_is_begun_by_one_alone_unless_that_one_puts_it_off() {
        let entry = dated("x-a", 36, 1);
        assert!(entry.begin_coding(Coding::Gzip) && !entry.begin_coding(Coding::Gzip));
        assert!(entry.begin_coding(Coding::Brotli), "each coding by itself");
        entry.put_off_coding(Coding::Gzip);
        assert!(entry.begin_coding(Coding::Gzip) && !entry.begin_coding(Coding::Brotli));
        entry.attach(Coding::Zstd, body(1));
        assert!(!entry.begin_coding(Coding::Zstd), "it is there");
    }

    #[test]
    fn nothing_is_hung_on_an_entry_that_is_no_longer_stored() {
        let (l1, key) = l1();
        let (old, new) = (dated("x-a", 36, 1), dated("x-a", 37, 1));
        assert!(!l1.attach(&key, &old, Coding::Gzip, body(1)), "never stored");
        l1.store(&key, &old, at(1));
        l1.store(&key, &new, at(1));
        assert!(!l1.attach(&key, &old, Coding::Gzip, body(1)), "replaced");
        assert!(old.coded(Coding::Gzip).is_none() && new.coded(Coding::Gzip).is_none());
    }

    #[test]
    fn a_slot_does_not_outgrow_l1_by_its_forms() {
        let (l1, key) = l1();
        let entry = dated("x-a", 36, 1);
        l1.store(&key, &entry, at(1));
        let most = usize::try_from(MAX_BYTES / 2).unwrap();
        assert!(!l1.attach(&key, &entry, Coding::Gzip, body(most)));
        assert!(l1.attach(&key, &entry, Coding::Gzip, body(most / 2)));
        assert!(!l1.attach(&key, &entry, Coding::Brotli, body(most / 2)), "both forms count");
    }
}
