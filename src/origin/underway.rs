//! Whether a request is on its way, for a caller that may lose interest in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Given along with a request, this tells whether the request was given to a connection: from
/// then on the origin may act on it, whatever becomes of [`Origin::send`](super::Origin::send).
#[derive(Clone, Debug, Default)]
pub struct Underway(Arc<AtomicBool>);

impl Underway {
    /// Whether the origin may have it.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
