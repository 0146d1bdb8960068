//! The body that one leader grows and many readers read, each at its own pace.
//!
//! One short lock guards it. A reader holds the lock to clone one handle, which is next to nothing
//! beside the system call that then writes those bytes to a client, so even thousands of readers
//! woken by one chunk do not queue for long. Wakers are called, and dropped, after the lock is
//! released: a waker may own the task whose readers need this very lock to be dropped.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;

use super::chunks::Chunks;

/// How much of a body may be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes up to which a body is kept whole, to be stored; 0 for a body that will not be stored.
    /// Beyond it the start is let go.
    pub cap: usize,
    /// Bytes that the leader may be ahead of the fastest reader once the body is larger than `cap`.
    pub window: usize,
}

/// What became of an appended chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The body is still whole in memory.
    Kept,
    /// The body is larger than the cap and passes through; it cannot be stored.
    Overflowed,
    /// The body cannot be stored and nobody reads it: the fetch may as well end.
    Deserted,
}

/// Why a reader cannot have the rest of the body. The response must be aborted, never ended cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyBroken {
    /// The fetch broke off.
    #[error("the origin's response broke off before its end")]
    Aborted,
    /// This reader fell so far behind that the bytes it needs are no longer in memory.
    #[error("the client read too slowly: the part of the body it needs has left memory")]
    Lagged,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// All is there.
    Clean,
    /// The rest will never come.
    Broken,
}

/// A reader's place: it counts as a reader from the moment it joins the flight.
#[derive(Default)]
struct Place {
    /// Bytes handed out.
    position: u64,
    waker: Option<Waker>,
}

struct State {
    chunks: Chunks,
    end: End,
    /// Whether the body never exceeded the cap, so that every byte from the first is retained.
    whole: bool,
    limits: BodyLimits,
    places: Slab<Place>,
    /// The leader, while it waits for the fastest reader.
    leader: Option<Waker>,
}

impl State {
    /// Positions of the slowest and of the fastest reader, without those that lag for good.
    fn extent(&self) -> Option<(u64, u64)> {
        let start = self.chunks.start();
        let live = self.places.iter().map(|(_, place)| place.position).filter(|position| *position >= start);
        live.fold(None, |extent, at| Some(extent.map_or((at, at), |(min, max)| (at.min(min), at.max(max)))))
    }

    /// Whether the leader may go on while the fastest reader is at `position`. A window of zero would
    /// never let it go on, so it counts as one byte.
    fn has_room(&self, position: u64) -> bool {
        self.chunks.end() - position < self.limits.window.max(1) as u64
    }

    fn take_wakers(&mut self) -> SmallVec<[Waker; 4]> {
        self.places.iter_mut().filter_map(|(_, place)| place.waker.take()).collect()
    }
}

/// The shared body. It exists from the start of the flight, since followers take their places in it
/// before there is a head.
pub(super) struct Body {
    state: Mutex<State>,
}

