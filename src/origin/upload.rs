//! The request body on its way to the origin.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Whatever broke a request body.
pub type UploadError = Box<dyn Error + Send + Sync>;

/// The body of a request to an origin.
#[derive(Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// All of it, in memory: it can be sent again.
    Whole(Bytes),
    /// The client's, as it arrives.
    Streaming(Pin<Box<dyn Body<Data = Bytes, Error = UploadError> + Send>>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            whole @ Self::Whole(_) => {
                let Self::Whole(bytes) = std::mem::take(whole) else { return Poll::Ready(None) };
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Streaming(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streaming(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Whole(_) => "Whole",
            Self::Streaming(_) => "Streaming",
        })
    }
}

/// What the exchange knows about its request body.
pub(super) struct Upload {
    stage: Mutex<Stage>,
    moved: Notify,
}

/// Where the body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next piece is the origin's to take.
    Offered,
    /// The next piece is the client's to send.
    Starved,
    /// The last byte was taken.
    Done,
    /// The client's side broke off.
    Broken,
}

impl Upload {
    /// Whether the last byte was taken. A connection with a body under way cannot be reused.
    pub(super) fn is_done(&self) -> bool {
        *self.stage.lock() == Stage::Done
    }

    /// Whether the client's side broke off.
    pub(super) fn is_broken(&self) -> bool {
        *self.stage.lock() == Stage::Broken
    }

    /// Whether everything waits for the client's next byte.
    pub(super) fn is_starved(&self) -> bool {
        *self.stage.lock() == Stage::Starved
    }

    /// Resolves when the body moved on since the last call.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }
}

/// A request body that reports to its [`Upload`].
pub(super) struct Outgoing {
    body: RequestBody,
    upload: Option<Arc<Upload>>,
}

impl Outgoing {
    /// Watches `body`. There is nothing to watch in an empty one.
    pub(super) fn new(body: RequestBody) -> Self {
        let upload = (!body.is_end_stream())
            .then(|| Arc::new(Upload { stage: Mutex::new(Stage::Offered), moved: Notify::new() }));
        Self { body, upload }
    }

    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    /// The same body from its start; `None` if it comes from a client that sends it once.
    pub(super) fn again(&self) -> Option<RequestBody> {
        match &self.body {
            RequestBody::Whole(bytes) => Some(RequestBody::Whole(bytes.clone())),
            body => body.is_end_stream().then_some(RequestBody::Empty),
        }
    }

    fn report(&self, stage: Stage) {
        if let Some(upload) = &self.upload {
            *upload.stage.lock() = stage;
            if stage != Stage::Starved {
                upload.moved.notify_one();
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.report(Stage::Starved);
            return Poll::Pending;
        };
        self.report(match &frame {
            Some(Err(_)) => Stage::Broken,
            // The connection asks no further once a body of known length is complete.
            Some(Ok(_)) if !self.body.is_end_stream() => Stage::Offered,
            Some(Ok(_)) | None => Stage::Done,
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
