//! The leader's side: first the head, then the body, then the landing.

use std::future::poll_fn;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{BodyLimits, Pushed};
use super::flight::{Flight, Settled};
use super::follower::Follower;
use super::slots::{New, Slots};

/// The leader's hold on its flight and on the slot of its key. However it ends, by a return, an
/// error, a cancelled task or a panic, nobody is left waiting and the slot is free.
struct Hold<K: Eq + Hash, I, H, F> {
    slots: Arc<Slots<K, I, H, F>>,
    /// Of the key.
    hash: u64,
    flight: Arc<Flight<I, H, F>>,
}

impl<K: Eq + Hash, I, H, F> Hold<K, I, H, F> {
    fn vacate(&self) {
        self.slots.vacate(self.hash, &self.flight);
    }
}

impl<K: Eq + Hash, I, H, F> Drop for Hold<K, I, H, F> {
    fn drop(&mut self) {
        // The slot first, so that whoever is released and asks again starts a flight of its own.
        self.vacate();
        // The body before the head: both do nothing where the leader said how it ended.
        self.flight.body.break_off();
        self.flight.settle(Settled::Abandoned);
    }
}

/// The one who fetches. Dropping it releases all followers as abandoned.
pub struct Leader<K: Eq + Hash, I, H, F> {
    hold: Hold<K, I, H, F>,
}

impl<K: Eq + Hash, I, H, F> Leader<K, I, H, F> {
    pub(super) fn new(slots: Arc<Slots<K, I, H, F>>, (flight, hash): New<I, H, F>) -> Self {
        Self { hold: Hold { slots, hash, flight } }
    }

    /// What was known of the fetch at its start.
    pub fn info(&self) -> &I {
        &self.hold.flight.info
    }

    /// A follower of this flight, for the leader's own client.
    pub fn follower(&self) -> Follower<I, H, F> {
        Follower::new(Arc::clone(&self.hold.flight), self.hold.flight.body.sit())
    }

    /// Frees the slot, as at the end of the flight: what was fetched must be stored by now. `None` if nobody
    /// waits for it; nobody can join any more.
    pub fn unless_alone(self) -> Option<Self> {
        self.hold.vacate();
        (self.hold.flight.body.readers() > 0).then_some(self)
    }

    /// Publishes the head: followers see it at once, and the body begins. Newcomers may join.
    pub fn publish(self, head: H, limits: BodyLimits) -> Filling<K, I, H, F> {
        self.hold.flight.body.limit(limits);
        self.hold.flight.settle(Settled::Filled(head));
        Filling { hold: self.hold }
    }

    /// Releases all followers at once: the response is not for them.
    pub fn uncacheable(self) {
        self.release(Settled::Uncacheable);
    }

    /// Releases all followers at once with the failure that the one attempt met.
    pub fn fail(self, failure: F) {
        self.release(Settled::Failed(failure));
    }

    fn release(self, settled: Settled<H, F>) {
        self.hold.vacate();
        self.hold.flight.settle(settled);
    }
}

/// The one who fetches, while the body streams. Dropping it aborts the body for all readers.
pub struct Filling<K: Eq + Hash, I, H, F> {
    hold: Hold<K, I, H, F>,
}

impl<K: Eq + Hash, I, H, F> Filling<K, I, H, F> {
    /// Appends a chunk, which readers see at once. Returns whether the body is still whole in memory.
    pub fn append(&mut self, chunk: Bytes) -> bool {
        let whole = self.hold.flight.body.append(chunk);
        if !whole {
            // The start is gone: newcomers need a flight of their own.
            self.hold.vacate();
        }
        whole
    }

    /// Returns when the next chunk may come. While the body is within the cap this never waits; beyond it,
    /// until the fastest reader is less than the window behind, or no reader is left.
    pub async fn room(&mut self) -> Pushed {
        let body = &self.hold.flight.body;
        poll_fn(|cx| body.poll_room(cx)).await
    }

    /// Places taken: readers, and followers who have not asked for the head yet.
    pub fn readers(&self) -> usize {
        self.hold.flight.body.readers()
    }

    /// What has arrived, in one allocation of its size; none if it exceeds the cap.
    pub fn so_far(&self) -> Option<Bytes> {
        self.hold.flight.body.whole(&Bytes::new())
    }

    /// Ends the body with `last`, which readers see when the flight lands.
    pub fn finish(self, last: Bytes) -> Landing<K, I, H, F> {
        Landing { hold: self.hold, last, whole: None }
    }

    /// Breaks the body off: readers see an aborted response. The same as dropping it.
    pub fn abort(self) {
        drop(self);
    }
}

/// A flight whose body is complete, and which lands when this is dropped. Until then its readers wait
/// for the end and its slot is taken, so that the body can be stored: whoever has read to the end
/// finds it stored, whoever comes meanwhile joins this flight, and nobody falls between the two.
pub struct Landing<K: Eq + Hash, I, H, F> {
    hold: Hold<K, I, H, F>,
    last: Bytes,
    whole: Option<Bytes>,
}

impl<K: Eq + Hash, I, H, F> Landing<K, I, H, F> {
    /// The whole body in one allocation of exactly its size; none if it exceeds the cap.
    pub fn body(&mut self) -> Option<Bytes> {
        self.whole = self.hold.flight.body.whole(&self.last);
        self.whole.clone()
    }
}

impl<K: Eq + Hash, I, H, F> Drop for Landing<K, I, H, F> {
    fn drop(&mut self) {
        // The slot first: whoever has read the end and asks again is not to be taken for a follower.
        self.hold.vacate();
        // And before the hold is dropped, which would break off a body that has not ended.
        self.hold.flight.body.finish(std::mem::take(&mut self.last), self.whole.take());
    }
}
