//! Which flight is under way for which key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use parking_lot::Mutex;

use super::flight::Flight;

/// Locks among which the keys are spread; each is held for one look-up.
const SHARDS: usize = 64;

type Shard<K, I, H, F> = Mutex<HashMap<K, Arc<Flight<I, H, F>>, RandomState>>;

/// The flights that newcomers find.
pub(super) struct Slots<K, I, H, F> {
    shards: Box<[Shard<K, I, H, F>]>,
    hasher: RandomState,
}

impl<K: Eq + Hash, I, H, F> Slots<K, I, H, F> {
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        let shard = || Mutex::new(HashMap::with_hasher(RandomState::new()));
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), hasher }
    }

    fn shard(&self, key: &K) -> &Shard<K, I, H, F> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64);
        &self.shards[hash.unwrap_or_default()]
    }

    /// What `board` makes of the flight of `key`, or else a new flight in its slot. One step under
    /// one lock, so that two newcomers can never both start one.
    pub(super) fn enter<T>(
        &self,
        key: &K,
        info: I,
        board: impl FnOnce(&Arc<Flight<I, H, F>>) -> Option<T>,
    ) -> Result<T, Arc<Flight<I, H, F>>>
    where
        K: Clone,
    {
        let mut shard = self.shard(key).lock();
        if let Some(boarded) = shard.get(key).and_then(board) {
            return Ok(boarded);
        }
        let flight = Arc::new(Flight::new(info));
        let replaced = shard.insert(key.clone(), Arc::clone(&flight));
        drop(shard);
        // Possibly the last handle: what it holds is dropped outside the lock.
        drop(replaced);
        Err(flight)
    }

    /// Frees the slot of `key` if it is still this flight's: a doomed flight that ends late must not
    /// free the slot of the one that replaced it.
    pub(super) fn vacate(&self, key: &K, flight: &Arc<Flight<I, H, F>>) {
        let mut shard = self.shard(key).lock();
        if shard.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            shard.remove(key);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
