//! Broken configurations and what is said about each. `$SOUND` stands for a sound origin and route.

/// File, and the whole message.
pub(crate) const BROKEN: &[(&str, &str)] = &[
    (
        "[listen
",
        "millpond.toml:1:8: unclosed table, expected `]`",
    ),
    (
        r#"[listen]
http = "127.0.0.1
"#,
        r#"millpond.toml:2:18: invalid basic string, expected `"`"#,
    ),
    (
        r#"[log]
level = "info"
level = "warn"
"#,
        "millpond.toml:3:1: duplicate key",
    ),
    (
        "",
        r#"millpond.toml:1:1: missing "origins" at the top level; add for example [origins.api] with url = "http://127.0.0.1:3000"
millpond.toml:1:1: missing "routes" at the top level; add for example [[routes]] with path = "/api/*" and origin = "api""#,
    ),
    (
        r#"[origins.a]
url = "http://h"
"#,
        r#"millpond.toml:1:1: missing "routes" at the top level; add for example [[routes]] with path = "/api/*" and origin = "api""#,
    ),
    (
        r#"[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:1:1: missing "origins" at the top level; add for example [origins.api] with url = "http://127.0.0.1:3000""#,
    ),
    (
        r#"$SOUND[lisen]
http = "127.0.0.1:1"
"#,
        r#"millpond.toml:6:2: unknown key "lisen" at the top level; did you mean "listen"?"#,
    ),
    (
        "$SOUND[redis]
",
        r#"millpond.toml:6:1: missing "url" in redis; add for example url = "redis://127.0.0.1:6379""#,
    ),
    (
        r#"$SOUND[redis]
url = "127.0.0.1:6379"
"#,
        r#"millpond.toml:7:7: redis.url: "127.0.0.1:6379" has no scheme; write for example "redis://127.0.0.1:6379""#,
    ),
    (
        r#"$SOUND[redis]
url = "http://h"
"#,
        r#"millpond.toml:7:7: redis.url: "http://h" has an unknown scheme; the schemes are redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, rediss-sentinel, redis+unix"#,
    ),
    (
        r#"$SOUND[redis]
url = "redis://"
"#,
        r#"millpond.toml:7:7: redis.url: "redis://" has no host; write for example "redis://127.0.0.1:6379""#,
    ),
    (
        r#"$SOUND[redis]
url = "redis://:hunter2@h"
"#,
        "millpond.toml:7:7: redis.url: the text holds a user or a password; write the user as `username` and put the password into password_env or password_file",
    ),
    (
        r#"$SOUND[redis]
url = "redis-sentinel://h?sentinelServiceName=m&sentinelPassword=hunter2"
"#,
        "millpond.toml:7:7: redis.url: the text holds a user or a password; write the user as `username` and put the password into password_env or password_file",
    ),
    (
        r#"$SOUND[redis]
url = "redis-sentinel://h:26379"
"#,
        r#"millpond.toml:7:7: redis.url: "redis-sentinel://h:26379" names no master; add ?sentinelServiceName=mymaster"#,
    ),
    (
        r#"$SOUND[redis]
url = "redis://h"
username = "millpond"
"#,
        "millpond.toml:8:1: redis.username is set, but there is no password; add password_env or password_file",
    ),
    (
        r#"$SOUND[redis]
url = "redis://h"
password_env = "MILLPOND_TEST_UNSET"
"#,
        r#"millpond.toml:8:16: redis.password_env: the environment variable "MILLPOND_TEST_UNSET" is not set or empty; put the secret there"#,
    ),
    (
        r"$SOUND[cache]
max_entries = 0
",
        "millpond.toml:7:15: cache.max_entries is 0 and there is no [redis], so that nothing would be stored; raise it, add [redis], or say cache = false in the routes",
    ),
    (
        r#"$SOUND[invalidation]
heartbeat = "2s"
"#,
        "millpond.toml:7:1: invalidation.heartbeat means nothing without [redis]; remove it, or add [redis]",
    ),
    (
        r#"$SOUND[redis]
url = "redis://h"
[invalidation]
heartbeat = "8s"
"#,
        "millpond.toml:9:13: invalidation.max_unsynced is less than two heartbeats, so one that is late stops the cache; make it longer, or invalidation.heartbeat shorter",
    ),
    (
        r#"$SOUND[listen]
htp = "127.0.0.1:1"
"#,
        r#"millpond.toml:7:1: unknown key "htp" in listen; did you mean "http"?"#,
    ),
    (
        r#"$SOUNDcache = { tll = "60s" }
"#,
        r#"millpond.toml:6:11: unknown key "tll" in routes[0].cache; did you mean "ttl"?"#,
    ),
    (
        r#"$SOUND[listen]
http = "127.0.0.1"
"#,
        r#"millpond.toml:7:8: listen.http: "127.0.0.1" is not an IP address with a port; write for example "127.0.0.1:8080", "0.0.0.0:8080" or "[::]:8080""#,
    ),
    (
        "$SOUND[listen]
http = 8080
",
        r#"millpond.toml:7:8: listen.http: expected an IP address with a port, found the number 8080; for example "0.0.0.0:8080""#,
    ),
    (
        r#"$SOUND[listen]
runtime = "percore"
"#,
        r#"millpond.toml:7:11: listen.runtime: "percore" is unknown; did you mean "per-core"?"#,
    ),
    (
        "$SOUND[listen]
threads = 0
",
        "millpond.toml:7:11: listen.threads: expected a whole number from 1 to 1024, found the number 0",
    ),
    (
        r#"$SOUND[listen]
threads = "2"
"#,
        r#"millpond.toml:7:11: listen.threads: expected a whole number from 1 to 1024, found the text "2""#,
    ),
    (
        r#"$SOUND[listen]
trusted_proxies = ["10.0.0.0/33"]
"#,
        r#"millpond.toml:7:20: listen.trusted_proxies[0]: "10.0.0.0/33" is not a network; write for example "10.0.0.0/8", "192.0.2.7" or "fd00::/8""#,
    ),
    (
        r#"$SOUND[listen]
trusted_proxies = "10.0.0.0/8"
"#,
        r#"millpond.toml:7:19: listen.trusted_proxies: expected a list, found the text "10.0.0.0/8"; for example ["10.0.0.0/8"]"#,
    ),
    (
        "$SOUND[limits]
head_timeout = 10
",
        r#"millpond.toml:7:16: limits.head_timeout: 10 has no unit; write "10s" for seconds; units are ms, s, m, h, d"#,
    ),
    (
        r#"$SOUND[limits]
head_timeout = "10 sec"
"#,
        r#"millpond.toml:7:16: limits.head_timeout: "10 sec" is not a duration; write whole numbers with units, larger units first, such as "1h30m""#,
    ),
    (
        r#"$SOUND[limits]
head_timeout = "0s"
"#,
        r#"millpond.toml:7:16: limits.head_timeout: "0s" is out of range; write a value from "1ms" to "1d""#,
    ),
    (
        r#"$SOUND[limits]
head_timeout = "soon"
"#,
        r#"millpond.toml:7:16: limits.head_timeout: "soon" is not a duration; write whole numbers with units, larger units first, such as "1h30m""#,
    ),
    (
        r#"$SOUND[limits]
head_timeout = "9999d"
"#,
        r#"millpond.toml:7:16: limits.head_timeout: "9999d" is out of range; write a value from "1ms" to "1d""#,
    ),
    (
        "$SOUND[limits]
head_timeout = true
",
        r#"millpond.toml:7:16: limits.head_timeout: expected a duration, found true; for example "60s""#,
    ),
    (
        r#"$SOUND[limits]
head_bytes = "16kb"
"#,
        r#"millpond.toml:7:14: limits.head_bytes: "16kb" has the unknown unit "kb"; units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB"#,
    ),
    (
        r#"$SOUND[limits]
head_bytes = "1B"
"#,
        r#"millpond.toml:7:14: limits.head_bytes: "1B" is out of range; write a value from "1KiB" to "1MiB""#,
    ),
    (
        r#"$SOUND[limits]
head_bytes = "lots"
"#,
        r#"millpond.toml:7:14: limits.head_bytes: "lots" is not a size; write a whole number and a unit such as "8MiB"; units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB"#,
    ),
    (
        "$SOUND[limits]
request_body = true
",
        "millpond.toml:7:16: limits.request_body: true says nothing here; write a value, false to switch it off, or nothing for the default",
    ),
    (
        "limits = 3
$SOUND",
        "millpond.toml:1:10: limits: expected a table, found the number 3",
    ),
    (
        r#"[origins.a]
[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:1:1: missing "url" in origins.a; add for example url = "http://127.0.0.1:3000""#,
    ),
    (
        r#"[origins.a]
url = "https://h"
[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:2:7: origins.a.url: "https://h" asks for TLS; TLS to origins is not supported yet; write http:// and keep the way to the origin private"#,
    ),
    (
        r#"[origins.a]
url = "http://h/x"
[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:2:7: origins.a.url: "http://h/x" has a path or query; write "http://h"; the path comes from the request"#,
    ),
    (
        r#"[origins.a]
url = "http://u:p@h"
[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:2:7: origins.a.url: "http://u:p@h" has a user name; write "http://h""#,
    ),
    (
        r#"[origins."a b"]
url = "http://h"
[[routes]]
path = "/"
origin = "a"
"#,
        r#"millpond.toml:1:10: "a b" is not a name for an origin; use 1 to 64 letters, digits, "-", "_" and "."
millpond.toml:5:10: routes[0].origin: there is no origin "a"; origins are a b"#,
    ),
    (
        r#"[origins.api]
url = "http://h"
[[routes]]
path = "/"
origin = "apo"
"#,
        r#"millpond.toml:5:10: routes[0].origin: there is no origin "apo"; did you mean "api"?"#,
    ),
    (
        r#"[origins.a]
url = "http://h"
[[routes]]
origin = "a"
"#,
        r#"millpond.toml:3:1: missing "path" in routes[0]; add for example path = "/api/*""#,
    ),
    (
        r#"[origins.a]
url = "http://h"
[[routes]]
path = "api"
origin = "a"
"#,
        r#"millpond.toml:4:8: routes[0].path: "api" does not start with a slash; write "/api", or "*" for every path"#,
    ),
    (
        r#"[origins.a]
url = "http://h"
[[routes]]
path = "/a?b"
origin = "a"
"#,
        r#"millpond.toml:4:8: routes[0].path: "/a?b" has the character '?', which no request path has; a path has no query or fragment, and other characters are percent-encoded"#,
    ),
    (
        r#"$SOUNDhost = "h:80"
"#,
        r#"millpond.toml:6:8: routes[0].host: "h:80" has more than a host; leave port and user name out, as in "h""#,
    ),
    (
        r#"$SOUNDhost = "h"
hosts = ["i"]
"#,
        "millpond.toml:7:1: routes[0].host and routes[0].hosts are both set; keep one of them",
    ),
    (
        r#"$SOUNDhost = "a.*.b"
"#,
        r#"millpond.toml:6:8: routes[0].host: "a.*.b" has a star that is not in front; write for example "api.example.com" or "*.example.com""#,
    ),
    (
        r#"$SOUNDmethods = ["get"]
"#,
        r#"millpond.toml:6:12: routes[0].methods[0]: "get" is not in upper case; write "GET""#,
    ),
    (
        r#"[origins.a]
url = "http://h"
[routes]
path = "/"
origin = "a"
"#,
        "millpond.toml:3:1: routes: expected a list, found a table; for example [[routes]]",
    ),
    (
        "$SOUNDhosts = { a = 1 }
",
        "millpond.toml:6:9: routes[0].hosts: expected a list, found a table",
    ),
    (
        "$SOUNDcache = true
",
        "millpond.toml:6:9: routes[0].cache: true says nothing here; write a value, false to switch it off, or nothing for the default",
    ),
    (
        r#"$SOUNDcache = { ttl = "1s", force_ttl = "2s" }
"#,
        "millpond.toml:6:11: routes[0].cache.ttl has no effect beside routes[0].cache.force_ttl; force_ttl replaces every lifetime; keep one of them",
    ),
    (
        r#"$SOUNDcache = { coalesce = false, coalesce_wait = "1s" }
"#,
        "millpond.toml:6:29: routes[0].cache.coalesce_wait has no effect beside routes[0].cache.coalesce = false; remove one of them",
    ),
    (
        r#"$SOUNDcache = { post_fills_get = true, key = { body = { methods = ["POST"] } } }
"#,
        r#"millpond.toml:6:11: routes[0].cache.post_fills_get has no effect where key.body.methods names "POST"; a POST that is looked up by its body is stored for that body; remove one of them"#,
    ),
    (
        r#"$SOUNDcache = { ranges = "as_asked" }
"#,
        r#"millpond.toml:6:20: routes[0].cache.ranges: "as_asked" is unknown; did you mean "as-asked"?"#,
    ),
    (
        "$SOUNDcache = { jitter = 1.5 }
",
        "millpond.toml:6:20: routes[0].cache.jitter: expected a number from 0.0 to 0.9, found the number 1.5",
    ),
    (
        r#"$SOUNDcache = { ttl_by_status = { 99 = "1s" } }
"#,
        r#"millpond.toml:6:29: routes[0].cache.ttl_by_status.99: "99" is not a final status; write a status from 200 to 599 other than 206 and 304"#,
    ),
    (
        r#"$SOUNDcache = { tag_headers = ["a b"] }
"#,
        r#"millpond.toml:6:26: routes[0].cache.tag_headers[0]: "a b" is not the name of a header field; write for example "accept-language""#,
    ),
    (
        r#"$SOUNDcache = { compress = ["gzip", "brotli"], compress_from = "1KiB" }
"#,
        r#"millpond.toml:6:31: routes[0].cache.compress[1]: "brotli" is unknown; write "gzip" or "br" or "zstd""#,
    ),
    (
        r#"$SOUNDcache = { compress = ["gzp"], compress_from = "1KiB" }
"#,
        r#"millpond.toml:6:23: routes[0].cache.compress[0]: "gzp" is unknown; did you mean "gzip"?"#,
    ),
    (
        r#"$SOUNDcache = { compress = "gzip" }
"#,
        r#"millpond.toml:6:22: routes[0].cache.compress: expected a list, found the text "gzip"; for example ["gzip"]"#,
    ),
    (
        r#"$SOUNDcache = { compress = ["gzip", "br", "gzip"] }
"#,
        r#"millpond.toml:6:37: routes[0].cache.compress[2]: "gzip" is listed twice; remove one of them; the first is the preferred one"#,
    ),
    (
        r#"$SOUNDcache = { compress = [], compress_from = "2KiB" }
"#,
        r#"millpond.toml:6:26: routes[0].cache.compress_from has no effect without routes[0].cache.compress; add for example compress = ["gzip"]"#,
    ),
    (
        r#"$SOUNDcache = { compress = ["gzip"], compress_from = "0B" }
"#,
        r#"millpond.toml:6:48: routes[0].cache.compress_from: "0B" is out of range; write a value from "1B" to "1TiB""#,
    ),
    (
        r#"$SOUNDcache = { compress = ["gzip"], key = { headers = ["Accept-Encoding"] } }
"#,
        r#"millpond.toml:6:51: routes[0].cache.key.headers[0]: "accept-encoding" stores each response once per coding; remove it; with compress one stored response serves every client"#,
    ),
    (
        r#"$SOUNDcache = { key = { headers = ["Authorization"] } }
"#,
        r#"millpond.toml:6:30: routes[0].cache.key.headers[0]: "authorization" holds credentials; name it in bypass.headers to pass such requests; they are not shared"#,
    ),
    (
        r#"$SOUNDcache = { key = { headers = ["cookie"] } }
"#,
        r#"millpond.toml:6:30: routes[0].cache.key.headers[0]: "cookie" would make a key for each client; name single cookies in key.cookies"#,
    ),
    (
        r#"$SOUNDcache = { key = { query = { allow = ["a"], deny = ["b"] } } }
"#,
        "millpond.toml:6:44: routes[0].cache.key.query.allow and routes[0].cache.key.query.deny are both set; keep one of them; what is not allowed is left out already",
    ),
    (
        r#"$SOUNDcache = { key = { presets = ["traking"] } }
"#,
        r#"millpond.toml:6:30: routes[0].cache.key.presets[0]: "traking" is unknown; did you mean "tracking"?"#,
    ),
    (
        r#"$SOUNDcache = { key = { query = "none", presets = ["tracking"] } }
"#,
        "millpond.toml:6:35: routes[0].cache.key.presets has no effect: the query rule leaves these parameters out already; remove it",
    ),
    (
        r#"$SOUNDcache = { max_object_size = "2GiB" }
"#,
        "millpond.toml:6:29: routes[0].cache.max_object_size is larger than cache.max_bytes; no larger object can be stored; lower it or raise cache.max_bytes",
    ),
    (
        r#"$SOUNDcache = { max_object_size = "2MiB" }
[redis]
url = "redis://h"
[cache]
max_entries = 0
"#,
        "millpond.toml:6:29: routes[0].cache.max_object_size is larger than redis.max_object_size; no larger object can be stored; lower it or raise redis.max_object_size",
    ),
    (
        r#"$SOUND[[routes]]
path = "/x"
origin = "a"
"#,
        "millpond.toml:6:1: routes[1] can never match: routes[0] on line 3 takes all its requests; put the narrower route first, or remove one",
    ),
    (
        r#"[origins.a]
url = "http://h"
[[routes]]
path = "*"
origin = "a"
[[routes]]
path = "/x"
origin = "a"
"#,
        "millpond.toml:6:1: routes[1] can never match: routes[0] on line 3 takes all its requests; put the narrower route first, or remove one",
    ),
    (
        r#"[origins.a]
url = "http://h"
[[routes]]
name = "n"
path = "/1"
origin = "a"
[[routes]]
name = "n"
path = "/2"
origin = "a"
"#,
        r#"millpond.toml:8:8: routes[1].name: routes[0] is already called "n"; give each route a name of its own"#,
    ),
    (
        r#"$SOUND[log]
level = "loud"
"#,
        r#"millpond.toml:7:9: log.level: "loud" is not a log filter; levels are off, error, warn, info, debug, trace; a module has its own as in "info,millpond=debug""#,
    ),
    (
        r#"$SOUND[log]
format = "xml"
"#,
        r#"millpond.toml:7:10: log.format: "xml" is unknown; write "text" or "json""#,
    ),
    (
        "$SOUND[log]
access_sample = 2
",
        "millpond.toml:7:17: log.access_sample: expected a number from 0.0 to 1.0, found the number 2",
    ),
    (
        r#"$SOUND[admin]
listen = "0.0.0.0:9090"
"#,
        "millpond.toml:7:10: admin.listen 0.0.0.0:9090 can be reached from other machines, but there is no token; add token_env or token_file, or listen on 127.0.0.1",
    ),
    (
        r#"$SOUND[admin]
listen = "127.0.0.1:8080"
"#,
        "millpond.toml:7:10: admin.listen 127.0.0.1:8080 and listen.http 127.0.0.1:8080 are the same port; give the admin listener a port of its own",
    ),
    (
        r#"$SOUND[admin]
token_env = "T"
token_file = "t"
"#,
        "millpond.toml:8:1: admin.token_env and admin.token_file are both set; keep one of them",
    ),
    (
        r#"$SOUND[admin]
token_env = "UNSET"
"#,
        r#"millpond.toml:7:13: admin.token_env: the environment variable "UNSET" is not set or empty; put the secret there"#,
    ),
    (
        r#"$SOUND[admin]
token_file = "missing-token"
"#,
        r#"millpond.toml:7:14: admin.token_file: cannot read "missing-token": No such file or directory (os error 2); the path is relative to the folder of this file"#,
    ),
    (
        "$SOUNDcache = { key = { body = {} } }
",
        r#"millpond.toml:6:26: missing "methods" in routes[0].cache.key.body; add for example methods = ["QUERY"]"#,
    ),
    (
        r#"$SOUNDcache = { key = { body = { methods = ["GET"] } } }
"#,
        r#"millpond.toml:6:39: routes[0].cache.key.body.methods[0]: "GET" is unknown; write "QUERY" or "POST""#,
    ),
    (
        "$SOUNDcache = { key = { body = { methods = [] } } }
",
        r#"millpond.toml:6:38: routes[0].cache.key.body.methods is empty; name "QUERY", "POST" or both, or remove the section"#,
    ),
    (
        r#"$SOUNDcache = { key = { body = { methods = ["POST", "POST"] } } }
"#,
        r#"millpond.toml:6:47: routes[0].cache.key.body.methods[1]: "POST" is named twice; remove one of them"#,
    ),
    (
        r#"$SOUNDmethods = ["GET", "POST"]
cache = { key = { body = { methods = ["POST", "QUERY"] } } }
"#,
        r#"millpond.toml:7:47: routes[0].cache.key.body.methods[1]: the route does not take "QUERY"; add it to the methods of the route, or remove it here"#,
    ),
    (
        r#"$SOUNDcache = { key = { body = { methods = ["POST"], max_size = "2MiB", normalize_json = true } } }
"#,
        r#"millpond.toml:6:59: routes[0].cache.key.body.max_size: "2MiB" is out of range; write a value from "1B" to "1MiB"
millpond.toml:6:67: unknown key "normalize_json" in routes[0].cache.key.body; did you mean "normalise_json"?"#,
    ),
];
