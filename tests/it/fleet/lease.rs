//! One fetch for a whole fleet.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::soon;
use crate::support::wire::Wire;

use super::{ask_all, body, instance, instance_with, instances, lasting, section, stored};

#[tokio::test]
async fn d11_a_herd_over_eight_instances_costs_one_origin_request() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let fleet = instances(8, &origin, &redis, "").await;
    let gate = origin.hold("/a");
    let clients = ask_all(&fleet, 20).await;
    gate.arrived(1).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn d2_an_uncacheable_response_frees_the_lease_at_once_and_nobody_queues() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on("/a", |r| r.header("cache-control", "no-store").body("mine"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let gate = origin.hold("/a");
    let first = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    let second = two.client().get("/a").header("host", "h").start().await;
    two.answering(1).await;
    gate.release_one();
    assert_eq!(first.rest().await.unwrap(), "mine");
    // The lease would last for ten seconds more.
    gate.arrived(2).await;
    gate.release();
    assert_eq!(second.rest().await.unwrap(), "mine");
}

#[tokio::test]
async fn c1_what_redis_keeps_for_200_ms_more_is_fresh_here_for_200_ms_more() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    let key = redis.ask("KEYS *:v:-").await.lines().last().unwrap().to_owned();
    // After its ten minutes it is kept for an hour, to be validated. What runs out here is the clock
    // of Redis; those of the instances stand still.
    redis.ask(&format!("PEXPIRE {key} 3600400")).await;
    let answer = two.client().get("/a").header("host", "h").send().await;
    assert_eq!((answer.text(), answer.cache_status().ttl), ("v1", Some(0)));
    assert_eq!(origin.hits("/a"), 1);
    two.pass(Duration::from_millis(400));
    redis.ask(&format!("PEXPIRE {key} 3600000")).await;
    assert!(!two.client().get("/a").header("host", "h").send().await.cache_status().hit);
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn d1_a_fetch_that_outlives_its_lease_neither_frees_nor_overwrites_what_came_after() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let section = |url: &str| {
        format!("[redis]\nurl = '{url}'\ntimeout = '1s'\nlease = '300ms'\n[invalidation]\nheartbeat = '100ms'\n")
    };
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let proxy = Proxy::start(&origin).section(&section(&redis.url())).await;
        proxy.is_synced(true).await;
        fleet.push(proxy);
    }
    let gate = origin.hold("/a");
    let first = fleet[0].client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    // It waits for the lease to end, and then fetches itself.
    let second = fleet[1].client().get("/a").header("host", "h").start().await;
    gate.arrived(2).await;
    gate.release_one();
    assert_eq!(first.rest().await.unwrap(), "v1");
    fleet[0].reaches("l2_fills_total{result=\"lease-lost\"}", 1).await;
    origin.set("/a", lasting("v2"));
    gate.release();
    second.rest().await.unwrap();
    stored(&fleet[1], 1).await;
    let asked = origin.hits("/a");
    assert_eq!(body(&fleet[2]).await, body(&fleet[1]).await);
    assert_eq!(origin.hits("/a"), asked);
}

#[tokio::test]
async fn d13_the_holder_of_the_lease_is_killed_and_the_others_go_on_after_a_lease_at_most() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let section = format!(
        "[redis]\nurl = '{}'\ntimeout = '1s'\nlease = '1s'\n[invalidation]\nheartbeat = '100ms'\n",
        redis.url()
    );
    let mut config = ConfigText::for_origin(&origin);
    config.section(&section);
    let mut holder = Millpond::run(&config).await;
    Scrape::until(holder.admin_client(), "invalidation_beats_total", 1).await;
    let one = Proxy::start(&origin).section(&section).await;
    one.is_synced(true).await;
    let gate = origin.hold("/a");
    let _lost = holder.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    let waiting = one.client().get("/a").header("host", "h").start().await;
    one.answering(1).await;
    let killed = Instant::now();
    holder.process.signal(Signal::SIGKILL);
    holder.process.exited().await;
    gate.arrived(2).await;
    assert!(killed.elapsed() < Duration::from_millis(2_500), "{:?}", killed.elapsed());
    gate.release();
    assert_eq!(waiting.rest().await.unwrap(), "v1");
}

