//! What the hot path costs: an L1 hit through the whole journey, and its parts by themselves. And what
//! each coded form costs, once, and how large it is.
//!
//! `cargo bench --bench journey`; `cargo bench --bench journey -- coding` for the codings alone. How the whole
//! process compares with a bare hyper server is measured by `scripts/load`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up ends by a panic")]

use std::convert::Infallible;
use std::hint::black_box;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use millpond::bus::Log;
use millpond::clock::Clock;
use millpond::config;
use millpond::entry::coder;
use millpond::flow::{Parts, Proxy, Service};
use millpond::key::{self, KeyRules, MethodClass, QueryRule, Target};
use millpond::l2::Absent;
use millpond::listener::{self, Handler, RequestBody};
use millpond::policy::coding::Coding;
use millpond::policy::directives::Directives;
use millpond::telemetry::access::AccessLog;
use millpond::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// The size of the body that `scripts/load` measures too.
const BODY_BYTES: usize = 1024;
/// Bytes that a pipe holds before its writer waits.
const PIPE: usize = 64 * 1024;
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000);

/// A proxy with one stored response, behind a hyper connection over a pipe in memory: a handler
/// takes the body type of that library, which only a connection can make.
struct Hit {
    runtime: Runtime,
    client: SendRequest<Empty<Bytes>>,
    /// Nanoseconds spent inside the handler.
    handled: Arc<AtomicU64>,
}

impl Hit {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handled = Arc::<AtomicU64>::default();
        let client = runtime.block_on(connect(Arc::clone(&handled)));
        let mut hit = Self { runtime, client, handled };
        // The first fills the cache, and all others must come from it.
        assert!(!hit.ask().contains("hit"));
        assert!(hit.ask().contains("hit"));
        hit
    }

    /// One request; returns what the cache says of its answer.
    fn ask(&mut self) -> String {
        self.runtime.block_on(async {
            let response = exchange(&mut self.client).await;
            response.headers()["cache-status"].to_str().unwrap().to_owned()
        })
    }

    /// Answers `count` requests; returns the time inside the handler and the time in all.
    fn run(&mut self, count: u64) -> (Duration, Duration) {
        self.handled.store(0, Ordering::Relaxed);
        let total = self.runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..count {
                black_box(exchange(&mut self.client).await);
            }
            start.elapsed()
        });
        (Duration::from_nanos(self.handled.load(Ordering::Relaxed)), total)
    }
}

/// Sends one request and reads the whole answer.
async fn exchange(client: &mut SendRequest<Empty<Bytes>>) -> Response<Bytes> {
    let request = Request::get("/api/products/42?page=1").header(HOST, "api.test").body(Empty::new()).unwrap();
    client.ready().await.unwrap();
    let (head, body) = client.send_request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// A connection to a proxy whose handler adds to `handled`.
async fn connect(handled: Arc<AtomicU64>) -> SendRequest<Empty<Bytes>> {
    let service = Service(proxy(origin().await));
    let (near, far) = tokio::io::duplex(PIPE);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, handled) = (service.clone(), Arc::clone(&handled));
        async move {
            let client = listener::Client { address: PEER, arrived: Instant::now(), interim: None, upgrade: None };
            let head = Box::new(request.into_parts().0);
            let start = Instant::now();
            let response = service.handle(head, RequestBody::empty(), client).await;
            let spent = u64::try_from(start.elapsed().as_nanos()).unwrap();
            handled.fetch_add(spent, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(far), answer));
    let (client, connection) = handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    client
}

fn proxy(origin: SocketAddr) -> Arc<Proxy> {
    let text = format!(
        "[origins.bench]\nurl = 'http://{origin}'\n\n[[routes]]\npath = '/api/*'\norigin = 'bench'\ncache = {{}}\n"
    );
    let config = config::parse(&text, Path::new("bench.toml"), &|_| None).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let clock = Clock::system();
    let lost = metrics.log_lines_lost.clone();
    let access = AccessLog::new(&config.log, clock.clone(), lost, std::io::sink()).unwrap();
    let log = Log::new(1000, None);
    let parts = Parts { clock, metrics, access: Arc::new(access), log, remote: Box::new(Absent) };
    Arc::new(Proxy::new(&config, parts))
}

/// An origin that answers what `scripts/load` stores.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(async |_request| {
                let mut response = Response::new(Full::new(Bytes::from(vec![b'm'; BODY_BYTES])));
                *response.headers_mut() = stored_fields();
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

fn stored_fields() -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
        (ETAG, HeaderValue::from_static("\"v1\"")),
    ])
}

