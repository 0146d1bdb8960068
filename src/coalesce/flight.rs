//! One fetch under way, as leader and followers share it.

use std::sync::{Arc, OnceLock};

use super::body::Body;

/// How the wait for a head ended.
pub(super) enum Settled<H, F> {
    Filled(H),
    Uncacheable,
    Failed(F),
    Abandoned,
}

/// One fetch under way.
pub(super) struct Flight<I, H, F> {
    /// What is known of the fetch at its start.
    pub(super) info: I,
    settled: OnceLock<Settled<H, F>>,
    /// The body; followers have their places in it from the moment they join.
    pub(super) body: Arc<Body>,
}

impl<I, H, F> Flight<I, H, F> {
    pub(super) fn new(info: I) -> Self {
        Self { info, settled: OnceLock::new(), body: Arc::new(Body::new()) }
    }

    /// Ends the wait for a head; does nothing if it has ended.
    pub(super) fn settle(&self, settled: Settled<H, F>) {
        // First the value, then the wakers: a follower looks again after it has left its waker, so
        // it either sees the value or is woken.
        if self.settled.set(settled).is_ok() {
            self.body.wake_readers();
        }
    }

    pub(super) fn settled(&self) -> Option<&Settled<H, F>> {
        self.settled.get()
    }

    /// Whether the flight can still be of use to a newcomer and `admit` lets it join.
    pub(super) fn admits(&self, admit: impl FnOnce(&I, Option<&H>) -> bool) -> bool {
        let head = match self.settled() {
            None => None,
            Some(Settled::Filled(head)) => Some(head),
            Some(Settled::Uncacheable | Settled::Failed(_) | Settled::Abandoned) => return false,
        };
        self.body.is_joinable() && admit(&self.info, head)
    }
}
