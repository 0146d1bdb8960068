//! Who the client is: said by us, and by those we trust, and by nobody else.

use crate::support::origin::{Origin, Received};
use crate::support::proxy::Proxy;

const CLAIMS: [(&str, &str); 5] = [
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example"),
    ("forwarded", "for=203.0.113.7;proto=https"),
    ("host", "api.test"),
];

/// What the origin gets of a fetch and of a passed request with all these claims.
async fn forwarded(listen: &str, claims: &[(&str, &str)]) -> [Received; 2] {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).listen(listen).await;
    origin.on("/a", |r| r.header("cache-control", "max-age=60"));
    for method in ["GET", "POST"] {
        let ask = proxy.client().ask(method, "/a");
        claims.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await;
    }
    let requests = origin.requests();
    [requests[0].clone(), requests[1].clone()]
}

#[tokio::test]
async fn what_a_stranger_says_about_itself_is_replaced() {
    for request in forwarded("", &CLAIMS).await {
        let field = |name| request.header(name).unwrap_or_default();
        assert_eq!(field("x-forwarded-for"), "127.0.0.1");
        assert_eq!(field("x-forwarded-proto"), "http");
        assert_eq!(field("x-forwarded-host"), "api.test");
        assert_eq!(field("forwarded"), "for=127.0.0.1;host=\"api.test\";proto=http");
        assert_eq!(field("host"), "api.test");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    for request in forwarded("trusted_proxies = ['127.0.0.0/8']", &CLAIMS).await {
        let field = |name| request.header(name).unwrap_or_default();
        assert_eq!(field("x-forwarded-for"), "203.0.113.7, 127.0.0.1");
        assert_eq!(field("x-forwarded-proto"), "https");
        assert_eq!(field("x-forwarded-host"), "shop.example");
        let added = "for=127.0.0.1;host=\"api.test\";proto=https";
        assert_eq!(field("forwarded"), format!("for=203.0.113.7;proto=https, {added}"));
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_says_nothing_leaves_the_client_to_us() {
    for request in forwarded("trusted_proxies = ['127.0.0.0/8']", &[("host", "api.test:8080")]).await {
        let field = |name| request.header(name).unwrap_or_default();
        assert_eq!(field("x-forwarded-for"), "127.0.0.1");
        assert_eq!(field("x-forwarded-proto"), "http");
        assert_eq!(field("x-forwarded-host"), "api.test:8080");
        assert_eq!(field("forwarded"), "for=127.0.0.1;host=\"api.test:8080\";proto=http");
    }
}

#[tokio::test]
async fn the_scheme_that_a_trusted_proxy_names_is_part_of_the_key_and_a_strangers_is_not() {
    for (listen, hits) in [("trusted_proxies = ['127.0.0.1']", 2), ("trusted_proxies = ['192.0.2.0/24']", 1)] {
        let origin = Origin::start().await;
        let proxy = Proxy::start(&origin).listen(listen).await;
        origin.on("/a", |r| r.header("cache-control", "max-age=60"));
        for scheme in ["http", "https"] {
            proxy.client().get("/a").header("x-forwarded-proto", scheme).send().await;
        }
        assert_eq!(origin.hits("/a"), hits, "{listen}");
    }
}

#[tokio::test]
async fn the_host_is_the_clients_or_the_configured_one() {
    for (keys, host) in [("", "api.test:8080"), ("host_header = 'inner.test'", "inner.test")] {
        let origin = Origin::start().await;
        let proxy = Proxy::start(&origin).origin(keys).await;
        origin.on("/a", |r| r);
        proxy.client().get("/a").header("host", "api.test:8080").send().await;
        assert_eq!(origin.last("/a").header("host").as_deref(), Some(host));
    }
}

#[tokio::test]
async fn an_absolute_target_reaches_the_origin_in_origin_form_with_its_host() {
    let (origin, proxy) = super::start().await;
    for method in ["GET", "POST"] {
        let ask = format!(
            "{method} http://api.test/a?x=1 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        proxy.client().raw(ask).await;
        let request = origin.last("/a");
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/a?x=1"));
        assert_eq!(request.header("host").as_deref(), Some("api.test"));
    }
}

#[tokio::test]
async fn f22_connect_and_targets_that_no_route_takes_dial_nothing() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).route("host = 'api.test'").await;
    for (line, host, statuses) in [
        ("CONNECT 169.254.169.254:80", "169.254.169.254:80", &[400, 405][..]),
        ("CONNECT api.test:80", "api.test:80", &[400, 405]),
        ("GET http://169.254.169.254/latest/meta-data", "169.254.169.254", &[404]),
        ("GET http://127.0.0.1:1/", "127.0.0.1:1", &[404]),
        ("GET http://[::1]/", "[::1]", &[404]),
        ("GET http://169.254.169.254/", "api.test", &[400]),
        ("GET https://api.test/", "api.test", &[400]),
        ("GET /a", "other.test", &[404]),
        ("POST /a", "api.test.other.test", &[404]),
    ] {
        let ask = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(proxy.client().raw(ask).await).unwrap();
        let status: u16 = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        assert!(statuses.contains(&status), "{line} with Host {host}: {answer}");
    }
    assert_eq!((origin.connections(), origin.requests().len()), (0, 0));
    assert_eq!(proxy.client().get("/a").header("host", "API.test:8080").send().await.status, 404, "by the origin");
    assert_eq!(origin.hits("/a"), 1);
}
