//! Who may use the listener.

use crate::support::{Admin, TOKEN};

const EVERYTHING: &[&str] =
    &["GET /metrics", "GET /readyz", "GET /config", "PUT /log-level", "POST /purge", "GET /nowhere", "DELETE /config"];

#[tokio::test]
async fn f14_without_the_token_nothing_but_liveness_is_answered() {
    let admin = Admin::guarded().await;
    for line in EVERYTHING {
        let reply = admin.request(line, "", r#"{"all":true}"#).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "this listener needs a token"), "{line}");
        assert!(reply.head.contains("www-authenticate: bearer realm=\"millpond admin\""), "{}", reply.head);
    }
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(admin.control.orders(), []);
    assert!(admin.control.levels.lock().unwrap().is_empty());
}

#[tokio::test]
async fn f14_a_wrong_token_is_refused_whatever_its_length() {
    let admin = Admin::guarded().await;
    let wrong = "the token is wrong";
    let form = "the Authorization field is not of the form Bearer TOKEN";
    let (shorter, longer) = (&TOKEN[..TOKEN.len() - 1], format!("{TOKEN}x"));
    for (value, error) in [
        ("Bearer x".to_owned(), wrong),
        (format!("Bearer {shorter}"), wrong),
        (format!("Bearer {longer}"), wrong),
        (format!("Bearer {TOKEN}{TOKEN}"), wrong),
        (format!("Bearer {}", TOKEN.to_uppercase()), wrong),
        (format!("Bearer {}", "x".repeat(8000)), wrong),
        (format!("Basic {TOKEN}"), form),
        (TOKEN.to_owned(), form),
        ("Bearer".to_owned(), form),
        (String::new(), form),
        (format!("Bearer x\r\nAuthorization: Bearer {TOKEN}"), "several Authorization fields"),
    ] {
        let reply = admin.request("POST /purge", &format!("Authorization: {value}\r\n"), r#"{"all":true}"#).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, error), "{value:.60}");
        assert!(!reply.body.contains(TOKEN), "an answer never tells the token");
    }
    assert_eq!(admin.control.orders(), []);
}

#[tokio::test]
async fn the_right_token_opens_the_listener_for_any_host() {
    let admin = Admin::guarded().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let raw = format!("GET /config HTTP/1.1\r\nHost: edge-7.test\r\nAuthorization: {scheme} {TOKEN}\r\n\r\n");
        assert_eq!(admin.raw(raw).await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn f14_without_a_token_a_foreign_host_name_is_refused_as_in_dns_rebinding() {
    let admin = Admin::open().await;
    let post = |target: &str, host: &str| {
        let body = r#"{"all":true}"#;
        format!("POST {target} HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    for host in ["evil.test", "localhost.evil.test", "10.0.0.1:9090", "evil@localhost", ""] {
        let reply = admin.raw(post("/purge", &format!("Host: {host}\r\n"))).await;
        assert_eq!(reply.status, 403, "{host}");
        assert!(reply.fix().contains("set a token"), "{}", reply.fix());
    }
    assert_eq!(admin.raw(post("http://evil.test/purge", "Host: localhost\r\n")).await.status, 403);
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        let reply = admin.raw(post("/purge", hosts)).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "not exactly one Host field"));
    }
    assert_eq!(admin.control.orders(), []);
    for host in ["localhost", "LocalHost:9090", "127.0.0.1:9090", "[::1]:9090"] {
        assert_eq!(admin.raw(post("/purge", &format!("Host: {host}\r\n"))).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn f14_without_a_token_a_page_of_another_site_cannot_purge_through_a_browser() {
    let admin = Admin::open().await;
    for origin in ["http://evil.test", "null", "https://localhost", "http://localhost:3000"] {
        let reply = admin.request("POST /purge", &format!("Origin: {origin}\r\n"), r#"{"all":true}"#).await;
        assert_eq!(reply.status, 403, "{origin}");
    }
    assert_eq!(admin.control.orders(), []);
    assert_eq!(admin.request("POST /purge", "Origin: http://localhost\r\n", r#"{"all":true}"#).await.status, 200);
}
