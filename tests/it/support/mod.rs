//! The test rig: a scripted origin, a client, and runners for the proxy.
//!
//! Nothing here sleeps to order events. What must happen first is awaited: a gate, a counter, a
//! byte on a socket. [`soon`] bounds each such wait, so that a fault fails the test by name
//! instead of hanging it.

pub(crate) mod binary;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod operate;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod scrape;
pub(crate) mod wire;

use std::future::Future;
use std::time::Duration;

/// How long anything that must happen may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Awaits something that must happen, and fails the test with `what` if it does not.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, event).await;
    waited.unwrap_or_else(|_elapsed| panic!("waited {PATIENCE:?} for: {what}"))
}

/// Raises the limit of open files as far as the system allows; returns the limit.
///
/// A herd needs one descriptor per client, and one more per client where the proxy runs in the
/// same process. Where the limit is too low for both, run the proxy as a process of its own.
pub(crate) fn open_files(wanted: u64) -> u64 {
    rlimit::increase_nofile_limit(wanted).expect("read and raise RLIMIT_NOFILE")
}
