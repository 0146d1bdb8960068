//! RFC 9213: Cache-Control for caches of one kind.

use super::exchange::answer;
use super::live::{field, live};
use super::row::Force::{Fact, May, Must, MustNot, Should, ShouldNot};
use super::row::Row;

/// The lifetime of a response with this CDN-Cache-Control beside `max-age=1`.
fn beside(targeted: &str) -> String {
    answer(&format!("cache-control: max-age=1 | cdn-cache-control: {targeted} | etag: \"a\"")).lifetime()
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9213 2",
        force: Fact,
        says: "a targeted field directs the caches that it is for, and these alone",
        cases: &[
            ("for this cache", || beside("max-age=60"), "60 s"),
            ("for another", || answer("cache-control: max-age=1 | other-cache-control: max-age=60").lifetime(), "1 s"),
        ],
    },
    Row {
        section: "9213 2.1",
        force: Must,
        says: "ignore a targeted field that is empty or cannot be parsed",
        cases: &[
            ("empty", || beside(""), "1 s"),
            ("a trailing comma", || beside("max-age=60,"), "1 s"),
            ("a name in upper case", || beside("Max-Age=60"), "1 s"),
            ("white space around the equals sign", || beside("max-age = 60"), "1 s"),
            ("one bad line of two", || beside("max-age=60 | cdn-cache-control: ;"), "1 s"),
            ("sound", || beside("max-age=60"), "60 s"),
            ("sound in two lines", || beside("max-age=60 | cdn-cache-control: must-revalidate"), "60 s"),
        ],
    },
    Row {
        section: "9213 2.1",
        force: ShouldNot,
        says: "use a value of another type than its directive has",
        cases: &[
            ("a decimal", || beside("max-age=60.0, s-maxage=5"), "5 s"),
            ("a string", || beside("max-age=\"60\", s-maxage=\"60\", public"), "not stored: no-lifetime"),
            ("a token", || beside("max-age=a60, public"), "not stored: no-lifetime"),
            ("an integer", || beside("max-age=60, public"), "60 s"),
        ],
    },
    Row {
        section: "9213 2.1",
        force: Must,
        says: "ignore the parameters of a directive",
        cases: &[
            ("of a lifetime", || beside("max-age=60;x=1"), "60 s"),
            ("of a flag", || beside("max-age=60, no-store;x"), "not stored: no-store"),
        ],
    },
    Row {
        section: "9213 2.1",
        force: Fact,
        says: "of one directive given twice the last counts, as in any dictionary",
        cases: &[
            ("larger", || beside("max-age=5, max-age=60"), "60 s"),
            ("smaller", || beside("max-age=60, max-age=5"), "5 s"),
        ],
    },
    Row {
        section: "9213 2.2",
        force: Must,
        says: "ignore Cache-Control and Expires where a targeted field is valid",
        cases: &[
            (
                "no-store for others",
                || answer("cache-control: no-store | cdn-cache-control: max-age=60").lifetime(),
                "60 s",
            ),
            (
                "private for others",
                || answer("cache-control: private | cdn-cache-control: max-age=60").lifetime(),
                "60 s",
            ),
            (
                "Expires for others",
                || answer("expires: Sun, 06 Nov 1994 08:50:37 GMT | cdn-cache-control: public").lifetime(),
                "not stored: no-lifetime",
            ),
            (
                "leave for others to share what needed credentials",
                || answer("cache-control: public | cdn-cache-control: max-age=60").asked("authorization: x").lifetime(),
                "not stored: authorization",
            ),
        ],
    },
    Row {
        section: "9213 2.2",
        force: Must,
        says: "fall back to Cache-Control and Expires where none is valid",
        cases: &[
            ("none there", || answer("cache-control: max-age=1").lifetime(), "1 s"),
            (
                "invalid, and Expires",
                || answer("expires: Sun, 06 Nov 1994 08:49:47 GMT | cdn-cache-control: ,").lifetime(),
                "10 s",
            ),
        ],
    },
    Row {
        section: "9213 2.2",
        force: Must,
        says: "know max-age, must-revalidate, no-store, no-cache and private in a targeted field",
        cases: &[
            ("max-age", || answer("cdn-cache-control: max-age=60").later(59, ""), "served"),
            (
                "must-revalidate",
                || answer("cdn-cache-control: max-age=60, must-revalidate").windows().later(61, ""),
                "validated",
            ),
            ("no-store", || answer("cdn-cache-control: max-age=60, no-store").later(1, ""), "not stored: no-store"),
            ("no-cache", || answer("cdn-cache-control: max-age=60, no-cache | etag: \"a\"").later(1, ""), "validated"),
            ("private", || answer("cdn-cache-control: max-age=60, private").later(1, ""), "not stored: private"),
            ("a flag that is off", || answer("cdn-cache-control: max-age=60, private=?0").later(1, ""), "served"),
        ],
    },
    Row {
        section: "9213 2.2",
        force: Should,
        says: "know there what Cache-Control knows",
        cases: &[
            ("s-maxage", || answer("cdn-cache-control: max-age=5, s-maxage=60").lifetime(), "60 s"),
            ("public", || answer("cdn-cache-control: max-age=60, public").asked("authorization: x").lifetime(), "60 s"),
            (
                "stale-while-revalidate",
                || answer("cdn-cache-control: max-age=60, stale-while-revalidate=5").later(61, ""),
                "served stale, and refreshed",
            ),
            (
                "private with names",
                || answer("cdn-cache-control: max-age=60, private=\"x-a\" | x-a: 1").kept(),
                "cdn-cache-control: max-age=60, private=\"x-a\"",
            ),
            ("what nobody knows is ignored", || answer("cdn-cache-control: max-age=60, x-nobody=1").lifetime(), "60 s"),
        ],
    },
    Row {
        section: "9213 2.2",
        force: MustNot,
        says: "let fields for others change anything, or keep them from the client",
        cases: &[
            ("ours decides", || passed_on("other-cache-control"), "max-age=5, stored"),
            ("Cache-Control would", || passed_on("cache-control"), "max-age=5, origin"),
        ],
    },
    Row {
        section: "9213 3",
        force: Fact,
        says: "CDN-Cache-Control is for caches that work for the origin, as this one does",
        cases: &[
            (
                "longer than for browsers",
                || answer("cache-control: max-age=1 | cdn-cache-control: max-age=60").later(30, ""),
                "served",
            ),
            (
                "shorter",
                || answer("cache-control: max-age=60 | cdn-cache-control: max-age=1 | etag: \"a\"").later(30, ""),
                "validated",
            ),
        ],
    },
    Row {
        section: "9213 3",
        force: May,
        says: "keep it for other such caches further on, or remove it: it is kept",
        cases: &[
            (
                "from the store",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=1 | cdn-cache-control: max-age=60", "v");
                        rig.get("").await;
                        field(&rig.get("").await, "cdn-cache-control")
                    })
                },
                "max-age=60",
            ),
            (
                "without it",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "v");
                        rig.get("").await;
                        field(&rig.get("").await, "cdn-cache-control")
                    })
                },
                "none",
            ),
        ],
    },
];

/// A response that lasts a minute, or five seconds by the field `name`, ten seconds later.
fn passed_on(name: &'static str) -> String {
    live(async move |rig| {
        let lasting = if name == "cache-control" { "" } else { "cache-control: max-age=60 | " };
        rig.on(&format!("{lasting}{name}: max-age=5"), "v");
        rig.get("").await;
        rig.pass(10);
        let answer = rig.get("").await;
        let from = if answer.cache_status().hit { "stored" } else { "origin" };
        format!("{}, {from}", field(&answer, name))
    })
}
