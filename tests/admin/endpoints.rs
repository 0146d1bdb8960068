//! Paths, methods and answers other than purges.

use crate::support::Admin;

#[tokio::test]
async fn a_method_that_does_not_fit_is_405_with_those_that_do() {
    let admin = Admin::open().await;
    for (line, allowed) in [
        ("POST /metrics", "get, head"),
        ("DELETE /healthz", "get, head"),
        ("PUT /readyz", "get, head"),
        ("PATCH /config", "get, head"),
        ("GET /log-level", "put"),
        ("POST /log-level", "put"),
        ("GET /purge", "post"),
        ("HEAD /purge", "post"),
        ("PURGE /purge", "post"),
        ("OPTIONS /purge", "post"),
        ("post /purge", "post"),
    ] {
        let reply = admin.request(line, "", "").await;
        assert_eq!(reply.status, 405, "{line}");
        assert!(reply.head.contains(&format!("allow: {allowed}\r\n")), "{line}: {}", reply.head);
    }
    assert_eq!(admin.control.orders(), []);
}

#[tokio::test]
async fn an_unknown_path_is_404_with_all_paths() {
    let admin = Admin::open().await;
    for path in ["/", "/purge/", "/Metrics", "//metrics", "/metrics/x", "/%6detrics"] {
        let reply = admin.get(path).await;
        assert_eq!((reply.status, reply.error()), (404, format!("there is no {path} here")));
        assert_eq!(reply.fix(), "the paths are: /metrics, /healthz, /readyz, /config, /fleet, /log-level, /purge");
    }
}

#[tokio::test]
async fn readiness_is_200_or_503_with_the_checks() {
    let admin = Admin::open().await;
    let reply = admin.get("/readyz").await;
    assert_eq!((reply.status, reply.json()["ready"].as_bool()), (200, Some(true)));
    *admin.control.ready.lock().unwrap() = false;
    let reply = admin.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        reply.json(),
        serde_json::json!({"ready": false, "checks": [{"name": "listener", "ok": false, "detail": "draining"}]})
    );
    assert_eq!(admin.get("/healthz").await.status, 200, "alive while it drains");
}

#[tokio::test]
async fn metrics_come_in_the_text_format_that_prometheus_reads() {
    let admin = Admin::open().await;
    let reply = admin.get("/metrics?x=1").await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    for line in [
        "# TYPE millpond_requests_total counter",
        "millpond_requests_total{outcome=\"hit\",route=\"api\"} 0",
        "# TYPE millpond_request_duration_seconds histogram",
        "millpond_access_log_lines_lost_total 0",
        "millpond_diagnostic_lines_lost_total 0",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(reply.body.lines().any(|given| given == line), "{line}");
    }
}

#[tokio::test]
async fn answers_are_not_stored_and_head_has_no_body() {
    let admin = Admin::open().await;
    let reply = admin.request("HEAD /config", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let reply = admin.get("/config").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "[admin]\ntoken = \"(hidden)\"\n"));
    assert!(reply.head.contains("cache-control: no-store") && reply.head.contains("x-content-type-options: nosniff"));
}

#[tokio::test]
async fn the_log_level_is_plain_text_and_a_wrong_one_changes_nothing() {
    let admin = Admin::open().await;
    let put = async |body: &[u8]| admin.request("PUT /log-level", "", body).await;
    for (body, error) in [
        (&b""[..], "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{\"level\":\"debug\"}", "the level is plain text here, not JSON"),
        (b"\"debug\"", "the level is plain text here, not JSON"),
        (b"\xff", "the level is not text"),
        (
            b"debgu",
            "\"debgu\" is not a log level, did you mean \"debug\"?: use one of off, error, warn, info, debug, trace, \
             or module=level pairs such as millpond=debug",
        ),
    ] {
        let reply = put(body).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, error));
        assert!(reply.fix().contains("debug or warn,millpond=debug"));
    }
    assert!(admin.control.levels.lock().unwrap().is_empty());
    let reply = put(b" warn,millpond=debug\n").await;
    assert_eq!((reply.status, reply.json()), (200, serde_json::json!({"level": "warn,millpond=debug"})));
    assert_eq!(*admin.control.levels.lock().unwrap(), ["warn,millpond=debug"]);
}
