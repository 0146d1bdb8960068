//! Opens connections: a name to addresses, an address to a socket, a socket to a [`Link`].

use std::time::Duration;

use http::uri::{PathAndQuery, Scheme, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use super::fault;
use super::link::Link;
use crate::config::OriginConfig;
use crate::reason::OriginFault;

/// How long a connection may be silent before the kernel asks whether the peer still lives.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Resolves the origin's name and connects. Each call resolves anew, so that a change of
/// address is followed; several addresses are tried in turn, both families side by side.
pub(super) struct Connector {
    tcp: HttpConnector,
    target: Uri,
}

impl Connector {
    pub(super) fn new(config: &OriginConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        // Shared evenly among the addresses, so that a dead first one leaves time for the others.
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let mut target = http::uri::Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(config.authority.clone());
        target.path_and_query = Some(PathAndQuery::from_static("/"));
        // With all three parts present this cannot fail; the empty target would fail to connect.
        Self { tcp, target: Uri::from_parts(target).unwrap_or_default() }
    }

    /// Opens a connection that owns `slot` until its socket is closed. It belongs to the caller's runtime and
    /// is of no use once that has ended.
    pub(super) async fn dial(&self, slot: OwnedSemaphorePermit) -> Result<Link, OriginFault> {
        let io = self.tcp.clone().call(self.target.clone()).await.map_err(|e| fault::of_connect(&e))?;
        Ok(Link::new(io.into_inner(), slot))
    }
}
