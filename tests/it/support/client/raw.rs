//! A socket on which bytes go out as they are.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::soon;

/// A connection without a library in between.
pub(crate) struct RawConnection {
    stream: TcpStream,
}

impl RawConnection {
    pub(super) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connect");
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have closed already, which is for the test to find in what it reads.
        let _ = soon("the other side to take bytes", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads until `text` has arrived; returns all that was read.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&read).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let count = soon(&format!("{text:?} after {so_far:?}"), self.stream.read_buf(&mut read)).await;
            assert!(count.unwrap_or(0) > 0, "closed before {text:?}, after {so_far:?}");
        }
    }

    /// Reads until the other side closes or resets the connection.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // A reset ends the connection as well; what arrived before it counts.
        let _ = soon("the other side to close the connection", self.stream.read_to_end(&mut read)).await;
        read
    }

    /// Resets the connection instead of closing it.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}
