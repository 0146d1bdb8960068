//! What a thread has just found, in front of the table: what is asked for again and again is found without the books
//! that moka keeps of each use, which cost more than the rest of a look-up.
//!
//! A front shows nothing that has been changed or removed. Keys are divided into stripes, and each has a number that
//! rises when anything under one of its keys has changed or has left: what was found before it rose is not shown any
//! more. How fresh something is, is judged wherever it is found.
//!
//! It costs that a stripe changes for many keys at a time, and that what has left the table stays in memory until
//! something else takes its place: so only what is small is held.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Slot;

/// Keys that a thread holds. A key has one place that it can have.
const PLACES: usize = 64;
/// Bytes of the largest slot that is held, its key included. Coded forms may be added to it later.
const LARGEST: u64 = 64 * 1024;
/// The part of the table, divided by threads, that one slot may be: all fronts may hold a sixteenth of it that has left.
const PART: u64 = 16 * PLACES as u64;
/// Uses in a row of which the table hears, which is as far as moka counts.
const HEARD: u32 = 16;
/// Of what is used more often it hears one use in so many, or it would take it for something that is not used at all.
const COUNTED: u32 = 8;
const STRIPES: usize = 256;

/// Numbers tables, since a thread may use several.
static TABLES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static PLACES_OF_THREAD: RefCell<[Place; PLACES]> = const { RefCell::new([const { Place::EMPTY }; PLACES]) };
}

/// A key that was found twice without another in between that has the same place.
struct Place {
    table: u64,
    hash: u64,
    key: Vec<u8>,
    slot: Option<Slot>,
    /// The number of its stripe before it was found.
    changes: u64,
    uses: u32,
    /// The key that was found last and is not held.
    last: u64,
}

impl Place {
    const EMPTY: Self = Self { table: 0, hash: 0, key: Vec::new(), slot: None, changes: 0, uses: 0, last: 0 };

    fn take(&mut self, (table, hash): (u64, u64), key: &[u8], changes: u64, slot: Slot) {
        let mut own = std::mem::take(&mut self.key);
        own.clear();
        own.extend_from_slice(key);
        *self = Self { table, hash, key: own, slot: Some(slot), changes, uses: 0, last: 0 };
    }

    /// Holds nothing any more. No table has the number of none.
    fn clear(&mut self) {
        (self.table, self.slot) = (0, None);
    }
}

/// The one place that a key with this hash can have.
fn place(hash: u64) -> usize {
    usize::try_from(hash / STRIPES as u64 % PLACES as u64).unwrap_or_default()
}

/// How often something has changed under the keys of each stripe.
pub(super) struct Changes {
    stripes: [AtomicU64; STRIPES],
    /// Random, so that nobody outside knows which keys share a stripe or a place.
    seed: u64,
}

impl Changes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { stripes: [const { AtomicU64::new(0) }; STRIPES], seed: rand::random() })
    }

    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    fn stripe(&self, hash: u64) -> &AtomicU64 {
        &self.stripes[usize::try_from(hash % STRIPES as u64).unwrap_or_default()]
    }

    /// Whether two keys share neither stripe nor place.
    #[cfg(test)]
    pub(super) fn are_apart(&self, one: &[u8], other: &[u8]) -> bool {
        let (one, other) = (self.hash(one), self.hash(other));
        one % STRIPES as u64 != other % STRIPES as u64 && place(one) != place(other)
    }

    /// Something has changed under a key: whoever looks from here on sees it.
    pub(super) fn note(&self, key: &[u8]) {
        self.stripe(self.hash(key)).fetch_add(1, Ordering::Release);
    }
}

/// The fronts that threads have of one table.
pub(super) struct Fronts {
    table: u64,
    changes: Arc<Changes>,
    /// Bytes of the largest slot and its key.
    largest: usize,
}

impl Fronts {
    /// Those of a table that notes its changes here, and of whose bytes so many are each thread's part.
    pub(super) fn new(bytes: u64, changes: Arc<Changes>) -> Self {
        let largest = usize::try_from((bytes / PART).min(LARGEST)).unwrap_or(usize::MAX);
        Self { table: TABLES.fetch_add(1, Ordering::Relaxed) + 1, changes, largest }
    }

