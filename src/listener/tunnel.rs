//! A client that offers to leave HTTP (RFC 9110 section 7.8).

#[cfg(test)]
mod tests;

use tokio::sync::oneshot;

use crate::wire::Tunnel;

/// A client that offers to leave HTTP. Resolves once it was answered 101.
#[derive(Debug)]
pub struct Offer(oneshot::Receiver<Tunnel>);

impl Offer {
    /// The connection as it is after the response; `None` if that was not 101.
    pub async fn accepted(self) -> Option<Tunnel> {
        self.0.await.ok()
    }
}

/// Takes the connection, if the offer is accepted.
pub(super) type Switch = oneshot::Sender<Tunnel>;

/// An offer and what fulfils it.
pub(super) fn offer() -> (Switch, Offer) {
    let (switch, offer) = oneshot::channel();
    (switch, Offer(offer))
}
