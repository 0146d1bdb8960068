//! The shared tier, seen from the journey.
//!
//! An instance without Redis runs the same journey with [`Absent`].

pub mod breaker;
pub mod envelope;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};

use crate::entry::Entry;
use crate::key::Key;

/// What the shared tier says of a key.
#[derive(Debug)]
pub enum Found {
    /// It holds this entry; whether it is fresh is for the reader to judge.
    Stored(Arc<Entry>),
    /// It holds nothing.
    Miss,
    /// There is no shared tier, or it did not answer within its budget.
    Unavailable,
}

/// The shared tier. No method fails or delays a client beyond the tier's own time budget.
pub trait Remote: Send + Sync + 'static {
    /// Looks a key up.
    fn look_up<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Found>;

    /// Offers an entry for storing. Whether it was taken does not concern the caller.
    fn fill<'a>(&'a self, key: &'a Key, entry: &'a Arc<Entry>) -> BoxFuture<'a, ()>;
}

/// No shared tier is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absent;

impl Remote for Absent {
    fn look_up<'a>(&'a self, _key: &'a Key) -> BoxFuture<'a, Found> {
        ready(Found::Unavailable).boxed()
    }

    fn fill<'a>(&'a self, _key: &'a Key, _entry: &'a Arc<Entry>) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }
}
