//! A connection that has left HTTP (RFC 9110 section 7.8).

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::seat::Seat;

/// Reads and writes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client that offers to leave HTTP. Resolves once it was answered 101.
#[derive(Debug)]
pub struct Offer(oneshot::Receiver<Tunnel>);

impl Offer {
    /// The connection as it is after the response; `None` if that was not 101.
    pub async fn accepted(self) -> Option<Tunnel> {
        self.0.await.ok()
    }
}

/// Takes the connection, if the offer is accepted.
pub(super) type Switch = oneshot::Sender<Tunnel>;

/// An offer and what fulfils it.
pub(super) fn offer() -> (Switch, Offer) {
    let (switch, offer) = oneshot::channel();
    (switch, Offer(offer))
}

/// The client's end of a connection that speaks another protocol.
pub struct Tunnel {
    /// What came behind the request.
    first: Bytes,
    io: Box<dyn Stream>,
    /// Given back when the connection is closed.
    _seat: Seat,
}

impl Tunnel {
    pub(super) fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, first: Bytes, seat: Seat) -> Self {
        Self { first, io: Box::new(io), _seat: seat }
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..count]);
        self.first.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
