//! Opens connections: a name to addresses, an address to a socket, a socket to a [`Link`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme, Uri};
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use super::fault;
use super::link::Link;
use super::queue::Turn;
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

    /// Opens a connection that owns `slot` until its socket is closed. Its task runs on the
    /// caller's runtime; when that runtime ends, the socket and the slot go with it.
    pub(super) async fn dial(&self, slot: OwnedSemaphorePermit) -> Result<Link, OriginFault> {
        let io = self.tcp.clone().call(self.target.clone()).await.map_err(|e| fault::of_connect(&e))?;
        let heard = Arc::new(AtomicBool::new(false));
        let tenant = Arc::new(OnceLock::new());
        let weak_tenant = Arc::downgrade(&tenant);
        let socket = Socket { tcp: io.into_inner(), _slot: slot, heard: Arc::clone(&heard), _tenant: tenant };
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|_| OriginFault::Connect)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "origin connection ended");
            }
        });
        Ok(Link::new(sender, task.abort_handle(), heard, weak_tenant))
    }
}

/// The socket of one connection with everything whose lifetime is the socket's own.
///
/// Fields are dropped in this order: the descriptor is closed before its slot is free, so the
/// origin never sees more than `max_connections` at once.
struct Socket {
    tcp: TcpStream,
    _slot: OwnedSemaphorePermit,
    /// Set by each byte that arrives; see [`Link::send`].
    heard: Arc<AtomicBool>,
    /// The turn of the request that upgraded this connection.
    _tenant: Arc<OnceLock<Turn>>,
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}
