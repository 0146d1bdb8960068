//! The sections of a file as they are written: every single value is well formed, but nothing
//! is compared with anything else yet. The doc comments are the descriptions in the schema.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use ipnet::IpNet;

use super::fault::Collector;
use super::model::{LogFormat, RangeFetch, RuntimeModel};
use super::reader::{Field, Found, Keys, Node, Place, Setting, section, section_schema};
use super::shapes::{QueryChoice, StatusLifetimes};
use super::text::{
    AccessLog, BodyMethod, CookieName, HostHeader, LogFilter, Name, NamePattern, OriginUrl, Plain, Preset, RedisUrl,
    RouteHost, RoutePath,
};
use super::values::{Bytes, Named, Ratio, Span, Switch, Whole, defaults};
use crate::policy::coding::Coding;

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// How long something may take: never zero, so that no limit can refuse everything.
type Timeout = Span<1, DAY>;
/// How long something stored is good for; ten years stand for ever.
pub(super) type Lifetime = Span<0, { 3_650 * DAY }>;
type List<T> = Vec<Found<T>>;

section! {
    /// Configuration of Millpond.
    File {
        /// Where and how to listen.
        listen: Listen = Listen::absent(),
        /// Bounds on what clients may do.
        limits: Limits = Limits::absent(),
        /// The upstream servers by name.
        origins: Named<Origin> => "[origins.api] with url = \"http://127.0.0.1:3000\"",
        /// The routes; the first that matches takes the request.
        routes: List<Route> => "[[routes]] with path = \"/api/*\" and origin = \"api\"",
        /// The size of the cache in memory.
        cache: CacheStore = CacheStore::absent(),
        /// The tier that instances share. Without this section an instance is by itself.
        redis: Redis,
        /// The invalidation log.
        invalidation: Invalidation = Invalidation::absent(),
        /// Diagnostics (standard error) and the access log (standard output).
        log: Log = Log::absent(),
        /// The admin listener: metrics, health and purges. Without this section there is none.
        admin: Admin,
    }
}

section! {
    /// Where and how to listen.
    Listen {
        /// Address and port for plain HTTP/1.1. Port 0 takes any free port.
        http: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// "work-stealing": one runtime for all threads; "per-core": one single-threaded runtime and one listening socket per thread.
        runtime: RuntimeModel = RuntimeModel::WorkStealing,
        /// Threads that serve connections; the number of cores unless given.
        threads: Whole<1, 1024>,
        /// Networks of proxies whose X-Forwarded-* and Forwarded fields are believed.
        trusted_proxies: List<IpNet> = Vec::new(),
    }
}

section! {
    /// Bounds on what clients may do.
    Limits {
        /// Client connections at once; more wait in the backlog of the kernel.
        connections: Whole<1, 1_000_000> = Whole(10_000),
        /// Size of a request head; a larger one is answered with 431.
        head_bytes: Bytes<KIB, MIB> = Bytes(16 * KIB),
        /// Header fields of a request; more are answered with 431.
        head_fields: Whole<1, 10_000> = Whole(100),
        /// Size of a request target (path and query); a larger one is answered with 414.
        target_bytes: Bytes<64, MIB> = Bytes(8 * KIB),
        /// From the first byte of a request head to its last; later is answered with 408.
        head_timeout: Timeout = Span::seconds(10),
        /// How long a connection may sit between two requests.
        idle_timeout: Timeout = Span::seconds(75),
        /// The longest gap in a request body.
        body_timeout: Timeout = Span::seconds(30),
        /// How long a client may refuse to read a response before it is cut off.
        write_timeout: Timeout = Span::seconds(30),
        /// Size of a request body; a larger one is answered with 413. false means no bound.
        request_body: Switch<Bytes<0, TIB>> = Switch::Off,
        /// How long a shutdown waits for requests under way.
        shutdown_deadline: Lifetime = Span::seconds(30),
    }
}

