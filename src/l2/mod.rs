//! The shared tier, seen from the journey.
//!
//! An instance without Redis runs the same journey with [`Absent`].

mod ask;
pub mod breaker;
mod connection;
pub mod envelope;
mod lanes;
mod line;
mod names;
mod redis;
mod resp;
mod scripts;
mod shared;
mod talk;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::header::{HeaderMap, HeaderName};
use tokio::time::Instant;

use crate::entry::Entry;
use crate::entry::Seq;
use crate::key::Key;

use names::Place;

pub use redis::{Redis, Settings};

/// What the shared tier says of a key.
#[derive(Debug)]
pub enum Found {
    /// It holds what was wanted.
    Stored(Arc<Entry>),
    /// Nobody in the fleet has it or fetches it: this instance does, and holds the lease. What is
    /// stored but was not wanted comes along, to be validated.
    Lead(Lease, Option<Arc<Entry>>),
    /// There is no shared tier, it did not answer within its budget, or there is nothing to wait for:
    /// fetch without it. What is stored but was not wanted comes along.
    Unavailable(Option<Arc<Entry>>),
}

/// A look-up.
pub struct Query<'a> {
    /// The key.
    pub key: &'a Key,
    /// The request, of which the selecting fields count.
    pub request: &'a HeaderMap,
    /// What responses of this key vary on, as far as this instance knows.
    pub names: &'a [HeaderName],
    /// Whether an entry is what is wanted.
    pub wanted: &'a (dyn Fn(&Entry) -> bool + Sync),
    /// How long another instance's fetch may be waited for.
    pub patience: Duration,
}

/// The fleet's consent that this instance fetches a key. Dropping it tells the others to go ahead.
pub struct Lease {
    /// Tells this lease from every other.
    token: String,
    /// What it is a lease of.
    place: Place,
    /// When this instance learnt that it has it.
    granted: Instant,
    /// Frees it; with a span, nobody waits for anybody's fetch of the key for that long.
    free: Option<Free>,
}

type Free = Box<dyn FnOnce(String, Option<Duration>) + Send + Sync>;

impl Lease {
    fn new(token: String, place: Place, free: impl FnOnce(String, Option<Duration>) + Send + Sync + 'static) -> Self {
        Self { token, place, granted: Instant::now(), free: Some(Box::new(free)) }
    }

    /// There is nothing to share, because the response is uncacheable or the fetch failed: for this
    /// long nobody waits for anybody, or they would all fail one after the other.
    pub fn disband(mut self, span: Duration) {
        if let Some(free) = self.free.take() {
            free(std::mem::take(&mut self.token), Some(span));
        }
    }

    /// Place and token, to be spent: what spends them frees the lease.
    fn spend(mut self) -> (Place, String) {
        self.free = None;
        (self.place, std::mem::take(&mut self.token))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(free) = self.free.take() {
            free(std::mem::take(&mut self.token), None);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.token)
    }
}

/// The shared tier. No method fails, or delays a client beyond the tier's own time budget, but for
/// the wait that a query allows.
pub trait Remote: Send + Sync + 'static {
    /// Looks a key up, and asks for its lease if what is wanted is not there.
    fn look_up<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Found>;

    /// Stores an entry that was fetched when the fleet's log had come to `born`, unless the lease has
    /// expired or the key was purged meanwhile.
    fn fill<'a>(&'a self, key: &'a Key, entry: &'a Arc<Entry>, born: Seq, lease: Lease) -> BoxFuture<'a, ()>;

    /// Deletes what is stored for a key, and refuses what was fetched before the invalidation `seq`.
    /// It only frees memory: what cannot be deleted is refused by whoever reads it.
    fn forget<'a>(&'a self, key: &'a Key, seq: Seq) -> BoxFuture<'a, ()>;
}

/// No shared tier is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absent;

impl Remote for Absent {
    fn look_up<'a>(&'a self, _query: Query<'a>) -> BoxFuture<'a, Found> {
        ready(Found::Unavailable(None)).boxed()
    }

    fn fill<'a>(&'a self, _key: &'a Key, _entry: &'a Arc<Entry>, _born: Seq, _lease: Lease) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    fn forget<'a>(&'a self, _key: &'a Key, _seq: Seq) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }
}
