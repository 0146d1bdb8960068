//! A TCP connection that is read and written by calls to the kernel alone.
//!
//! The C library makes each of its calls a place where the thread may be cancelled, which costs two atomic exchanges
//! a call (glibc 2.36). Nobody cancels threads here.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection. Writing to one that is closed raises no signal, since Rust programs ignore `SIGPIPE`.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    /// Ready once there may be something to read.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Asks the kernel whether the other side has neither spoken nor closed.
    pub(crate) fn is_silent(&self) -> bool {
        recv(&self.0, &mut [0; 1], RecvFlags::PEEK) == Err(Errno::WOULDBLOCK)
    }

    /// Moves at most `most` bytes by a call. Who moves fewer need not ask again before the kernel says that there are
    /// more: a call that would say no is spared.
    fn poll_move(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        most: usize,
        mut call: impl FnMut() -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(if interest.is_readable() { self.0.poll_read_ready(cx) } else { self.0.poll_write_ready(cx) })?;
            let mut moved = 0;
            let done = self.0.try_io(interest, || {
                moved = retry_on_intr(&mut call)?;
                if 0 < moved && moved < most { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match done {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) if moved == 0 => {}
                _ => return Poll::Ready(Ok(moved)),
            }
        }
    }
}

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.initialized().len() < buf.capacity() {
            // To fill what nobody has written yet is the library's business.
            return Pin::new(&mut self.0).poll_read(cx, buf);
        }
        let room = buf.initialize_unfilled();
        let most = room.len();
        let call = || recv(&self.0, &mut *room, RecvFlags::empty()).map(|(read, _)| read);
        let read = ready!(self.poll_move(cx, Interest::READABLE, most, call))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_move(cx, Interest::WRITABLE, bytes.len(), || send(&self.0, bytes, SendFlags::empty()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.poll_move(cx, Interest::WRITABLE, length, || writev(&self.0, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A lost wake-up is not waited for.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

    async fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (near.unwrap().into(), far.unwrap().0)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_larger_than_any_buffer_arrives_whole_both_ways_in_one_piece_or_several() {
        let (near, mut far) = pair().await;
        let sent = pattern(16 << 20);
        let (mut reading, mut writing) = tokio::io::split(near);
        let echo = async {
            let mut bytes = vec![0; sent.len()];
            far.read_exact(&mut bytes).await.unwrap();
            far.write_all(&bytes).await.unwrap();
        };
        let write = async {
            let (first, second) = sent.split_at(sent.len() / 3);
            writing.write_all(first).await.unwrap();
            let mut left = second;
            while !left.is_empty() {
                let (one, two) = left.split_at(left.len() / 2);
                let written = writing.write_vectored(&[IoSlice::new(one), IoSlice::new(two)]).await.unwrap();
                left = &left[written..];
            }
        };
        let read = async {
            let (mut received, mut room) = (Vec::new(), vec![0; 5000]);
            while received.len() < sent.len() {
                let read = reading.read(&mut room).await.unwrap();
                assert!(read > 0);
                received.extend_from_slice(&room[..read]);
            }
            received
        };
        let all = async { tokio::join!(echo, write, read) };
        let ((), (), received) = tokio::time::timeout(PATIENCE, all).await.unwrap();
        assert!(received == sent);
    }

    #[tokio::test]
    async fn each_of_many_short_messages_is_heard() {
        let (mut near, mut far) = pair().await;
        let mut room = [0; 100];
        for length in (1..=room.len()).cycle().take(5000) {
            far.write_all(&pattern(length)).await.unwrap();
            let mut heard = 0;
            while heard < length {
                heard += tokio::time::timeout(PATIENCE, near.read(&mut room[heard..])).await.unwrap().unwrap();
            }
            assert_eq!(room[..length], pattern(length));
        }
        drop(far);
        assert_eq!(near.read(&mut room).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn silence_is_what_the_kernel_says_it_is() {
        let (mut near, mut far) = pair().await;
        assert!(near.is_silent());
        far.write_all(b"x").await.unwrap();
        // Whatever the runtime has heard of it by now.
        std::future::poll_fn(|cx| near.poll_read_ready(cx)).await.unwrap();
        assert!(!near.is_silent());
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 1, "it was only looked at");
        assert!(near.is_silent());
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(!near.is_silent(), "it is closed");
    }

    #[tokio::test]
    async fn writing_to_a_connection_that_was_reset_is_an_error_and_no_signal() {
        let (mut near, far) = pair().await;
        far.set_zero_linger().unwrap();
        drop(far);
        assert!(near.read(&mut [0; 8]).await.is_err());
        assert!(near.write_all(b"x").await.is_err());
        assert!(near.write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]).await.is_err());
    }
}
