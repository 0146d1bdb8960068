//! The body of a request, between the connection that reads it and the handler that asks for it.
//!
//! Bytes are read from the socket when the handler waits for them and what it has is used up, so that
//! a handler that reads slowly slows its client down.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::Fault;
use super::request::{Bounds, Framing};
use crate::wire::chunked::Chunked;

/// Why a request's body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The client broke a rule.
    #[error("the client's body is refused: {0}")]
    Refused(#[source] Fault),
    /// The client left, or has had its response already.
    #[error("the client's body broke off")]
    Gone,
}

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody(Option<Arc<Channel>>);

/// What the two ends share.
#[derive(Debug)]
struct Channel(Mutex<State>);

#[derive(Debug)]
struct State {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// What is left to hand out, where the length is known.
    left: Option<u64>,
    /// How it ended, once it has.
    end: Option<Result<(), BodyError>>,
    /// Whether the handler waits for bytes.
    wanted: bool,
    /// Whether the handler has let go of it.
    dropped: bool,
    /// The task that waits for bytes.
    reader: Option<Waker>,
    /// The task of the connection, while it waits for the handler to ask.
    source: Option<Waker>,
}

impl RequestBody {
    /// No body.
    pub const fn empty() -> Self {
        Self(None)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(channel) = &self.0 else { return Poll::Ready(None) };
        let mut state = channel.0.lock();
        if let Some(data) = state.data.pop_front() {
            if let Some(left) = &mut state.left {
                *left -= data.len() as u64;
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => {
                // An error ends the body.
                state.end = Some(Ok(()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                state.wanted = true;
                state.reader = Some(cx.waker().clone());
                let source = state.source.take();
                drop(state);
                wake(source);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|channel| {
            let state = channel.0.lock();
            state.data.is_empty() && state.trailers.is_none() && state.end == Some(Ok(()))
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(channel) => channel.0.lock().left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(channel) = &self.0 {
            let mut state = channel.0.lock();
            state.data.clear();
            (state.wanted, state.dropped) = (false, true);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The connection's end of a body.
#[derive(Debug)]
pub(super) struct Upload {
    channel: Arc<Channel>,
    place: Place,
    /// What the client has done wrong, until somebody asks.
    fault: Option<Fault>,
}

/// Where in a body the next byte belongs.
#[derive(Debug)]
enum Place {
    Length(u64),
    Chunked(Box<Chunked>),
    /// Behind its end.
    Whole,
    /// In what nobody will read.
    Refused,
}

impl Upload {
    /// Both ends of a body that is framed like this; none for a request without one.
    pub(super) fn new(framing: Framing) -> (Option<Self>, RequestBody) {
        let (place, left) = match framing {
            Framing::Length(0) => return (None, RequestBody::empty()),
            Framing::Length(length) => (Place::Length(length), Some(length)),
            Framing::Chunked => (Place::Chunked(Box::new(Chunked::new())), None),
        };
        let (data, trailers) = (VecDeque::new(), None);
        let state =
            State { data, trailers, left, end: None, wanted: false, dropped: false, reader: None, source: None };
        let channel = Arc::new(Channel(Mutex::new(state)));
        (Some(Self { channel: Arc::clone(&channel), place, fault: None }), RequestBody(Some(channel)))
    }

    /// Whether no byte of it is left to be read.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.place, Place::Whole | Place::Refused)
    }

    /// Whether it was read to its end, so that the next byte is that of another request.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.place, Place::Whole)
    }

    /// Whether the handler has let go of it.
    pub(super) fn is_dropped(&self) -> bool {
        self.channel.0.lock().dropped
    }

    /// Ready when the handler waits for bytes.
    pub(super) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.channel.0.lock();
        if state.wanted {
            return Poll::Ready(());
        }
        state.source = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes in what belongs to the body: how many of these bytes. The rest of an incomplete line is to be
    /// shown again with what follows it.
    pub(super) fn take(&mut self, bytes: &[u8], bounds: &Bounds) -> usize {
        let (taken, end) = match &mut self.place {
            Place::Whole | Place::Refused => return 0,
            Place::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                self.channel.put(Bytes::copy_from_slice(&bytes[..taken]));
                (taken, (*left == 0).then_some(Ok(None)))
            }
            Place::Chunked(chunked) => {
                // As one piece: of chunks of one byte each, the pieces would be many times as large.
                let mut data = Vec::new();
                let progress = chunked.advance(bytes, &bounds.chunked, |chunk| data.extend_from_slice(chunk));
                self.channel.put(data.into());
                let end = match progress.done {
                    Ok(true) => Some(Ok(chunked.take_trailers())),
                    Ok(false) => None,
                    Err(flaw) => Some(Err(flaw.into())),
                };
                (progress.passed, end)
            }
        };
        match end {
            Some(Ok(trailers)) => {
                self.place = Place::Whole;
                self.channel.end(Ok(trailers));
            }
            Some(Err(fault)) => self.refuse(fault),
            None => {}
        }
        taken
    }

    /// The rest will not be read, for this fault of the client.
    pub(super) fn refuse(&mut self, fault: Fault) {
        (self.place, self.fault) = (Place::Refused, Some(fault));
        self.channel.end(Err(BodyError::Refused(fault)));
    }

    /// What the client has done wrong since this was last asked.
    pub(super) fn new_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_over() {
            self.channel.end(Err(BodyError::Gone));
        }
    }
}

impl Channel {
    fn put(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut state = self.0.lock();
        if state.dropped {
            return;
        }
        state.data.push_back(data);
        state.wanted = false;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    fn end(&self, end: Result<Option<HeaderMap>, BodyError>) {
        let mut state = self.0.lock();
        state.end = Some(end.map(|trailers| state.trailers = trailers));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;
    use crate::listener::tests::limits;

    #[test]
    fn f12_chunks_of_one_byte_take_no_more_memory_than_one_of_all() {
        let (upload, mut body) = Upload::new(Framing::Chunked);
        let chunks = "1;x\r\na\r\n".repeat(500) + "0\r\n\r\n";
        let bounds = Bounds::from(&limits());
        assert_eq!(upload.unwrap().take(chunks.as_bytes(), &bounds), chunks.len());
        let mut frame = || body.frame().now_or_never().expect("everything has come");
        assert_eq!(frame().unwrap().unwrap().into_data().unwrap(), "a".repeat(500));
        assert!(frame().is_none());
    }
}
