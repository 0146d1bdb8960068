//! One connection in the hands of one request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::fault;
use super::queue::Turn;
use super::upload::{Outgoing, Upload};
use crate::reason::OriginFault;

/// How long a connection gets to become ready again after a response. It takes one more round
/// of its task; one that needs longer is stuck, and is closed.
const SETTLE: Duration = Duration::from_millis(50);

/// A connection to the origin. Dropping it closes the connection at once, whatever is under
/// way on it.
///
/// Closing means ending the connection's task rather than asking it to end: hyper flushes
/// before it closes, and with an origin that no longer reads that never returns, and neither
/// would the slot.
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    task: Option<AbortHandle>,
    heard: Arc<AtomicBool>,
    tenant: Weak<OnceLock<Turn>>,
    reused: bool,
}

/// A request that got no response head.
pub(super) struct Lost {
    /// Why.
    pub(super) fault: OriginFault,
    /// The request itself, if not one byte of it was written.
    pub(super) unsent: Option<Request<Outgoing>>,
    /// Whether a reused connection proved dead: the request was not written, or not one byte came back.
    pub(super) stale: bool,
}

impl Lost {
    fn to(fault: OriginFault) -> Self {
        Self { fault, unsent: None, stale: false }
    }
}

impl Link {
    pub(super) fn new(
        sender: SendRequest<Outgoing>,
        task: AbortHandle,
        heard: Arc<AtomicBool>,
        tenant: Weak<OnceLock<Turn>>,
    ) -> Self {
        Self { sender, task: Some(task), heard, tenant, reused: false }
    }

    /// Whether this connection served a request before.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Makes a connection that was idle ready for its next request; false if it cannot be.
    pub(super) async fn settle(&mut self) -> bool {
        self.reused = true;
        self.sender.is_ready() || matches!(timeout(SETTLE, self.sender.ready()).await, Ok(Ok(())))
    }

    /// Sends `request` and waits for the response head, at most `limit` after the last
    /// movement of the request body.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Lost> {
        let upload = request.body().upload();
        let upload = upload.as_deref();
        // Nothing can arrive between two exchanges: hyper closes a connection that speaks unasked.
        self.heard.store(false, Ordering::Relaxed);
        let mut head = std::pin::pin!(self.sender.try_send_request(request));
        let mut timer = std::pin::pin!(sleep(limit));
        loop {
            tokio::select! {
                biased;
                answer = head.as_mut() => return answer.map_err(|mut error| {
                    let unsent = error.take_message();
                    let fault = fault::of_head(error.error(), upload);
                    let silent = fault == OriginFault::Reset && !self.heard.load(Ordering::Relaxed);
                    Lost { fault, stale: self.reused && (unsent.is_some() || silent), unsent }
                }),
                () = moved(upload) => timer.set(sleep(limit)),
                () = timer.as_mut() => return Err(Lost::to(match upload {
                    // The origin cannot answer what the client does not send.
                    Some(upload) if upload.is_starved() => OriginFault::RequestBody,
                    _ => OriginFault::FirstByteTimeout,
                })),
            }
        }
    }

    /// Leaves the connection to the two ends that agreed on another protocol; `turn` ends with it.
    pub(super) fn hand_over(mut self, turn: Turn) {
        self.task = None;
        if let Some(tenant) = self.tenant.upgrade() {
            // Empty until now: a connection is upgraded once.
            let _ = tenant.set(turn);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn moved(upload: Option<&Upload>) {
    match upload {
        Some(upload) => upload.moved().await,
        None => std::future::pending().await,
    }
}
