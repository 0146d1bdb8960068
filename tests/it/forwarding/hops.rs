//! Fields of one connection stay on it, and the path of a message is written down.

use super::{for_a_minute, start};
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

#[tokio::test]
async fn fields_of_the_clients_connection_do_not_reach_the_origin() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| r.body("ok"));
    for method in ["GET", "POST"] {
        let ask = format!(
            "{method} /a HTTP/1.1\r\nHost: api.test\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: close\r\nTE: trailers\r\nX-Public: 2\r\nContent-Length: 0\r\n\r\n"
        );
        proxy.client().raw(ask).await;
        let request = origin.last("/a");
        assert_eq!(request.method, method);
        for name in ["x-private", "keep-alive", "proxy-connection", "te", "connection", "transfer-encoding"] {
            assert_eq!(request.header(name), None, "{method} {name}");
        }
        assert_eq!(request.header("x-public").as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn f18_a_client_can_not_have_fields_removed_that_others_rely_on() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| r);
    for method in ["GET", "POST"] {
        let ask = proxy.client().ask(method, "/a").header("authorization", "Bearer x").header("cookie", "a=b");
        let ask = ask.header("connection", "authorization, x-forwarded-for, cookie, forwarded, via, x-request-id");
        ask.send().await;
        let request = origin.last("/a");
        for name in ["authorization", "cookie", "x-forwarded-for", "forwarded", "host", "via", "x-request-id"] {
            assert!(request.header(name).is_some(), "{method} {name}");
        }
        // Two parsers would disagree about what these requests are.
        for framing in ["host", "content-length", "transfer-encoding"] {
            let ask = proxy.client().ask(method, "/a").header("connection", framing);
            assert_eq!(ask.send().await.status, 400, "{method} {framing}");
        }
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn fields_of_the_origins_connection_reach_neither_the_client_nor_the_cache() {
    for cache in [true, false] {
        let origin = Origin::start().await;
        let starting = Proxy::start(&origin);
        let proxy = if cache { starting.await } else { starting.no_cache().await };
        origin.on("/a", |r| {
            let r = for_a_minute(r).header("connection", "X-Private").header("x-private", "1").header("x-public", "2");
            r.header("keep-alive", "timeout=5")
                .header("proxy-connection", "keep-alive")
                .header("upgrade", "h2c")
                .body("ok")
        });
        for _ in 0..2 {
            let answer = proxy.client().get("/a").send().await;
            for name in ["x-private", "keep-alive", "proxy-connection", "connection", "upgrade"] {
                assert_eq!(answer.header(name), None, "{name}, cached: {cache}");
            }
            assert_eq!((answer.header("x-public").as_deref(), answer.text()), (Some("2"), "ok"));
        }
        assert_eq!(origin.hits("/a"), if cache { 1 } else { 2 });
    }
}

#[tokio::test]
async fn via_is_appended_on_both_ways_and_once() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| for_a_minute(r).header("via", "1.0 inner"));
    origin.on("/b", |r| r.header("via", "1.0 inner"));
    for (path, rounds) in [("/a", 2), ("/b", 2)] {
        for _ in 0..rounds {
            let answer = proxy.client().get(path).header("via", "1.1 edge").send().await;
            assert_eq!(answer.header("via").as_deref(), Some("1.0 inner, 1.1 millpond"), "{path}");
        }
        assert_eq!(origin.last(path).header("via").as_deref(), Some("1.1 edge, 1.1 millpond"));
    }
}

#[tokio::test]
async fn an_answer_to_the_clients_own_conditions_is_passed_as_the_origin_gave_it() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).no_cache().await;
    // Undated, and without anything that the condition could be compared with.
    origin.raw("/a", |s| s.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    origin.on("/tagged", |r| r.header("etag", "\"1\"").body("hello"));
    for (path, name, value) in
        [("/a", "if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT"), ("/tagged", "if-none-match", "\"1\"")]
    {
        let answer = proxy.client().get(path).header(name, value).send().await;
        assert_eq!((answer.status, answer.text()), (200, "hello"), "{path}");
        assert!(answer.header("date").is_some(), "{path}");
    }
}
