//! Origins that negotiate by themselves behind a route that codes.

use std::time::Duration;

use super::{ALL, coding, decoded, get, start, text};
use crate::support::origin::{Received, Reply};

/// Codes for those who take gzip, under one weak tag for every form.
fn negotiated(request: &Received) -> Reply {
    let reply = Reply::ok().header("cache-control", "max-age=60").header("vary", "Accept-Encoding");
    let reply = reply.header("content-type", "text/plain").header("etag", "W/\"1\"").validates();
    if request.header("accept-encoding").is_some_and(|codings| codings.contains("gzip")) {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut writer, text().as_bytes()).unwrap();
        return reply.header("content-encoding", "gzip").body(writer.finish().unwrap());
    }
    reply.body(text())
}

#[tokio::test]
async fn what_came_coded_is_never_shown_to_those_who_take_no_coding() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", |r| r.header("cache-control", "private"));
    proxy.client().get("/a").send().await;
    origin.on_request("/a", negotiated);
    // The URL was uncacheable a moment ago, so this is asked for one client, in its own coding, and stored.
    let alone = get(&proxy, "gzip").send().await;
    assert_eq!((coding(&alone).as_deref(), decoded(&alone)), (Some("gzip"), text()));
    assert!(get(&proxy, "gzip").send().await.cache_status().hit);
    for _ in 0..2 {
        let plain = proxy.client().get("/a").send().await;
        assert_eq!((coding(&plain), plain.text()), (None, text().as_str()));
        proxy.pass(Duration::from_secs(61));
        // Confirmed by a 304 to a request that asks for no coding.
        let confirmed = get(&proxy, "gzip").send().await;
        assert_eq!(decoded(&confirmed), text());
    }
    assert_eq!(proxy.client().get("/a").send().await.text(), text());
}

#[tokio::test]
async fn a_head_in_another_coding_says_nothing_of_what_is_stored() {
    let (origin, proxy) = start(&format!("{ALL}, respect_client_cache_control = true")).await;
    origin.on_request("/a", negotiated);
    get(&proxy, "gzip").send().await;
    let head = proxy.client().ask("HEAD", "/a").header("accept-encoding", "gzip").header("cache-control", "no-store");
    let head = head.send().await;
    assert_eq!((head.status, coding(&head).as_deref()), (200, Some("gzip")), "the origin's own");
    let hit = get(&proxy, "deflate").send().await;
    assert!(hit.cache_status().hit, "{:?}", hit.cache_status());
    assert_eq!((hit.text(), origin.hits("/a")), (text().as_str(), 2));
}
