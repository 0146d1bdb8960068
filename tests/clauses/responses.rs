//! RFC 9111 sections 5.2.2 and 5.2.3: what origins direct.

use super::exchange::{answer, minute};
use super::live::{EXACT, brief, field, live, reply};
use super::row::Force::{Fact, May, Must, MustNot, Should};
use super::row::Row;
use crate::support::origin::{Origin, RawScript};

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 5.2.2.1",
        force: Fact,
        says: "max-age: stale when its age is greater",
        cases: &[("before", || minute().later(59, ""), "served"), ("after", || minute().later(61, ""), "validated")],
    },
    Row {
        section: "9111 5.2.2.2",
        force: MustNot,
        says: "must-revalidate: reuse it stale without validation, whatever else allows that",
        cases: &[
            (
                "a client allows it",
                || answer("cache-control: max-age=60, must-revalidate").later(61, "cache-control: max-stale"),
                "validated",
            ),
            (
                "the origin allows it too",
                || answer("cache-control: max-age=60, must-revalidate, stale-while-revalidate=60").later(61, ""),
                "validated",
            ),
            ("fresh", || answer("cache-control: max-age=60, must-revalidate").later(59, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.2.2.2",
        force: Must,
        says: "must-revalidate: an error if the origin cannot be reached",
        cases: &[
            (
                "must-revalidate",
                || answer("cache-control: max-age=60, must-revalidate, stale-if-error=60").cut_off(61, ""),
                "error",
            ),
            ("without it", || answer("cache-control: max-age=60, stale-if-error=60").cut_off(61, ""), "stands in"),
        ],
    },
    Row {
        section: "9111 5.2.2.2",
        force: Should,
        says: "must-revalidate: that error is 504, unless another says more",
        cases: &[
            ("the origin is silent", || unreachable(async |origin| origin.raw("/a", RawScript::hang)), "504"),
            ("it refuses", || unreachable(Origin::refuse), "502"),
        ],
    },
    Row {
        section: "9111 5.2.2.3",
        force: Should,
        says: "must-understand: ignore no-store where the status is understood",
        cases: &[
            ("understood", || answer("cache-control: max-age=60, must-understand, no-store").stored(), "stored"),
            (
                "not understood",
                || answer("cache-control: max-age=60, must-understand, no-store").status(299).stored(),
                "not stored: must-understand",
            ),
            ("no-store without it", || answer("cache-control: max-age=60, no-store").stored(), "not stored: no-store"),
        ],
    },
    Row {
        section: "9111 5.2.2.4",
        force: MustNot,
        says: "no-cache: answer another request without validation, whatever else allows that",
        cases: &[
            ("a lifetime", || answer("cache-control: no-cache, max-age=60 | etag: \"a\"").later(0, ""), "validated"),
            (
                "windows",
                || answer("cache-control: no-cache, stale-while-revalidate=60 | etag: \"a\"").windows().later(1, ""),
                "validated",
            ),
            (
                "a client that takes it stale",
                || answer("cache-control: no-cache | etag: \"a\"").later(1, "cache-control: max-stale"),
                "validated",
            ),
            (
                "an argument that names no field",
                || answer("cache-control: max-age=60, no-cache=\"\" | etag: \"a\"").later(1, ""),
                "validated",
            ),
            ("without it", || answer("cache-control: max-age=60 | etag: \"a\"").later(1, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.2.2.4",
        force: May,
        says: "no-cache with names: reuse the response without these fields, whatever their case",
        cases: &[
            ("a hit", || named("no-cache=\"X-A\""), "200 v, stored, x-a none, x-b 1"),
            ("without it", || named("x-nobody"), "200 v, stored, x-a 1, x-b 1"),
        ],
    },
    Row {
        section: "9111 5.2.2.5",
        force: MustNot,
        says: "no-store: store it, or answer others from it",
        cases: &[
            ("a later request", || answer("cache-control: no-store, max-age=60").later(1, ""), "not stored: no-store"),
            ("one that waits", || waiting("no-store"), "2 at the origin"),
            ("one that waits, without it", || waiting("max-age=60"), "1 at the origin"),
        ],
    },
    Row {
        section: "9111 5.2.2.6",
        force: MustNot,
        says: "no-transform: change the content",
        cases: &[
            ("stored", || transformed("accept-encoding: identity"), "200 zipped, stored, gzip"),
            ("a part", || transformed("range: bytes=1-2"), "206 ip, stored, gzip"),
        ],
    },
    Row {
        section: "9111 5.2.2.7",
        force: MustNot,
        says: "private: store it in a shared cache",
        cases: &[
            (
                "with everything else that allows it",
                || answer("cache-control: private, max-age=60, s-maxage=60, public").stored(),
                "not stored: private",
            ),
            (
                "an argument that names no field",
                || answer("cache-control: max-age=60, private=\"\"").stored(),
                "not stored: private",
            ),
            ("without it", || answer("cache-control: max-age=60, s-maxage=60, public").stored(), "stored"),
        ],
    },
    Row {
        section: "9111 5.2.2.7",
        force: MustNot,
        says: "private with names: store these fields, whatever their case",
        cases: &[
            ("a quoted string", || named("private=\"X-A\""), "200 v, stored, x-a none, x-b 1"),
            ("a token", || named("private=x-a"), "200 v, stored, x-a none, x-b 1"),
            ("two of them", || named("private=\"x-b, x-a\""), "200 v, stored, x-a none, x-b none"),
            ("without it", || named("x-nobody"), "200 v, stored, x-a 1, x-b 1"),
        ],
    },
    Row {
        section: "9111 5.2.2.8",
        force: MustNot,
        says: "proxy-revalidate: reuse it stale without validation, in a shared cache",
        cases: &[
            (
                "stale",
                || {
                    answer("cache-control: max-age=60, proxy-revalidate")
                        .windows()
                        .later(61, "cache-control: max-stale")
                },
                "validated",
            ),
            (
                "stale, and cut off",
                || answer("cache-control: max-age=60, proxy-revalidate").windows().cut_off(61, ""),
                "error",
            ),
            ("fresh", || answer("cache-control: max-age=60, proxy-revalidate").later(59, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.2.2.9",
        force: May,
        says: "public: store what would otherwise not be, within section 3",
        cases: &[
            (
                "credentials",
                || answer("cache-control: public, max-age=60").asked("authorization: x").stored(),
                "stored",
            ),
            (
                "a status that is not cacheable by itself",
                || {
                    answer("cache-control: public | last-modified: Sat, 05 Nov 1994 08:49:37 GMT")
                        .status(302)
                        .heuristic()
                        .stored()
                },
                "stored",
            ),
            ("no-store", || answer("cache-control: public, no-store, max-age=60").stored(), "not stored: no-store"),
            (
                "a method that is not understood",
                || answer("cache-control: public, max-age=60").method("POST").stored(),
                "not stored: method-not-cached",
            ),
        ],
    },
    Row {
        section: "9111 5.2.2.10",
        force: Must,
        says: "s-maxage: its lifetime instead of that of max-age or Expires",
        cases: &[
            ("shorter", || answer("cache-control: s-maxage=5, max-age=60").lifetime(), "5 s"),
            ("longer", || answer("cache-control: max-age=5, s-maxage=60").lifetime(), "60 s"),
            ("beside an Expires that is past", || answer("cache-control: s-maxage=60 | expires: 0").lifetime(), "60 s"),
        ],
    },
    Row {
        section: "9111 5.2.2.10",
        force: MustNot,
        says: "s-maxage: reuse it stale without validation",
        cases: &[
            (
                "stale",
                || answer("cache-control: s-maxage=60").windows().later(61, "cache-control: max-stale"),
                "validated",
            ),
            ("stale, and cut off", || answer("cache-control: s-maxage=60").windows().cut_off(61, ""), "error"),
            ("fresh", || answer("cache-control: s-maxage=60").later(59, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.2.3",
        force: Must,
        says: "ignore directives that nobody knows",
        cases: &[
            ("with a lifetime", || answer("cache-control: max-age=60, x-nobody").lifetime(), "60 s"),
            (
                "with an argument that looks like one",
                || answer("cache-control: x-nobody=\"no-store, max-age=1\", max-age=60").lifetime(),
                "60 s",
            ),
            ("alone", || answer("cache-control: x-nobody=60").lifetime(), "not stored: no-lifetime"),
        ],
    },
];

/// A hit on a response with this directive and two fields.
fn named(directive: &'static str) -> String {
    live(async move |rig| {
        rig.on(&format!("cache-control: max-age=60, {directive} | x-a: 1 | x-b: 1"), "v");
        rig.get("").await;
        let hit = rig.get("").await;
        format!("{}, x-a {}, x-b {}", brief(&hit), field(&hit, "x-a"), field(&hit, "x-b"))
    })
}

/// How often the origin is asked if a second client waits for a response with this directive.
fn waiting(directive: &'static str) -> String {
    live(async move |rig| {
        rig.origin.set("/a", reply(&format!("cache-control: {directive}"), "v"));
        let gate = rig.origin.hold("/a");
        let first = rig.proxy.client().start("/a").await;
        gate.arrived(1).await;
        let second = rig.proxy.client().start("/a").await;
        rig.proxy.followers(1).await;
        gate.release();
        first.rest().await.unwrap();
        second.rest().await.unwrap();
        format!("{} at the origin", rig.origin.hits("/a"))
    })
}

/// What a hit on an encoded response with no-transform looks like.
fn transformed(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60, no-transform | content-encoding: gzip", "zipped");
        rig.get("").await;
        let answer = rig.get(fields).await;
        format!("{}, {}", brief(&answer), field(&answer, "content-encoding"))
    })
}

/// The status of the answer to a request for a stale response with must-revalidate after this.
fn unreachable(then: impl AsyncFnOnce(&Origin)) -> String {
    live(async |rig| {
        let cache = format!("{EXACT}, stale_if_error = '1h'");
        let rig = rig.behind(|proxy| proxy.cache(&cache).origin("first_byte_timeout = '300ms'")).await;
        rig.on("cache-control: max-age=60, must-revalidate", "v");
        rig.get("").await;
        rig.pass(61);
        then(&rig.origin).await;
        rig.get("").await.status.to_string()
    })
}
