//! RFC 9111 section 3: what may be stored.

use super::exchange::{answer, minute};
use super::live::{brief, live};
use super::row::Force::{May, Must, MustNot};
use super::row::Row;

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store the response to a method that the cache does not understand",
        cases: &[
            ("GET", || minute().stored(), "stored"),
            (
                "HEAD, whose response has no content to store",
                || minute().method("HEAD").stored(),
                "not stored: method-not-cached",
            ),
            ("POST", || minute().method("POST").stored(), "not stored: method-not-cached"),
            (
                "POST on a route that looks up QUERY",
                || minute().by_body("QUERY").method("POST").stored(),
                "not stored: method-not-cached",
            ),
            ("a method of nobody's", || minute().method("BREW").stored(), "not stored: method-not-cached"),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a response to POST without explicit freshness (RFC 9110 section 9.3.3)",
        cases: &[
            ("POST as a look-up, max-age", || minute().by_body("POST").stored(), "stored"),
            (
                "POST as a look-up, Last-Modified alone",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").heuristic().by_body("POST").stored(),
                "not stored: no-lifetime",
            ),
            (
                "QUERY, Last-Modified alone",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").heuristic().by_body("QUERY").stored(),
                "stored",
            ),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a response whose status is not final",
        cases: &[
            ("103", || minute().status(103).stored(), "not stored: status-not-cacheable"),
            ("100", || minute().status(100).stored(), "not stored: status-not-cacheable"),
            ("200", || minute().status(200).stored(), "stored"),
            ("599, with explicit freshness", || minute().status(599).stored(), "stored"),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a 206 or a 304 without knowing how",
        cases: &[
            ("206", || minute().status(206).stored(), "not stored: partial-content"),
            ("304", || minute().status(304).stored(), "not stored: status-not-cacheable"),
            ("203", || minute().status(203).stored(), "stored"),
            (
                "Content-Range where it means nothing",
                || answer("cache-control: max-age=60 | content-range: bytes 0-1/2").stored(),
                "stored",
            ),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a response with must-understand whose status the cache does not understand",
        cases: &[
            (
                "599",
                || answer("cache-control: max-age=60, must-understand").status(599).stored(),
                "not stored: must-understand",
            ),
            ("200", || answer("cache-control: max-age=60, must-understand").stored(), "stored"),
            ("599 without it", || minute().status(599).stored(), "stored"),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a response with no-store",
        cases: &[
            ("with a lifetime", || answer("cache-control: max-age=60, no-store").stored(), "not stored: no-store"),
            (
                "in a field of its own",
                || answer("cache-control: max-age=60 | cache-control: no-store").stored(),
                "not stored: no-store",
            ),
            ("inside a quoted string", || answer("cache-control: max-age=60, x=\"no-store\"").stored(), "stored"),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store in a shared cache what is private as a whole",
        cases: &[
            ("unqualified", || answer("cache-control: max-age=60, private").stored(), "not stored: private"),
            ("for one field", || answer("cache-control: max-age=60, private=\"x-a\"").stored(), "stored"),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store in a shared cache the response to a request with credentials, unless it says so",
        cases: &[
            (
                "nothing but a lifetime",
                || minute().asked("authorization: Basic x").stored(),
                "not stored: authorization",
            ),
            (
                "public",
                || answer("cache-control: max-age=60, public").asked("authorization: Basic x").stored(),
                "stored",
            ),
        ],
    },
    Row {
        section: "9111 3",
        force: MustNot,
        says: "store a response that neither says for how long nor has a status that is cacheable by itself",
        cases: &[
            ("max-age", || minute().status(299).stored(), "stored"),
            ("s-maxage", || answer("cache-control: s-maxage=60").status(299).stored(), "stored"),
            ("Expires", || answer("expires: Sun, 06 Nov 1994 08:50:37 GMT").status(299).stored(), "stored"),
            (
                "public",
                || {
                    answer("cache-control: public | last-modified: Sat, 05 Nov 1994 08:49:37 GMT")
                        .status(299)
                        .heuristic()
                        .stored()
                },
                "stored",
            ),
            (
                "a cacheable status",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").status(410).heuristic().stored(),
                "stored",
            ),
            (
                "none of these",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").status(299).heuristic().stored(),
                "not stored: no-lifetime",
            ),
        ],
    },
    Row {
        section: "9111 3",
        force: May,
        says: "leave out what neither a lifetime nor a validator makes useful",
        cases: &[
            (
                "no lifetime and no validator",
                || answer("cache-control: max-age=0").stored(),
                "not stored: zero-lifetime",
            ),
            ("a validator alone", || answer("cache-control: max-age=0 | etag: \"a\"").stored(), "stored"),
            ("nothing at all", || answer("").stored(), "not stored: no-lifetime"),
        ],
    },
    Row {
        section: "9111 3.1",
        force: Must,
        says: "store all fields, those that nobody knows included",
        cases: &[
            (
                "an unknown field",
                || answer("cache-control: max-age=60 | x-nobody: 1 | x-nobody: 2").kept(),
                "cache-control: max-age=60 | x-nobody: 1 | x-nobody: 2",
            ),
            ("no other field", || minute().kept(), "cache-control: max-age=60"),
        ],
    },
    Row {
        section: "9111 3.1",
        force: Must,
        says: "leave out Connection and what it names",
        cases: &[
            (
                "named",
                || answer("cache-control: max-age=60 | connection: close, x-hop | x-hop: 1 | x-b: 2").kept(),
                "cache-control: max-age=60 | x-b: 2",
            ),
            (
                "not named",
                || answer("cache-control: max-age=60 | connection: close | x-hop: 1").kept(),
                "cache-control: max-age=60 | x-hop: 1",
            ),
            (
                "for one connection without being named",
                || answer("cache-control: max-age=60 | keep-alive: 5 | te: trailers | upgrade: h2c").kept(),
                "cache-control: max-age=60",
            ),
        ],
    },
    Row {
        section: "9111 3.1",
        force: MustNot,
        says: "store what concerns the proxy by which the response came",
        cases: &[
            (
                "Proxy-Authenticate",
                || answer("cache-control: max-age=60 | proxy-authenticate: Basic").kept(),
                "cache-control: max-age=60",
            ),
            (
                "Proxy-Authentication-Info",
                || answer("cache-control: max-age=60 | proxy-authentication-info: x").kept(),
                "cache-control: max-age=60",
            ),
            (
                "Proxy-Authorization",
                || answer("cache-control: max-age=60 | proxy-authorization: x").kept(),
                "cache-control: max-age=60",
            ),
            (
                "WWW-Authenticate, which is the origin's",
                || answer("cache-control: max-age=60 | www-authenticate: Basic").kept(),
                "cache-control: max-age=60 | www-authenticate: Basic",
            ),
        ],
    },
    Row {
        section: "9111 3.1",
        force: MustNot,
        says: "store the fields that no-cache or private name",
        cases: &[
            (
                "no-cache",
                || answer("cache-control: max-age=60, no-cache=\"x-a\" | x-a: 1 | x-b: 2").kept(),
                "cache-control: max-age=60, no-cache=\"x-a\" | x-b: 2",
            ),
            (
                "private",
                || answer("cache-control: max-age=60, private=\"X-A, x-b\" | x-a: 1 | x-b: 2").kept(),
                "cache-control: max-age=60, private=\"X-A, x-b\"",
            ),
        ],
    },
    Row {
        section: "9111 3.1",
        force: MustNot,
        says: "merge trailers into the header of a stored response",
        cases: &[
            (
                "a trailer",
                || {
                    live(async |rig| {
                        let chunks = |r: crate::support::origin::Reply| {
                            r.header("cache-control", "max-age=60").header("trailer", "x-a").chunks(&["hello"])
                        };
                        rig.origin.on("/a", |r| chunks(r).trailer("x-a", "1"));
                        rig.get("").await;
                        let hit = rig.get("").await;
                        format!("{}, x-a {}", brief(&hit), super::live::field(&hit, "x-a"))
                    })
                },
                "200 hello, stored, x-a none",
            ),
            (
                "a field of the header",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60 | x-a: 1", "hello");
                        rig.get("").await;
                        let hit = rig.get("").await;
                        format!("{}, x-a {}", brief(&hit), super::live::field(&hit, "x-a"))
                    })
                },
                "200 hello, stored, x-a 1",
            ),
        ],
    },
    Row {
        section: "9111 3.5",
        force: MustNot,
        says: "reuse for others what credentials were needed for, unless a directive allows to share it",
        cases: &[
            (
                "max-age says nothing of sharing",
                || minute().asked("authorization: x").later(1, ""),
                "not stored: authorization",
            ),
            (
                "nor does proxy-revalidate",
                || answer("cache-control: max-age=60, proxy-revalidate").asked("authorization: x").later(1, ""),
                "not stored: authorization",
            ),
            (
                "nor does Expires",
                || answer("expires: Sun, 06 Nov 1994 08:50:37 GMT").asked("authorization: x").later(1, ""),
                "not stored: authorization",
            ),
            ("public", || answer("cache-control: max-age=60, public").asked("authorization: x").later(1, ""), "served"),
            ("s-maxage", || answer("cache-control: s-maxage=60").asked("authorization: x").later(1, ""), "served"),
            (
                "must-revalidate",
                || answer("cache-control: max-age=60, must-revalidate").asked("authorization: x").later(1, ""),
                "served",
            ),
        ],
    },
    Row {
        section: "9111 3.5",
        force: Must,
        says: "obey the directive that allowed the sharing",
        cases: &[
            (
                "must-revalidate, fresh",
                || {
                    answer("cache-control: max-age=60, must-revalidate")
                        .asked("authorization: x")
                        .windows()
                        .later(59, "")
                },
                "served",
            ),
            (
                "must-revalidate, stale",
                || {
                    answer("cache-control: max-age=60, must-revalidate")
                        .asked("authorization: x")
                        .windows()
                        .later(60, "")
                },
                "validated",
            ),
            (
                "s-maxage, stale",
                || {
                    answer("cache-control: s-maxage=60")
                        .asked("authorization: x")
                        .windows()
                        .later(60, "cache-control: max-stale")
                },
                "validated",
            ),
            (
                "public, stale",
                || answer("cache-control: max-age=60, public").asked("authorization: x").windows().later(60, ""),
                "served stale, and refreshed",
            ),
        ],
    },
];
