//! Who waits for another instance's fetch, and how they learn that it has ended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The waiting requests of this instance, by key.
#[derive(Default)]
pub(super) struct Waiters(Mutex<HashMap<String, (usize, Arc<Notify>)>>);

/// A place among those who wait. It is taken before Redis is asked, so that no word is missed
/// between the answer and the wait.
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    key: String,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Takes a place.
    pub(super) fn enter(&self, key: &str) -> Waiter<'_> {
        let mut waiting = self.0.lock();
        let (count, notify) = waiting.entry(key.to_owned()).or_default();
        *count += 1;
        Waiter { waiters: self, key: key.to_owned(), notify: Arc::clone(notify) }
    }

    /// Wakes everybody who waits for `key`.
    pub(super) fn wake(&self, key: &str) {
        let notify = self.0.lock().get(key).map(|(_, notify)| Arc::clone(notify));
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    /// Wakes everybody: words may have been lost.
    pub(super) fn wake_all(&self) {
        let all: Vec<_> = self.0.lock().values().map(|(_, notify)| Arc::clone(notify)).collect();
        for notify in all {
            notify.notify_waiters();
        }
    }
}

impl Waiter<'_> {
    /// The next word about the key. Call it before asking Redis, and await it after.
    pub(super) fn word(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.0.lock();
        if let Some((count, _)) = waiting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn d3_a_lease_that_ends_between_the_refusal_and_the_wait_wakes_at_once() {
        let waiters = Waiters::default();
        let waiter = waiters.enter("k");
        let mut word = std::pin::pin!(waiter.word());
        word.as_mut().enable();
        // Here Redis is asked, and says that somebody else has the lease.
        assert_eq!(word.as_mut().now_or_never(), None);
        waiters.wake("other");
        assert_eq!(word.as_mut().now_or_never(), None);
        waiters.wake("k");
        assert_eq!(word.as_mut().now_or_never(), Some(()));
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let waiters = Waiters::default();
        let (one, two) = (waiters.enter("k"), waiters.enter("k"));
        drop(one);
        assert_eq!(waiters.0.lock().len(), 1);
        drop(two);
        assert_eq!(waiters.0.lock().len(), 0);
    }
}