section! {
    /// One upstream server.
    Origin {
        /// Scheme, host and port: "http://host:port". There is no TLS to origins yet.
        url: OriginUrl => "url = \"http://127.0.0.1:3000\"",
        /// What goes into the Host field: "preserve" sends the client's, anything else is sent as it stands.
        host_header: HostHeader = HostHeader::Preserve,
        /// Time to open a connection.
        connect_timeout: Timeout = Span::seconds(3),
        /// From the last byte of a request to the head of its response.
        first_byte_timeout: Timeout = Span::seconds(30),
        /// The longest gap in a response body.
        between_bytes_timeout: Timeout = Span::seconds(15),
        /// The whole exchange, body included; false means no bound. Upgraded connections and event streams are exempt.
        total_timeout: Switch<Timeout> = Switch::On(Span::seconds(300)),
        /// Connections at once.
        max_connections: Whole<1, 100_000> = Whole(256),
        /// Requests that may wait for a connection; more are answered at once from stale entries or with 503.
        max_queue: Whole<0, 1_000_000> = Whole(1024),
        /// How long a request may wait for a connection.
        queue_timeout: Timeout = Span::seconds(5),
        /// How long an unused connection is kept open.
        idle_timeout: Timeout = Span::seconds(60),
    }
}

section! {
    /// Which requests go where, and how their responses are cached.
    Route {
        /// Name in metrics, logs and purges; made from the path unless given.
        name: Name,
        /// The host this route takes, without port: "api.example.com" or "*.example.com". Any host unless given.
        host: RouteHost,
        /// Several hosts, instead of `host`.
        hosts: List<RouteHost>,
        /// The path: exact, or with stars that stand for any run of characters. "*" takes every path.
        path: RoutePath => "path = \"/api/*\"",
        /// The methods this route takes, in upper case. Any method unless given.
        methods: List<Method>,
        /// The name of the origin that answers.
        origin: Name => "origin = \"api\"",
        /// How responses are cached. Without it the origin's own headers decide (RFC 9111); false passes everything.
        cache: Switch<Cache>,
    }
}

section! {
    /// How the responses of a route are cached.
    Cache {
        /// Lifetime of responses that give none themselves.
        ttl: Lifetime,
        /// Lifetime that replaces whatever the response says. Not together with ttl or ttl_by_status.
        force_ttl: Lifetime,
        /// Lifetimes by status of responses that give none themselves: { 404 = "10s", 301 = "1h" }.
        ttl_by_status: StatusLifetimes,
        /// Lifetime of 404, 405, 410 and 501 that give none themselves.
        negative_ttl: Lifetime,
        /// How long after its lifetime a response may be served while it is refreshed in the background (RFC 5861).
        stale_while_revalidate: Lifetime,
        /// How long after its lifetime a response may be served when the origin fails (RFC 5861).
        stale_if_error: Lifetime,
        /// Lifetimes from Last-Modified where nothing else gives one (RFC 9111 section 4.2.2); false for none.
        heuristic: Switch<Heuristic> = Switch::Off,
        /// The largest part by which a lifetime is randomly shortened, so that entries stored together do not expire together.
        jitter: Ratio<9> = Ratio(0.1),
        /// Eagerness of early refresh (the beta of XFetch): higher refreshes earlier, 0.0 switches it off.
        early_refresh: Ratio<100> = Ratio(1.0),
        /// Whether Cache-Control in requests counts, so that clients can ask for a fresh response.
        respect_client_cache_control: bool = false,
        /// Whether responses with Set-Cookie may be stored; the field itself is not, and reaches only the client that asked.
        store_set_cookie: bool = false,
        /// Whether requests that miss at the same time share one fetch.
        coalesce: bool = true,
        /// How long a request waits for the fetch of another before it goes to the origin itself. Not together with coalesce = false.
        coalesce_wait: Timeout = Span::seconds(30),
        /// The largest body that is stored; at most cache.max_bytes, which also lowers the default, or redis.max_object_size
        /// where cache.max_entries is 0.
        max_object_size: Bytes<1, TIB> = Bytes(8 * MIB),
        /// What is fetched for a request for a range: "whole", from which it is cut, or "as-asked", the range alone, stored as a part. What is too large to be stored is fetched as asked anyway.
        ranges: RangeFetch = RangeFetch::Whole,
        /// Whether the response to a POST answers later GETs of its URL, if it says that it is fresh and, by Content-Location, that it is what a GET would bring.
        post_fills_get: bool = false,
        /// Codings for clients that ask for them: "zstd", "br", "gzip", the preferred first. A stored body is coded once; the origin is asked for none.
        compress: List<Coding>,
        /// Size from which stored bodies are coded, up to 32 MiB. Only together with compress.
        compress_from: Bytes<1, TIB> = Bytes(KIB),
        /// Response fields that carry tags for purges.
        tag_headers: List<HeaderName> = defaults(["surrogate-key", "cache-tag", "xkey"].map(HeaderName::from_static)),
        /// What is part of the key besides scheme, host and path.
        key: Key = Key::absent(),
        /// Requests that go to the origin without a look at the cache.
        bypass: Bypass = Bypass::absent(),
    }
}

