//! RFC 9111 section 4.2: freshness and age.

use super::exchange::{answer, minute};
use super::live::{brief, live_with};
use super::row::Force::{Fact, May, Must, MustNot, Should};
use super::row::Row;

/// Freshness lifetime by `Expires` alone.
fn expires(date: &str) -> String {
    answer(&format!("expires: {date} | etag: \"a\"")).lifetime()
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 4.2",
        force: Fact,
        says: "a response is fresh while its lifetime is greater than its age",
        cases: &[
            ("a second before", || minute().later(59, ""), "served"),
            ("equal", || minute().later(60, ""), "validated"),
            (
                "age on arrival counts",
                || answer("cache-control: max-age=60 | age: 30 | etag: \"a\"").later(30, ""),
                "validated",
            ),
        ],
    },
    Row {
        section: "9111 4.2",
        force: Should,
        says: "read dates without regard to case",
        cases: &[
            ("as it should be", || expires("Sun, 06 Nov 1994 08:50:37 GMT"), "60 s"),
            ("lower case", || expires("sun, 06 nov 1994 08:50:37 gmt"), "60 s"),
            ("upper case", || expires("SUN, 06 NOV 1994 08:50:37 GMT"), "60 s"),
            ("RFC 850 in lower case", || expires("sunday, 06-nov-94 08:50:37 gmt"), "60 s"),
            ("asctime in lower case", || expires("sun nov  6 08:50:37 1994"), "60 s"),
            ("no month at all", || expires("Sun, 06 Nox 1994 08:50:37 GMT"), "0 s"),
        ],
    },
    Row {
        section: "9111 4.2",
        force: Must,
        says: "take a year of two digits that would be more than 50 years ahead for one that is past (RFC 9110 section 5.6.7)",
        cases: &[
            ("this year", || expires("Sunday, 06-Nov-94 08:50:37 GMT"), "60 s"),
            ("fifty years ahead", || expires("Sunday, 06-Nov-44 08:49:37 GMT"), "1577923200 s"),
            ("a second more", || expires("Sunday, 06-Nov-44 08:49:38 GMT"), "0 s"),
            ("a year more", || expires("Monday, 06-Nov-45 08:49:37 GMT"), "0 s"),
        ],
    },
    Row {
        section: "9111 4.2",
        force: Should,
        says: "take a date with a zone other than GMT for invalid",
        cases: &[
            ("UTC", || expires("Sun, 06 Nov 1994 08:50:37 UTC"), "0 s"),
            ("EST", || expires("Sun, 06 Nov 1994 08:50:37 EST"), "0 s"),
            ("an offset", || expires("Sun, 06 Nov 1994 08:50:37 +0000"), "0 s"),
            ("GMT", || expires("Sun, 06 Nov 1994 08:50:37 GMT"), "60 s"),
        ],
    },
    Row {
        section: "9111 4.2",
        force: MustNot,
        says: "let a time zone of this machine count, or a finer clock stretch a date",
        cases: &[
            ("one second", || expires("Sun, 06 Nov 1994 08:49:38 GMT"), "1 s"),
            ("none", || expires("Sun, 06 Nov 1994 08:49:37 GMT"), "0 s"),
        ],
    },
    Row {
        section: "9111 4.2.1",
        force: Fact,
        says: "s-maxage comes before max-age, and that before Expires less Date",
        cases: &[
            (
                "all three",
                || answer("cache-control: max-age=60, s-maxage=5 | expires: Sun, 06 Nov 1994 08:49:47 GMT").lifetime(),
                "5 s",
            ),
            (
                "max-age and Expires",
                || answer("cache-control: max-age=60 | expires: Sun, 06 Nov 1994 08:49:47 GMT").lifetime(),
                "60 s",
            ),
            (
                "Expires and Date",
                || answer("expires: Sun, 06 Nov 1994 08:49:47 GMT | date: Sun, 06 Nov 1994 08:49:36 GMT").lifetime(),
                "11 s",
            ),
            ("Expires without Date", || answer("expires: Sun, 06 Nov 1994 08:49:47 GMT").lifetime(), "10 s"),
            ("none", || answer("").lifetime(), "not stored: no-lifetime"),
        ],
    },
    Row {
        section: "9111 4.2.1",
        force: Should,
        says: "of several values take the first, or the response for stale: never more than the first allows",
        cases: &[
            ("the first is smaller", || answer("cache-control: max-age=5, max-age=60").lifetime(), "5 s"),
            ("the first is larger", || answer("cache-control: max-age=60, max-age=5").lifetime(), "5 s"),
            ("equal", || answer("cache-control: max-age=60 | cache-control: max-age=60").lifetime(), "60 s"),
            (
                "two lines of Expires",
                || expires("Sun, 06 Nov 1994 08:49:47 GMT | expires: Sun, 06 Nov 1994 08:50:37 GMT"),
                "10 s",
            ),
        ],
    },
    Row {
        section: "9111 4.2.1",
        force: Should,
        says: "of directives that conflict obey the strictest",
        cases: &[
            (
                "max-age and no-cache",
                || answer("cache-control: max-age=60, no-cache | etag: \"a\"").later(1, ""),
                "validated",
            ),
            ("max-age and no-store", || answer("cache-control: no-store, max-age=60").stored(), "not stored: no-store"),
            (
                "public and private",
                || answer("cache-control: public, private, max-age=60").stored(),
                "not stored: private",
            ),
            ("public and max-age, which agree", || answer("cache-control: public, max-age=60").later(1, ""), "served"),
        ],
    },
    Row {
        section: "9111 4.2.1",
        force: Should,
        says: "take invalid information about freshness for stale",
        cases: &[
            ("letters", || answer("cache-control: max-age=x | etag: \"a\"").lifetime(), "0 s"),
            ("a fraction", || answer("cache-control: max-age=1.5 | etag: \"a\"").lifetime(), "0 s"),
            ("a sign", || answer("cache-control: max-age=-60 | etag: \"a\"").lifetime(), "0 s"),
            ("nothing", || answer("cache-control: max-age= | etag: \"a\"").lifetime(), "0 s"),
            ("digits", || answer("cache-control: max-age=060 | etag: \"a\"").lifetime(), "60 s"),
        ],
    },
    Row {
        section: "9111 4.2.2",
        force: MustNot,
        says: "guess a lifetime where one is given",
        cases: &[
            (
                "max-age",
                || {
                    answer("cache-control: max-age=0 | last-modified: Sat, 05 Nov 1994 08:49:37 GMT")
                        .heuristic()
                        .lifetime()
                },
                "0 s",
            ),
            (
                "an Expires that is no date",
                || answer("expires: 0 | last-modified: Sat, 05 Nov 1994 08:49:37 GMT").heuristic().lifetime(),
                "0 s",
            ),
            ("none", || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").heuristic().lifetime(), "8640 s"),
        ],
    },
    Row {
        section: "9111 4.2.2",
        force: May,
        says: "guess only for statuses that are cacheable by themselves, or for what is public",
        cases: &[
            (
                "404",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").status(404).heuristic().lifetime(),
                "8640 s",
            ),
            (
                "302",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").status(302).heuristic().lifetime(),
                "not stored: no-lifetime",
            ),
            (
                "302, public",
                || {
                    answer("cache-control: public | last-modified: Sat, 05 Nov 1994 08:49:37 GMT")
                        .status(302)
                        .heuristic()
                        .lifetime()
                },
                "8640 s",
            ),
            (
                "a route that wants no guesses",
                || answer("last-modified: Sat, 05 Nov 1994 08:49:37 GMT").lifetime(),
                "not stored: no-lifetime",
            ),
        ],
    },
    Row {
        section: "9111 4.2.2",
        force: Should,
        says: "guess no more than a fraction of the time since the last change",
        cases: &[
            ("ten seconds", || answer("last-modified: Sun, 06 Nov 1994 08:49:27 GMT").heuristic().lifetime(), "1 s"),
            ("ten years", || answer("last-modified: Tue, 06 Nov 1984 08:49:37 GMT").heuristic().lifetime(), "86400 s"),
            (
                "changed after it was made",
                || answer("last-modified: Mon, 07 Nov 1994 08:49:37 GMT").heuristic().lifetime(),
                "not stored: no-lifetime",
            ),
        ],
    },
    Row {
        section: "9111 4.2.3",
        force: Fact,
        says: "the age on arrival is the larger of what Date tells and of Age with the time of the fetch",
        cases: &[
            (
                "Date tells more",
                || {
                    answer("cache-control: max-age=900 | age: 10 | date: Sun, 06 Nov 1994 08:49:00 GMT")
                        .after(2)
                        .initial_age()
                },
                "37 s",
            ),
            (
                "Age tells more",
                || {
                    answer("cache-control: max-age=900 | age: 100 | date: Sun, 06 Nov 1994 08:49:00 GMT")
                        .after(2)
                        .initial_age()
                },
                "102 s",
            ),
            (
                "Date lies ahead",
                || answer("cache-control: max-age=900 | date: Sun, 06 Nov 1994 09:49:37 GMT").after(2).initial_age(),
                "2 s",
            ),
            (
                "Age overflows",
                || answer("cache-control: max-age=900 | age: 99999999999999999999 | etag: \"a\"").initial_age(),
                "2147483648 s",
            ),
        ],
    },
    Row {
        section: "9111 4.2.3",
        force: Fact,
        says: "the time in the store is part of the age",
        cases: &[
            ("within", || answer("cache-control: max-age=60 | age: 10").after(5).later(44, ""), "served"),
            ("beyond", || answer("cache-control: max-age=60 | age: 10").after(5).later(45, ""), "validated"),
        ],
    },
    Row {
        section: "9111 4.2.4",
        force: MustNot,
        says: "serve stale where a directive forbids it",
        cases: &[
            (
                "must-revalidate",
                || answer("cache-control: max-age=60, must-revalidate").windows().later(61, "cache-control: max-stale"),
                "validated",
            ),
            (
                "proxy-revalidate",
                || {
                    answer("cache-control: max-age=60, proxy-revalidate")
                        .windows()
                        .later(61, "cache-control: max-stale")
                },
                "validated",
            ),
            (
                "s-maxage",
                || answer("cache-control: s-maxage=60").windows().later(61, "cache-control: max-stale"),
                "validated",
            ),
            (
                "no-cache",
                || {
                    answer("cache-control: no-cache, max-age=60 | etag: \"a\"")
                        .windows()
                        .later(61, "cache-control: max-stale")
                },
                "validated",
            ),
            ("none of these", || minute().windows().later(61, "cache-control: max-stale"), "served stale"),
        ],
    },
    Row {
        section: "9111 4.2.4",
        force: MustNot,
        says: "serve stale while connected unless client, origin or configuration allow it",
        cases: &[
            ("nobody does", || minute().later(61, ""), "validated"),
            ("the client", || minute().later(61, "cache-control: max-stale=1"), "served stale"),
            (
                "the origin",
                || answer("cache-control: max-age=60, stale-while-revalidate=5").later(61, ""),
                "served stale, and refreshed",
            ),
            ("the configuration", || minute().windows().later(61, ""), "served stale, and refreshed"),
            ("no longer", || answer("cache-control: max-age=60, stale-while-revalidate=5").later(65, ""), "validated"),
        ],
    },
    Row {
        section: "9111 4.2.4",
        force: MustNot,
        says: "serve stale while cut off from the origin where that is forbidden",
        cases: &[
            ("must-revalidate", || cut_off(", must-revalidate"), "502"),
            ("proxy-revalidate", || cut_off(", proxy-revalidate"), "502"),
            ("no-cache", || cut_off(", no-cache"), "502"),
            ("none of these", || cut_off(""), "200"),
        ],
    },
];

/// The status of the answer to a request for a stale response when the origin is gone.
fn cut_off(directive: &'static str) -> String {
    live_with(", stale_if_error = '1h'", async move |rig| {
        rig.on(&format!("cache-control: max-age=60{directive} | etag: \"1\""), "v");
        let first = brief(&rig.get("").await);
        assert_eq!(first, "200 v, origin");
        rig.pass(61);
        rig.origin.refuse().await;
        rig.get("").await.status.to_string()
    })
}

/// Rows for what is decided otherwise; see `pending`.
pub(crate) const PENDING_WINDOW_BESIDE_S_MAXAGE: Row = Row {
    section: "9111 4.2.4",
    force: MustNot,
    says: "serve stale what has s-maxage, a window of RFC 5861 or not",
    cases: &[
        ("stale", || answer("cache-control: s-maxage=60, stale-while-revalidate=60").later(61, ""), "validated"),
        ("fresh", || answer("cache-control: s-maxage=60, stale-while-revalidate=60").later(59, ""), "served"),
    ],
};