fn journey(criterion: &mut Criterion) {
    let mut hit = Hit::new();
    let mut group = criterion.benchmark_group("L1 hit of 1 KiB");
    group.bench_function("the journey alone", |b| b.iter_custom(|count| hit.run(count).0));
    group.bench_function("with a client and hyper over a pipe", |b| b.iter_custom(|count| hit.run(count).1));
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let target = Target {
        scheme: "http",
        host: "api.example.com",
        path: "/api/products/42",
        query: Some("page=2&utm_source=mail&sort=price"),
    };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("accept-language"), HeaderValue::from_static("de"))]);
    let plain = KeyRules::default();
    let busy = KeyRules {
        query: QueryRule::Deny(vec!["utm_*".into(), "gclid".into()]),
        sort_query: true,
        headers: vec![HeaderName::from_static("accept-language")],
        ..KeyRules::default()
    };
    let mut group = criterion.benchmark_group("key");
    for (name, rules) in [("by default", &plain), ("with a deny list, sorted, and a header", &busy)] {
        group.bench_function(name, |b| {
            b.iter(|| key::build(black_box(target), MethodClass::Get, rules, black_box(&headers)));
        });
    }
    group.finish();
}

fn directives(criterion: &mut Criterion) {
    let field = |value| HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
    let browser = field("max-age=0");
    let short = field("max-age=60");
    let long = field("public, max-age=60, s-maxage=300, stale-while-revalidate=30, no-cache=\"set-cookie, x-a\"");
    let mut targeted = short.clone();
    targeted.insert("cdn-cache-control", HeaderValue::from_static("max-age=600, stale-if-error=60"));
    let mut group = criterion.benchmark_group("directives");
    group.bench_function("of a request without any", |b| {
        b.iter(|| Directives::of_request(black_box(&HeaderMap::new())));
    });
    group.bench_function("of a reloading browser", |b| b.iter(|| Directives::of_request(black_box(&browser))));
    for (name, headers) in [("short", &short), ("long", &long), ("targeted", &targeted)] {
        group.bench_function(format!("of a response, {name}"), |b| {
            b.iter(|| Directives::of_response(black_box(headers)));
        });
    }
    group.finish();
}

/// A product in JSON on each line, 88 KiB in all, the same in every run.
fn products() -> Vec<u8> {
    const WORDS: &str = "mill pond wheel water stone grain flour oak iron river weir sluice bread miller barn cart sack \
                         rye wheat barley old new small large grey green round heavy light dry cold warm";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut products = Vec::new();
    while products.len() < 88 * 1024 {
        let mut text = |count| (0..count).map(|_| words[draw(words.len())]).collect::<Vec<_>>().join(" ");
        let (name, description) = (text(2), text(18));
        let (id, cents, stock) = (draw(1_000_000), draw(100_000), draw(500));
        writeln!(
            products,
            r#"{{"id":{id},"name":"{name}","price":{{"amount":{cents},"currency":"EUR"}},"stock":{stock},"description":"{description}","image":"https://img.example.com/p/{id}.jpg"}}"#
        )
        .unwrap();
    }
    products
}

/// The level in use of each coding, and higher ones.
fn codings(criterion: &mut Criterion) {
    type Encode = Box<dyn Fn(&[u8]) -> usize>;
    let used = |coding: Coding| -> Encode { Box::new(move |body| coder::encode(coding, body).unwrap().len()) };
    let zstd = |level| -> Encode { Box::new(move |body| zstd::bulk::compress(body, level).unwrap().len()) };
    let brotli = |quality| -> Encode {
        Box::new(move |body| {
            let mut writer = brotli::CompressorWriter::new(Vec::new(), 16 * 1024, quality, 22);
            writer.write_all(body).unwrap();
            writer.into_inner().len()
        })
    };
    let gzip = |level| -> Encode {
        Box::new(move |body| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            writer.write_all(body).unwrap();
            writer.finish().unwrap().len()
        })
    };
    let body = products();
    let mut group = criterion.benchmark_group(format!("coding of {} bytes of JSON", body.len()));
    for (name, encode) in [
        ("zstd as in use", used(Coding::Zstd)),
        ("zstd 12", zstd(12)),
        ("zstd 19", zstd(19)),
        ("br as in use", used(Coding::Brotli)),
        ("br 7", brotli(7)),
        ("br 9", brotli(9)),
        ("gzip as in use", used(Coding::Gzip)),
        ("gzip 7", gzip(7)),
        ("gzip 9", gzip(9)),
    ] {
        // The size is part of the name, so that it is printed beside the time.
        let name = format!("{name}, {} bytes", encode(&body));
        group.bench_function(name, |b| b.iter(|| encode(black_box(&body))));
    }
    group.finish();
}

criterion_group!(benches, journey, keys, directives, codings);
criterion_main!(benches);
