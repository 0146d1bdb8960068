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
mod body;
mod bound;
mod connection;
mod fault;
mod inbound;
mod interim;
mod linger;
mod outbound;
mod request;
mod response;
mod seat;
mod spare;
#[cfg(test)]
mod tests;
mod timeouts;
mod tunnel;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body;
use http_body_util::{Empty, Full};
use tokio::time::Instant;

pub use self::body::{BodyError, RequestBody};
pub use self::bound::{Bound, Drained, ListenError};
pub use self::fault::Fault;
pub use self::interim::Interim;
pub(crate) use self::spare::give_back;
pub use self::tunnel::Offer;
pub use crate::wire::Tunnel;
/// Asks a listener to stop: cancel any clone of it.
pub use tokio_util::sync::CancellationToken as Shutdown;

/// Who sends a request, and what it can be told or offered besides the response.
#[derive(Debug)]
pub struct Client {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// When the head of the request had arrived.
    pub arrived: Instant,
    /// Tells the client something before the response; HTTP/1.0 clients cannot be told.
    pub interim: Option<Interim>,
    /// The client offers to speak another protocol.
    pub upgrade: Option<Offer>,
}

/// The body of a response, and what of its head was ready before.
pub trait Payload: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static {
    /// Field lines, each with its end, that are written before the fields of the response. If there are any,
    /// `Date` is among them; fields that frame the message or speak of the connection are not.
    fn lines(&self) -> &[u8] {
        &[]
    }

    /// Writes further such lines, which go behind the fields of the response.
    fn sign(&self, head: &mut Vec<u8>) {
        let _ = head;
    }

    /// Appends the whole body to `out` and leaves nothing of it, if it is here and of at most `most` bytes. Returns how
    /// many there were.
    fn append(&mut self, most: usize, out: &mut Vec<u8>) -> Option<usize> {
        let _ = (most, out);
        None
    }
}

impl Payload for Full<Bytes> {}
impl Payload for Empty<Bytes> {}

/// What answers the requests of a listener.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its responses.
    type Body: Payload;

    /// Answers a request. The future is dropped if the client leaves before the response head; the body
    /// is dropped if it leaves later. Neither is noticed behind more than a few further requests that the
    /// client has already sent, or behind a body that nobody reads.
    ///
    /// An error of the request's body is the client's if [`Fault::behind`] finds a fault in it.
    ///
    /// To switch protocols, answer 101 and await the client's [`Offer`] in a task of its own.
    fn handle(
        &self,
        head: Box<Parts>,
        body: RequestBody,
        client: Client,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Words the answer to a request that was refused. The connection is closed after it.
    fn reject(&self, fault: Fault, peer: SocketAddr) -> Response<Self::Body>;
}