section! {
    /// Lifetimes from Last-Modified.
    Heuristic {
        /// The share of the time since Last-Modified.
        fraction: Ratio<10> = Ratio(0.1),
        /// The upper bound.
        max: Lifetime = Span(Duration::from_millis(DAY)),
    }
}

section! {
    /// What is part of the key besides scheme, host and path.
    Key {
        /// Query parameters: "all", "none", or a table with a list `allow` or `deny`. Names may end in a star.
        query: QueryChoice = QueryChoice::All,
        /// Lists of parameters that are left out. "tracking": utm_*, gclid, fbclid, msclkid and the like (listed in reference.toml).
        presets: List<Preset> = Vec::new(),
        /// Whether parameters are sorted by name. Off by default: some APIs give the order a meaning.
        sort_query: bool = false,
        /// Request fields whose values are part of the key.
        headers: List<HeaderName> = Vec::new(),
        /// Cookies whose values are part of the key.
        cookies: List<CookieName> = Vec::new(),
        /// Whether Cache-Status names the key: its URL, and which fields and cookies are part of it. For debugging.
        show: bool = false,
        /// Whether a response that says by No-Vary-Search that it is good for other queries answers those as well.
        no_vary_search: bool = false,
        /// Methods that are looked up with their body in the key. Without this section only GET and HEAD are looked up.
        body: KeyBody,
    }
}

section! {
    /// Methods that are looked up with their body in the key.
    KeyBody {
        /// "QUERY", "POST" or both. Naming POST says that the POSTs of this route only ask: they share fetches and stored responses, and may be sent again to refresh one.
        methods: List<BodyMethod> => "methods = [\"QUERY\"]",
        /// The largest body that is looked up; requests with a larger one go to the origin.
        max_size: Bytes<1, MIB> = Bytes(64 * KIB),
        /// Whether JSON bodies that differ in white space, escapes and the order of members only have one key.
        normalise_json: bool = false,
        /// Whether bodies are GraphQL requests, of which only queries are looked up: mutations, subscriptions and whatever is not clear go to the origin.
        graphql: bool = false,
    }
}

section! {
    /// Query parameters by name, in one of two lists.
    QueryLists {
        /// Only these are part of the key.
        allow: List<NamePattern>,
        /// All but these are part of the key.
        deny: List<NamePattern>,
    }
}

section! {
    /// Requests that go to the origin without a look at the cache.
    Bypass {
        /// Requests with one of these fields.
        headers: List<HeaderName> = Vec::new(),
        /// Requests with one of these cookies; names may end in a star.
        cookies: List<NamePattern> = Vec::new(),
        /// Requests with one of these query parameters; names may end in a star.
        query: List<NamePattern> = Vec::new(),
        /// Requests for one of these paths.
        paths: List<RoutePath> = Vec::new(),
    }
}

