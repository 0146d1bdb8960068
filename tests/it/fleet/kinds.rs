//! Every kind of Redis: a cluster, sentinels, TLS, a socket, a password, an access list.

use std::fs;
use std::time::Duration;

use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinels};
use crate::support::scrape::Scrape;
use crate::support::soon;

use super::{body, instance_at, instance_with, lasting, section, stored};

/// The least that the user of Millpond needs; README.md has the same line.
const ACL: &str = "~millpond:* &millpond:* -@all +evalsha +script|load +subscribe +ping +auth +hello +xrange +hset \
                   +hgetall +get +set +del +unlink +getrange +exists +pttl +pexpire +sadd +smembers +publish +hget \
                   +hsetnx +hincrby +hdel +xadd +time +zadd +zrem +zrangebyscore +zrevrange +hexists +info +client|id";

/// Two instances share a response, and a purge on one is confirmed by both.
async fn two_instances_are_one_cache(origin: &Origin, one: &Proxy, two: &Proxy) {
    origin.set("/a", lasting("v1"));
    one.purge(r#"{"all": true, "wait": "5s"}"#).await;
    let asked = origin.hits("/a");
    let before = one.metric("l2_fills_total{result=\"stored\"}").await;
    assert_eq!(body(one).await, "v1");
    stored(one, before + 1).await;
    assert_eq!((body(two).await, origin.hits("/a")), ("v1".into(), asked + 1));
    origin.set("/a", lasting("v2"));
    let report = one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!((body(two).await, body(one).await), ("v2".into(), "v2".into()));
}

/// Waits until look-ups on all nodes succeed: connections to one that was gone are made again in
/// their own time, and the breaker closes with the requests that find it so.
async fn reaches_all_of(proxy: &Proxy) {
    const ENOUGH_FOR_ALL: u64 = 30;
    let misses = "l2_lookups_total{result=\"miss\"}";
    let reached = async {
        let (mut in_a_row, mut key) = (0, 0);
        while in_a_row < ENOUGH_FOR_ALL {
            if proxy.metric("l2_up").await == 0 {
                // The breaker's pause between probes is over.
                proxy.pass(Duration::from_millis(500));
            }
            let before = proxy.metric(misses).await;
            let answer = proxy.client().get(&format!("/?{proxy:p}-{key}")).send().await;
            assert_eq!(answer.status, 200);
            key += 1;
            in_a_row = if proxy.metric(misses).await > before { in_a_row + 1 } else { 0 };
        }
    };
    soon("look-ups on all nodes", reached).await;
}

#[tokio::test]
async fn a_cluster_of_three_nodes_serves_on_while_one_of_them_is_killed_and_comes_back_empty() {
    let (origin, mut cluster) = (Origin::start().await, Cluster::start().await);
    let (one, two) = (instance_at(&origin, &cluster.url()).await, instance_at(&origin, &cluster.url()).await);
    two_instances_are_one_cache(&origin, &one, &two).await;
    let log = cluster.node_of("{log}").await;
    for node in [(log + 1) % 3, log] {
        cluster.nodes[node].kill();
        origin.on_request("/", |_| lasting("v"));
        for number in 0..10 {
            let answer = one.client().get(&format!("/?{node}-{number}")).send().await;
            assert_eq!((answer.status, answer.text()), (200, "v"));
        }
        cluster.restart(node).await;
        one.is_synced(true).await;
        two.is_synced(true).await;
        reaches_all_of(&one).await;
        reaches_all_of(&two).await;
        two_instances_are_one_cache(&origin, &one, &two).await;
    }
}

#[tokio::test]
async fn in_a_cluster_too_what_is_no_value_is_a_miss_and_makes_way() {
    let (origin, cluster) = (Origin::start().await, Cluster::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance_at(&origin, &cluster.url()).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    let mut place = None;
    for node in &cluster.nodes {
        place = node.keys("*:v:-").await.pop().map(|key| (node, key)).or(place);
    }
    let (node, key) = place.expect("one of them has it");
    for (foreign, kind) in [("LPUSH K a", "foreign"), ("SETRANGE K 20000000 x", "too-large")] {
        node.ask(&format!("DEL {key}")).await;
        node.ask(&foreign.replace('K', &key)).await;
        let fresh = instance_at(&origin, &cluster.url()).await;
        let before = origin.hits("/a");
        assert_eq!((body(&fresh).await, origin.hits("/a")), ("v1".into(), before + 1), "{kind}");
        assert_eq!(fresh.metric(&format!("l2_damaged_total{{kind=\"{kind}\"}}")).await, 1);
        stored(&fresh, 1).await;
        let next = instance_at(&origin, &cluster.url()).await;
        assert_eq!((body(&next).await, origin.hits("/a")), ("v1".into(), before + 1), "{kind}");
    }
}

#[tokio::test]
async fn sentinels_fail_over_to_a_replica_and_the_fleet_follows() {
    let (origin, mut sentinels) = (Origin::start().await, Sentinels::start().await);
    let (one, two) = (instance_at(&origin, &sentinels.url()).await, instance_at(&origin, &sentinels.url()).await);
    two_instances_are_one_cache(&origin, &one, &two).await;
    sentinels.fail_over().await;
    one.is_synced(true).await;
    two.is_synced(true).await;
    two_instances_are_one_cache(&origin, &one, &two).await;
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let socket = socket.to_str().expect("a plain path");
    let origin = Origin::start().await;
    let _redis = Redis::start_with(&["--unixsocket", socket]).await;
    let url = format!("redis+unix://{socket}");
    let (one, two) = (instance_at(&origin, &url).await, instance_at(&origin, &url).await);
    two_instances_are_one_cache(&origin, &one, &two).await;
}

#[tokio::test]
async fn f26_the_documented_access_list_is_enough_and_less_is_a_redis_that_is_down() {
    let readme = fs::read_to_string("README.md").unwrap();
    let words: Vec<&str> = ACL.split_whitespace().collect();
    assert!(readme.split_whitespace().collect::<Vec<_>>().windows(words.len()).any(|window| window == words));
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    assert_eq!(redis.ask(&format!("ACL SETUSER millpond on >secret {ACL}")).await.trim(), "+OK");
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    let keys = format!("username = 'millpond'\npassword_file = '{}'\n[invalidation]", password.display());
    let text = section(&redis.url()).replace("[invalidation]", &keys);
    let (one, two) = (Proxy::start(&origin).section(&text).await, Proxy::start(&origin).section(&text).await);
    one.is_synced(true).await;
    two.is_synced(true).await;
    two_instances_are_one_cache(&origin, &one, &two).await;
    assert_eq!(redis.ask("ACL LOG").await.trim(), "*0", "nothing was refused");
    // NOPERM for everything: the instances serve by themselves, and recover by themselves.
    redis.ask("ACL SETUSER millpond -@all +ping").await;
    one.is_synced(false).await;
    origin.set("/b", lasting("b"));
    assert_eq!(one.client().get("/b").send().await.text(), "b");
    redis.ask(&format!("ACL SETUSER millpond {ACL}")).await;
    one.is_synced(true).await;
    two.is_synced(true).await;
    two_instances_are_one_cache(&origin, &one, &two).await;
}

#[tokio::test]
async fn f26_a_cluster_takes_two_commands_more() {
    let (origin, cluster) = (Origin::start().await, Cluster::start().await);
    for node in &cluster.nodes {
        node.ask(&format!("ACL SETUSER millpond on >secret {ACL} +cluster|slots +cluster|info")).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "secret").unwrap();
    let keys = format!("username = 'millpond'\npassword_file = '{}'\n[invalidation]", password.display());
    let text = section(&cluster.url()).replace("[invalidation]", &keys);
    let (one, two) = (instance_with(&origin, &text).await, instance_with(&origin, &text).await);
    two_instances_are_one_cache(&origin, &one, &two).await;
    for node in &cluster.nodes {
        assert_eq!(node.ask("ACL LOG").await.trim(), "*0", "nothing was refused");
    }
}

#[tokio::test]
async fn g1_a_redis_that_refuses_the_password_is_a_redis_that_is_down_until_it_takes_it() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    redis.ask("ACL SETUSER default resetpass >other").await;
    origin.set("/a", lasting("v1"));
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "secret").unwrap();
    let keys = format!("password_file = '{}'\n[invalidation]", password.display());
    let text = section(&redis.url()).replace("[invalidation]", &keys);
    let one = Proxy::start(&origin).section(&text).await;
    assert_eq!((body(&one).await, body(&one).await, origin.hits("/a")), ("v1".into(), "v1".into(), 1));
    redis.session(&["AUTH other", "ACL SETUSER default resetpass >secret"]).await;
    one.is_synced(true).await;
}

#[tokio::test]
async fn tls_is_spoken_and_a_stranger_s_certificate_is_not_trusted() {
    let origin = Origin::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().expect("a plain path").to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = crate::support::binary::free_address().port();
    let (cert, key, tls_port) = (path("cert.pem"), path("key.pem"), port.to_string());
    let _redis = Redis::start_with(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let mut config = ConfigText::for_origin(&origin);
    config.section(&section(&format!("rediss://localhost:{port}")));
    let trusting = Millpond::run_with(&config, &[("SSL_CERT_FILE", &cert)]).await;
    Scrape::until(trusting.admin_client(), "invalidation_beats_total", 1).await;
    let wary = Millpond::run(&config).await;
    Scrape::until(wary.admin_client(), "invalidation_missed_beats_total", 2).await;
    assert_eq!(Scrape::of(wary.admin_client()).await.value("invalidation_beats_total"), 0);
}
