//! RFC 9111 section 4.3: asking the origin whether what is stored still holds.

use http::StatusCode;
use millpond::policy::validation::{Precondition, conditional_fields, evaluate_conditional};

use super::exchange::{arrival, map};
use super::live::{brief, live, live_with, reply};
use super::row::Force::{Fact, May, Must, MustNot, Should};
use super::row::Row;

/// The conditions under which the origin is asked about a response with these fields.
fn conditions(stored: &str) -> String {
    let Some(fields) = conditional_fields(&map(stored)) else { return "none".to_owned() };
    let mut lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort_unstable();
    lines.join(" | ")
}

/// The status of the answer to a request with these fields from a response with those.
fn conditional(request: &str, status: u16, stored: &str) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    match evaluate_conditional(&map(request), status, &map(stored), arrival()) {
        Precondition::NotModified => "304".to_owned(),
        Precondition::Proceed => status.as_str().to_owned(),
    }
}

pub(super) const EARLY: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
pub(super) const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// A field with a date.
pub(super) fn dated(name: &str, date: &str) -> String {
    format!("{name}: {date}")
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 4.3",
        force: May,
        says: "ask the origin conditionally about what is stored and cannot be served",
        cases: &[
            ("stale", || asked("etag: \"1\"", 61, ""), "\"1\""),
            ("no-cache in the request", || asked("etag: \"1\"", 1, "cache-control: no-cache"), "\"1\""),
            ("no validator", || asked("x-a: 1", 61, ""), "none"),
        ],
    },
    Row {
        section: "9111 4.3.1",
        force: Must,
        says: "send the entity tag that is stored",
        cases: &[
            ("strong", || conditions("etag: \"a\""), "if-none-match: \"a\""),
            ("weak", || conditions("etag: W/\"a\""), "if-none-match: W/\"a\""),
            ("none", || conditions("x-a: 1"), "none"),
        ],
    },
    Row {
        section: "9111 4.3.1",
        force: Should,
        says: "send Last-Modified as it is stored",
        cases: &[
            (
                "alone",
                || conditions("last-modified: Sun, 06 Nov 1994 08:49:37 GMT"),
                "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            (
                "with an entity tag",
                || conditions("etag: \"a\" | last-modified: Sun, 06 Nov 1994 08:49:37 GMT"),
                "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT | if-none-match: \"a\"",
            ),
        ],
    },
    Row {
        section: "9111 4.3.1",
        force: Must,
        says: "copy the fields that Vary names into a request of its own",
        cases: &[("one variant", || refreshed("de"), "de"), ("the other", || refreshed("en"), "en")],
    },
    Row {
        section: "9111 4.3.2",
        force: Fact,
        says: "If-None-Match is compared with the entity tag of the stored response",
        cases: &[
            ("equal", || conditional("if-none-match: \"a\"", 200, "etag: \"a\""), "304"),
            ("weakly equal", || conditional("if-none-match: W/\"a\"", 200, "etag: \"a\""), "304"),
            (
                "one of several",
                || conditional("if-none-match: \"x\" | if-none-match: \"y\", \"a\"", 200, "etag: \"a\""),
                "304",
            ),
            ("any", || conditional("if-none-match: *", 200, "etag: \"a\""), "304"),
            ("other", || conditional("if-none-match: \"b\"", 200, "etag: \"a\""), "200"),
            ("nothing to compare", || conditional("if-none-match: \"b\"", 200, ""), "200"),
        ],
    },
    Row {
        section: "9111 4.3.2",
        force: Must,
        says: "evaluate conditions for every 2xx, and for no other status",
        cases: &[
            ("203", || conditional("if-none-match: \"a\"", 203, "etag: \"a\""), "304"),
            ("404", || conditional("if-none-match: \"a\"", 404, "etag: \"a\""), "404"),
            ("301", || conditional("if-none-match: \"a\"", 301, "etag: \"a\""), "301"),
        ],
    },
    Row {
        section: "9111 4.3.2",
        force: Fact,
        says: "If-None-Match comes before If-Modified-Since",
        cases: &[
            (
                "the tag differs, the date does not",
                || {
                    conditional(
                        &format!("if-none-match: \"b\" | if-modified-since: {LATE}"),
                        200,
                        &format!("etag: \"a\" | last-modified: {EARLY}"),
                    )
                },
                "200",
            ),
            (
                "the tag is equal, the date is not",
                || {
                    conditional(
                        &format!("if-none-match: \"a\" | if-modified-since: {EARLY}"),
                        200,
                        &format!("etag: \"a\" | last-modified: {LATE}"),
                    )
                },
                "304",
            ),
        ],
    },
    Row {
        section: "9111 4.3.2",
        force: Should,
        says: "compare If-Modified-Since with Date where there is no Last-Modified",
        cases: &[
            ("made before", || conditional(&dated("if-modified-since", LATE), 200, &dated("date", EARLY)), "304"),
            ("made after", || conditional(&dated("if-modified-since", EARLY), 200, &dated("date", LATE)), "200"),
            (
                "changed before, made after",
                || {
                    conditional(
                        &dated("if-modified-since", EARLY),
                        200,
                        &format!("date: {LATE} | last-modified: {EARLY}"),
                    )
                },
                "304",
            ),
        ],
    },
    Row {
        section: "9111 4.3.2",
        force: MustNot,
        says: "evaluate conditions that are for the origin, or for what is not stored",
        cases: &[
            ("If-Match", || conditional("if-match: \"b\"", 200, "etag: \"a\""), "200"),
            (
                "If-Unmodified-Since",
                || conditional(&dated("if-unmodified-since", EARLY), 200, &dated("last-modified", LATE)),
                "200",
            ),
            ("If-None-Match, for comparison", || conditional("if-none-match: \"a\"", 200, "etag: \"a\""), "304"),
            ("If-None-Match of a write", || written("if-none-match: *"), "412 refused, origin, *"),
        ],
    },
    Row {
        section: "9111 4.3.2",
        force: Must,
        says: "answer 200 if the origin confirms what is stored and the client has something else",
        cases: &[
            ("the client has something older", || validated_by("if-none-match: \"0\""), "200 v, \"1\" was asked about"),
            ("the client has the same", || validated_by("if-none-match: \"1\""), "304 , \"1\" was asked about"),
        ],
    },
    Row {
        section: "9111 4.3.3",
        force: Fact,
        says: "a 304 lets what is stored be reused",
        cases: &[
            ("304", || answered(304, "etag: \"1\" | cache-control: max-age=60"), "200 old, then 200 old, stored"),
            ("200", || answered(200, "etag: \"2\" | cache-control: max-age=60"), "200 new, then 200 new, stored"),
        ],
    },
    Row {
        section: "9111 4.3.3",
        force: Must,
        says: "answer with a whole response that came instead of a 304",
        cases: &[
            ("it may not be stored", || answered(200, "cache-control: no-store"), "200 new, then 200 new, origin"),
            ("it may", || answered(200, "cache-control: max-age=60"), "200 new, then 200 new, stored"),
            ("404", || answered(404, "cache-control: max-age=60"), "404 new, then 404 new, stored"),
        ],
    },
    Row {
        section: "9111 4.3.3",
        force: May,
        says: "treat a 5xx like no answer: send what is stored if stale use is allowed, or else the 5xx",
        cases: &[("allowed", || failed(""), "200 old"), ("forbidden", || failed(", must-revalidate"), "503 sorry")],
    },
];

