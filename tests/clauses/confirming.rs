//! RFC 9111 sections 4.3.4 and 4.3.5: what a 304, or a HEAD, says of stored responses.

use millpond::policy::validation::confirms;

use super::exchange::map;
use super::live::{brief, field, live, reply};
use super::row::Force::{Fact, Must, MustNot, Should};
use super::row::Row;
use super::validation::{EARLY, LATE, dated};

/// Whether a 304 with these fields is about a stored response with those.
fn about(stored: &str, not_modified: &str) -> String {
    if confirms(&map(stored), &map(not_modified)) { "updated" } else { "left alone" }.to_owned()
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 4.3.4",
        force: MustNot,
        says: "update anything by a 304 whose strong validator nothing stored has",
        cases: &[
            ("another tag", || about("etag: \"a\"", "etag: \"b\""), "left alone"),
            ("the same tag, stored as a weak one", || about("etag: W/\"a\"", "etag: \"a\""), "left alone"),
            (
                "a tag where none is stored",
                || about("last-modified: Sun, 06 Nov 1994 08:49:37 GMT", "etag: \"a\""),
                "left alone",
            ),
            ("the same tag", || about("etag: \"a\"", "etag: \"a\""), "updated"),
            (
                "the same tag and another date",
                || {
                    about(
                        &format!("etag: \"a\" | last-modified: {EARLY}"),
                        &format!("etag: \"a\" | last-modified: {LATE}"),
                    )
                },
                "updated",
            ),
        ],
    },
    Row {
        section: "9111 4.3.4",
        force: Fact,
        says: "a 304 with weak validators is about what they correspond to",
        cases: &[
            ("the same weak tag", || about("etag: W/\"a\"", "etag: W/\"a\""), "updated"),
            ("a weak tag of what is stored as strong", || about("etag: \"a\"", "etag: W/\"a\""), "updated"),
            ("another weak tag", || about("etag: W/\"a\"", "etag: W/\"b\""), "left alone"),
            ("the same date", || about(&dated("last-modified", EARLY), &dated("last-modified", EARLY)), "updated"),
            ("another date", || about(&dated("last-modified", EARLY), &dated("last-modified", LATE)), "left alone"),
        ],
    },
    Row {
        section: "9111 4.3.4",
        force: Fact,
        says: "a 304 without validators is about the one response that was asked about",
        cases: &[
            ("nothing to compare", || about("x-a: 1", "x-a: 2"), "updated"),
            (
                "a date where none is stored",
                || about("x-a: 1", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT"),
                "left alone",
            ),
        ],
    },
    Row {
        section: "9111 4.3.4",
        force: Must,
        says: "update the fields of what the 304 is about, its lifetime with them",
        cases: &[
            ("a longer lifetime", || extended("cache-control: max-age=600 | etag: \"1\""), "200 v, stored"),
            ("the same lifetime", || extended("cache-control: max-age=60 | etag: \"1\""), "200 v, origin"),
        ],
    },
    Row {
        section: "9111 4.3.4",
        force: Must,
        says: "reckon the age of what was confirmed from the 304",
        cases: &[
            ("what was stored came with an Age, the 304 does not", || age_after("age: 7", ""), "3"),
            ("the 304 comes with one", || age_after("x-a: 1", " | age: 20"), "23"),
        ],
    },
    Row {
        section: "9111 4.3.5",
        force: Should,
        says: "take a stored GET for stale if a HEAD that was passed on shows another validator or length",
        cases: &[
            ("another validator", || after_head("cache-control: max-age=60 | etag: \"2\""), "200 new, origin"),
            ("the same validator", || after_head("cache-control: max-age=60 | etag: \"1\""), "200 old, stored"),
        ],
    },
    Row {
        section: "9111 4.3.5",
        force: Must,
        says: "update the fields of a stored GET by a HEAD that was passed on and shows the same validators",
        cases: &[
            ("a HEAD", || fields_after("HEAD"), "new"),
            ("a request that tells nothing of the GET", || fields_after("OPTIONS"), "old"),
        ],
    },
    Row {
        section: "9111 4.1",
        force: MustNot,
        says: "match by a Vary that a 304 has replaced",
        cases: &[
            ("the newly named field differs", || varied_anew("x-b: 2"), "origin"),
            ("it does not", || varied_anew("x-b: 1"), "stored"),
        ],
    },
];

/// Where an answer comes from 61 seconds after a 304 with these fields.
fn extended(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\"", "v");
        rig.get("").await;
        rig.pass(61);
        rig.origin.set("/a", reply(fields, "").status(304));
        rig.get("").await;
        rig.on("cache-control: max-age=60 | etag: \"1\"", "v");
        rig.pass(61);
        brief(&rig.get("").await)
    })
}

/// The Age of a hit three seconds after a response with this field was confirmed by a 304 with those.
fn age_after(stored: &'static str, confirming: &'static str) -> String {
    live(async move |rig| {
        rig.on(&format!("cache-control: max-age=60 | etag: \"1\" | {stored}"), "v");
        rig.get("").await;
        rig.pass(61);
        let fields = format!("cache-control: max-age=60 | etag: \"1\"{confirming}");
        rig.origin.set("/a", reply(&fields, "").status(304));
        rig.get("").await;
        rig.pass(3);
        let hit = rig.get("").await;
        assert!(hit.cache_status().hit);
        field(&hit, "age")
    })
}

/// Rows for what is not built, or decided otherwise; see `pending`.
pub(crate) const PENDING_NO_VALIDATOR: Row = Row {
    section: "9111 4.3.4",
    force: Fact,
    says: "a 304 without validators is about nothing that has one",
    cases: &[
        ("a tag is stored", || about("etag: \"a\"", "x-a: 2"), "left alone"),
        ("none is", || about("x-a: 1", "x-a: 2"), "updated"),
    ],
};

/// What a GET gets after a HEAD that went to the origin and came back with these fields.
fn after_head(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\"", "old");
        rig.get("").await;
        rig.on(fields, "new");
        rig.ask("HEAD", "cache-control: no-store").await;
        brief(&rig.get("").await)
    })
}

/// What the stored GET says after this request, whose answer says `new`.
fn fields_after(method: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\" | x-a: old", "v");
        rig.get("").await;
        rig.on("cache-control: max-age=60 | etag: \"1\" | x-a: new", "v");
        rig.ask(method, "cache-control: no-store").await;
        field(&rig.get("").await, "x-a")
    })
}

/// A response varies on `x-a`; a 304 says `x-b` instead. Where does a later request find its answer?
fn varied_anew(later: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\" | vary: x-a", "v");
        rig.get("x-a: 1 | x-b: 1").await;
        rig.pass(61);
        rig.origin.set("/a", reply("cache-control: max-age=60 | etag: \"1\" | vary: x-b", "").status(304));
        rig.get("x-a: 1 | x-b: 1").await;
        rig.on("cache-control: max-age=60 | etag: \"2\" | vary: x-b", "w");
        let hit = rig.get(&format!("x-a: 1 | {later}")).await.cache_status().hit;
        if hit { "stored" } else { "origin" }.to_owned()
    })
}
