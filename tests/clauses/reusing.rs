//! RFC 9111 sections 4, 4.1 and 4.4: what a stored response may answer, and what ends it.

use http::StatusCode;
use millpond::policy::invalidation::{invalidated_targets, invalidates};

use super::exchange::{answer, map, minute};
use super::live::{brief, field, live, reply};
use super::row::Force::{May, Must, MustNot};
use super::row::Row;

/// Whether a second GET with these fields is answered from what one with those has stored.
fn matched(vary: &str, first: &str, second: &str) -> String {
    answer(&format!("cache-control: max-age=60 | vary: {vary}")).asked(first).later(1, second)
}

/// What a write with this status and these fields invalidates beside its target `/dir/a`.
fn invalidated(status: u16, fields: &str) -> String {
    if !invalidates(StatusCode::from_u16(status).unwrap()) {
        return "nothing".to_owned();
    }
    invalidated_targets("http", "h.test:8080", "/dir/a", &map(fields)).join(" ")
}

/// What a GET of `/a` finds after a request with this method was answered with this status.
fn after(method: &'static str, status: u16) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60", "old");
        rig.get("").await;
        rig.origin.set("/a", reply("cache-control: max-age=60", "new").status(status));
        rig.ask(method, "").await;
        rig.on("cache-control: max-age=60", "new");
        brief(&rig.get("").await)
    })
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        section: "9111 4",
        force: MustNot,
        says: "reuse a response for another target",
        cases: &[
            ("another query", || elsewhere("/a?x=1", "/a?x=2"), "origin"),
            ("another path", || elsewhere("/a", "/A"), "origin"),
            ("the same", || elsewhere("/a?x=1", "/a?x=1"), "stored"),
        ],
    },
    Row {
        section: "9111 4",
        force: MustNot,
        says: "reuse a response for a method that its own method does not allow",
        cases: &[
            ("HEAD from a GET", || method("HEAD"), "200, stored"),
            ("GET from a GET", || method("GET"), "200, stored"),
            ("OPTIONS from a GET", || method("OPTIONS"), "200, origin"),
        ],
    },
    Row {
        section: "9111 4",
        force: MustNot,
        says: "reuse without validation what is neither fresh nor allowed to be served stale",
        cases: &[
            ("fresh", || minute().later(59, ""), "served"),
            ("stale", || minute().later(60, ""), "validated"),
            ("stale, in a window of the route", || minute().windows().later(60, ""), "served stale, and refreshed"),
        ],
    },
    Row {
        section: "9111 4",
        force: MustNot,
        says: "reuse without validation what has no-cache",
        cases: &[
            ("no-cache", || answer("cache-control: max-age=60, no-cache | etag: \"a\"").later(1, ""), "validated"),
            ("without it", || answer("cache-control: max-age=60 | etag: \"a\"").later(1, ""), "served"),
        ],
    },
    Row {
        section: "9111 4",
        force: Must,
        says: "send the current age in place of the Age that came",
        cases: &[
            ("Age came", || age("cache-control: max-age=60 | age: 7"), "12"),
            ("none came", || age("cache-control: max-age=60"), "5"),
        ],
    },
    Row {
        section: "9111 4",
        force: Must,
        says: "send unsafe requests to the origin before they are answered",
        cases: &[
            ("POST", || method("POST"), "200, origin"),
            ("a method of nobody's", || method("BREW"), "200, origin"),
            ("GET", || method("GET"), "200, stored"),
        ],
    },
    Row {
        section: "9111 4",
        force: May,
        says: "answer requests that wait for one response with that response",
        cases: &[
            ("it may be shared", || together("cache-control: max-age=60"), "1 at the origin"),
            ("it may not", || together("cache-control: private"), "2 at the origin"),
        ],
    },
    Row {
        section: "9111 4",
        force: Must,
        says: "take the most recent by Date of the stored responses that match",
        cases: &[
            (
                "the later one came later",
                || of_two("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT"),
                "second",
            ),
            (
                "the later one came earlier",
                || of_two("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
                "first",
            ),
        ],
    },
    Row {
        section: "9111 4.1",
        force: MustNot,
        says: "reuse a response unless all fields that Vary names are as they were",
        cases: &[
            ("the same", || matched("x-a", "x-a: 1", "x-a: 1"), "served"),
            ("another value", || matched("x-a", "x-a: 1", "x-a: 2"), "another variant"),
            ("one of two differs", || matched("x-a, x-b", "x-a: 1 | x-b: 1", "x-a: 1 | x-b: 2"), "another variant"),
            (
                "one of two lines of Vary differs",
                || matched("x-a | vary: x-b", "x-a: 1 | x-b: 1", "x-a: 1 | x-b: 2"),
                "another variant",
            ),
            ("a field that it does not name differs", || matched("x-a", "x-a: 1", "x-a: 1 | x-b: 2"), "served"),
        ],
    },
    Row {
        section: "9111 4.1",
        force: May,
        says: "compare what the fields mean: white space, several lines, and order where it is nothing",
        cases: &[
            ("white space", || matched("x-a", "x-a: 1,2", "x-a: 1 , 2"), "served"),
            ("several lines", || matched("x-a", "x-a: 1, 2", "x-a: 1 | x-a: 2"), "served"),
            (
                "order of encodings",
                || matched("accept-encoding", "accept-encoding: br, gzip", "accept-encoding: gzip, br"),
                "served",
            ),
            ("order where it may mean something", || matched("x-a", "x-a: 1, 2", "x-a: 2, 1"), "another variant"),
            (
                "weights of encodings",
                || matched("accept-encoding", "accept-encoding: br, gzip;q=0.5", "accept-encoding: br, gzip"),
                "another variant",
            ),
        ],
    },
    Row {
        section: "9111 4.1",
        force: Must,
        says: "let an absent field match an absent one alone",
        cases: &[
            ("absent in both", || matched("x-a", "", ""), "served"),
            ("absent at first", || matched("x-a", "", "x-a: 1"), "another variant"),
            ("absent later", || matched("x-a", "x-a: 1", ""), "another variant"),
            ("empty later", || matched("x-a", "", "x-a:"), "another variant"),
        ],
    },
    Row {
        section: "9111 4.1",
        force: Must,
        says: "let a Vary with a star never match",
        cases: &[
            ("alone", || matched("*", "", ""), "not stored: vary-star"),
            ("among names", || matched("x-a, *", "", ""), "not stored: vary-star"),
            ("a name", || matched("x-a", "", ""), "served"),
        ],
    },
    Row {
        section: "9111 4.4",
        force: Must,
        says: "invalidate the target of an unsafe request that did not fail",
        cases: &[
            ("POST, 200", || after("POST", 200), "200 new, origin"),
            ("PUT, 201", || after("PUT", 201), "200 new, origin"),
            ("DELETE, 204", || after("DELETE", 204), "200 new, origin"),
            ("PATCH, 303", || after("PATCH", 303), "200 new, origin"),
            ("a method of nobody's", || after("BREW", 200), "200 new, origin"),
            ("POST, 400", || after("POST", 400), "200 old, stored"),
            ("POST, 500", || after("POST", 500), "200 old, stored"),
            ("OPTIONS, which is safe", || after("OPTIONS", 200), "200 old, stored"),
        ],
    },
    Row {
        section: "9111 4.4",
        force: May,
        says: "invalidate what Location and Content-Location name as well",
        cases: &[
            ("Location", || invalidated(201, "location: /b"), "/dir/a /b"),
            ("Content-Location", || invalidated(200, "content-location: b?x=1"), "/dir/a /dir/b?x=1"),
            ("both", || invalidated(201, "location: /b | content-location: /c"), "/dir/a /b /c"),
            ("with the host", || invalidated(201, "location: http://H.test:8080/b"), "/dir/a /b"),
            ("an error", || invalidated(404, "location: /b"), "nothing"),
        ],
    },
    Row {
        section: "9111 4.4",
        force: MustNot,
        says: "invalidate what belongs to another origin",
        cases: &[
            ("another host", || invalidated(201, "location: http://other.test:8080/b"), "/dir/a"),
            ("another port", || invalidated(201, "location: http://h.test/b"), "/dir/a"),
            ("another scheme", || invalidated(201, "content-location: https://h.test:8080/b"), "/dir/a"),
            ("the same", || invalidated(201, "location: //h.test:8080/b"), "/dir/a /b"),
        ],
    },
];

