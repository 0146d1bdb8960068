//! An origin whose paths say what it answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};

use crate::Failure;

/// As many connections may wait to be accepted as Linux allows by default.
const BACKLOG: u32 = 4096;
/// The largest body.
const MOST_BYTES: usize = 1 << 20;

/// The origin's command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

/// What a path asks for, segment by segment: a number is the size of the body, `slow` has the answer take
/// 100 ms, `pass` forbids to store it, `ttl-2` has it live for 2 s, `count` asks how many requests there were. Others
/// make a URL unique.
struct Wanted {
    bytes: usize,
    ttl: u64,
    slow: bool,
    stored: bool,
    count: bool,
}

impl Wanted {
    fn of(path: &str) -> Self {
        let mut wanted = Self { bytes: 1024, ttl: 3600, slow: false, stored: true, count: false };
        for segment in path.split('/') {
            match segment {
                "slow" => wanted.slow = true,
                "pass" => wanted.stored = false,
                "count" => wanted.count = true,
                _ if segment.starts_with("ttl-") => wanted.ttl = segment[4..].parse().unwrap_or(wanted.ttl),
                _ => wanted.bytes = segment.parse().map_or(wanted.bytes, |bytes: usize| bytes.min(MOST_BYTES)),
            }
        }
        wanted
    }
}

struct State {
    body: Bytes,
    requests: AtomicU64,
}

impl State {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let wanted = Wanted::of(request.uri().path());
        if wanted.count {
            return Response::new(Full::new(self.requests.load(Relaxed).to_string().into()));
        }
        self.requests.fetch_add(1, Relaxed);
        if wanted.slow {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut response = Response::new(Full::new(self.body.slice(..wanted.bytes)));
        let headers = response.headers_mut();
        let control = match (wanted.stored, wanted.ttl) {
            (false, _) => HeaderValue::from_static("no-store"),
            (true, 3600) => HeaderValue::from_static("max-age=3600"),
            (true, ttl) => {
                HeaderValue::try_from(format!("max-age={ttl}")).unwrap_or(HeaderValue::from_static("no-store"))
            }
        };
        headers.insert(CACHE_CONTROL, control);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ETAG, HeaderValue::from_static("\"v1\""));
        headers.insert(LAST_MODIFIED, HeaderValue::from_static("Wed, 01 Jan 2020 00:00:00 GMT"));
        response
    }
}

/// Serves until it is killed.
pub(crate) async fn serve(args: Args) -> Result<(), Failure> {
    let state = Arc::new(State { body: vec![b'm'; MOST_BYTES].into(), requests: AtomicU64::new(0) });
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(args.listen)?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(&request).await) }
            });
            // A proxy that is stopped cuts its connections: that is not a failure.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
