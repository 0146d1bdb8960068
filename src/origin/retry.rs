//! Which request may be sent a second time.
//!
//! A server may close an idle connection at the very moment a request is written to it. Then,
//! and only then, the request is sent once more, on a fresh connection (RFC 9112 section 9.3.1).

use super::link::{Link, Lost};
use super::upload::Outgoing;
use crate::reason::OriginFault;
use http::{Method, Request};

/// A copy of `request` for a second attempt, if there may be one after bytes were written: the
/// method is idempotent (RFC 9110 section 9.2.2), its body, if any, is at hand, and `link` is one
/// that the origin may have been about to close.
pub(super) fn spare(request: &Request<Outgoing>, link: &Link) -> Option<Request<Outgoing>> {
    if !link.is_reused() || !is_idempotent(request.method()) {
        return None;
    }
    let mut copy = Request::new(Outgoing::new(request.body().again()?));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    // Only what `head::prepare` put there: where interim responses go.
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// The request to send again after `lost`, or the fault that stands.
///
/// A request of which no byte was written may go again whatever its method: the origin never
/// saw it. Anything else needs its `spare`.
pub(super) fn after(lost: Lost, spare: Option<Request<Outgoing>>) -> Result<Request<Outgoing>, OriginFault> {
    if lost.stale { lost.unsent.or(spare).ok_or(lost.fault) } else { Err(lost.fault) }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
        || method.as_str() == "QUERY"
}