/// Where the answer to the second target comes from.
fn elsewhere(first: &'static str, second: &'static str) -> String {
    live(async move |rig| {
        for path in ["/a", "/A"] {
            rig.origin.set(path, reply("cache-control: max-age=60", "v"));
        }
        rig.proxy.client().get(first).send().await;
        let hit = rig.proxy.client().get(second).send().await.cache_status().hit;
        if hit { "stored" } else { "origin" }.to_owned()
    })
}

/// Where the answer to this method comes from if a GET has been stored.
fn method(method: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60", "v");
        rig.get("").await;
        let answer = rig.ask(method, "").await;
        format!("{}, {}", answer.status, if answer.cache_status().hit { "stored" } else { "origin" })
    })
}

/// The Age of a hit five seconds later.
fn age(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on(fields, "v");
        rig.get("").await;
        rig.pass(5);
        field(&rig.get("").await, "age")
    })
}

/// How often the origin was asked by two clients at once.
fn together(fields: &'static str) -> String {
    live(async move |rig| {
        rig.on(fields, "v");
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

/// Which of two stored responses that both match is taken: one that varies and one that does not.
fn of_two(first: &'static str, second: &'static str) -> String {
    live(async move |rig| {
        let dated = |date: &str, vary: &str| format!("cache-control: max-age=9000000000 | date: {date}{vary}");
        rig.on(&dated(first, " | vary: x-a"), "first");
        rig.get("x-a: 1").await;
        rig.on(&dated(second, " | vary: x-b"), "second");
        rig.get("x-a: 2").await;
        let answer = rig.get("x-a: 1").await;
        assert!(answer.cache_status().hit);
        answer.text().to_owned()
    })
}

/// Rows for what is not built; see `pending`.
pub(crate) const PENDING_WITHOUT_VARY: Row = Row {
    section: "9111 4.1",
    force: super::row::Force::Should,
    says: "prefer a response that varies and matches to one whose Vary was forgotten",
    cases: &[("a match is stored", || forgotten("x-a: 1"), "varies"), ("none is", || forgotten("x-a: 3"), "forgotten")],
};

fn forgotten(asked: &'static str) -> String {
    live(async move |rig| {
        rig.on("cache-control: max-age=60 | vary: x-a", "varies");
        rig.get("x-a: 1").await;
        rig.on("cache-control: max-age=60", "forgotten");
        rig.get("x-a: 2").await;
        rig.get(asked).await.text().to_owned()
    })
}

pub(crate) const PENDING_RANKING: Row = Row {
    section: "9111 4.1",
    force: May,
    says: "choose among stored responses by the weights in the request",
    cases: &[
        ("the preferred one is stored", || preferred("accept-language: en;q=0.8, de"), "de, stored"),
        ("none that is asked for is", || preferred("accept-language: fr"), "fr, origin"),
    ],
};

/// Responses in two languages are stored; what does a request with this field get?
fn preferred(asked: &'static str) -> String {
    live(async move |rig| {
        for (language, body) in [("de", "de"), ("en", "en")] {
            rig.on("cache-control: max-age=60 | vary: accept-language", body);
            rig.get(&format!("accept-language: {language}")).await;
        }
        rig.on("cache-control: max-age=60 | vary: accept-language", "fr");
        let answer = rig.get(asked).await;
        format!("{}, {}", answer.text(), if answer.cache_status().hit { "stored" } else { "origin" })
    })
}
