//! Notices that the configuration file has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often the file is looked at. Its content is compared rather than its time, because an
/// orchestrator swaps a link to replace it, and some file systems keep times coarsely.
const PERIOD: Duration = Duration::from_secs(1);

/// A file whose changes are waited for.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    last: Option<String>,
}

impl FileWatch {
    /// Watches `path` from what it holds now.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), last: std::fs::read_to_string(path).ok() }
    }

    /// Resolves when the file holds something else than at the last call. A file that can not be
    /// read for a moment, as in the middle of a replacement, has not changed.
    pub async fn changed(&mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let text = tokio::fs::read_to_string(&self.path).await.ok();
            if text.is_some() && text != self.last {
                self.last = text;
                return;
            }
        }
    }
}
