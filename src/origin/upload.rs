//! A request on its way to the origin: its head, and its body as that comes.

use std::error::Error;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::link::Link;
use super::request::Framing;
use crate::reason::OriginFault;
use crate::wire::trailers::{chunk_size, last_chunk};

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

/// The size of a chunk, data, and what ends them.
const PIECES: usize = 3;

/// A request on its way.
pub(super) struct Upload {
    head: Vec<u8>,
    /// How much of the head is written.
    head_at: usize,
    /// What is written next; what is written of it is gone.
    pieces: [Bytes; PIECES],
    /// What comes behind that; `None` once there is nothing left.
    rest: Option<RequestBody>,
    framing: Framing,
    stage: Stage,
    /// Whether the origin may have any of it.
    sent: bool,
    /// Whether something went on since this was last asked.
    moved: bool,
    /// The body from its start, if it could be sent once more.
    spare: Option<Bytes>,
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next piece is the origin's to take.
    Offered,
    /// The next piece is the client's to send.
    Starved,
    /// The origin takes nothing more. It may answer all the same (RFC 9112 section 9.5).
    Refused,
    /// The client broke off: the rest will never come.
    Broken,
}

impl Upload {
    /// A request with this head, whose body is framed like this.
    pub(super) fn new(head: Vec<u8>, body: RequestBody, framing: Framing) -> Self {
        let (spare, data, rest) = match body {
            body if body.is_end_stream() => (Some(Bytes::new()), Bytes::new(), None),
            RequestBody::Whole(bytes) => (Some(bytes.clone()), bytes, None),
            body => (None, Bytes::new(), Some(body)),
        };
        let pieces = [Bytes::new(), data, Bytes::new()];
        Self { head, head_at: 0, pieces, rest, framing, stage: Stage::Offered, sent: false, moved: false, spare }
    }

    /// Whether there is something to write.
    fn has_pieces(&self) -> bool {
        self.head_at < self.head.len() || self.pieces.iter().any(|piece| !piece.is_empty())
    }

    /// Whether the last byte was taken. A connection with a request under way cannot be reused.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_none() && !self.has_pieces() && self.stage != Stage::Broken
    }

    /// Whether everything waits for the client's next byte.
    pub(super) fn is_starved(&self) -> bool {
        self.stage == Stage::Starved && !self.has_pieces()
    }

    /// Whether the origin has refused it from the first byte on, so that nothing it says can be an answer.
    pub(super) fn is_unheard(&self) -> bool {
        self.stage == Stage::Refused && !self.sent
    }

    /// Whether it moved on since the last call.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Begins anew for another connection, if that is allowed. One of which no byte was written may go again
    /// whatever it is: the origin never saw it. Any other must be `idempotent` and at hand.
    pub(super) fn rewind(&mut self, idempotent: bool) -> bool {
        self.stage = Stage::Offered;
        if self.sent {
            let Some(body) = self.spare.take().filter(|_| idempotent) else { return false };
            self.pieces = [Bytes::new(), body, Bytes::new()];
            (self.head_at, self.sent) = (0, false);
        }
        true
    }

    /// Writes on: ready once all is written, or when the client's side broke off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<(), OriginFault>> {
        if self.stage == Stage::Broken {
            return Poll::Ready(Err(OriginFault::RequestBody));
        }
        if !self.sent && self.pieces[1].is_empty() && self.stage == Stage::Offered {
            // What is at hand of the body leaves with the head.
            if let Poll::Ready(Err(fault)) = self.poll_next(cx) {
                return Poll::Ready(Err(fault));
            }
        }
        while self.stage != Stage::Refused {
            if self.has_pieces() {
                ready!(self.poll_write(cx, link));
            } else if self.rest.is_none() {
                return Poll::Ready(Ok(()));
            } else {
                ready!(self.poll_next(cx))?;
            }
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Poll<()> {
        let mut slices = [IoSlice::new(&[]); 1 + PIECES];
        let mut count = 0;
        let pieces = [&self.head[self.head_at..]].into_iter().chain(self.pieces.iter().map(|piece| &piece[..]));
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            slices[count] = IoSlice::new(piece);
            count += 1;
        }
        match ready!(link.poll_write(cx, &slices[..count])) {
            Ok(0) | Err(_) => self.stage = Stage::Refused,
            Ok(mut written) => {
                (self.sent, self.moved) = (true, true);
                let part = written.min(self.head.len() - self.head_at);
                self.head_at += part;
                written -= part;
                for piece in &mut self.pieces {
                    let part = written.min(piece.len());
                    piece.advance(part);
                    written -= part;
                }
            }
        }
        Poll::Ready(())
    }

    /// Takes the next piece from the body.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), OriginFault>> {
        let Some(body) = &mut self.rest else { return Poll::Ready(Ok(())) };
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            self.stage = Stage::Starved;
            return Poll::Pending;
        };
        (self.stage, self.moved) = (Stage::Offered, true);
        let last = body.is_end_stream();
        let framed = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => self.data(data, last),
            Some(Ok(Err(other))) => self.end(other.into_trailers().ok().as_ref()),
            None => self.end(None),
            Some(Err(_)) => None,
        };
        if framed.is_none() {
            self.stage = Stage::Broken;
        }
        Poll::Ready(framed.ok_or(OriginFault::RequestBody))
    }

    /// Frames data, of which `last` says that nothing follows; `None` if it ends too early.
    fn data(&mut self, mut data: Bytes, last: bool) -> Option<()> {
        match &mut self.framing {
            Framing::Length(left) => {
                // What exceeds the announced length would be read as another request.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                let whole = *left == 0;
                self.pieces[1] = data;
                self.rest = self.rest.take().filter(|_| !whole);
                (whole || !last).then_some(())
            }
            Framing::Chunked(_) if data.is_empty() => {
                if last {
                    self.end(None)
                } else {
                    Some(())
                }
            }
            Framing::Chunked(_) => {
                let end: &[u8] = if last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                let size = chunk_size(data.len());
                self.pieces = [size, data, Bytes::from_static(end)];
                self.rest = self.rest.take().filter(|_| !last);
                Some(())
            }
            Framing::None => self.end(None),
        }
    }

    /// Frames the end of the body; `None` if it comes before its announced length.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Option<()> {
        self.rest = None;
        match &self.framing {
            Framing::Length(left) if *left > 0 => return None,
            Framing::Chunked(named) => self.pieces[2] = last_chunk(named, trailers),
            Framing::Length(_) | Framing::None => {}
        }
        Some(())
    }
}
