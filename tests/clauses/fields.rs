//! RFC 9111 sections 5.1 and 5.3 to 5.5: the other fields.

use super::exchange::{answer, minute};
use super::live::{field, live, live_with};
use super::row::Force::{Fact, Must, MustNot, Should};
use super::row::Row;

/// The age on arrival of a response with this field.
fn age(value: &str) -> String {
    answer(&format!("cache-control: max-age=99999999999 | etag: \"a\" | age: {value}")).initial_age()
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 5.1",
        force: Should,
        says: "of several values of Age take the first",
        cases: &[("in one line", || age("5, 900"), "5 s"), ("in two", || age("7 | age: 900"), "7 s")],
    },
    Row {
        section: "9111 5.1",
        force: Should,
        says: "ignore an Age that is no whole number",
        cases: &[
            ("negative", || age("-5"), "0 s"),
            ("a fraction", || age("5.5"), "0 s"),
            ("letters", || age("x"), "0 s"),
            ("the first of a list", || age("x, 5"), "0 s"),
            ("a whole number", || age("5"), "5 s"),
        ],
    },
    Row {
        section: "9111 5.1",
        force: Must,
        says: "take a number that is too large for 2^31, the most that is told apart",
        cases: &[
            ("one more", || age("2147483649"), "2147483648 s"),
            ("more than 64 bits hold", || age("99999999999999999999999"), "2147483648 s"),
            ("one less", || age("2147483647"), "2147483647 s"),
            ("a lifetime", || answer("cache-control: max-age=99999999999999999999999").lifetime(), "2147483648 s"),
        ],
    },
    Row {
        section: "9111 5.1",
        force: Must,
        says: "send Age in whole seconds with what comes from the store",
        cases: &[("at once", || aged(0), "0"), ("later", || aged(42), "42")],
    },
    Row {
        section: "9111 5.3",
        force: Must,
        says: "take an Expires that is no date for one that is past",
        cases: &[
            ("0", || answer("expires: 0 | etag: \"a\"").later(0, ""), "validated"),
            ("-1", || answer("expires: -1 | etag: \"a\"").later(0, ""), "validated"),
            ("a word", || answer("expires: never | etag: \"a\"").later(0, ""), "validated"),
            (
                "no such day",
                || answer("expires: Sun, 31 Nov 1994 08:50:37 GMT | etag: \"a\"").later(0, ""),
                "validated",
            ),
            ("a date", || answer("expires: Sun, 06 Nov 1994 08:50:37 GMT | etag: \"a\"").later(0, ""), "served"),
        ],
    },
    Row {
        section: "9111 5.3",
        force: Must,
        says: "ignore Expires beside max-age or s-maxage",
        cases: &[
            ("beside max-age", || answer("cache-control: max-age=60 | expires: 0").lifetime(), "60 s"),
            ("beside s-maxage", || answer("cache-control: s-maxage=60 | expires: 0").lifetime(), "60 s"),
            (
                "beside another directive",
                || answer("cache-control: public | expires: 0 | etag: \"a\"").lifetime(),
                "0 s",
            ),
        ],
    },
    Row {
        section: "9111 5.3",
        force: Fact,
        says: "Expires is reckoned from Date, not from this machine's clock",
        cases: &[
            (
                "a clock that is slow by an hour",
                || {
                    answer("date: Sun, 06 Nov 1994 07:49:37 GMT | expires: Sun, 06 Nov 1994 07:50:37 GMT | etag: \"a\"")
                        .lifetime()
                },
                "60 s",
            ),
            (
                "Expires before Date",
                || {
                    answer("date: Sun, 06 Nov 1994 08:49:37 GMT | expires: Sun, 06 Nov 1994 08:49:36 GMT | etag: \"a\"")
                        .lifetime()
                },
                "0 s",
            ),
        ],
    },
    Row {
        section: "9111 5.4",
        force: Fact,
        says: "Pragma: no-cache counts in a request without Cache-Control alone",
        cases: &[
            ("alone", || minute().later(1, "pragma: no-cache"), "validated"),
            ("beside Cache-Control", || minute().later(1, "pragma: no-cache | cache-control: max-age=60"), "served"),
            ("another Pragma", || minute().later(1, "pragma: x"), "served"),
        ],
    },
    Row {
        section: "9111 5.4",
        force: MustNot,
        says: "give Pragma a meaning in responses",
        cases: &[
            ("with a lifetime", || answer("cache-control: max-age=60 | pragma: no-cache").later(1, ""), "served"),
            (
                "no-cache where it has one",
                || answer("cache-control: max-age=60, no-cache | etag: \"a\"").later(1, ""),
                "validated",
            ),
        ],
    },
    Row {
        section: "9111 5.5",
        force: MustNot,
        says: "make Warning fields, which are obsolete; those of the origin are fields like any other",
        cases: &[
            ("stale", || warning(""), "none"),
            ("stale, with one from the origin", || warning(" | warning: 299 - \"deprecated\""), "299 - \"deprecated\""),
        ],
    },
];

fn aged(seconds: u64) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60", "v");
        rig.get("").await;
        rig.pass(seconds);
        field(&rig.get("").await, "age")
    })
}

/// The Warning of a stale response.
fn warning(fields: &'static str) -> String {
    live_with(", stale_while_revalidate = '1h'", async move |rig| {
        rig.on(&format!("cache-control: max-age=60{fields}"), "v");
        rig.get("").await;
        rig.pass(61);
        let stale = rig.get("").await;
        assert!(stale.cache_status().hit);
        field(&stale, "warning")
    })
}
