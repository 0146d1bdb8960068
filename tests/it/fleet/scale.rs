//! Purges of a great many entries, and a great many purges.
//!
//! `SCALE_ENTRIES` and `STORM_SECONDS` set the size; `scripts/purges` runs these tests in release with
//! a million entries and ten seconds, and judges the times as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;

use super::{body, instance, instance_with, lasting, section};

/// Clients that fill the cache.
const CLIENTS: u64 = 16;
/// Tags of one order, which become as many records.
const TAGS: u64 = 250;

fn size(variable: &str, default: u64) -> (u64, bool) {
    let given = std::env::var(variable).ok().map(|text| text.parse().expect("a number"));
    (given.unwrap_or(default), given.is_some())
}

/// Asks for entries `first`, `first + step` and so on up to `last`.
async fn ask_for(proxy: Arc<Proxy>, first: u64, last: u64, step: usize) {
    let mut connection = proxy.client().connect().await;
    for number in (first..last).step_by(step) {
        let answer = connection.send(proxy.client().get(&format!("/?{number}")).header("host", "h")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
}

/// How often each command has run in Redis.
async fn commands(redis: &Redis) -> Vec<(String, u64)> {
    let info = redis.ask("INFO commandstats").await;
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    let counted = lines.filter_map(|line| {
        let (name, rest) = line.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    counted.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_by_tag_takes_as_long_for_any_number_of_entries_and_scans_nothing() {
    let (entries, judged) = size("SCALE_ENTRIES", 2_000);
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |request| {
        let number: u64 = request.target.rsplit('?').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let tag = if number.is_multiple_of(2) { "even" } else { "odd" };
        Reply::ok().header("cache-control", "max-age=86400").header("surrogate-key", tag).body("x")
    });
    // The tier in memory holds little, so that what is asked for again comes from Redis.
    let small = format!("[cache]\nmax_entries = 100\n{}", section(&redis.url()));
    let one = Arc::new(instance_with(&origin, &small).await);
    let two = Arc::new(instance_with(&origin, &small).await);
    let mut filling = Vec::new();
    for client in 0..CLIENTS {
        filling.push(tokio::spawn(ask_for(Arc::clone(&one), client, entries, usize::try_from(CLIENTS).unwrap())));
    }
    for client in filling {
        client.await.unwrap();
    }
    let fills = "l2_fills_total{result=\"stored\"}";
    one.reaches(fills, entries * 99 / 100).await;
    let stored = redis.ask("DBSIZE").await;
    let before = commands(&redis).await;
    let began = Instant::now();
    let report = one.purge(r#"{"tag": "even", "wait": "5s"}"#).await;
    let took = began.elapsed();
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    let after = commands(&redis).await;
    println!(
        "purges: by a tag of {} of {entries} entries ({} keys in Redis): {:.1} ms to all receipts",
        entries / 2,
        stored.trim().trim_start_matches(':'),
        took.as_secs_f64() * 1e3
    );
    for (name, count) in after {
        let before = before.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        assert!(!matches!(&*name, "scan" | "keys" | "sscan" | "hscan" | "zscan"), "{name}");
        assert!(count - before < 200, "{name} ran {} times", count - before);
    }
    assert!(!judged || took < Duration::from_millis(100), "{took:?}");
    let (asked, steps) = (origin.hits("/"), 101);
    ask_for(Arc::clone(&two), 1, entries.min(10_000), 2 * steps).await;
    assert_eq!(origin.hits("/"), asked, "what has another tag is still there");
    ask_for(Arc::clone(&two), 0, entries.min(10_000), 2 * steps).await;
    assert_eq!(origin.hits("/") - asked, (0..entries.min(10_000)).step_by(2 * steps).count(), "and the rest is not");
}

/// What a paced client saw: the times of its hits in two phases, and how often there was none.
async fn hit(proxy: Arc<Proxy>, phase: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> ([Vec<Duration>; 2], usize) {
    let (mut times, mut misses) = ([Vec::new(), Vec::new()], 0);
    let mut connection = proxy.client().connect().await;
    while !stop.load(Ordering::SeqCst) {
        let phase = usize::try_from(phase.load(Ordering::SeqCst)).unwrap();
        let began = Instant::now();
        let answer = connection.send(proxy.client().get("/a").header("host", "h")).await.unwrap();
        if answer.cache_status().hit {
            times[phase].push(began.elapsed());
        } else {
            misses += 1;
        }
        sleep(Duration::from_millis(1)).await;
    }
    (times, misses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a14_ten_thousand_purges_a_second_lose_nothing_and_stay_bounded() {
    const A_SECOND: u64 = 10_000;
    let (seconds, judged) = size("STORM_SECONDS", 1);
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (Arc::new(instance(&origin, &redis).await), Arc::new(instance(&origin, &redis).await));
    assert_eq!(body(&two).await, "v1");
    let (phase, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let hitting = tokio::spawn(hit(Arc::clone(&two), Arc::clone(&phase), Arc::clone(&stop)));
    sleep(Duration::from_secs(seconds)).await;
    phase.store(1, Ordering::SeqCst);
    let orders = seconds * A_SECOND / TAGS;
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds) / u32::try_from(orders).unwrap());
    let began = Instant::now();
    for order in 0..orders {
        ticks.tick().await;
        let tags: Vec<String> = (0..TAGS).map(|number| format!("\"{order}-{number}\"")).collect();
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        let answer = ask.body(format!("{{\"tags\": [{}]}}", tags.join(","))).send().await;
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    }
    let took = began.elapsed();
    let report = one.purge(r#"{"tag": "nobody", "wait": "5s"}"#).await;
    stop.store(true, Ordering::SeqCst);
    let ([mut before, mut during], misses) = hitting.await.unwrap();
    before.sort_unstable();
    during.sort_unstable();
    let (usual, busy) = (before[before.len() / 2], during[during.len() / 2]);
    println!(
        "purges: {} in {:.1} s, all applied by both; hits p50 {:.3} ms before, {:.3} ms meanwhile, ratio {:.2}; {} \
         records kept, {misses} requests that had to ask again",
        orders * TAGS,
        took.as_secs_f64(),
        usual.as_secs_f64() * 1e3,
        busy.as_secs_f64() * 1e3,
        busy.as_secs_f64() / usual.as_secs_f64(),
        two.metric("invalidation_records").await
    );
    assert_eq!((&report["era"], &report["seq"]), (&1.into(), &(orders * TAGS + 1).into()));
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert!(two.metric("invalidation_records").await <= 100_000);
    // Records beyond the bound collapse into one that covers everything up to them.
    let collapses = usize::try_from(orders * TAGS / 25_000).unwrap();
    assert!(misses <= collapses, "{misses} requests missed, for nothing of theirs was purged");
    assert!(!judged || took < Duration::from_secs(seconds) * 11 / 10, "the pace was kept: {took:?}");
}
