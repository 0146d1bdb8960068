//! Origins that break the rules of HTTP/1.1: their clients get an error or a body that is visibly cut, nothing is
//! stored, and the next client is unharmed.

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

use super::{for_a_minute, start};

const FOR_A_MINUTE: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";

#[tokio::test]
async fn f2_a_response_with_ambiguous_framing_is_a_502_and_not_stored() {
    let (origin, proxy) = start("").await;
    for fields in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "Content-Length: 2\r\nX: a\r\n b\r\n\r\nok",
        "Content-Length: 2\r\nX: a\rb\r\n\r\nok",
        "Content-Length : 2\r\n\r\nok",
        "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        origin.raw("/a", |s| s.send(format!("{FOR_A_MINUTE}{fields}")));
        assert_eq!(proxy.client().get("/a").send().await.status, 502, "{fields:?}");
        origin.on("/a", |r| r.header("cache-control", "no-store").body("sound"));
        assert_eq!(proxy.client().get("/a").send().await.text(), "sound", "{fields:?}");
    }
}

#[tokio::test]
async fn f3_bytes_behind_a_response_reach_no_other_client() {
    let (origin, proxy) = start("").await;
    let poison = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\npoison";
    origin.raw("/a", |s| s.send(format!("{FOR_A_MINUTE}Content-Length: 5\r\n\r\nhello{poison}")));
    origin.on("/b", |r| for_a_minute(r).body("sound"));
    assert_eq!(proxy.client().get("/a").send().await.text(), "hello");
    assert_eq!(proxy.client().get("/b").send().await.text(), "sound");
    assert_eq!(origin.malformed(), 0);
}

#[tokio::test]
async fn g2_a_body_that_ends_too_early_is_cut_for_its_client_and_not_stored() {
    let (origin, proxy) = start("").await;
    for cut in [
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        origin.raw("/a", |s| s.send(format!("{FOR_A_MINUTE}{cut}")).close());
        let answer = proxy.client().get("/a").try_send().await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.body.is_err()), "{cut:?}");
        origin.on("/a", |r| r.header("cache-control", "no-store").body("whole"));
        assert_eq!(proxy.client().get("/a").send().await.text(), "whole", "{cut:?}");
    }
}

#[tokio::test]
async fn an_origin_that_closes_as_the_next_request_arrives_is_asked_again() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).no_cache().await;
    origin.on("/a", |r| r.body("first"));
    assert_eq!(proxy.client().get("/a").send().await.text(), "first");
    // The connection is used again, and closed without an answer.
    origin.raw("/a", |s| s.send("").close());
    assert_eq!(proxy.client().get("/a").send().await.status, 502, "a fresh connection is closed as well");
    assert_eq!(origin.hits("/a"), 3);
    // F23: what is not idempotent is not sent twice.
    origin.on("/b", |r| r.body("kept"));
    assert_eq!(proxy.client().get("/b").send().await.text(), "kept");
    let before = origin.hits("/a");
    assert_eq!(proxy.client().ask("POST", "/a").body("x").send().await.status, 502);
    assert_eq!(origin.hits("/a"), before + 1);
}