/// Makes the one value in Redis older by so many milliseconds: what is left of its life tells its age.
pub(super) async fn age(redis: &Redis, millis: u64) {
    let key = redis.keys("*:v:-").await.remove(0);
    let left: u64 = redis.ask(&format!("PTTL {key}")).await.trim_start_matches(':').trim().parse().unwrap();
    redis.ask(&format!("PEXPIRE {key} {}", left - millis)).await;
}

#[tokio::test]
async fn one_refresh_renews_what_eight_instances_hold() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply = |body: &str| {
        Reply::ok().header("cache-control", "max-age=60, stale-while-revalidate=600").body(body.to_owned())
    };
    origin.set("/a", reply("v1"));
    let fleet = instances(8, &origin, &redis, "early_refresh = 0.0").await;
    assert_eq!(body(&fleet[0]).await, "v1");
    stored(&fleet[0], 1).await;
    for proxy in &fleet[1..] {
        assert_eq!(body(proxy).await, "v1");
    }
    assert_eq!(origin.hits("/a"), 1);
    for proxy in &fleet {
        proxy.pass(Duration::from_secs(61));
        proxy.is_synced(true).await;
    }
    age(&redis, 61_000).await;
    origin.set("/a", reply("v2"));
    let gate = origin.hold("/a");
    for proxy in &fleet {
        assert_eq!(body(proxy).await, "v1", "nobody waits for the refresh");
    }
    gate.arrived(1).await;
    gate.release();
    for proxy in &fleet {
        proxy.refreshed("replaced", 1).await;
        assert_eq!(body(proxy).await, "v2");
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn what_redis_holds_stale_but_usable_is_served_at_once_and_refreshed() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply = |body: &str| {
        Reply::ok().header("cache-control", "max-age=60, stale-while-revalidate=600").body(body.to_owned())
    };
    origin.set("/a", reply("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    age(&redis, 61_000).await;
    origin.set("/a", reply("v2"));
    let gate = origin.hold("/a");
    assert_eq!(body(&two).await, "v1", "nobody waits while there is something to serve");
    gate.arrived(1).await;
    gate.release();
    two.answers("v2").await;
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn d9_a_failed_fetch_does_not_make_the_instances_fail_one_after_the_other() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", Reply::ok().status(503).body("v"));
    let fleet = instances(8, &origin, &redis, "").await;
    let gate = origin.hold("/a");
    let clients = ask_all(&fleet, 1).await;
    gate.arrived(1).await;
    gate.release_one();
    // All others at once: were they to queue, there would be one.
    gate.arrived(fleet.len()).await;
    gate.release();
    for mut client in clients {
        assert_eq!(client.head().await.status, 503);
    }
    assert_eq!(origin.hits("/a"), fleet.len());
}

#[tokio::test]
async fn d11_with_redis_down_a_herd_costs_one_origin_request_per_instance_at_most() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let fleet = instances(8, &origin, &redis, "").await;
    redis.kill();
    let gate = origin.hold("/a");
    let clients = ask_all(&fleet, 20).await;
    gate.arrived(fleet.len()).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v");
    }
    assert_eq!(origin.hits("/a"), fleet.len());
}

#[tokio::test]
async fn c2_every_instance_derives_its_lifetime_from_the_one_that_was_drawn() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let fleet = instances(4, &origin, &redis, "jitter = 0.5").await;
    assert_eq!(body(&fleet[0]).await, "v");
    stored(&fleet[0], 1).await;
    let mut lifetimes = Vec::new();
    for proxy in &fleet {
        let answer = proxy.client().get("/a").header("host", "h").send().await;
        assert!(answer.age().unwrap() <= 600);
        lifetimes.push(answer.cache_status().ttl.unwrap());
    }
    // Redis keeps time in milliseconds, and a little of it passes.
    let (least, most) = (lifetimes.iter().min().unwrap(), lifetimes.iter().max().unwrap());
    assert!(most - least <= 10 && *most <= 600, "{lifetimes:?}");
}

#[tokio::test]
async fn a_route_that_does_not_coalesce_waits_for_no_other_instance() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let fleet = instances(2, &origin, &redis, "coalesce = false").await;
    let gate = origin.hold("/a");
    let one = fleet[0].client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    let two = fleet[1].client().get("/a").header("host", "h").start().await;
    gate.arrived(2).await;
    gate.release();
    assert_eq!((one.rest().await.unwrap(), two.rest().await.unwrap()), ("v".into(), "v".into()));
}

