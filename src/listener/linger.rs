//! The lingering close.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::wire::alarm::Alarm;

/// How long a client may go on sending after the last response.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// How many bytes of that are read.
const MOST: usize = 64 * 1024;

/// Reads and throws away what a client sends after the last response.
pub(super) struct Linger {
    until: Instant,
    left: usize,
    alarm: Alarm,
}

impl Linger {
    /// Until the client closes, but no longer than `deadline`.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { until: deadline, left: MOST, alarm: Alarm::default() }
    }

    /// Ready when the connection may be closed.
    pub(super) fn poll<T: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut T) -> Poll<()> {
        let mut scratch = [0; 2048];
        while self.left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.alarm.poll(cx, self.until),
            }
        }
        Poll::Ready(())
    }
}
