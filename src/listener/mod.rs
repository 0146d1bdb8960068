//! The client side: sockets, threads, connections, and the guard against malformed requests.
//!
//! [`Bound::bind`] takes the sockets, [`Bound::run`] serves them until a [`Shutdown`] and drains.
//! Requests reach a [`Handler`]; whatever two parsers could read differently is refused before
//! ([`Fault`]), and the handler only words the answer.
//!
//! What a handler can rely on: the target is a path, `*` of OPTIONS, or an `http` URL whose
//! authority equals `Host`; HTTP/1.1 requests have exactly one valid `Host`; framing is
//! unambiguous. A `Host` is not required of HTTP/1.0, nor does the guard judge methods or bodies
//! of GET.

mod accept;
mod bound;
mod connection;
mod exchange;
mod fault;
mod guard;
mod interim;
mod seat;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

pub use self::bound::{Bound, Drained, ListenError};
pub use self::fault::Fault;
pub use self::interim::Interim;
/// Asks a listener to stop: cancel any clone of it.
pub use tokio_util::sync::CancellationToken as Shutdown;

/// What answers the requests of a listener.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers a request from `peer`. The future is dropped if the client leaves before the
    /// response head; the body is dropped if it leaves later. Neither is noticed behind a further
    /// request that the client has already sent.
    ///
    /// `interim` tells the client something before the response; HTTP/1.0 clients cannot be told.
    ///
    /// An error of the request's body is the client's if [`Fault::behind`] finds a fault in it.
    ///
    /// To switch protocols, answer 101 and await [`hyper::upgrade::on`] the request in a task of
    /// its own. Await it after a 101 alone: it resolves with other responses too, when the
    /// connection ends.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        interim: Option<Interim>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Words the answer to a request that was refused. The connection is closed after it.
    fn reject(&self, fault: Fault, peer: SocketAddr) -> Response<Self::Body>;
}
