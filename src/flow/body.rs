//! The body of a response to a client: a closed list of sources, none of them boxed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderName;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::coalesce::{BodyBroken, Reader};
use crate::entry::{Entry, Fields};
use crate::listener::Payload;
use crate::origin::{self, ResponseBody};
use crate::reason::OriginFault;
use crate::telemetry::metrics::Tally;
use crate::wire::field;

use super::content::{PATIENCE, Replay};
use super::record::Record;
use super::signature::Signature;

/// Why a body to a client broke off. The connection is closed, so the client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The origin broke off.
    #[error("the origin's response broke off: {0}")]
    Origin(OriginFault),
    /// The shared fetch broke off.
    #[error("the shared fetch broke off")]
    Aborted,
    /// The client read so slowly that its part of a large body is no longer in memory.
    #[error("the client fell too far behind")]
    Lagged,
}

/// Where the bytes come from.
enum Source {
    /// No body.
    Empty,
    /// One piece.
    Full(Bytes),
    /// That of the entry whose lines are written, without a share in it: most are so short that they are copied.
    Stored,
    /// Several pieces, for multiple ranges.
    Pieces(VecDeque<Bytes>),
    /// A fetch that several clients read while it streams.
    Shared(Shared),
    /// The origin's response, for this client alone, while it arrives.
    Origin(Box<Replay<ResponseBody>>),
}

/// A reader of a shared fetch, cut to a part of the body.
struct Shared {
    reader: Reader,
    /// Bytes to leave out first.
    skip: u64,
    /// Bytes still to send, where the length is known.
    left: Option<u64>,
}

/// Lines of the response's head that were ready when it was put together.
enum Lines {
    None,
    /// Those of a stored response.
    Stored(Arc<Entry>),
    Own(Vec<u8>),
}

/// A response body that knows what to log when it ends.
pub struct Body {
    source: Source,
    /// Counts bytes as they go out; `None` once a body in memory was counted as a whole.
    sent: Option<Tally>,
    record: Option<Record>,
    lines: Lines,
    signature: Option<Signature>,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::from_source(Source::Empty)
    }

    /// A body in memory.
    pub fn full(bytes: Bytes) -> Self {
        Self::from_source(Source::Full(bytes))
    }

    /// A body of several pieces in memory.
    pub(super) fn pieces(pieces: VecDeque<Bytes>) -> Self {
        Self::from_source(Source::Pieces(pieces))
    }

    /// A body that is still arriving: `length` bytes after the first `skip`, or all there is.
    pub(super) fn shared(reader: Reader, skip: u64, length: Option<u64>) -> Self {
        Self::from_source(Source::Shared(Shared { reader, skip, left: length }))
    }

    /// The origin's own body, behind its fields.
    pub(super) fn origin(body: ResponseBody, fields: origin::Lines) -> Self {
        let source = match body.into_whole() {
            Ok(bytes) => Source::Full(bytes),
            Err(body) => Source::Origin(Box::new(Replay::new(body))),
        };
        Self { lines: Lines::Own(fields.into_bytes()), ..Self::from_source(source) }
    }

    /// The whole of an origin's body, if it is no larger than `most` and arrives soon. In any case this
    /// body still gives all of itself.
    pub(super) async fn read_whole(&mut self, most: usize) -> Option<Bytes> {
        match &mut self.source {
            Source::Full(bytes) => (bytes.len() <= most).then(|| Bytes::copy_from_slice(bytes)),
            Source::Origin(body) => body.whole(most, PATIENCE).await,
            Source::Empty | Source::Stored | Source::Pieces(_) | Source::Shared(_) => None,
        }
    }

    fn from_source(source: Source) -> Self {
        Self { source, sent: None, record: None, lines: Lines::None, signature: None }
    }

    /// Counts the bytes of the body: at once where they are in memory, else as they go out.
    pub(super) fn count(&mut self, sent: &Tally) {
        match self.one_piece() {
            Some(bytes) => sent.inc_by(bytes.len() as u64),
            None => self.sent = Some(sent.clone()),
        }
    }

    /// The whole body of a stored response, behind its fields.
    pub(super) fn stored(entry: Arc<Entry>) -> Self {
        Self { lines: Lines::Stored(entry), ..Self::from_source(Source::Stored) }
    }

    /// What is left of it, if that is in memory and in one piece.
    fn one_piece(&self) -> Option<&[u8]> {
        match (&self.source, &self.lines) {
            (Source::Empty, _) => Some(&[]),
            (Source::Full(bytes), _) => Some(bytes),
            (Source::Stored, Lines::Stored(entry)) => Some(entry.body()),
            _ => None,
        }
    }

    /// The body of a response that has these fields, besides its own.
    pub(super) fn behind(self, fields: &Fields) -> Self {
        debug_assert!(!matches!(self.source, Source::Stored), "its body goes with its own lines");
        Self { lines: Lines::Own(fields.lines().to_vec()), ..self }
    }

    /// Puts these fields behind all others.
    pub(super) fn sign(&mut self, signature: Signature) {
        self.signature = Some(signature);
    }

    /// `Age` of what is from the store, in seconds.
    pub(super) fn age(&self) -> Option<u64> {
        self.signature.as_ref()?.age()
    }

    /// The first field of this name among the lines that were ready.
    pub(super) fn line(&self, name: &HeaderName) -> Option<&[u8]> {
        field::all(self.lines(), name.as_str()).next()
    }

    /// What this cache says of itself.
    pub(super) fn signature(&mut self) -> Option<&mut Signature> {
        self.signature.as_mut()
    }

    /// Attaches what is logged when the body ends or is dropped.
    pub(super) fn record(&mut self, record: Record) {
        self.record = Some(record);
    }
}