#[tokio::test]
async fn a_purge_frees_the_lease_of_the_fetch_that_it_dooms() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let gate = origin.hold("/a");
    let doomed = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    two.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    // The lease would last for ten seconds, and the doomed fetch as long as the gate is closed.
    let next = two.client().get("/a").header("host", "h").start().await;
    gate.arrived(2).await;
    gate.release();
    doomed.rest().await.unwrap();
    next.rest().await.unwrap();
}

#[tokio::test]
async fn d2_redis_is_full_or_the_response_too_large_for_it_and_the_lease_is_freed_at_once() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let small = section(&redis.url()).replace("[invalidation]", "max_object_size = '1KiB'\n[invalidation]");
    let (one, two) = (instance_with(&origin, &small).await, instance_with(&origin, &small).await);
    for (path, body, full) in [("/large", "x".repeat(2000), false), ("/full", "x".to_owned(), true)] {
        origin.set(path, lasting(&body));
        let gate = origin.hold(path);
        let ask = |proxy: &Proxy| proxy.client().get(path).header("host", "h");
        let first = ask(&one).start().await;
        gate.arrived(1).await;
        let second = ask(&two).start().await;
        two.answering(1).await;
        if full {
            redis.session(&["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1mb"]).await;
        }
        gate.release_one();
        assert_eq!(first.rest().await.unwrap(), body);
        // The lease would last for ten seconds more.
        gate.arrived(2).await;
        gate.release();
        assert_eq!(second.rest().await.unwrap(), body);
    }
}

