//! The buffer into which all connections of a thread read, so that an idle one holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that are read at once.
const SIZE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
}

/// Reads once and shows what came, which must not read in turn. The end of the stream is an error,
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
pub(crate) fn poll_read<T: AsyncRead + Unpin, R>(
    cx: &mut Context<'_>,
    io: &mut T,
    with: impl FnOnce(&[u8]) -> R,
) -> Poll<io::Result<R>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut buf = ReadBuf::new(buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(with(buf.filled())))
    })
}
