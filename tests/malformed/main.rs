//! Malformed requests over real sockets: each gets its status and a closed connection, and
//! nothing of it reaches the handler. And what else takes real sockets and threads to see.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod lifecycle;
mod server;

use std::io::Write;

use millpond::config::RuntimeModel;

use self::server::{Server, limits, read_all};

/// A head with a valid host and these lines.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

/// A request, and the status and fault that it gets.
type Row = (String, u16, &'static str);

fn malformed_heads() -> Vec<Row> {
    [lines_and_fields(), framing(), hosts_and_targets(), request_lines_and_bounds()].concat()
}

fn lines_and_fields() -> Vec<Row> {
    vec![
        ("GET / HTTP/1.1\nHost: a\n\n".into(), 400, "bare-line-feed"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".into(), 400, "bare-line-feed"),
        (with("X: a\r\n\n"), 400, "bare-line-feed"),
        (with("X: a\rb"), 400, "bare-carriage-return"),
        (with("X: a\r\n folded"), 400, "folded-field"),
        (with("X: a\r\n\tfolded"), 400, "folded-field"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), 400, "folded-field"),
        // Fields.
        (with("X: a\0b"), 400, "control-character"),
        (with("X: a\u{b}b"), 400, "control-character"),
        (with("X: \u{7f}"), 400, "control-character"),
        (with("X : a"), 400, "space-before-colon"),
        (with("Content-Length : 5"), 400, "space-before-colon"),
        (with("X y: a"), 400, "field-name"),
        (with(": a"), 400, "field-name"),
        (with("no colon"), 400, "field-name"),
        (with("X\u{e9}: a"), 400, "field-name"),
    ]
}

fn framing() -> Vec<Row> {
    vec![
        (with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, "framing-conflict"),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400, "framing-conflict"),
        (with("Content-Length: 5\r\nContent-Length: 6"), 400, "content-length-repeated"),
        (with("Content-Length: 5\r\ncontent-length: 5"), 400, "content-length-repeated"),
        (with("Content-Length: 5,5"), 400, "content-length"),
        (with("Content-Length: +5"), 400, "content-length"),
        (with("Content-Length: -5"), 400, "content-length"),
        (with("Content-Length: 0x5"), 400, "content-length"),
        (with("Content-Length: 5 5"), 400, "content-length"),
        (with("Content-Length:"), 400, "content-length"),
        (with("Content-Length: 18446744073709551621"), 400, "content-length"),
        (with("Transfer-Encoding: xchunked"), 400, "transfer-encoding"),
        (with("Transfer-Encoding: chunked, identity"), 400, "transfer-encoding"),
        (with("Transfer-Encoding: gzip, chunked"), 400, "transfer-encoding"),
        (with("Transfer-Encoding: chunked, chunked"), 400, "transfer-encoding"),
        (with("Transfer-Encoding: \u{b}chunked"), 400, "control-character"),
        (with("Transfer-Encoding: chunked;a=b"), 400, "transfer-encoding"),
        (with("Transfer-Encoding:"), 400, "transfer-encoding"),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, "transfer-encoding"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400, "transfer-encoding"),
        (with("Connection: close, Transfer-Encoding"), 400, "connection"),
        (with("Connection: content-length"), 400, "connection"),
        (with("Connection: Host"), 400, "connection"),
        (with("Connection: upgrade\r\nUpgrade: a b"), 400, "upgrade"),
        (with("Connection: upgrade\r\nUpgrade:"), 400, "upgrade"),
    ]
}

fn hosts_and_targets() -> Vec<Row> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let host = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    vec![
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, "host-missing"),
        ("GET http://a/ HTTP/1.1\r\n\r\n".into(), 400, "host-missing"),
        (with("Host: a"), 400, "host-repeated"),
        (with("host: b"), 400, "host-repeated"),
        (host(""), 400, "host-invalid"),
        (host("user@a"), 400, "host-invalid"),
        (host("a b"), 400, "host-invalid"),
        (host("a/b@c"), 400, "host-invalid"),
        (host("a, b"), 400, "host-invalid"),
        (host("a:"), 400, "host-invalid"),
        (host("a:x"), 400, "host-invalid"),
        (host("a:99999"), 400, "host-invalid"),
        (host("[::1"), 400, "host-invalid"),
        (get("http://b/"), 400, "host-mismatch"),
        (get("http://a:81/"), 400, "host-mismatch"),
        // Targets.
        (get("http://u@a/"), 400, "host-invalid"),
        (get("http:///"), 400, "host-invalid"),
        (get("https://a/"), 400, "target"),
        (get("ftp://a/"), 400, "target"),
        (get("foo"), 400, "target"),
        (get("a:80"), 400, "target"),
        (get("*"), 400, "target"),
        (get("/a#b"), 400, "target"),
        (get("#"), 400, "target"),
        (get("/\u{e9}"), 400, "target"),
        (get("/\0"), 400, "target"),
        (get("/a\tb"), 400, "target"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "request-line"),
        (get("/a b"), 400, "request-line"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), 400, "connect"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".into(), 400, "connect"),
    ]
}

