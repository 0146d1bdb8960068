//! Interim responses (RFC 9110 section 15.2): handed over while the response is awaited.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::head::Head;

/// What a caller does with each interim response to its request: [`Origin::send`](super::Origin::send) calls it
/// with status and fields, those of the connection left out.
///
/// It runs in the task of the request, before the response head is known, so it must not wait. It sees every
/// 1xx without a body but 101, which is final (RFC 9110 section 15.2.2). An interim response that is not HTTP or too large
/// fails the exchange like any such head: nobody could tell where the next one begins.
#[derive(Clone)]
pub struct OnInterim(Arc<Tell>);

type Tell = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

impl OnInterim {
    /// Calls `tell` for each interim response.
    pub fn new(tell: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, head: &Head) {
        // No interim response has a body (RFC 9112 section 6.3): what the sender of this one meant is anybody's guess.
        if !head.announces_body() {
            (self.0)(head.status, &head.fields.to_map());
        }
    }
}

impl fmt::Debug for OnInterim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInterim")
    }
}
