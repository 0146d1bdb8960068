//! Bodies that the test feeds chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::raw::After;
use super::reply::Reply;
use super::wire::Wire;
use crate::support::soon;

/// A stream that has not moved for this long waits for its reader.
const STILL: Duration = Duration::from_millis(150);

/// Feeds a body. Each request for the path gets it from its start. Clones are the same body.
#[derive(Clone)]
pub(crate) struct StreamHandle(Arc<State>);

struct State {
    head: Reply,
    feed: watch::Sender<Feed>,
    requests: watch::Sender<usize>,
    broken: watch::Sender<usize>,
    written: AtomicU64,
}

#[derive(Clone, Default)]
struct Feed {
    chunks: Vec<Bytes>,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Finish,
    Abort,
}

impl StreamHandle {
    pub(super) fn new(head: Reply) -> Self {
        Self(Arc::new(State {
            head,
            feed: watch::Sender::default(),
            requests: watch::Sender::default(),
            broken: watch::Sender::default(),
            written: AtomicU64::new(0),
        }))
    }

    /// Adds a chunk. It is written as soon as each client takes it.
    pub(crate) fn send(&self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        assert!(!chunk.is_empty(), "an empty chunk would end the body");
        self.0.feed.send_modify(|feed| feed.chunks.push(chunk));
    }

    /// Ends the body as it should end.
    pub(crate) fn finish(&self) {
        self.0.feed.send_modify(|feed| feed.end = Some(End::Finish));
    }

    /// Breaks the connection off in the middle of the body.
    pub(crate) fn abort(&self) {
        self.0.feed.send_modify(|feed| feed.end = Some(End::Abort));
    }

    /// Waits until `count` requests have asked for the body.
    pub(crate) async fn requested(&self, count: usize) {
        let mut requests = self.0.requests.subscribe();
        soon(&format!("{count} requests for the stream"), requests.wait_for(|now| *now >= count)).await.unwrap();
    }

    /// Waits until `count` clients have closed their connection before the end of the body.
    pub(crate) async fn deserted(&self, count: usize) {
        let mut broken = self.0.broken.subscribe();
        soon(&format!("{count} readers to leave the stream"), broken.wait_for(|now| *now >= count)).await.unwrap();
    }

    /// Bytes of the body that the system has taken so far: with a reader that does not read, the
    /// measure of back-pressure.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::SeqCst)
    }

    /// Waits until the system takes no more, and returns what it has taken by then.
    pub(crate) async fn stalled(&self) -> u64 {
        let still = async {
            loop {
                let before = self.written();
                tokio::time::sleep(STILL).await;
                if self.written() == before && before > 0 {
                    return before;
                }
            }
        };
        soon("the stream to stand still", still).await
    }

    /// Serves one request.
    pub(super) async fn serve(&self, wire: &mut Wire) -> After {
        self.0.requests.send_modify(|count| *count += 1);
        // With a Content-Length of the test's own the chunks are its plain parts.
        let chunked = !self.0.head.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let mut feed = self.0.feed.subscribe();
        let mut served = 0;
        let mut broken = wire.write(&self.0.head.head_bytes(framing)).await.is_err();
        while !broken {
            let (fresh, end) = {
                let now = feed.borrow_and_update();
                (now.chunks[served..].to_vec(), now.end)
            };
            served += fresh.len();
            for chunk in fresh {
                broken |= self.write(wire, &chunk, chunked).await.is_err();
            }
            match end {
                _ if broken => {}
                Some(End::Finish) if chunked => return ended(&wire.write(b"0\r\n\r\n").await),
                Some(End::Finish) => return After::GoOn,
                Some(End::Abort) => {
                    let _ = wire.stream.set_zero_linger();
                    return After::Close;
                }
                None => tokio::select! {
                    _ = feed.changed() => {}
                    () = wire.closed() => broken = true,
                },
            }
        }
        self.0.broken.send_modify(|count| *count += 1);
        After::Close
    }

    async fn write(&self, wire: &mut Wire, chunk: &Bytes, chunked: bool) -> std::io::Result<()> {
        if chunked {
            wire.write(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        }
        // In small parts, so that `written` follows what the system takes.
        for part in chunk.chunks(16 * 1024) {
            wire.write(part).await?;
            self.0.written.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        if chunked { wire.write(b"\r\n").await } else { Ok(()) }
    }
}

fn ended(written: &std::io::Result<()>) -> After {
    if written.is_ok() { After::GoOn } else { After::Close }
}
