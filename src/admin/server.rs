//! Connections of the admin listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::body;
use super::control::Control;
use super::endpoint::Desk;
use super::order::MAX_WAIT;
use super::refusal::Answer;
use super::scrape::Scrape;
use crate::config::Secret;

/// Connections at once; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 64;

/// From the start of a connection, or the end of an answer, to the end of the next request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request head; more is 431.
const MAX_HEAD: usize = 16 * 1024;

/// The whole life of a connection: for its last request there is time for the longest wait for receipts, and
/// for a slow reader to fetch the metrics.
const CONNECTION_TIMEOUT: Duration = MAX_WAIT.saturating_add(Duration::from_mins(1));

/// How long requests under way may take once the listener is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Pause after a failed accept: with all descriptors in use the next try would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin endpoints until `shutdown` resolves and requests under way have ended, for
/// which they have five seconds.
///
/// Without a `token` only requests for a loopback host are taken, so bind `listener` to loopback.
pub async fn serve<C: Control>(
    listener: TcpListener,
    token: Option<Secret>,
    control: Arc<C>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let desk = Arc::new(Desk { token, control, scrape: Scrape::default() });
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let closing = CancellationToken::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&desk), closing.clone()));
                }
                Err(fault) => {
                    tracing::warn!(%fault, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    closing.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    // What is left after this is ended by dropping the set.
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

/// Requests in turn. Whoever purges at a high rate keeps a connection, which costs less than each purge does;
/// one that is idle ends with [`HEAD_TIMEOUT`], so that the places are there for others.
async fn connection<C: Control>(stream: TcpStream, peer: SocketAddr, desk: Arc<Desk<C>>, closing: CancellationToken) {
    // Answers are written whole, so waiting for more to send only adds delay.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move {
            let (head, body) = request.into_parts();
            // Read even if it will be refused: an answer before the end of the body may get lost.
            let body = body::read(body).await;
            let answer: Answer = desk.answer(peer, &head, body).await.unwrap_or_else(Into::into);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let served = async {
        tokio::select! {
            served = serving.as_mut() => return served,
            () = closing.cancelled() => {}
        }
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(%peer, %fault, "admin connection ended early"),
        Err(_) => tracing::debug!(%peer, "admin connection took too long"),
    }
}
