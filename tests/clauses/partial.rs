//! RFC 9111 sections 3.2 to 3.4: updated and partial responses.

use super::exchange::{answer, map, minute};
use super::live::{Rig, brief, field, live, live_with, reply};
use super::row::Force::{May, Must, MustNot};
use super::row::Row;
use crate::support::soon;

/// A route whose range requests are fetched as they come.
const AS_ASKED: &str = ", ranges = 'as-asked'";

/// Fields that a stored response has after an update, in the order of their names.
fn updated(stored: &str, new: &str) -> String {
    let fields = millpond::policy::validation::updates(map(stored), &map(new));
    let mut lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort_unstable();
    lines.join(" | ")
}

/// A stale response with `x-a: old` is confirmed by a 304 with these fields; what a hit then shows.
fn confirmed(fields: &'static str, name: &'static str) -> String {
    live(async |rig| {
        rig.on("cache-control: max-age=60 | etag: \"1\" | x-a: old", "hello");
        rig.get("").await;
        rig.pass(61);
        let reply = reply(&format!("cache-control: max-age=60 | etag: \"1\"{fields}"), "").status(304);
        rig.origin.set("/a", reply);
        rig.get("").await;
        let hit = rig.get("").await;
        format!("{}, {name} {}", brief(&hit), field(&hit, name))
    })
}

/// The origin promises ten bytes and breaks off after three.
async fn broken_off(rig: &Rig, fields: &str) {
    let fields = format!("Content-Length: 10\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n{fields}");
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\nabc");
    rig.origin.raw("/a", |script| script.send(head).close());
    // It depends on the moment whether the client sees the head before the connection breaks.
    let _ = soon("the broken answer", rig.proxy.client().get("/a").try_send()).await;
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 3.2",
        force: Must,
        says: "add the new fields to the stored ones, replacing those of the same name",
        cases: &[
            ("a new name", || updated("etag: \"a\"", "x-a: 1"), "etag: \"a\" | x-a: 1"),
            ("a name that was there twice", || updated("x-a: 1 | x-a: 2", "x-a: 3"), "x-a: 3"),
            ("a name that comes twice", || updated("x-a: 1", "x-a: 2 | x-a: 3"), "x-a: 2 | x-a: 3"),
            ("a name that does not come", || updated("x-a: 1", "x-b: 2"), "x-a: 1 | x-b: 2"),
            (
                "Content-Type, whatever its prefix suggests",
                || updated("content-type: a/b", "content-type: c/d"),
                "content-type: c/d",
            ),
        ],
    },
    Row {
        section: "9111 3.2",
        force: MustNot,
        says: "update Content-Length, nor what the handling of the stored content depends on",
        cases: &[
            ("Content-Length", || updated("content-length: 5", "content-length: 0"), "content-length: 5"),
            (
                "Content-Encoding",
                || updated("content-encoding: gzip", "content-encoding: br"),
                "content-encoding: gzip",
            ),
            ("Content-Range", || updated("x-a: 1", "content-range: bytes 0-1/2"), "x-a: 1"),
            (
                "Content-Language, which is plain metadata",
                || updated("content-language: de", "content-language: en"),
                "content-language: en",
            ),
        ],
    },
    Row {
        section: "9111 3.2",
        force: MustNot,
        says: "take from an update what is not stored at all",
        cases: &[
            (
                "a field for one connection",
                || confirmed(" | connection: x-b | x-b: 1", "x-b"),
                "200 hello, stored, x-b none",
            ),
            (
                "a field about a proxy",
                || confirmed(" | proxy-authenticate: Basic", "proxy-authenticate"),
                "200 hello, stored, proxy-authenticate none",
            ),
            (
                "a field that private names",
                || confirmed(" | x-b: 1 | cache-control: private=\"x-b\"", "x-b"),
                "200 hello, stored, x-b none",
            ),
            ("any other field", || confirmed(" | x-a: new", "x-a"), "200 hello, stored, x-a new"),
            ("none", || confirmed("", "x-a"), "200 hello, stored, x-a old"),
        ],
    },
    Row {
        section: "9111 3.3",
        force: MustNot,
        says: "answer from a response that broke off as if it were whole",
        cases: &[
            (
                "broken off",
                || {
                    live(async |rig| {
                        broken_off(&rig, "").await;
                        rig.on("cache-control: max-age=60", "whole");
                        brief(&rig.get("").await)
                    })
                },
                "200 whole, origin",
            ),
            (
                "whole",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60", "whole");
                        rig.get("").await;
                        brief(&rig.get("").await)
                    })
                },
                "200 whole, stored",
            ),
        ],
    },
    Row {
        section: "9111 3.3",
        force: MustNot,
        says: "store partial content unless ranges are understood",
        cases: &[
            ("206 that does not say which part", || minute().status(206).stored(), "not stored: partial-content"),
            (
                "several parts in one body",
                || {
                    answer("cache-control: max-age=60 | content-type: multipart/byteranges; boundary=x")
                        .status(206)
                        .stored()
                },
                "not stored: partial-content",
            ),
            ("200", || minute().stored(), "stored"),
        ],
    },
    Row {
        section: "9111 3.3",
        force: MustNot,
        says: "send a part without calling it one",
        cases: &[
            (
                "a part was asked for",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60 | etag: \"1\"", "hello");
                        rig.get("").await;
                        let part = rig.get("range: bytes=1-2").await;
                        format!("{}, {}", brief(&part), field(&part, "content-range"))
                    })
                },
                "206 el, stored, bytes 1-2/5",
            ),
            (
                "the whole was asked for, after a part",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60 | etag: \"1\"", "hello");
                        rig.get("range: bytes=1-2").await;
                        let whole = rig.get("").await;
                        format!("{}, {}", brief(&whole), field(&whole, "content-range"))
                    })
                },
                "200 hello, stored, none",
            ),
        ],
    },
    Row {
        section: "9111 3.4",
        force: MustNot,
        says: "combine a part with what has another validator",
        cases: &[
            (
                "a part of something newer passes by",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60 | etag: \"1\"", "hello");
                        rig.get("").await;
                        let part = reply("etag: \"2\" | content-range: bytes 0-1/5", "HE").status(206);
                        rig.origin.set("/a", part);
                        rig.get("cache-control: no-store | range: bytes=0-1").await;
                        brief(&rig.get("").await)
                    })
                },
                "200 hello, stored",
            ),
            (
                "the whole of something newer",
                || {
                    live(async |rig| {
                        rig.on("cache-control: max-age=60 | etag: \"1\"", "hello");
                        rig.get("").await;
                        rig.on("cache-control: max-age=60 | etag: \"2\"", "HEllo");
                        rig.get("cache-control: no-cache").await;
                        brief(&rig.get("").await)
                    })
                },
                "200 HEllo, stored",
            ),
        ],
    },
];