section! {
    /// The size of the cache in memory.
    CacheStore {
        /// Size of all stored responses, overhead included.
        max_bytes: Bytes<KIB, TIB> = Bytes(256 * MIB),
        /// Stored URLs. With 0, Redis alone keeps what is fresh: nothing larger than redis.max_object_size, no parts, no codings,
        /// and no answers to GET from another query (no_vary_search) or from POST (post_fills_get).
        max_entries: Whole<0, 1_000_000_000> = Whole(1_000_000),
        /// Stored variants of one URL (responses that differ by Vary).
        max_variants: Whole<1, 1024> = Whole(16),
        /// How long a URL is remembered as uncacheable, so that requests for it do not wait for one another.
        hit_for_miss_ttl: Lifetime = Span::seconds(10),
        /// Background refreshes at once.
        max_refreshes: Whole<1, 100_000> = Whole(64),
    }
}

section! {
    /// The tier that instances share.
    Redis {
        /// Where Redis is: redis://host:port for one server, rediss:// for TLS, redis-sentinel:// and redis-cluster:// with further nodes as ?node=host:port, redis+unix:// with the path of a socket.
        url: RedisUrl => "url = \"redis://127.0.0.1:6379\"",
        /// The user, where Redis has an access list.
        username: Plain,
        /// The environment variable that holds the password.
        password_env: Plain,
        /// The file whose first line is the password, instead of password_env. Relative to this file.
        password_file: Plain,
        /// What every key and channel begins with; fleets that share a Redis need different ones.
        prefix: Plain = Plain("millpond:".to_owned()),
        /// What this instance is called in receipts and lists, with a random ending; the name of the host by default.
        instance: Plain,
        /// Connections for stored responses. Look-ups have as many again, or one for each thread of a "per-core" listener.
        connections: Whole<1, 128> = Whole(4),
        /// How long a command may take. A request waits no longer than this for Redis.
        timeout: Timeout = Span::millis(50),
        /// How long one instance may fetch while the others wait for it; longer than the origin takes.
        lease: Timeout = Span::seconds(10),
        /// Size of a response body; a larger one is kept in memory only.
        max_object_size: Bytes<0, { 512 * MIB }> = Bytes(MIB),
        /// Bodies of at least this size are compressed. false compresses nothing.
        compress_from: Switch<Bytes<0, TIB>> = Switch::On(Bytes(4 * KIB)),
    }
}

section! {
    /// The invalidation log.
    Invalidation {
        /// Records that are kept; the oldest collapse into one that covers everything up to them.
        max_records: Whole<1, 100_000_000> = Whole(100_000),
        /// How often an instance compares itself with the log in Redis.
        heartbeat: Timeout = Span::seconds(1),
        /// After this long without a word from the log, nothing stored is served without asking the origin.
        max_unsynced: Timeout = Span::seconds(10),
    }
}

section! {
    /// Diagnostics (standard error) and the access log (standard output).
    Log {
        /// What is reported: a level, or levels by module such as "info,millpond=debug".
        level: LogFilter = LogFilter("info".to_owned()),
        /// Form of diagnostics.
        format: LogFormat = LogFormat::Text,
        /// Form of the access log.
        access: AccessLog = AccessLog::Off,
        /// The part of requests in the access log; failed ones are always in it.
        access_sample: Ratio<10> = Ratio(1.0),
    }
}

section! {
    /// The admin listener: metrics, health and purges.
    Admin {
        /// Address and port. An address other than loopback needs a token.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9090)),
        /// The environment variable that holds the bearer token which clients must show.
        token_env: Plain,
        /// The file whose first line is the token, instead of token_env. Relative to this file.
        token_file: Plain,
    }
}
