//! Which flight is under way for which key.

use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use super::flight::Flight;

/// Locks among which the keys are spread; each is held for one look-up.
const SHARDS: usize = 64;

/// One flight in its slot, with the hash of its key: that is long, and is hashed once in a flight.
struct Slot<K, I, H, F> {
    hash: u64,
    key: K,
    flight: Arc<Flight<I, H, F>>,
}

type Shard<K, I, H, F> = Mutex<HashTable<Slot<K, I, H, F>>>;

/// The flights that newcomers find.
pub(super) struct Slots<K, I, H, F> {
    shards: Box<[Shard<K, I, H, F>]>,
    hasher: RandomState,
}

/// A new flight, and the hash of its key.
pub(super) type New<I, H, F> = (Arc<Flight<I, H, F>>, u64);

impl<K: Eq + Hash, I, H, F> Slots<K, I, H, F> {
    pub(super) fn new() -> Self {
        let shard = || Mutex::new(HashTable::new());
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), hasher: RandomState::new() }
    }

    /// The table takes the upper bits of a hash for its own marks, and the lower ones for the place in it.
    fn shard(&self, hash: u64) -> &Shard<K, I, H, F> {
        &self.shards[usize::try_from(hash >> 32).unwrap_or_default() % SHARDS]
    }

    /// What `board` makes of the flight of `key`, or else a new flight in its slot. One step under
    /// one lock, so that two newcomers can never both start one.
    pub(super) fn enter<T>(
        &self,
        key: &K,
        info: I,
        board: impl FnOnce(&Arc<Flight<I, H, F>>) -> Option<T>,
    ) -> Result<T, New<I, H, F>>
    where
        K: Clone,
    {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        let entry = shard.entry(hash, |slot| slot.key == *key, |slot| slot.hash);
        if let Entry::Occupied(occupied) = &entry
            && let Some(boarded) = board(&occupied.get().flight)
        {
            return Ok(boarded);
        }
        let flight = Arc::new(Flight::new(info));
        let replaced = match entry {
            Entry::Occupied(mut occupied) => {
                Some(std::mem::replace(&mut occupied.get_mut().flight, Arc::clone(&flight)))
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Slot { hash, key: key.clone(), flight: Arc::clone(&flight) });
                None
            }
        };
        drop(shard);
        // Possibly the last handle: what it holds is dropped outside the lock.
        drop(replaced);
        Err((flight, hash))
    }

    /// Frees the slot of a key with this hash if it is still this flight's: a doomed flight that ends late must not
    /// free the slot of the one that replaced it.
    pub(super) fn vacate(&self, hash: u64, flight: &Arc<Flight<I, H, F>>) {
        let mut shard = self.shard(hash).lock();
        if let Ok(slot) = shard.find_entry(hash, |slot| Arc::ptr_eq(&slot.flight, flight)) {
            slot.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
