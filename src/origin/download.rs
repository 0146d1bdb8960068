//! How a response body is taken from its connection.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::head::Framing;
use super::link::Link;
use crate::reason::OriginFault;
use crate::wire::chunked::{Bounds, Chunked};

/// From this length on what is left of a body is read into memory of its own.
const LARGE: usize = 32 * 1024;
/// Bytes that are read at once then.
const READ: usize = 128 * 1024;

/// What the chunks of a response are held to.
const BOUNDS: Bounds = Bounds { body: None, trailer_bytes: 8 * 1024, trailer_fields: 100, padded: true };

/// What comes next of a body.
pub(super) enum Piece {
    /// Data, never empty.
    Data(Bytes),
    /// Data behind which nothing follows but these trailers.
    Last(Bytes, Option<HeaderMap>),
    /// Nothing but these trailers.
    End(Option<HeaderMap>),
}

/// A body that is being read.
pub(super) enum Download {
    /// So many bytes are left.
    Length(u64),
    Chunked(Box<Chunked>),
    ToClose,
}

impl Download {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(Chunked::new())),
            Framing::ToClose => Self::ToClose,
        }
    }

    /// Whether nothing is left, as far as its length tells.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// How many bytes are left, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        if let Self::Length(left) = self { Some(*left) } else { None }
    }

    /// Takes the next piece. An end of the connection that is not the end of the body is a fault.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<Piece, OriginFault>> {
        match self {
            Self::Length(left) => poll_length(left, cx, link),
            Self::Chunked(chunked) => poll_chunked(chunked, cx, link),
            Self::ToClose => poll_to_close(cx, link),
        }
    }
}

fn poll_length(left: &mut u64, cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<Piece, OriginFault>> {
    // No more than the body: what follows it is kept apart, or left where it is.
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let data = loop {
        if !link.kept().is_empty() {
            break split(link.kept(), most);
        }
        if most >= LARGE {
            break ready!(link.poll_read(cx, most.min(READ))).map_err(|_| OriginFault::Reset)?;
        }
        ready!(link.poll_fill(cx)).map_err(|_| OriginFault::Reset)?;
    };
    *left -= data.len() as u64;
    Poll::Ready(Ok(Piece::Data(data)))
}

/// At most so many bytes from the front.
fn split(kept: &mut BytesMut, most: usize) -> Bytes {
    if kept.len() <= most { std::mem::take(kept).freeze() } else { kept.split_to(most).freeze() }
}

fn poll_chunked(chunked: &mut Chunked, cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<Piece, OriginFault>> {
    loop {
        let kept = link.kept();
        // As one piece: of chunks of one byte each, the pieces would be many times as large.
        let mut data = Vec::new();
        let progress = chunked.advance(kept, &BOUNDS, |chunk| data.extend_from_slice(chunk));
        kept.advance(progress.passed);
        match progress.done {
            Ok(true) if data.is_empty() => return Poll::Ready(Ok(Piece::End(chunked.take_trailers()))),
            Ok(true) => return Poll::Ready(Ok(Piece::Last(data.into(), chunked.take_trailers()))),
            _ if !data.is_empty() => return Poll::Ready(Ok(Piece::Data(data.into()))),
            Ok(false) => ready!(link.poll_fill(cx)).map_err(|_| OriginFault::Reset)?,
            Err(flaw) => return Poll::Ready(Err(flaw.into())),
        }
    }
}

fn poll_to_close(cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<Piece, OriginFault>> {
    if link.kept().is_empty()
        && let Err(error) = ready!(link.poll_fill(cx))
    {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        return Poll::Ready(if ended { Ok(Piece::End(None)) } else { Err(OriginFault::Reset) });
    }
    Poll::Ready(Ok(Piece::Data(std::mem::take(link.kept()).freeze())))
}
