//! The client's body on its way to the origin, and what the client did wrong in it.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::{self, Fault};
use crate::origin::{RequestBody, UploadError};

use super::content::Replay;

/// The client's fault in a request body, once there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadFault(Arc<OnceLock<Fault>>);

impl UploadFault {
    /// The fault, which the origin's side knows only as a body that broke off.
    pub(super) fn get(&self) -> Option<Fault> {
        self.0.get().copied()
    }
}

/// Watches `body` for the client's fault.
pub(super) fn watch(body: Option<Box<Replay<listener::RequestBody>>>) -> (RequestBody, UploadFault) {
    let fault = UploadFault::default();
    let body = body
        .map_or(RequestBody::Empty, |body| RequestBody::Streaming(Box::pin(Watched { body, fault: fault.clone() })));
    (body, fault)
}

struct Watched {
    body: Box<Replay<listener::RequestBody>>,
    fault: UploadFault,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(fault) = frame.as_ref().and_then(|frame| Fault::behind(frame.as_ref().err()?)) {
            // Nothing follows an error, so there is only one.
            let _ = self.fault.0.set(fault);
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
