//! The proof of the invalidation rule: after a purge has returned with all receipts, no instance
//! ever serves an older version, under load and under faults of Redis.
//!
//! The origin counts a version up before each purge. Every reader notes the newest version that was
//! guaranteed when it asked, and what it got must be at least that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::support::origin::{Origin, Reply};
use super::support::proxy::Proxy;
use super::support::redis::Redis;

const INSTANCES: usize = 8;
/// Readers at each instance.
const READERS: usize = 2;

/// How many purges; `CHECKER_PURGES` for a longer run.
fn purges() -> u64 {
    std::env::var("CHECKER_PURGES").map_or(100, |text| text.parse().expect("a number of purges"))
}

struct Run {
    origin: Origin,
    redis: Redis,
    fleet: Vec<Arc<Proxy>>,
    version: Arc<AtomicU64>,
    guaranteed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

/// What the readers saw.
#[derive(Default, Debug)]
struct Seen {
    answers: u64,
    hits: u64,
    violations: Vec<(u64, u64)>,
}

impl Run {
    async fn start() -> Self {
        let (origin, redis) = (Origin::start().await, Redis::start().await);
        let version = Arc::new(AtomicU64::new(0));
        let current = Arc::clone(&version);
        origin.on_request("/a", move |_| {
            let version = current.load(Ordering::SeqCst);
            let reply = Reply::ok().header("cache-control", "max-age=600, stale-while-revalidate=60");
            reply.header("surrogate-key", "t").body(version.to_string())
        });
        let mut fleet = Vec::new();
        for _ in 0..INSTANCES {
            fleet.push(Arc::new(super::fleet::instance(&origin, &redis).await));
        }
        let (guaranteed, stop) = (Arc::default(), Arc::default());
        Self { origin, redis, fleet, version, guaranteed, stop }
    }

    async fn read(proxy: Arc<Proxy>, guaranteed: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Seen {
        let mut seen = Seen::default();
        let mut connection = proxy.client().connect().await;
        while !stop.load(Ordering::SeqCst) {
            let least = guaranteed.load(Ordering::SeqCst);
            let answer = connection.send(proxy.client().get("/a").header("host", "h")).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let got: u64 = answer.text().parse().unwrap();
            seen.answers += 1;
            seen.hits += u64::from(answer.cache_status().hit);
            if got < least {
                seen.violations.push((got, least));
            }
        }
        seen
    }

    /// Purges under load; `disturb` is called before each purge.
    async fn check(self, disturb: impl AsyncFn(&Redis, u64)) -> (Seen, Vec<Duration>) {
        let mut readers = Vec::new();
        for proxy in &self.fleet {
            for _ in 0..READERS {
                let (guaranteed, stop) = (Arc::clone(&self.guaranteed), Arc::clone(&self.stop));
                readers.push(tokio::spawn(Self::read(Arc::clone(proxy), guaranteed, stop)));
            }
        }
        let mut times = Vec::new();
        for round in 0..purges() {
            disturb(&self.redis, round).await;
            let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
            let proxy = &self.fleet[usize::try_from(round).unwrap() % INSTANCES];
            let order = match round % 4 {
                0 => r#"{"url": "http://h/a", "wait": "5s"}"#,
                1 => r#"{"tag": "t", "wait": "5s"}"#,
                2 => r#"{"prefix": "/a", "wait": "5s"}"#,
                _ => r#"{"route": "all", "wait": "5s"}"#,
            };
            let began = Instant::now();
            let ask = proxy.admin().ask("POST", "/purge").header("content-type", "application/json");
            let answer = ask.body(order).send().await;
            // Without all receipts nothing is guaranteed.
            if answer.status == 200 {
                times.push(began.elapsed());
                self.guaranteed.store(version, Ordering::SeqCst);
            }
        }
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        for reader in readers {
            let seen = reader.await.unwrap();
            all.answers += seen.answers;
            all.hits += seen.hits;
            all.violations.extend(seen.violations);
        }
        drop(self.origin);
        (all, times)
    }
}

fn report(what: &str, seen: &Seen, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "checker: {what}: {} purges with all receipts, p50 {:.1} ms, p99 {:.1} ms; {} answers, {} from memory; {} violations",
        times.len(),
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
        seen.answers,
        seen.hits,
        seen.violations.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_purge_with_all_receipts_no_instance_serves_an_older_version() {
    let (seen, times) = Run::start().await.check(async |_, _| {}).await;
    assert_eq!(times.len() as u64, purges());
    assert!(seen.hits > 0);
    report("quiet", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_the_same_while_subscriptions_are_cut_at_random() {
    let cut = async |redis: &Redis, round: u64| {
        if round.is_multiple_of(3) {
            redis.ask("CLIENT KILL TYPE pubsub").await;
        }
    };
    let (seen, times) = Run::start().await.check(cut).await;
    report("subscriptions cut", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_same_while_redis_loses_everything_now_and_then() {
    let flush = async |redis: &Redis, round: u64| {
        if round % 20 == 19 {
            redis.ask("FLUSHALL").await;
        }
    };
    let (seen, times) = Run::start().await.check(flush).await;
    report("FLUSHALL", &seen, times);
    assert_eq!(seen.violations, []);
}
