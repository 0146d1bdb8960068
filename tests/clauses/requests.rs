//! RFC 9111 section 5.2.1: what clients may demand, on a route that respects it.

use super::exchange::{answer, minute};
use super::live::{Rig, brief, field, live};
use super::row::Force::{Fact, May, Must, MustNot, Should};
use super::row::Row;

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 5.2.1.1",
        force: Fact,
        says: "max-age: nothing older",
        cases: &[
            ("as old", || minute().later(10, "cache-control: max-age=10"), "served"),
            ("older", || minute().later(11, "cache-control: max-age=10"), "validated"),
            ("nothing but new", || minute().later(1, "cache-control: max-age=0"), "validated"),
        ],
    },
    Row {
        section: "9111 5.2.1.1",
        force: Fact,
        says: "max-age: nothing stale either, unless max-stale is there too",
        cases: &[
            (
                "stale, in a window of the route",
                || minute().windows().later(61, "cache-control: max-age=100"),
                "validated",
            ),
            (
                "with max-stale",
                || minute().windows().later(61, "cache-control: max-age=100, max-stale=5"),
                "served stale",
            ),
            ("without any demand", || minute().windows().later(61, ""), "served stale, and refreshed"),
        ],
    },
    Row {
        section: "9111 5.2.1.2",
        force: Fact,
        says: "max-stale: stale by no more than that, or by anything without an argument",
        cases: &[
            ("at the limit", || minute().later(70, "cache-control: max-stale=10"), "served stale"),
            ("beyond it", || minute().later(71, "cache-control: max-stale=10"), "validated"),
            (
                "beyond it, in a window of the route",
                || minute().windows().later(71, "cache-control: max-stale=10"),
                "validated",
            ),
            ("no limit", || minute().later(9999, "cache-control: max-stale"), "served stale"),
            ("fresh", || minute().later(1, "cache-control: max-stale"), "served"),
        ],
    },
    Row {
        section: "9111 5.2.1.3",
        force: Fact,
        says: "min-fresh: fresh for at least so long",
        cases: &[
            ("just so", || minute().later(50, "cache-control: min-fresh=10"), "served"),
            ("not quite", || minute().later(51, "cache-control: min-fresh=10"), "validated"),
            (
                "not quite, in a window of the route",
                || minute().windows().later(61, "cache-control: min-fresh=10"),
                "validated",
            ),
        ],
    },
    Row {
        section: "9111 5.2.1.4",
        force: Fact,
        says: "no-cache: not without validation",
        cases: &[
            ("fresh", || minute().later(1, "cache-control: no-cache"), "validated"),
            ("with leave to be stale", || minute().later(61, "cache-control: no-cache, max-stale"), "validated"),
            ("without it", || minute().later(1, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.2.1.5",
        force: MustNot,
        says: "no-store: store neither the request nor the response",
        cases: &[
            (
                "no-store",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("cache-control: no-store").await;
                        brief(&rig.get("").await)
                    })
                },
                "200 v, origin",
            ),
            (
                "no-cache",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("cache-control: no-cache").await;
                        brief(&rig.get("").await)
                    })
                },
                "200 v, stored",
            ),
        ],
    },
    Row {
        section: "9111 5.2.1.6",
        force: Fact,
        says: "no-transform: the content stays as it is",
        cases: &[
            (
                "an encoding that was not asked for",
                || encoded("cache-control: no-transform | accept-encoding: identity"),
                "200 zipped, stored, gzip",
            ),
            (
                "the origin speaks for itself without it",
                || encoded("accept-encoding: identity"),
                "200 zipped, stored, gzip",
            ),
            (
                "a part, which is no transformation",
                || encoded("cache-control: no-transform | range: bytes=0-2"),
                "206 zip, stored, gzip",
            ),
        ],
    },
    Row {
        section: "9111 5.2.1.7",
        force: Should,
        says: "only-if-cached: what is stored, or 504",
        cases: &[
            ("nothing stored", || cached(async |_| {}), "504, 0 at the origin"),
            (
                "fresh",
                || {
                    cached(async |rig| {
                        rig.get("").await;
                    })
                },
                "200, 1 at the origin",
            ),
            (
                "stale",
                || {
                    cached(async |rig| {
                        rig.get("").await;
                        rig.pass(61);
                    })
                },
                "504, 1 at the origin",
            ),
        ],
    },
    Row {
        section: "9111 5.2.1.7",
        force: May,
        says: "ignore the demands of clients altogether, as routes do by default",
        cases: &[
            (
                "default",
                || {
                    live(async |rig| {
                        let rig = rig.behind(|proxy| proxy).await;
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("").await;
                        brief(&rig.get("cache-control: no-cache").await)
                    })
                },
                "200 v, stored",
            ),
            (
                "respected",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("").await;
                        brief(&rig.get("cache-control: no-cache").await)
                    })
                },
                "200 v, origin",
            ),
        ],
    },
    Row {
        section: "9111 5.2",
        force: Must,
        says: "compare the names of directives without case, and take either form of an argument",
        cases: &[
            ("upper case", || answer("cache-control: MAX-AGE=60").lifetime(), "60 s"),
            ("a quoted string", || answer("cache-control: max-age=\"60\"").lifetime(), "60 s"),
            ("an escape inside", || answer("cache-control: max-age=\"6\\0\"").lifetime(), "60 s"),
            (
                "a name that only begins like one",
                || answer("cache-control: max-agent=60").lifetime(),
                "not stored: no-lifetime",
            ),
            (
                "single quotes, which quote nothing",
                || answer("cache-control: max-age='60' | etag: \"a\"").lifetime(),
                "0 s",
            ),
        ],
    },
    Row {
        section: "9111 5.2",
        force: Must,
        says: "pass all directives on, in both directions",
        cases: &[
            (
                "to the origin",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("cache-control: max-age=5, x-nobody").await;
                        rig.origin.last("/a").header("cache-control").unwrap()
                    })
                },
                "max-age=5, x-nobody",
            ),
            (
                "to the client, from the origin",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60, x-nobody=\"1\"", "v");
                        field(&rig.get("").await, "cache-control")
                    })
                },
                "max-age=60, x-nobody=\"1\"",
            ),
            (
                "to the client, from the store",
                || {
                    live(async |rig| {
                        rig.on("cache-control: s-maxage=60, private=\"x-a\"", "v");
                        rig.get("").await;
                        field(&rig.get("").await, "cache-control")
                    })
                },
                "s-maxage=60, private=\"x-a\"",
            ),
        ],
    },
];

/// What a stored response with an encoding looks like to a client that sends these fields.
fn encoded(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | content-encoding: gzip", "zipped");
        rig.get("").await;
        let answer = rig.get(fields).await;
        format!("{}, {}", brief(&answer), field(&answer, "content-encoding"))
    })
}

/// The answer to only-if-cached after this.
fn cached(before: impl AsyncFnOnce(&Rig)) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60", "v");
        before(&rig).await;
        let status = rig.get("cache-control: only-if-cached").await.status;
        format!("{status}, {} at the origin", rig.origin.hits("/a"))
    })
}