    /// What stands under a key, by this thread's front or else by the table.
    pub(super) fn find(&self, key: &[u8], in_table: impl FnOnce() -> Option<Slot>) -> Option<Slot> {
        let hash = self.changes.hash(key);
        // Before the table is asked: what changes meanwhile is a change since.
        let changes = self.changes.stripe(hash).load(Ordering::Acquire);
        PLACES_OF_THREAD.with_borrow_mut(|places| {
            let place = &mut places[place(hash)];
            let known = place.hash == hash && place.table == self.table && place.key == key;
            if known && place.changes == changes {
                (place.last, place.uses) = (0, place.uses.wrapping_add(1));
                if place.uses > HEARD && !place.uses.is_multiple_of(COUNTED) {
                    return place.slot.clone();
                }
            }
            let found = in_table();
            if !known && place.last != hash {
                place.last = if found.is_some() { hash } else { 0 };
                return found;
            }
            let small = found.as_ref().filter(|found| found.weight() + key.len() <= self.largest);
            match small {
                Some(slot) if known => (place.changes, place.slot) = (changes, Some(slot.clone())),
                Some(slot) => place.take((self.table, hash), key, changes, slot.clone()),
                None => place.clear(),
            }
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::slot::tests::{at, dated, sized};
    use super::*;

    fn slot(second: u32) -> Slot {
        Slot::with(None, &dated("x-a", second, 1), 1, at(1)).unwrap()
    }

    /// A front over a table that holds one slot under every key, or none.
    struct Fronted {
        fronts: Fronts,
        changes: Arc<Changes>,
        held: RefCell<Option<Slot>>,
        asked: Cell<u32>,
    }

    impl Fronted {
        fn new(held: Option<Slot>) -> Self {
            // Keys have the same places in all of them.
            let changes = Arc::new(Changes { seed: 1, stripes: [const { AtomicU64::new(0) }; STRIPES] });
            let fronts = Fronts::new(u64::MAX, Arc::clone(&changes));
            Self { fronts, changes, held: RefCell::new(held), asked: Cell::new(0) }
        }

        fn find(&self, key: &str) -> Option<Slot> {
            self.fronts.find(key.as_bytes(), || {
                self.asked.set(self.asked.get() + 1);
                self.held.borrow().clone()
            })
        }

        fn change(&self, key: &str, held: Option<Slot>) {
            *self.held.borrow_mut() = held;
            self.changes.note(key.as_bytes());
        }
    }

    fn is_same(found: Option<&Slot>, expected: &Slot) -> bool {
        found.is_some_and(|found| Arc::ptr_eq(&found.entries()[0], &expected.entries()[0]))
    }

    #[test]
    fn a_key_that_is_found_twice_is_held_and_the_table_hears_of_its_first_uses_and_then_of_some() {
        let held = slot(36);
        let table = Fronted::new(Some(held.clone()));
        for _ in 0..2 + HEARD + 10 * COUNTED {
            assert!(is_same(table.find("a").as_ref(), &held));
        }
        assert_eq!(table.asked.get(), 2 + HEARD + 10);
    }

    #[test]
    fn what_has_changed_or_has_left_is_not_shown_any_more() {
        let (first, second) = (slot(36), slot(37));
        let table = Fronted::new(Some(first));
        (0..50).for_each(|_| drop(table.find("a")));
        table.change("a", Some(second.clone()));
        assert!((0..50).all(|_| is_same(table.find("a").as_ref(), &second)));
        table.change("a", None);
        assert!((0..50).all(|_| table.find("a").is_none()));
        table.change("a", Some(second.clone()));
        assert!((0..50).all(|_| is_same(table.find("a").as_ref(), &second)));
    }

    #[test]
    fn what_was_found_before_a_change_that_came_meanwhile_is_not_held() {
        let (first, second) = (slot(36), slot(37));
        let table = Fronted::new(Some(first.clone()));
        drop(table.find("a"));
        let found = table.fronts.find(b"a", || {
            table.change("a", Some(second.clone()));
            Some(first.clone())
        });
        assert!(is_same(found.as_ref(), &first), "as it was when it was asked for");
        assert!(is_same(table.find("a").as_ref(), &second));
    }

    #[test]
    fn tables_of_one_thread_do_not_mix_and_a_hot_key_keeps_its_place_among_others() {
        let (first, second) = (Fronted::new(Some(slot(36))), Fronted::new(None));
        (0..50).for_each(|_| drop(first.find("a")));
        assert!((0..50).all(|_| second.find("a").is_none()));
        let strangers: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        let before = first.asked.get();
        for stranger in &strangers {
            assert!(first.find(stranger).is_some() && first.find("a").is_some());
        }
        let asked = usize::try_from(first.asked.get() - before).unwrap();
        assert!(asked <= strangers.len() + strangers.len() / 4, "{asked}");
    }

    #[test]
    fn what_is_large_is_left_to_the_table() {
        let large = sized(usize::try_from(LARGEST).unwrap());
        let table = Fronted::new(Slot::with(None, &large, 1, at(1)));
        (0..50).for_each(|_| drop(table.find("a")));
        assert_eq!(table.asked.get(), 50);
        table.change("a", None);
        assert_eq!(Arc::strong_count(&large), 1, "nobody keeps it in memory");
    }
}
