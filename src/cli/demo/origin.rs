//! The built-in slow origin: real HTTP/1.1 over a socket in front of the [`Catalogue`], with a
//! delay, a number of requests that it works on at once (as a database pool would), and an error
//! rate.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::catalogue::{Catalogue, problem};

/// The largest request body that the catalogue reads.
const MAX_REQUEST_BODY: usize = 64 * 1024;

/// How slow, how large and how unreliable the origin is.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginOptions {
    /// Time that one answer takes once it is being worked on.
    pub latency: Duration,
    /// Requests worked on at once; the others wait. At least 1.
    pub workers: usize,
    /// The part of requests that fails with 500, 0.0 to 1.0.
    pub error_rate: f64,
    /// The least size of a body in bytes.
    pub body_bytes: usize,
    /// The lifetime that the origin gives its products; whole seconds count.
    pub max_age: Duration,
}

impl Default for OriginOptions {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(500),
            workers: 25,
            error_rate: 0.0,
            body_bytes: 2_000,
            max_age: Duration::from_secs(5),
        }
    }
}

/// A running origin; dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct DemoOrigin {
    addr: SocketAddr,
    counters: Arc<Counters>,
    accept: AbortHandle,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    at_once: AtomicUsize,
    peak: AtomicUsize,
}

/// What every connection needs.
struct Shared {
    catalogue: Catalogue,
    options: OriginOptions,
    workers: Semaphore,
    counters: Arc<Counters>,
}

impl DemoOrigin {
    /// Starts an origin on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When no socket can be opened there.
    pub async fn start(options: OriginOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let shared = Arc::new(Shared {
            catalogue: Catalogue::new(options.body_bytes, options.max_age),
            workers: Semaphore::new(options.workers.max(1)),
            counters: Arc::clone(&counters),
            options,
        });
        let accept = tokio::spawn(accept(listener, shared)).abort_handle();
        Ok(Self { addr, counters, accept })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::Relaxed)
    }

    /// Requests that are waiting or being worked on now.
    pub fn at_once(&self) -> usize {
        self.counters.at_once.load(Ordering::Relaxed)
    }

    /// The most requests at once since the last call.
    pub fn take_peak(&self) -> usize {
        self.counters.peak.swap(self.at_once(), Ordering::Relaxed)
    }
}

impl Drop for DemoOrigin {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Accepts until aborted; the connections end with it, because the set owns their tasks.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                // Out of descriptors or the like: let connections end before the next try.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let answer = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A connection that breaks is the client's business.
    let _ = stream.set_nodelay(true);
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer).await;
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let _counted = self.counters.enter();
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_REQUEST_BODY).collect().await else {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off").map(Full::new);
        };
        if head.uri.path() != "/health" {
            // The semaphore is never closed, so this only waits.
            let _worker = self.workers.acquire().await;
            tokio::time::sleep(self.options.latency).await;
            if rand::random_bool(self.options.error_rate.clamp(0.0, 1.0)) {
                return problem(StatusCode::INTERNAL_SERVER_ERROR, "the demo origin fails on purpose").map(Full::new);
            }
        }
        self.catalogue.answer(&Request::from_parts(head, body.to_bytes())).map(Full::new)
    }
}

impl Counters {
    fn enter(&self) -> AtOnce<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
        AtOnce(self)
    }
}

/// Counts a request as present until it is answered or its client has left.
struct AtOnce<'a>(&'a Counters);

impl Drop for AtOnce<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::client::Connection;

    fn quick() -> OriginOptions {
        OriginOptions { latency: Duration::from_millis(1), ..OriginOptions::default() }
    }

    #[tokio::test]
    async fn requests_and_the_most_at_once_are_counted() {
        let origin = DemoOrigin::start(OriginOptions { workers: 2, ..quick() }).await.unwrap();
        let ask = || async {
            let mut connection = Connection::open(origin.addr()).await.unwrap();
            connection.get("/api/products/1").await.unwrap()
        };
        let answers = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.bytes == 2_000));
        assert_eq!(origin.requests(), 20);
        let peak = origin.take_peak();
        assert!((2..=20).contains(&peak), "{peak}");
        assert_eq!(origin.take_peak(), 0, "taking the peak starts it anew");
    }

    #[tokio::test]
    async fn an_error_rate_of_one_fails_everything_but_the_health_check() {
        let origin = DemoOrigin::start(OriginOptions { error_rate: 1.0, ..quick() }).await.unwrap();
        let mut connection = Connection::open(origin.addr()).await.unwrap();
        assert_eq!(connection.get("/api/products/1").await.unwrap().status, 500);
        assert_eq!(connection.get("/health").await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn dropping_the_origin_closes_its_listener_and_its_connections() {
        let origin = DemoOrigin::start(quick()).await.unwrap();
        let mut connection = Connection::open(origin.addr()).await.unwrap();
        connection.get("/health").await.unwrap();
        let addr = origin.addr();
        drop(origin);
        assert!(connection.get("/health").await.is_err());
        assert!(Connection::open(addr).await.is_err());
    }
}
