//! One scrape at a time (trap G9).
//!
//! With a thousand routes the text has tens of thousands of lines. Whoever scrapes too often, or
//! from too many places, must not take the cores away from clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::control::Control;
use super::refusal::Refusal;

/// The last scrape, and how many were begun.
#[derive(Default)]
pub(super) struct Scrape {
    begun: AtomicU64,
    /// Number and text of the last one; holding the lock is the right to make one.
    last: Mutex<(u64, Bytes)>,
}

impl Scrape {
    /// The metrics, never older than the call: a text is shared only by those who already waited
    /// when its making began.
    pub(super) async fn text<C: Control>(&self, control: &Arc<C>) -> Result<Bytes, Refusal> {
        let arrived = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.0 > arrived {
            return Ok(last.1.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let control = Arc::clone(control);
        let text = spawn_blocking(move || control.metrics()).await.map_err(|_| Refusal::internal("the scrape"))?;
        *last = (number, text.into());
        Ok(last.1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::control::{Member, PurgeFault, PurgeOrder, PurgeReport, Readiness};
    use futures_util::future::{join, join_all};
    use std::sync::mpsc;

    /// Makes a text when told to, and counts.
    struct Slow {
        made: AtomicU64,
        go: parking_lot::Mutex<mpsc::Receiver<()>>,
    }

    impl Control for Slow {
        fn metrics(&self) -> String {
            let turn = self.go.try_lock().expect("never two at once");
            turn.recv().expect("the test holds the other end");
            (self.made.fetch_add(1, Ordering::SeqCst) + 1).to_string()
        }
        async fn fleet(&self) -> Result<Vec<Member>, String> {
            unreachable!()
        }

        fn readiness(&self) -> Readiness {
            unreachable!("not asked for")
        }
        fn effective_config(&self) -> String {
            unreachable!("not asked for")
        }
        fn set_log_level(&self, _: &str) -> Result<(), String> {
            unreachable!("not asked for")
        }
        async fn purge(&self, _: PurgeOrder) -> Result<PurgeReport, PurgeFault> {
            unreachable!("not asked for")
        }
    }

    #[tokio::test]
    async fn g9_scrapes_that_wait_share_the_next_text_and_never_one_begun_before_they_came() {
        let (go, turns) = mpsc::channel();
        let control = Arc::new(Slow { made: AtomicU64::new(0), go: parking_lot::Mutex::new(turns) });
        let scrape = Scrape::default();
        let first = scrape.text(&control);
        let waiting = join_all((0..10).map(|_| scrape.text(&control)));
        // Polled last, so the first is under way and the others wait when it is let go.
        let release = async { (0..11).for_each(|_| go.send(()).unwrap()) };
        let ((first, waiting), ()) = join(join(first, waiting), release).await;
        assert_eq!(first.unwrap(), "1");
        for text in waiting {
            assert_eq!(text.unwrap(), "2");
        }
        assert_eq!(scrape.text(&control).await.unwrap(), "3", "a later scrape is made anew");
    }
}
