//! Single flight with a shared, growing body. Generic: it knows no HTTP and no runtime.
//!
//! One leader per key fetches, in a task of its own, and every client, the one that caused the
//! fetch included, is a follower that reads what the leader publishes. A client that leaves
//! therefore strands nobody. The stages of a flight, each a type that can only be consumed into
//! the next:
//!
//! ```text
//! join -> Leader --publish--> Filling --finish--> Landing --drop--> all is read, the slot is free
//!           | uncacheable, fail, drop  | abort, drop
//!           v                          v
//!   followers: Uncacheable,     readers: Aborted
//!   Failed, Abandoned
//! ```
//!
//! A newcomer may join from the start of a flight until its slot is free, and reads from the first
//! byte. Two things make it start a flight of its own instead, which takes over the slot while the
//! old flight goes on for those attached: the caller's `admit` says that the flight is doomed (an
//! invalidation matches it), or the body outgrew its cap, so that its start has left memory.
//!
//! Lock order: a slot's lock, then a body's. Wakers and callers' values run outside both, except
//! `admit`, which is called under the slot's lock and must neither block nor come back here.

mod body;
mod chunks;
mod flight;
mod follower;
mod leader;
mod slots;

use std::hash::Hash;
use std::sync::Arc;

pub use body::{BodyBroken, BodyLimits, Pushed};
pub use follower::{Follower, Outcome, Reader};
pub use leader::{Filling, Landing, Leader};

use slots::Slots;

/// All fetches under way: `K` is the key, `I` what is known of a fetch at its start, `H` a published
/// head and `F` a failure; the last two are cloned for each follower.
pub struct Flights<K, I, H, F> {
    slots: Arc<Slots<K, I, H, F>>,
}

/// The part a newcomer has in a flight.
pub enum Joined<K: Eq + Hash, I, H, F> {
    /// A new flight: the caller fetches.
    Lead(Leader<K, I, H, F>),
    /// The flight of another.
    Follow(Follower<I, H, F>),
}

impl<K: Eq + Hash + Clone, I, H, F> Flights<K, I, H, F> {
    /// No flights yet.
    pub fn new() -> Self {
        Self { slots: Arc::new(Slots::new()) }
    }

    /// Joins the flight of `key`, or starts one. `admit` is asked whether a newcomer may still join
    /// the one under way, given its info and its head if that is published.
    pub fn join(&self, key: &K, info: I, admit: impl FnOnce(&I, Option<&H>) -> bool) -> Joined<K, I, H, F> {
        let entered = self.slots.enter(key, info, |flight| {
            let seat = if flight.admits(admit) { flight.body.join() } else { None };
            seat.map(|seat| Follower::new(Arc::clone(flight), seat))
        });
        match entered {
            Ok(follower) => Joined::Follow(follower),
            Err(new) => Joined::Lead(Leader::new(Arc::clone(&self.slots), new)),
        }
    }

    /// Starts a flight unless one is under way that a newcomer could join: for refreshes in the
    /// background.
    pub fn lead(&self, key: &K, info: I, admit: impl FnOnce(&I, Option<&H>) -> bool) -> Option<Leader<K, I, H, F>> {
        let entered = self.slots.enter(key, info, |flight| flight.admits(admit).then_some(()));
        entered.err().map(|new| Leader::new(Arc::clone(&self.slots), new))
    }

    /// Flights that newcomers can find.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash + Clone, I, H, F> Default for Flights<K, I, H, F> {
    fn default() -> Self {
        Self::new()
    }
}
