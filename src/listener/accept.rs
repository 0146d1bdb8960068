//! The accept loop, and the drain that ends it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::connection::{self, Shared};
use super::seat::Seat;
use super::{Handler, Shutdown};
use crate::telemetry::metrics::ListenerMetrics;
use crate::wire::Tcp;

/// The pause after a failure to accept; doubled up to [`LONGEST_PAUSE`] while failures go on.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long kept connections have to end by an answer that announces it. One that is closed while
/// it is idle may cross with the client's next request, which then gets no answer.
const PARTING: Duration = Duration::from_millis(500);

/// Where connections come from.
pub(super) trait Source {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Source for TcpListener {
    type Stream = Tcp;

    async fn accept(&self) -> io::Result<(Tcp, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Responses are written whole, so waiting for more to send only adds delay. It fails only
        // for a connection that is gone already.
        let _ = stream.set_nodelay(true);
        Ok((stream.into(), peer))
    }
}

/// Everything an accept loop works with.
pub(super) struct AcceptLoop<H> {
    /// What the connections share.
    pub(super) shared: Arc<Shared<H>>,
    /// One permit per connection, over all loops of the listener.
    pub(super) seats: Arc<Semaphore>,
    /// Counters of this listener.
    pub(super) metrics: ListenerMetrics,
    /// How long a drain may take.
    pub(super) drain_deadline: Duration,
}

impl<H: Handler> AcceptLoop<H> {
    /// Accepts until `shutdown`, then waits for the connections to end. Answers how many had not
    /// ended by the deadline.
    pub(super) async fn run<S: Source>(self, source: S, shutdown: Shutdown) -> usize {
        let tracker = TaskTracker::new();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            never = self.accept_all(&source, &tracker) => match never {},
        }
        drop(source);
        self.shared.announce_drain();
        tracker.close();
        let drained = async {
            let parted = tokio::time::timeout(PARTING.min(self.drain_deadline / 2), tracker.wait()).await;
            if parted.is_err() {
                self.shared.drain();
                tracker.wait().await;
            }
        };
        match tokio::time::timeout(self.drain_deadline, drained).await {
            Ok(()) => 0,
            Err(_) => tracker.len(),
        }
    }

    /// Serves one connection after the other, each in its own task. At the limit one connection
    /// waits here for a place and the others in the kernel's backlog.
    async fn accept_all<S: Source>(&self, source: &S, tracker: &TaskTracker) -> std::convert::Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            let (stream, peer) = match pin!(source.accept()).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.metrics.accept_errors.inc();
                    if !concerns_one_connection(&error) {
                        tracing::warn!(%error, ?pause, "cannot accept connections; raise the limit of open files?");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    continue;
                }
            };
            pause = FIRST_PAUSE;
            self.metrics.accepted.inc();
            let Ok(permit) = self.seats.clone().acquire_owned().await else {
                // Nobody closes the semaphore; without it there is no place to take.
                return std::future::pending().await;
            };
            let seat = Seat::take(permit, tracker.token(), self.metrics.connections.clone());
            tokio::spawn(connection::serve(stream, peer, seat, self.shared.clone()));
        }
    }
}

