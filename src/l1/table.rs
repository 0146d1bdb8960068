//! The table of L1: what stands under a key, who may change it, and what gives way when there is no room.
//!
//! moka evicts by TinyLFU: a newcomer takes the place of what is used least only if it is asked for more often. What has
//! become useless is removed by [`expiry`](super::expiry), or it would keep newcomers out.

use std::sync::Arc;

use ahash::RandomState;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use parking_lot::Mutex;
use prometheus::IntCounter;

use super::front::{Changes, Fronts};
use super::{Bounds, Slot};
use crate::clock::Moment;
use crate::entry::allocated;

/// What a key costs beyond its text and its slot, in the allocator's sizes: moka's two halves of an entry (64 and 48
/// bytes), its place in the queue and what points to that (32 and 48), its share of the hash table (33), the handle of
/// the key (32), and about 16 of the allocator's own books.
const PLACE: usize = 64 + 48 + 32 + 48 + 33 + 32 + 16;

/// Changes of this many keys can be worked out at the same time.
const TURNS: usize = 256;

/// What becomes of what stands under a key.
pub(super) enum Change {
    /// This takes its place.
    Put(Slot),
    /// It stays as it is.
    Keep,
    /// It goes.
    Remove,
}

/// Slots by key.
pub(super) struct Table {
    cache: Cache<Box<[u8]>, Slot, RandomState>,
    /// Whoever changes a slot works out the new one from the old one: one at a time for each key. Readers do not wait for
    /// it. (moka's own locks are made and dropped for each change.)
    turns: [Mutex<()>; TURNS],
    hasher: RandomState,
    fronts: Fronts,
    changes: Arc<Changes>,
    expired: IntCounter,
}

fn weight(key: &[u8], slot: &Slot) -> u64 {
    (slot.weight() + PLACE + allocated(key.len())) as u64
}

impl Table {
    /// An empty table. Counts what leaves for want of room, and what leaves because it has become useless.
    pub(super) fn new(bounds: &Bounds, evicted: IntCounter, expired: IntCounter) -> Self {
        // A slot weighs at least its share of the cap, which bounds the number of slots as well.
        let least = bounds.max_bytes.checked_div(bounds.max_entries).unwrap_or(0);
        let hasher = RandomState::new();
        let changes = Changes::new();
        let left = Arc::clone(&changes);
        let cache = Cache::<Box<[u8]>, Slot>::builder()
            .name("l1")
            .max_capacity(bounds.max_bytes)
            .weigher(move |key, slot| u32::try_from(weight(key, slot).max(least)).unwrap_or(u32::MAX))
            .eviction_listener(move |key, _slot, cause| {
                // What is replaced or removed is noted by whoever changes it.
                if cause == RemovalCause::Size {
                    evicted.inc();
                    left.note(&key);
                }
            })
            .build_with_hasher(hasher.clone());
        let fronts = Fronts::new(bounds.max_bytes / bounds.threads.max(1) as u64, Arc::clone(&changes));
        Self { cache, turns: [const { Mutex::new(()) }; TURNS], hasher, fronts, changes, expired }
    }

    /// What stands under a key, compared byte by byte. Counts as a use, or as much of one as a front lets through.
    pub(super) fn find(&self, key: &[u8]) -> Option<Slot> {
        self.fronts.find(key, || self.cache.get(key))
    }

    /// The same, which does not count where nothing is found.
    pub(super) fn peek(&self, key: &[u8]) -> Option<Slot> {
        if self.cache.contains_key(key) { self.cache.get(key) } else { None }
    }

    /// Changes what stands under a key. Nobody else changes it meanwhile, but it may have to give way.
    pub(super) fn change(&self, key: &[u8], change: impl FnOnce(Option<&Slot>) -> Change) {
        let turn = self.hasher.hash_one(key) % TURNS as u64;
        // Dropped when the next may begin: it may be megabytes.
        let old;
        let _turn = self.turns[usize::try_from(turn).unwrap_or_default()].lock();
        old = self.peek(key);
        match change(old.as_ref()) {
            Change::Put(slot) => self.cache.insert(key.into(), slot),
            Change::Remove => self.cache.invalidate(key),
            Change::Keep => return,
        }
        self.changes.note(key);
    }

    /// Removes what stands under a key if it has become useless.
    pub(super) fn expire(&self, key: &[u8], now: Moment) {
        let mut useless = false;
        self.change(key, |old| {
            useless = old.is_some_and(|slot| !slot.is_useful(now));
            if useless { Change::Remove } else { Change::Keep }
        });
        // Once it is gone: whoever sees it counted does not see it stored.
        if useless {
            self.expired.inc();
        }
    }