/// The condition that the origin sees when a response with this field is asked for again.
fn asked(stored: &'static str, later: u64, request: &'static str) -> String {
    live(async move |rig| {
        rig.on(&format!("cache-control: max-age=60 | {stored}"), "v");
        rig.get("").await;
        rig.pass(later);
        rig.get(request).await;
        rig.origin.last("/a").header("if-none-match").unwrap_or_else(|| "none".to_owned())
    })
}

/// The language in which a background refresh asks.
fn refreshed(language: &'static str) -> String {
    live_with(", stale_while_revalidate = '1h'", async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\" | vary: accept-language", "v");
        let fields = format!("accept-language: {language}");
        rig.get(&fields).await;
        rig.pass(61);
        assert!(rig.get(&fields).await.cache_status().hit);
        rig.origin.received(2).await;
        rig.origin.last("/a").header("accept-language").unwrap()
    })
}

/// What the origin gets of a conditional write, and the client of the answer.
fn written(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\"", "v");
        rig.get("").await;
        rig.origin.set("/a", reply("x-a: 1", "refused").status(412));
        let answer = rig.ask("PUT", fields).await;
        format!("{}, {}", brief(&answer), rig.origin.last("/a").header("if-none-match").unwrap())
    })
}

/// A client validates its own copy when what is stored is stale, and the origin confirms that.
fn validated_by(fields: &'static str) -> String {
    live(async move |rig| {
        rig.origin.set("/a", reply("cache-control: max-age=60 | etag: \"1\"", "v").validates());
        rig.get("").await;
        rig.pass(61);
        let answer = rig.get(fields).await;
        let tag = rig.origin.last("/a").header("if-none-match").unwrap();
        format!("{} {}, {tag} was asked about", answer.status, answer.text())
    })
}

/// The origin answers a validation with this; what the client gets, and the next one.
fn answered(status: u16, fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\"", "old");
        rig.get("").await;
        rig.pass(61);
        rig.origin.set("/a", reply(fields, if status == 304 { "" } else { "new" }).status(status));
        let first = rig.get("").await;
        format!("{} {}, then {}", first.status, first.text(), brief(&rig.get("").await))
    })
}

/// The origin answers a validation with 503.
fn failed(directive: &'static str) -> String {
    live_with(", stale_if_error = '1h'", async move |rig| {
        rig.on(&format!("cache-control: max-age=60{directive} | etag: \"1\""), "old");
        rig.get("").await;
        rig.pass(61);
        rig.origin.set("/a", reply("x-a: 1", "sorry").status(503));
        let answer = rig.get("").await;
        format!("{} {}", answer.status, answer.text())
    })
}

/// A row for what is not built; see `pending`.
pub(crate) const PENDING_UNION: Row = Row {
    section: "9111 4.3.2",
    force: May,
    says: "ask the origin about what the client has and what is stored in one request",
    cases: &[
        ("the client has something else", || asked("etag: \"1\"", 61, "if-none-match: \"0\""), "\"0\", \"1\""),
        ("it has nothing", || asked("etag: \"1\"", 61, ""), "\"1\""),
    ],
};
