//! The yardstick of `scripts/load`: the least that a hyper server can do for the bytes that Millpond answers.
//!
//! The same HTTP library, runtime models and socket options, the same body and as many header fields, but no routing,
//! key, policy, metrics or log. What Millpond costs beyond this is Millpond's own.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VIA};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use moka::sync::Cache;
use rustix::net::sockopt::set_tcp_congestion;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;

/// The size of the body that is compared.
const BODY_BYTES: usize = 1024;
/// As many connections may wait to be accepted as Linux allows by default.
const BACKLOG: u32 = 4096;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    /// The origin's response: what the proxy fetches once and stores.
    Origin,
    /// The bytes of a hit from a constant.
    Bytes,
    /// The bytes of a hit, found by path in a moka cache.
    Moka,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    /// One single-threaded runtime per thread, each with its own `SO_REUSEPORT` socket.
    PerCore,
    /// One runtime whose threads steal work from one another.
    WorkStealing,
}

/// A bare hyper server to measure Millpond against.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// What to answer.
    #[arg(long, value_enum, default_value = "bytes")]
    answer: Answer,
    /// How connections are spread over threads.
    #[arg(long, value_enum, default_value = "per-core")]
    runtime: Model,
    /// Threads that serve connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// A response in the form in which a cache would hold it.
struct Stored {
    headers: HeaderMap,
    body: Bytes,
}

/// Where the response comes from.
#[derive(Clone)]
enum Source {
    Constant(Arc<Stored>),
    Cache(Cache<String, Arc<Stored>, ahash::RandomState>),
}

impl Source {
    fn new(answer: Answer) -> Self {
        let stored = Arc::new(Stored { headers: headers(answer), body: Bytes::from(vec![b'm'; BODY_BYTES]) });
        if !matches!(answer, Answer::Moka) {
            return Self::Constant(stored);
        }
        let cache = Cache::builder().max_capacity(10_000).build_with_hasher(ahash::RandomState::new());
        cache.insert("/1k".to_owned(), stored);
        Self::Cache(cache)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let stored = match self {
            Self::Constant(stored) => Some(Arc::clone(stored)),
            Self::Cache(cache) => cache.get(request.uri().path()),
        };
        let Some(stored) = stored else {
            let mut missing = Response::default();
            *missing.status_mut() = StatusCode::NOT_FOUND;
            return missing;
        };
        let mut response = Response::new(Full::new(stored.body.clone()));
        response.headers_mut().clone_from(&stored.headers);
        response
    }
}

/// The fields beside `Date` and `Content-Length`, which hyper writes itself.
fn headers(answer: Answer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(ETAG, HeaderValue::from_static("\"v1\""));
    if !matches!(answer, Answer::Origin) {
        headers.insert(AGE, HeaderValue::from_static("1"));
        headers.insert(VIA, HeaderValue::from_static("1.1 millpond"));
        headers.insert(HeaderName::from_static("cache-status"), HeaderValue::from_static("millpond; hit; ttl=3599"));
    }
    headers
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let source = Source::new(args.answer);
    match args.runtime {
        Model::PerCore => serve_per_core(args.listen, args.threads, &source),
        Model::WorkStealing => {
            let runtime = Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
            // Spawned, so that the accept loop runs on a worker like everything else.
            runtime.block_on(async { tokio::spawn(serve(args.listen, source)).await? })
        }
    }
}

fn serve_per_core(address: SocketAddr, threads: usize, source: &Source) -> Result<(), Failure> {
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let source = source.clone();
            std::thread::spawn(move || {
                Builder::new_current_thread().enable_all().build()?.block_on(serve(address, source))
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker thread panicked")??;
    }
    Ok(())
}

async fn serve(address: SocketAddr, source: Source) -> Result<(), Failure> {
    let listener = listen(address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let source = source.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = source.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            // The load generator cuts its connections at the end of a run: that is not a failure.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    // As Millpond where it listens on a loopback address.
    if address.ip().is_loopback() {
        set_tcp_congestion(&socket, "reno")?;
    }
    Ok(socket.listen(BACKLOG)?)
}