    /// Every key, and what stands under it. Does not count as a use.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Arc<Box<[u8]>>, Slot)> {
        self.cache.iter()
    }

    /// Keys, about: as of moka's last maintenance.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.cache.entry_count()).unwrap_or(usize::MAX)
    }

    /// Keys and their weight.
    pub(super) fn size(&self) -> (u64, u64) {
        self.cache.run_pending_tasks();
        (self.cache.entry_count(), self.cache.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::slot::tests::{at, dated, sized};
    use super::*;
    use crate::entry::Entry;
    use crate::key::{Key, MethodClass};

    fn counted(max_bytes: u64) -> (Table, IntCounter) {
        let bounds = Bounds { max_bytes, max_entries: u64::MAX, max_variants: 100, threads: 1 };
        let [evicted, expired] = ["evicted", "expired"].map(|name| IntCounter::new(name, name).unwrap());
        (Table::new(&bounds, evicted.clone(), expired), evicted)
    }

    fn table(max_bytes: u64) -> Table {
        counted(max_bytes).0
    }

    fn key(number: usize) -> Box<[u8]> {
        Key::of_url(&format!("http://h/{number}"), MethodClass::Get).as_bytes().into()
    }

    fn put(table: &Table, number: usize, entry: &Arc<Entry>) {
        table.change(&key(number), |_| Slot::with(None, entry, 1, at(1)).map_or(Change::Keep, Change::Put));
    }

    /// Asks for an object as a client would, and stores it if it is not there.
    fn ask(table: &Table, number: usize, entry: &Arc<Entry>) -> bool {
        let found = table.find(&key(number)).is_some();
        if !found {
            put(table, number, entry);
        }
        found
    }

    #[test]
    fn no_more_is_held_than_the_cap_and_what_leaves_is_counted() {
        let (table, evicted) = counted(1 << 20);
        for number in 0..5000 {
            put(&table, number, &sized(number % 3000));
            assert!(table.size().1 <= 1 << 20);
        }
        let (held, weight) = table.size();
        assert!(weight > 900_000, "{weight}");
        assert_eq!(table.iter().count() as u64, held);
        assert_eq!(held + evicted.get(), 5000);
        let (kept, _) = table.iter().next().unwrap();
        let again = Slot::with(None, &sized(0), 1, at(1)).unwrap();
        table.change(&kept, |_| Change::Put(again));
        table.change(&kept, |_| Change::Remove);
        assert_eq!(table.size().0, held - 1);
        assert_eq!(held + evicted.get(), 5000, "neither what is replaced nor what is removed was evicted");
    }

    #[test]
    fn what_is_asked_for_now_and_then_outlives_a_scan_of_what_is_asked_for_once() {
        let (table, entry) = (table(1 << 20), sized(1024));
        let popular = |_: usize| (0..100).filter(|number| ask(&table, *number, &entry)).count();
        (0..3).map(popular).for_each(drop);
        let mut found = 0;
        for round in 1..=50 {
            (round * 1000..round * 1000 + 400).for_each(|number| assert!(!ask(&table, number, &entry)));
            found += popular(round);
        }
        assert!(found > 4900, "{found}");
    }

    /// Numbers up to `count`, each less likely than the one before by Zipf's law.
    fn skewed(count: u32, mut seed: u64) -> impl Iterator<Item = usize> {
        let weights = (1..=count).map(|rank| f64::from(rank).powf(-0.9));
        let sums: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        std::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let drawn = f64::from(u32::try_from(seed >> 32).unwrap()) / f64::from(u32::MAX);
            sums.partition_point(|sum| *sum < drawn * sums[sums.len() - 1])
        })
    }

    #[test]
    fn a_skewed_trace_finds_far_more_than_where_the_least_recently_used_gives_way() {
        let (table, entry) = (table(1 << 20), sized(1024));
        let found = skewed(20_000, 1).take(60_000).filter(|number| ask(&table, *number, &entry)).count();
        let room = usize::try_from(table.size().0).unwrap();
        let mut recent: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
        let found_by_use = skewed(20_000, 1).take(60_000).filter(|number| {
            let place = recent.iter().position(|other| other == number);
            place.map(|place| recent.remove(place));
            recent.push_front(*number);
            recent.truncate(room);
            place.is_some()
        });
        let found_by_use = found_by_use.count();
        assert!(found * 100 > found_by_use * 108, "{found} {found_by_use}");
    }

    #[test]
    fn whoever_changes_a_slot_sees_what_the_one_before_has_made_of_it() {
        let table = table(1 << 20);
        let fields: Vec<&'static str> = (0..40).map(|number| &*format!("x-{number}").leak()).collect();
        std::thread::scope(|scope| {
            for fields in fields.chunks(10) {
                let table = &table;
                scope.spawn(move || {
                    for field in fields {
                        let entry = dated(field, 36, 1);
                        table.change(&key(1), |old| {
                            Slot::with(old, &entry, 100, at(1)).map_or(Change::Keep, Change::Put)
                        });
                    }
                });
            }
        });
        assert_eq!(table.find(&key(1)).unwrap().entries().len(), 40);
    }

    #[test]
    fn what_has_given_way_is_not_found_where_it_was_found_a_moment_ago() {
        let (table, entry) = (table(1 << 21), sized(1024));
        // So often that a front would have shown it the next time.
        let ask_often = |number| (0..60).filter(|_| ask(&table, number, &entry)).count();
        assert_eq!(ask_often(0), 59);
        // What shares a stripe or a place with it would hide it in any case.
        let others = (1..100_000).filter(|other| table.changes.are_apart(&key(0), &key(*other)));
        let gone = others.into_iter().any(|other| {
            ask_often(other);
            table.size();
            !table.cache.contains_key(&key(0))
        });
        assert!(gone && table.find(&key(0)).is_none());
    }

    #[test]
    fn nobody_finds_an_older_one_than_was_stored_before() {
        const LAST: usize = 3000;
        let (table, stored) = (table(1 << 30), AtomicUsize::new(0));
        put(&table, 1, &sized(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for length in 1..=LAST {
                    put(&table, 1, &sized(length));
                    stored.store(length, Ordering::SeqCst);
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut before = 0;
                    while before < LAST {
                        before = stored.load(Ordering::SeqCst);
                        let found = table.find(&key(1)).unwrap().entries()[0].body().len();
                        assert!(found >= before, "{found} {before}");
                    }
                });
            }
        });
    }
}
