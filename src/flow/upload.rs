//! The client's body on its way to the origin, and what the client did wrong in it.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::{self, Fault};
use crate::origin::{RequestBody, UploadError};

use super::content::Replay;

/// The client's fault in a request body, once there is one. Without a body there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadFault(Option<Arc<OnceLock<Fault>>>);

impl UploadFault {
    /// The fault, which the origin's side knows only as a body that broke off.
    pub(super) fn get(&self) -> Option<Fault> {
        self.0.as_ref()?.get().copied()
    }
}

/// Watches `body` for the client's fault.
pub(super) fn watch(body: Option<Box<Replay<listener::RequestBody>>>) -> (RequestBody, UploadFault) {
    let Some(body) = body else { return (RequestBody::Empty, UploadFault(None)) };
    let fault = Arc::default();
    let watched = Watched { body, fault: Arc::clone(&fault) };
    (RequestBody::Streaming(Box::pin(watched)), UploadFault(Some(fault)))
}

struct Watched {
    body: Box<Replay<listener::RequestBody>>,
    fault: Arc<OnceLock<Fault>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(fault) = frame.as_ref().and_then(|frame| Fault::behind(frame.as_ref().err()?)) {
            // Nothing follows an error, so there is only one.
            let _ = self.fault.set(fault);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
