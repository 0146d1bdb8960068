//! The client and its herd.

use http::HeaderMap;

use crate::support::client::{CacheStatus, Client, herd};
use crate::support::config::ConfigText;
use crate::support::open_files;
use crate::support::origin::Origin;

async fn origin() -> (Origin, Client) {
    let origin = Origin::start().await;
    let client = Client::to(origin.addr());
    (origin, client)
}

#[tokio::test]
async fn the_nearest_cache_status_is_read_and_age_with_it() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| {
        r.header("Cache-Status", "far; hit, Millpond; fwd=stale; fwd-status=304; stored; ttl=-3; detail=revalidated")
            .header("Age", "7")
    });
    let answer = client.get("/a").send().await;
    let expected = CacheStatus {
        cache: "Millpond".into(),
        fwd: Some("stale".into()),
        fwd_status: Some(304),
        ttl: Some(-3),
        stored: true,
        detail: Some("revalidated".into()),
        ..CacheStatus::default()
    };
    assert_eq!((answer.cache_status(), answer.age()), (expected, Some(7)));
    origin.on("/a", |r| r.header("Cache-Status", "\"a name\"; hit; collapsed"));
    let status = client.get("/a").send().await.cache_status();
    assert_eq!((status.cache.as_str(), status.hit, status.collapsed, status.stored), ("a name", true, true, false));
}

#[tokio::test]
async fn a_host_of_the_tests_own_replaces_the_address_and_the_answer_has_no_trailers_unless_sent() {
    let (origin, client) = origin().await;
    let answer = client.get("/a").header("host", "api.test").send().await;
    assert_eq!(origin.last("/a").header("host").as_deref(), Some("api.test"));
    assert_eq!(answer.trailers, HeaderMap::new());
}

#[tokio::test]
async fn a_client_that_resets_is_seen_to_have_left() {
    let (origin, client) = origin().await;
    let gate = origin.hold("/a");
    let mut raw = client.connect_raw().await;
    raw.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    gate.arrived(1).await;
    raw.reset();
    gate.deserted(1).await;
    origin.abandoned().await;
}

#[tokio::test]
async fn a_herd_asks_at_once_and_gets_every_answer_with_its_times() {
    const CLIENTS: usize = 2_000;
    assert!(open_files(20_000) > 2 * CLIENTS as u64 + 100, "too few open files are allowed for this test");
    let (origin, client) = origin().await;
    origin.on("/hot", |r| r.body("hot"));
    let gate = origin.hold("/hot");
    let running = tokio::spawn(herd(CLIENTS, move || client.get("/hot")));
    gate.arrived(CLIENTS).await;
    assert_eq!(origin.peak_concurrency(), CLIENTS, "they are all there at once");
    gate.release();
    let herd = running.await.unwrap();
    herd.all_got(200, "hot");
    assert_eq!(herd.answers.len(), CLIENTS);
    assert!(herd.first_byte() <= herd.last_byte());
}

#[tokio::test]
async fn a_herd_that_is_refused_says_so_for_each_client() {
    let (origin, client) = origin().await;
    origin.refuse().await;
    let herd = herd(3, || client.get("/")).await;
    assert_eq!((herd.answers.len(), herd.unanswered.len()), (0, 3));
}

#[tokio::test]
async fn a_configuration_text_holds_what_the_test_put_into_it() {
    let (origin, _) = origin().await;
    let mut config = ConfigText::for_origin(&origin);
    config.cache("ttl = '60s'");
    config.origin("max_connections = 7");
    config.route("name = 'main'");
    config.section("[limits]\nhead_bytes = 4096");
    let any = origin.addr();
    let table: toml::Table = config.text(any, any).parse().unwrap();
    assert_eq!(table["origins"]["scripted"]["url"].as_str(), Some(origin.url().as_str()));
    assert_eq!(table["origins"]["scripted"]["max_connections"].as_integer(), Some(7));
    assert_eq!(table["limits"]["head_bytes"].as_integer(), Some(4096));
    let route = &table["routes"][0];
    assert_eq!((route["name"].as_str(), route["cache"]["ttl"].as_str()), (Some("main"), Some("60s")));
    config.no_cache();
    let table: toml::Table = config.text(any, any).parse().unwrap();
    assert_eq!(table["routes"][0]["cache"].as_bool(), Some(false));
}