/// Whether the failure is that of the connection that would have been next, so that the one after
/// it may well be accepted at once. All other failures are a lack of descriptors or memory.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::listener::tests::{Answers, PEER, limits, metrics};

    type Accepted = io::Result<DuplexStream>;

    /// A source that gives these, and then nothing more.
    struct Script(Mutex<VecDeque<Accepted>>);

    impl Source for Script {
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
            let next = self.0.lock().unwrap().pop_front();
            match next {
                Some(accepted) => accepted.map(|stream| (stream, PEER)),
                None => std::future::pending().await,
            }
        }
    }

    struct Running {
        task: JoinHandle<usize>,
        answers: Answers,
        metrics: ListenerMetrics,
        shutdown: Shutdown,
    }

    /// Accepts these, with room for two connections.
    fn accepting(script: impl IntoIterator<Item = Accepted>) -> Running {
        let (answers, metrics, limits, shutdown) = (Answers::default(), metrics(), limits(), Shutdown::new());
        let accept = AcceptLoop {
            shared: Arc::new(Shared::new(answers.clone(), limits.clone(), &metrics)),
            seats: Arc::new(Semaphore::new(limits.connections)),
            metrics: metrics.clone(),
            drain_deadline: limits.shutdown_deadline,
        };
        let source = Script(Mutex::new(script.into_iter().collect()));
        let task = tokio::spawn(accept.run(source, shutdown.clone()));
        Running { task, answers, metrics, shutdown }
    }

    async fn ask(client: &mut DuplexStream, path: &str) {
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    }

    async fn is_answered(client: &mut DuplexStream) -> bool {
        let mut status = [0; 12];
        let read = tokio::time::timeout(Duration::from_millis(1), client.read_exact(&mut status)).await;
        read.is_ok_and(|read| read.is_ok()) && &status == b"HTTP/1.1 200"
    }

    #[tokio::test(start_paused = true)]
    async fn g4_without_descriptors_accepting_pauses_longer_and_longer_and_resumes() {
        let start = Instant::now();
        let (mut client, server) = duplex(4096);
        // EMFILE, five times.
        let failures = (0..5).map(|_| Err(io::Error::from_raw_os_error(24)));
        let running = accepting(failures.chain([Ok(server)]));
        ask(&mut client, "/").await;
        client.read_u8().await.unwrap();
        assert_eq!(start.elapsed().as_millis() / 10, 1 + 2 + 4 + 8 + 16);
        assert_eq!(running.metrics.accept_errors.get(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn g4_a_connection_that_is_gone_before_it_is_accepted_costs_no_pause() {
        let start = Instant::now();
        let (mut client, server) = duplex(4096);
        let running = accepting([Err(io::ErrorKind::ConnectionAborted.into()), Ok(server)]);
        ask(&mut client, "/").await;
        client.read_u8().await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(running.metrics.accept_errors.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn f12_at_the_connection_limit_the_next_one_waits_for_a_place() {
        let (mut first, a) = duplex(4096);
        let (_second, b) = duplex(4096);
        let (mut third, c) = duplex(4096);
        let (_fourth, d) = duplex(4096);
        let running = accepting([Ok(a), Ok(b), Ok(c), Ok(d)]);
        ask(&mut third, "/").await;
        assert!(!is_answered(&mut third).await);
        // The third is accepted and waits; the fourth is not even accepted.
        assert_eq!(running.metrics.accepted.get(), 3);
        assert_eq!(running.metrics.connections.get(), 2);
        ask(&mut first, "/").await;
        assert!(is_answered(&mut first).await);
        drop(first);
        assert!(is_answered(&mut third).await);
        assert_eq!(running.metrics.connections.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upgraded_connection_keeps_its_place() {
        let (mut tunnel, a) = duplex(4096);
        let (_second, b) = duplex(4096);
        let (mut third, c) = duplex(4096);
        let running = accepting([Ok(a), Ok(b), Ok(c)]);
        let head = b"GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        tunnel.write_all(head).await.unwrap();
        running.answers.go.notify_one();
        assert_eq!(tunnel.read_u8().await.unwrap(), b'H');
        ask(&mut third, "/").await;
        assert!(!is_answered(&mut third).await);
        drop(tunnel);
        assert!(is_answered(&mut third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn g5_a_drain_ends_with_the_last_request() {
        let (mut client, server) = duplex(4096);
        let (_idle, other) = duplex(4096);
        let running = accepting([Ok(server), Ok(other)]);
        ask(&mut client, "/slow").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.shutdown.cancel();
        tokio::time::sleep(Duration::from_secs(14)).await;
        assert!(!running.task.is_finished());
        running.answers.go.notify_one();
        assert_eq!(running.task.await.unwrap(), 0);
        assert!(is_answered(&mut client).await);
    }

    #[tokio::test(start_paused = true)]
    async fn g5_a_hung_client_is_cut_at_the_deadline_and_counted() {
        let start = Instant::now();
        let (mut client, server) = duplex(4096);
        let running = accepting([Ok(server)]);
        ask(&mut client, "/slow").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.shutdown.cancel();
        assert_eq!(running.task.await.unwrap(), 1);
        assert_eq!(start.elapsed().as_secs(), 15);
    }
}