fn request_lines_and_bounds() -> Vec<Row> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let version = |version: &str| format!("GET / {version}\r\nHost: a\r\n\r\n");
    vec![
        ("GET /\r\n\r\n".into(), 400, "request-line"),
        ("GET\r\n\r\n".into(), 400, "request-line"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "request-line"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "method"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "method"),
        // The beginning of a TLS handshake is refused before any line ends.
        ("\u{16}\u{3}\u{1}\u{2}".into(), 400, "method"),
        (version("http/1.1"), 400, "request-line"),
        (version("HTTP/1.1 "), 400, "request-line"),
        (version("HTTP/11"), 400, "request-line"),
        (version("HTTP/0.9"), 505, "version"),
        (version("HTTP/1.2"), 505, "version"),
        (version("HTTP/2.0"), 505, "version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505, "version"),
        // Bounds.
        (get(&format!("/{}", "a".repeat(1000))), 414, "target-too-long"),
        (format!("GET /{}", "a".repeat(1000)), 414, "target-too-long"),
        (with(&format!("X: {}", "a".repeat(2048))), 431, "head-too-large"),
        (format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(2048)), 431, "head-too-large"),
        (with(&["X: a"; 20].join("\r\n")), 431, "too-many-fields"),
        (with("Content-Length: 1001"), 413, "body-too-large"),
        (with("Content-Length: 1001\r\nExpect: 100-continue"), 413, "body-too-large"),
    ]
}

#[test]
fn f1_f4_f22_malformed_heads_get_their_status_and_nothing_reaches_the_handler() {
    let server = Server::start(RuntimeModel::PerCore, limits());
    for (request, status, fault) in malformed_heads() {
        let answer = server.answer(request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{request:?}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{fault}")), "{request:?}: {answer}");
        assert_eq!(server.seen(), [""; 0], "{request:?}");
    }
}

#[test]
fn f1_pipelined_requests_before_a_malformed_one_are_answered_and_none_after_it() {
    let server = Server::start(RuntimeModel::WorkStealing, limits());
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    for (request, status, fault) in malformed_heads() {
        let answer = server.answer(format!("{good}{good}{request}{good}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{request:?}: {answer}");
        assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.ends_with(fault), "{request:?}: {answer}");
        assert_eq!(server.seen(), ["GET /good", "GET /good"], "{request:?}");
    }
}

#[test]
fn f1_malformed_chunks_end_the_request_and_the_connection() {
    let server = Server::start(RuntimeModel::PerCore, limits());
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let megabyte = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 16));
    for (body, status, fault) in [
        ("x\r\n", 400, "chunk-size"),
        ("\r\n", 400, "chunk-size"),
        ("5 \r\nhello\r\n0\r\n\r\n", 400, "chunk-size"),
        ("0x5\r\nhello\r\n0\r\n\r\n", 400, "chunk-size"),
        ("-1\r\n", 400, "chunk-size"),
        ("ffffffffffffffff1\r\n", 400, "chunk-size"),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "chunk-size"),
        ("5\nhello\r\n0\r\n\r\n", 400, "bare-line-feed"),
        ("5;a\nhello\r\n0\r\n\r\n", 400, "bare-line-feed"),
        ("5;\ra\r\nhello\r\n0\r\n\r\n", 400, "chunk-extension"),
        (&megabyte, 400, "chunk-extension"),
        ("5\r\nhello!\r\n0\r\n\r\n", 400, "chunk-end"),
        ("5\r\nhello\n0\r\n\r\n", 400, "chunk-end"),
        ("0\r\nX : 1\r\n\r\n", 400, "space-before-colon"),
        ("0\r\nX: 1\n\r\n", 400, "bare-line-feed"),
        ("0\r\nContent-Length: 5\r\n\r\n", 400, "trailer"),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "trailer"),
        ("3e8\r\n", 200, "1000 bytes"),
        ("3e9\r\n", 413, "body-too-large"),
    ] {
        let mut request = format!("POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        if status == 200 {
            request += &"x".repeat(1000);
            request += "\r\n0\r\n\r\n\n";
        }
        let answer = server.answer((request + smuggled).as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body:?}: {answer}");
        assert!(answer.contains(&format!("\r\n\r\n{fault}")), "{body:?}: {answer}");
        assert_eq!(server.seen(), ["POST /u"], "{body:?}");
    }
}

#[test]
fn valid_oddities_are_served() {
    let server = Server::start(RuntimeModel::WorkStealing, limits());
    for (request, seen) in [
        (with("Connection: close"), "GET /"),
        (format!("\r\n{}", with("Connection: close")), "GET /"),
        ("GET / HTTP/1.0\r\n\r\n".into(), "GET /"),
        ("REFUSED / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), "REFUSED /"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), "OPTIONS *"),
        ("GET http://A:80/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(), "GET http://A:80/x"),
        (with("Connection: close\r\nContent-Length: 3") + "fat", "GET /"),
    ] {
        let answer = server.answer(request.as_bytes());
        assert!(answer.contains(" 200 OK\r\n"), "{request:?}: {answer}");
        assert_eq!(server.seen(), [seen], "{request:?}");
    }
}

#[test]
fn a_request_in_single_bytes_is_served_and_so_is_the_one_pipelined_behind_it() {
    let server = Server::start(RuntimeModel::PerCore, limits());
    let mut client = server.connect();
    let chunked = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let stream = format!("{chunked}{}", with("Connection: close"));
    for byte in stream.as_bytes() {
        client.write_all(&[*byte]).unwrap();
    }
    let answers = read_all(&mut client);
    assert!(answers.contains("3 bytes"), "{answers}");
    assert!(answers.ends_with("ok"), "{answers}");
    assert_eq!(server.seen(), ["POST /c", "GET /"]);
}