impl Payload for Body {
    fn lines(&self) -> &[u8] {
        match &self.lines {
            Lines::None => &[],
            Lines::Stored(entry) => entry.fields().lines(),
            Lines::Own(lines) => lines,
        }
    }

    fn sign(&self, head: &mut Vec<u8>) {
        if let Some(signature) = &self.signature {
            signature.write(head);
        }
    }

    fn append(&mut self, most: usize, out: &mut Vec<u8>) -> Option<usize> {
        let bytes = self.one_piece().filter(|bytes| bytes.len() <= most)?;
        out.extend_from_slice(bytes);
        let length = bytes.len();
        self.source = Source::Empty;
        if let Some(record) = &mut self.record {
            record.add_bytes(length);
        }
        Some(length)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let (Source::Stored, Lines::Stored(entry)) = (&self.source, &self.lines) {
            self.source = Source::Full(entry.body().share());
        }
        let frame = ready!(self.source.poll_frame(cx));
        let bytes = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        if let Some(sent) = &self.sent {
            sent.inc_by(bytes as u64);
        }
        if let Some(record) = &mut self.record {
            record.add_bytes(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty | Source::Full(_) | Source::Stored => self.one_piece().is_none_or(<[u8]>::is_empty),
            Source::Pieces(pieces) => pieces.is_empty(),
            Source::Shared(shared) => shared.left == Some(0),
            Source::Origin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty | Source::Full(_) | Source::Stored => {
                SizeHint::with_exact(self.one_piece().map_or(0, <[u8]>::len) as u64)
            }
            Source::Pieces(pieces) => SizeHint::with_exact(pieces.iter().map(|p| p.len() as u64).sum()),
            Source::Shared(shared) => shared.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Origin(body) => body.size_hint(),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self {
            Self::Empty | Self::Stored => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            Self::Shared(shared) => shared.poll_frame(cx),
            Self::Origin(body) => {
                let frame = ready!(Pin::new(body.as_mut()).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyFault::Origin)))
            }
        }
    }
}

impl Shared {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        loop {
            if self.left == Some(0) {
                return Poll::Ready(None);
            }
            let mut chunk = match ready!(self.reader.poll_chunk(cx)) {
                Some(Ok(chunk)) => chunk,
                // The origin ended before the length it had announced.
                None if self.left.is_some() => return Poll::Ready(Some(Err(BodyFault::Aborted))),
                None => return Poll::Ready(None),
                Some(Err(BodyBroken::Aborted)) => return Poll::Ready(Some(Err(BodyFault::Aborted))),
                Some(Err(BodyBroken::Lagged)) => return Poll::Ready(Some(Err(BodyFault::Lagged))),
            };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
            self.skip -= skipped as u64;
            chunk = chunk.slice(skipped..);
            if let Some(left) = &mut self.left {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
            }
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
    }
}