/// Leases that Redis was asked for, and whatever else it was told to set.
async fn leases(redis: &Redis) -> u64 {
    let stats = redis.ask("INFO commandstats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_set:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

/// Waits until the connections of an instance are there, and nothing is under way on them.
async fn warm(origin: &Origin, redis: &Redis, one: &Proxy) {
    origin.on_request("/warm", |_| lasting("w"));
    let mut asked = 0;
    let stored = async {
        while one.metric("l2_fills_total{result=\"stored\"}").await == 0 {
            one.client().get(&format!("/warm?{asked}")).send().await;
            asked += 1;
        }
        while !redis.keys("*:l:*").await.is_empty() {}
    };
    soon("a response to be stored", stored).await;
}

/// An instance whose look-ups take a while, but not too long, and whose leases outlast every test.
async fn far_away(origin: &Origin, redis: &Redis) -> (Proxy, Wire) {
    let wire = Wire::to(redis.port()).await;
    let far = section(&wire.redis_url()).replace("timeout = '1s'", "timeout = '10s'\nlease = '60s'");
    let one = instance_with(origin, &far).await;
    warm(origin, redis, &one).await;
    wire.delay(Duration::from_millis(150));
    (one, wire)
}

#[tokio::test]
async fn d2_a_client_that_leaves_during_a_look_up_leaves_no_lease_behind() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let (one, _wire) = far_away(&origin, &redis).await;
    let before = leases(&redis).await;
    let client = one.client().get("/a").header("host", "h").start().await;
    one.answering(1).await;
    drop(client);
    soon("the look-up to be executed", async { while leases(&redis).await == before {} }).await;
    soon("the lease to be freed", async { while !redis.keys("*:l:*").await.is_empty() {} }).await;
    assert_eq!(origin.hits("/a"), 0);
}

#[tokio::test]
async fn d12_who_waits_for_the_look_up_of_a_client_that_leaves_looks_anew() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let (one, _wire) = far_away(&origin, &redis).await;
    let ask = || one.client().get("/a").header("host", "h").start();
    let first = ask().await;
    one.answering(1).await;
    let others = [ask().await, ask().await];
    one.answering(3).await;
    drop(first);
    for other in others {
        assert_eq!(other.rest().await.unwrap(), "v");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn d2_a_look_up_that_redis_answers_too_late_leaves_no_lease_behind() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let wire = Wire::to(redis.port()).await;
    let slow = section(&wire.redis_url()).replace("timeout = '1s'", "timeout = '500ms'\nlease = '60s'");
    let one = instance_with(&origin, &slow).await;
    warm(&origin, &redis, &one).await;
    let before = leases(&redis).await;
    wire.delay(Duration::from_millis(600));
    assert_eq!(body(&one).await, "v");
    soon("the look-up to be executed", async { while leases(&redis).await == before {} }).await;
    // Nobody fetches under this lease, and the next to come shall not wait a minute for its end.
    soon("the lease to be freed", async { while !redis.keys("*:l:*").await.is_empty() {} }).await;
}

#[tokio::test]
async fn d2_a_body_that_outgrows_the_cap_holds_nobody_up_until_its_end() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let stream = origin.stream("/a", |r| r.header("cache-control", "max-age=600"));
    let fleet = instances(2, &origin, &redis, "max_object_size = '64KiB'").await;
    let mut first = fleet[0].client().get("/a").header("host", "h").start().await;
    stream.send(vec![b'x'; 1000]);
    first.head().await;
    stream.send(vec![b'x'; 200_000]);
    soon("the lease to be freed", async { while !redis.keys("*:l:*").await.is_empty() {} }).await;
    // Both go to the origin at once, although the first body is still on its way.
    for (proxy, count) in fleet.iter().zip([2, 3]) {
        let mut next = proxy.client().get("/a").header("host", "h").start().await;
        soon("a request to the origin", async {
            while origin.hits("/a") < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stream.send(vec![b'x'; 10]);
        next.head().await;
    }
    stream.finish();
}

#[tokio::test]
async fn d2_what_a_response_varies_on_changes_and_its_lease_is_freed() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1").header("vary", "accept-language"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let ask = |proxy: &Proxy| proxy.client().get("/a").header("host", "h").header("accept-language", "de");
    assert_eq!(ask(&one).send().await.text(), "v1");
    stored(&one, 1).await;
    for (count, vary) in [(2, "accept-language, accept"), (3, "accept"), (4, "accept-language")] {
        origin.set("/a", lasting(vary).header("vary", vary));
        one.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
        assert_eq!(ask(&one).send().await.text(), vary);
        stored(&one, count).await;
        assert_eq!(redis.keys("*:l:*").await, Vec::<String>::new(), "{vary}");
    }
    let asked = origin.hits("/a");
    assert_eq!((ask(&two).send().await.text(), origin.hits("/a")), ("accept-language", asked));
}

#[tokio::test]
async fn g1_while_the_breaker_is_open_redis_is_left_alone() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |_| lasting("v"));
    let quick = section(&redis.url()).replace("timeout = '1s'", "timeout = '50ms'");
    let one = instance_with(&origin, &quick).await;
    let ask = async |number: usize| one.client().get(&format!("/?{number}")).header("host", "h").send().await;
    ask(0).await;
    redis.freeze();
    for number in 1..10 {
        ask(number).await;
    }
    assert_eq!(one.metric("l2_up").await, 0);
    for number in 10..60 {
        ask(number).await;
    }
    redis.thaw();
    one.is_synced(true).await;
    // What was sent while it was closed may still arrive; not a word for each of the fifty.
    let stats = redis.ask("INFO commandstats").await;
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")).unwrap_or("0,");
    let calls: usize = calls.split(',').next().unwrap().parse().unwrap();
    assert!(calls < 40, "{calls} commands");
}

#[tokio::test]
async fn c1_a_fill_that_is_executed_late_makes_no_response_younger() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    origin.set("/b", lasting("b"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    // Redis knows the script from now on, so that it needs no second word to execute the fill.
    assert_eq!(one.client().get("/b").send().await.text(), "b");
    stored(&one, 1).await;
    let gate = origin.hold("/a");
    let first = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    redis.freeze();
    gate.release();
    assert_eq!(first.rest().await.unwrap(), "v1");
    let frozen = Instant::now();
    one.reaches("l2_faults_total", 1).await;
    soon("three seconds", tokio::time::sleep(Duration::from_secs(3))).await;
    redis.thaw();
    let hung = frozen.elapsed();
    redis.says("KEYS *:v:-", "*2").await;
    let answer = two.client().get("/a").header("host", "h").send().await;
    assert_eq!(answer.text(), "v1");
    assert!(answer.age().unwrap() + 1 >= hung.as_secs(), "age {:?} after {hung:?}", answer.age());
}
