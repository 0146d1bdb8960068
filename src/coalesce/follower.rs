//! The followers' side: wait for the head, then read the body.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::{BodyBroken, Seat};
use super::flight::{Flight, Settled};

/// What a follower's wait for a head came to.
pub enum Outcome<H, F> {
    /// There is a response; its body may still be under way.
    Filled {
        /// The head.
        head: H,
        /// The body, from its first byte.
        body: Reader,
    },
    /// The response is not for this follower: it must fetch for itself.
    Uncacheable,
    /// The one attempt failed.
    Failed(F),
    /// The leader went away without a word.
    Abandoned,
}

/// Somebody who waits for the fetch of another. Dropping it frees its place at once.
pub struct Follower<I, H, F> {
    flight: Arc<Flight<I, H, F>>,
    /// The place, until the first reader takes it over.
    seat: Option<Seat>,
}

impl<I, H, F> Follower<I, H, F> {
    pub(super) fn new(flight: Arc<Flight<I, H, F>>, seat: Seat) -> Self {
        Self { flight, seat: Some(seat) }
    }

    /// What was known of the fetch at its start.
    pub fn info(&self) -> &I {
        &self.flight.info
    }
}

impl<I, H: Clone, F: Clone> Follower<I, H, F> {
    /// Waits for the head, without a limit of its own. Cancelling it loses nothing. The reader takes
    /// over this follower's place; asked again, it gives a further reader from the first byte, which
    /// is told that it lagged if that byte has left memory.
    pub async fn head(&mut self) -> Outcome<H, F> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&mut self, cx: &Context<'_>) -> Poll<Outcome<H, F>> {
        if self.flight.settled().is_none()
            && let Some(seat) = &self.seat
        {
            seat.wait(cx);
        }
        // Looked at after the waker is in place: what settles from here on wakes it.
        let Some(settled) = self.flight.settled() else { return Poll::Pending };
        Poll::Ready(match settled {
            Settled::Filled(head) => {
                let head = head.clone();
                let seat = self.seat.take().unwrap_or_else(|| self.flight.body.sit());
                Outcome::Filled { head, body: Reader { seat } }
            }
            Settled::Uncacheable => Outcome::Uncacheable,
            Settled::Failed(failure) => Outcome::Failed(failure.clone()),
            Settled::Abandoned => Outcome::Abandoned,
        })
    }
}

/// Reads a shared body from its first byte. Dropping it frees its place at once, and wakes a leader
/// that waits for it.
pub struct Reader {
    seat: Seat,
}

impl Reader {
    /// The next bytes; `None` at the clean end. After an error every further call gives the error
    /// again, so that a broken body can never be taken for a complete one.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyBroken>>> {
        self.seat.poll_chunk(cx)
    }

    /// Bytes still to come, known once the body has ended cleanly.
    pub fn remaining(&self) -> Option<u64> {
        self.seat.remaining()
    }
}