/// Rows for parts that are stored.
pub(crate) const PARTS: &[Row] = &[INCOMPLETE, PARTIAL, COMPLETED, COMBINED];

const INCOMPLETE: Row = Row {
    section: "9111 3.3",
    force: May,
    says: "keep what arrived of a response that broke off, for ranges within it",
    cases: &[
        (
            "within",
            || {
                live(async |rig| {
                    broken_off(&rig, "Accept-Ranges: bytes\r\n").await;
                    rig.origin.refuse().await;
                    brief(&rig.get("range: bytes=0-2").await)
                })
            },
            "206 abc, stored",
        ),
        (
            "beyond",
            || {
                live(async |rig| {
                    broken_off(&rig, "Accept-Ranges: bytes\r\n").await;
                    rig.origin.refuse().await;
                    format!("{}", rig.get("range: bytes=0-4").await.status)
                })
            },
            "502",
        ),
    ],
};

const PARTIAL: Row = Row {
    section: "9111 3.3",
    force: May,
    says: "store a 206 like a 200 that is not complete",
    cases: &[
        (
            "with Content-Range",
            || answer("cache-control: max-age=60 | etag: \"1\" | content-range: bytes 0-1/5").status(206).stored(),
            "stored",
        ),
        ("without", || minute().status(206).stored(), "not stored: partial-content"),
    ],
};

const COMPLETED: Row = Row {
    section: "9111 3.3",
    force: May,
    says: "complete an incomplete response by a range request",
    cases: &[
        ("the rest of it", || completed("\"1\"", "3-5"), "200 hello!, range: bytes=3-, if-range: \"1\""),
        ("the rest of another", || completed("\"2\"", "3-5"), "200 HELLO!, range: none, if-range: none"),
        ("not the rest", || completed("\"1\"", "4-5"), "200 HELLO!, range: none, if-range: none"),
    ],
};

/// The first half is stored; then the whole is asked for, and the origin sends this as the rest of it.
fn completed(tag: &'static str, range: &'static str) -> String {
    live_with(AS_ASKED, async |rig| {
        let fields = "cache-control: max-age=60 | etag: \"1\" | content-range: bytes 0-2/6";
        rig.origin.set("/a", reply(fields, "hel").status(206));
        rig.get("range: bytes=0-2").await;
        rig.origin.on_request("/a", move |request| {
            let fields = format!("cache-control: max-age=60 | etag: {tag}");
            match request.header("range") {
                Some(_) => {
                    let body = if range == "3-5" { "lo!" } else { "o!" };
                    reply(&format!("{fields} | content-range: bytes {range}/6"), body).status(206)
                }
                None => reply(&fields, "HELLO!"),
            }
        });
        let whole = rig.get("").await;
        let asked = rig.origin.last("/a");
        let sent = |name| asked.header(name).unwrap_or_else(|| "none".to_owned());
        format!("{} {}, range: {}, if-range: {}", whole.status, whole.text(), sent("range"), sent("if-range"))
    })
}

const COMBINED: Row = Row {
    section: "9111 3.4",
    force: May,
    says: "combine parts that share a strong validator into a whole",
    cases: &[
        ("two halves", || halves("\"1\""), "200 hello!, stored"),
        ("halves of two wholes", || halves("\"2\""), "200 whole?, origin"),
        ("halves with weak tags", || halves_with("W/\"1\"", "W/\"1\""), "200 whole?, origin"),
    ],
};

fn halves(second_tag: &'static str) -> String {
    halves_with("\"1\"", second_tag)
}

/// The origin sends the first half, then the second; then the whole is asked for.
fn halves_with(first_tag: &'static str, second_tag: &'static str) -> String {
    live_with(AS_ASKED, async |rig| {
        let half = |tag: &str, range: &str, body| {
            let fields = format!("cache-control: max-age=60 | etag: {tag} | content-range: bytes {range}/6");
            reply(&fields, body).status(206)
        };
        rig.origin.set("/a", half(first_tag, "0-2", "hel"));
        rig.get("range: bytes=0-2").await;
        rig.origin.set("/a", half(second_tag, "3-5", "lo!"));
        rig.get("range: bytes=3-5").await;
        rig.on("cache-control: max-age=60", "whole?");
        brief(&rig.get("").await)
    })
}