impl Body {
    pub(super) fn new() -> Self {
        let state = State {
            chunks: Chunks::default(),
            end: End::Open,
            whole: true,
            limits: BodyLimits { cap: 0, window: 0 },
            places: Slab::new(),
            leader: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Sets the limits; before the first chunk.
    pub(super) fn limit(&self, limits: BodyLimits) {
        self.state.lock().limits = limits;
    }

    /// Whether a newcomer could read it from the first byte to the last.
    pub(super) fn is_joinable(&self) -> bool {
        let state = self.state.lock();
        state.whole && state.end != End::Broken
    }

    /// A place for a newcomer, which reads from the first byte; none if the start is gone already.
    pub(super) fn join(self: &Arc<Self>) -> Option<Seat> {
        let mut state = self.state.lock();
        // Under the same lock as the chunk that makes it overflow: a newcomer is either a reader whom
        // the leader takes into account, or turned away.
        let joinable = state.whole && state.end != End::Broken;
        joinable.then(|| Seat { index: state.places.insert(Place::default()), body: Arc::clone(self) })
    }

    /// A place whatever the state of the body; its reader learns at the first read what is wrong.
    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        Seat { index: self.state.lock().places.insert(Place::default()), body: Arc::clone(self) }
    }

    pub(super) fn readers(&self) -> usize {
        self.state.lock().places.len()
    }

    /// Wakes everybody who waits for a head or a chunk.
    pub(super) fn wake_readers(&self) {
        let wakers = self.state.lock().take_wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Appends a chunk and wakes the readers. Returns whether the body is still whole.
    pub(super) fn append(&self, chunk: Bytes) -> bool {
        let mut state = self.state.lock();
        state.chunks.append(chunk);
        let BodyLimits { cap, window } = state.limits;
        state.whole &= state.chunks.end() <= cap as u64;
        if !state.whole {
            // What every reader has read goes at once. What only laggards need goes once it is further
            // behind than the limits promise to hold. What the fastest reader needs never goes: the
            // leader waits for that one, and it must be able to go on.
            let end = state.chunks.end();
            let (slowest, fastest) = state.extent().unwrap_or((end, end));
            let promised = end.saturating_sub(cap.max(window) as u64);
            state.chunks.trim(slowest.max(promised.min(fastest)));
        }
        let whole = state.whole;
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        whole
    }

    /// Ready when the leader may read on from the origin, or has no reason to.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Pushed> {
        let mut state = self.state.lock();
        if state.whole {
            return Poll::Ready(Pushed::Kept);
        }
        match state.extent() {
            None => Poll::Ready(Pushed::Deserted),
            Some((_, fastest)) if state.has_room(fastest) => Poll::Ready(Pushed::Overflowed),
            Some(_) => {
                let former = state.leader.replace(cx.waker().clone());
                drop(state);
                drop(former);
                Poll::Pending
            }
        }
    }

    /// The body in one piece, with an end that no reader has seen yet; none if that exceeds the cap.
    /// It is a copy of exactly its size, because chunks of unknown origin may pin buffers larger than
    /// themselves.
    pub(super) fn whole(&self, last: &Bytes) -> Option<Bytes> {
        let state = self.state.lock();
        let fits = state.whole && state.chunks.end() + last.len() as u64 <= state.limits.cap as u64;
        let mut pieces = fits.then(|| state.chunks.handles())?;
        drop(state);
        // Joined outside the lock: megabytes are copied here while readers read on.
        pieces.push(last.clone());
        Some(Bytes::from(pieces.concat()))
    }

    /// Ends the body cleanly with `last`. Where the `whole` body was joined, the readers go on with
    /// that, so that the chunks are not held a second time.
    pub(super) fn finish(&self, last: Bytes, whole: Option<Bytes>) {
        let mut state = self.state.lock();
        match whole {
            Some(whole) => state.chunks.replace(whole),
            None => state.chunks.append(last),
        }
        state.end = End::Clean;
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Breaks the body off unless it has ended.
    pub(super) fn break_off(&self) {
        let mut state = self.state.lock();
        if state.end == End::Open {
            state.end = End::Broken;
        }
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A reader's place in a body. Dropping it frees the place at once.
pub(super) struct Seat {
    body: Arc<Body>,
    index: usize,
}

impl Seat {
    /// Asks to be woken at the next event.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let former = self.body.state.lock().places[self.index].waker.replace(cx.waker().clone());
        drop(former);
    }

    /// The next bytes, the clean end, or why there is neither.
    pub(super) fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BodyBroken>>> {
        let mut guard = self.body.state.lock();
        let state = &mut *guard;
        let place = &mut state.places[self.index];
        if place.position < state.chunks.start() {
            return Poll::Ready(Some(Err(BodyBroken::Lagged)));
        }
        let Some(bytes) = state.chunks.at(place.position) else {
            return match state.end {
                End::Clean => Poll::Ready(None),
                End::Broken => Poll::Ready(Some(Err(BodyBroken::Aborted))),
                End::Open => {
                    let former = place.waker.replace(cx.waker().clone());
                    drop(guard);
                    drop(former);
                    Poll::Pending
                }
            };
        };
        place.position += bytes.len() as u64;
        let position = place.position;
        let leader = if state.has_room(position) { state.leader.take() } else { None };
        drop(guard);
        if let Some(leader) = leader {
            leader.wake();
        }
        Poll::Ready(Some(Ok(bytes)))
    }

    /// Bytes still to come, once the end is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        let state = self.body.state.lock();
        let left = state.chunks.end() - state.places[self.index].position;
        (state.end == End::Clean).then_some(left)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.body.state.lock();
        let place = state.places.remove(self.index);
        // The leader may be waiting for this very reader.
        let leader = state.leader.take();
        drop(state);
        drop(place);
        if let Some(leader) = leader {
            leader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_overflows_or_breaks_between_the_check_and_the_join_turns_the_newcomer_away() {
        let overflowed = Arc::new(Body::new());
        overflowed.limit(BodyLimits { cap: 3, window: 1 });
        let broken = Arc::new(Body::new());
        assert!(overflowed.is_joinable() && broken.is_joinable());
        assert!(!overflowed.append(Bytes::from_static(b"four")));
        broken.break_off();
        assert!(overflowed.join().is_none() && broken.join().is_none());
    }
}
