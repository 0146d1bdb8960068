//! The validated configuration: every value is in range and every name resolves.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::uri::Authority;
use ipnet::IpNet;

use crate::key::KeyRules;
use crate::policy::Rules;
use crate::policy::coding::Compress;
use crate::route::Matcher;

/// Everything one instance needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The client side.
    pub listen: Listen,
    /// Bounds on connections, heads and time.
    pub limits: Limits,
    /// The upstream servers, in file order.
    pub origins: Vec<Arc<OriginConfig>>,
    /// The routes, in file order: the first that matches wins.
    pub routes: Vec<RouteConfig>,
    /// The size of L1 and its bounds.
    pub cache: CacheConfig,
    /// The shared tier; `None` for an instance by itself.
    pub redis: Option<RedisConfig>,
    /// The invalidation log.
    pub invalidation: InvalidationConfig,
    /// Diagnostics and the access log.
    pub log: LogConfig,
    /// The admin listener; `None` switches it off.
    pub admin: Option<AdminConfig>,
}

/// Where and how to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Plain HTTP/1.1.
    pub http: SocketAddr,
    /// How connections are spread over threads.
    pub runtime: RuntimeModel,
    /// Threads that serve connections; the number of cores by default.
    pub threads: NonZeroUsize,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// How connections are spread over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeModel {
    /// One single-threaded runtime per thread, each with its own `SO_REUSEPORT` socket.
    PerCore,
    /// One runtime whose threads steal work from one another.
    WorkStealing,
}

/// Bounds on what clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// Bytes of a request head; more is 431.
    pub head_bytes: usize,
    /// Header fields of a request; more is 431.
    pub head_fields: usize,
    /// Bytes of a request target; more is 414.
    pub target_bytes: usize,
    /// From the first byte of a request head to its last; later is 408.
    pub head_timeout: Duration,
    /// How long a connection may sit between two requests.
    pub idle_timeout: Duration,
    /// The longest gap in a request body.
    pub body_timeout: Duration,
    /// How long a client may refuse to read before it is cut off.
    pub write_timeout: Duration,
    /// Bytes of a request body; more is 413. `None` means no bound.
    pub request_body: Option<u64>,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_deadline: Duration,
}

/// One upstream server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginConfig {
    /// The name routes refer to.
    pub name: String,
    /// Host and port; the scheme is `http`.
    pub authority: Authority,
    /// What goes into the `Host` field: the client's, or this one.
    pub host_header: Option<Authority>,
    /// Time to open a connection.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response head.
    pub first_byte_timeout: Duration,
    /// The longest gap in a response body.
    pub between_bytes_timeout: Duration,
    /// The whole exchange of a fetch, body included; `None` means no bound. Upgraded connections and event
    /// streams are exempt.
    pub total_timeout: Option<Duration>,
    /// Connections at once, pass-through included.
    pub max_connections: usize,
    /// Requests that may wait for a connection.
    pub max_queue: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Its name in metrics, logs and purges.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// Where they go.
    pub origin: Arc<OriginConfig>,
    /// How responses are cached; `None` passes everything.
    pub cache: Option<Arc<CachePolicy>>,
}

/// How one route caches.
#[derive(Clone, Debug)]
pub struct CachePolicy {
    /// Lifetimes and what may be stored.
    pub rules: Rules,
    /// What is part of the key.
    pub key: KeyRules,
    /// The largest part by which a lifetime is randomly shortened, 0.0 to 0.9.
    pub jitter: f64,
    /// The eagerness of probabilistic early refresh (XFetch's beta); 0.0 switches it off.
    pub early_refresh: f64,
    /// Requests for which the cache is not consulted.
    pub bypass: Vec<BypassRule>,
    /// Whether concurrent misses share one fetch.
    pub coalesce: bool,
    /// How long a request waits for another's fetch to answer before it goes to the origin itself.
    pub coalesce_wait: Duration,
    /// The largest body that is stored, in bytes.
    pub max_object_size: u64,
    /// What is fetched for a client that asks for a range.
    pub ranges: RangeFetch,
    /// Whether the response to a POST may answer later GETs of its target (RFC 9110 section 9.3.3).
    pub post_fills_get: bool,
    /// Which codings stored bodies are sent in; `None` leaves them as they came.
    pub compress: Option<Compress>,
    /// Response fields that carry surrogate tags.
    pub tag_headers: Vec<HeaderName>,
}

/// What is fetched for a client that asks for a range of something that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeFetch {
    /// The whole, from which the range is cut; the range alone if the whole is too large to be stored.
    Whole,
    /// The range alone, which is stored as a part.
    AsAsked,
}

/// A request that matches is passed to the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BypassRule {
    /// It has this header field, whatever its value.
    Header(HeaderName),
    /// It has this cookie; the name may end in `*`.
    Cookie(String),
    /// Its query has this parameter; the name may end in `*`.
    Query(String),
    /// Its path matches.
    Path(crate::route::PathPattern),
}

/// The size of L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of stored responses, overhead included.
    pub max_bytes: u64,
    /// Stored URLs; with 0, no fresh response is kept in memory.
    pub max_entries: u64,
    /// Stored variants of one URL.
    pub max_variants: usize,
    /// How long a URL is remembered as uncacheable.
    pub hit_for_miss_ttl: Duration,
    /// Background refreshes at once.
    pub max_refreshes: usize,
}

/// The tier that instances share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where Redis is, without secrets.
    pub url: String,
    /// The user, where Redis has an access list.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// What every key and channel begins with.
    pub prefix: String,
    /// What this instance is called; `None` for the name of the host.
    pub instance: Option<String>,
    /// Connections for stored responses, without those that look-ups have by themselves.
    pub connections: usize,
    /// How long a command may take.
    pub timeout: Duration,
    /// How long one instance may fetch while the others wait for it.
    pub lease: Duration,
    /// The largest body that is stored there, in bytes.
    pub max_object_size: u64,
    /// Bodies of at least this many bytes are compressed; `None` compresses nothing.
    pub compress_from: Option<u64>,
}

/// The invalidation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidationConfig {
    /// Records kept; the oldest collapse into "everything up to here".
    pub max_records: usize,
    /// How often an instance compares itself with the log in Redis.
    pub heartbeat: Duration,
    /// After this long without a word from the log, nothing stored is served unvalidated.
    pub max_unsynced: Duration,
}

/// Diagnostics and access log, both to standard output and error.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// A `tracing` filter such as `info` or `millpond=debug`.
    pub level: String,
    /// Form of diagnostics, on standard error.
    pub format: LogFormat,
    /// Form of the access log, on standard output; `None` switches it off.
    pub access: Option<LogFormat>,
    /// The part of requests that is logged, 0.0 to 1.0; faults are always logged.
    pub access_sample: f64,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text.
    Text,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Its address; loopback unless there is a token.
    pub listen: SocketAddr,
    /// Bearer token that clients must show.
    pub token: Option<Secret>,
}

/// A secret: it never shows in logs, dumps or errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    source: SecretSource,
}

/// Where a secret came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Environment(String),
    /// The first line of a file.
    File(PathBuf),
}

impl Secret {
    /// A secret read from `source`.
    pub const fn new(value: String, source: SecretSource) -> Self {
        Self { value, source }
    }

    /// The secret itself. Compare it in constant time.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Where it came from.
    pub const fn source(&self) -> &SecretSource {
        &self.source
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret(from {:?})", self.source)
    }
}
