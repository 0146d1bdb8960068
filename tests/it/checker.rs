//! The proof of the invalidation rule: after a purge has returned with all receipts, no instance
//! ever serves an older version, under load and under faults of Redis.
//!
//! The origin counts a version up before each purge. Every reader notes the newest version that was
//! guaranteed when it asked, and what it got must be at least that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{instance_at, section};
use super::support::binary::Millpond;
use super::support::config::ConfigText;
use super::support::origin::{Origin, Reply};
use super::support::proxy::Proxy;
use super::support::redis::{Cluster, Redis, Sentinels};
use super::support::scrape::Scrape;
use super::support::wire::Wire;

const INSTANCES: usize = 8;
/// Readers at each instance.
const READERS: usize = 2;

/// How many purges; `CHECKER_PURGES` for a longer run.
fn purges() -> u64 {
    std::env::var("CHECKER_PURGES").map_or(100, |text| text.parse().expect("a number of purges"))
}

struct Run {
    origin: Origin,
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
    /// Instances that find their Redis at these addresses, each at the next.
    async fn start(urls: &[String]) -> Self {
        let origin = Origin::start().await;
        let version = Arc::new(AtomicU64::new(0));
        let current = Arc::clone(&version);
        origin.on_request("/a", move |_| {
            let version = current.load(Ordering::SeqCst);
            let reply = Reply::ok().header("cache-control", "max-age=600, stale-while-revalidate=60");
            reply.header("surrogate-key", "t").body(version.to_string())
        });
        let mut fleet = Vec::new();
        for url in urls.iter().cycle().take(INSTANCES) {
            fleet.push(Arc::new(instance_at(&origin, url).await));
        }
        let (guaranteed, stop) = (Arc::default(), Arc::default());
        Self { origin, fleet, version, guaranteed, stop }
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

    /// Purges under load; `disturb` is called before each purge, with its number.
    async fn check(self, mut disturb: impl AsyncFnMut(u64)) -> (Seen, Vec<Duration>) {
        let mut readers = Vec::new();
        for proxy in &self.fleet {
            for _ in 0..READERS {
                let (guaranteed, stop) = (Arc::clone(&self.guaranteed), Arc::clone(&self.stop));
                readers.push(tokio::spawn(Self::read(Arc::clone(proxy), guaranteed, stop)));
            }
        }
        let mut times = Vec::new();
        for round in 0..purges() {
            disturb(round).await;
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
    let redis = Redis::start().await;
    let (seen, times) = Run::start(&[redis.url()]).await.check(async |_| {}).await;
    let receipts = times.len() as u64;
    report("quiet", &seen, times);
    assert_eq!(seen.violations, []);
    assert_eq!(receipts, purges());
    assert!(seen.hits > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_the_same_while_subscriptions_are_cut_at_random() {
    let redis = Redis::start().await;
    let cut = async |round: u64| {
        if round.is_multiple_of(3) {
            redis.ask("CLIENT KILL TYPE pubsub").await;
        }
    };
    let (seen, times) = Run::start(&[redis.url()]).await.check(cut).await;
    report("subscriptions cut", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_the_same_while_connections_of_single_instances_die_without_a_word() {
    let redis = Redis::start().await;
    let (one, two) = (Wire::to(redis.port()).await, Wire::to(redis.port()).await);
    let mut urls = vec![redis.url(); INSTANCES];
    (urls[2], urls[5]) = (one.redis_url(), two.redis_url());
    let drop = async |round: u64| match round % (purges() / 2) {
        10 => one.half_open(),
        20 => two.half_open(),
        _ => {}
    };
    let (seen, times) = Run::start(&urls).await.check(drop).await;
    report("connections dead", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_same_while_redis_loses_everything_now_and_then() {
    let redis = Redis::start().await;
    let flush = async |round: u64| {
        if round % 20 == 19 {
            redis.ask("FLUSHALL").await;
        }
    };
    let (seen, times) = Run::start(&[redis.url()]).await.check(flush).await;
    report("FLUSHALL", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_same_while_redis_restarts_empty() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    let restart = async |round: u64| {
        if round % (purges() / 4) == 10 {
            redis.kill();
            redis.restart().await;
        }
    };
    let (seen, times) = Run::start(&[url]).await.check(restart).await;
    report("restarted empty", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_same_while_nodes_of_a_cluster_are_killed() {
    let mut cluster = Cluster::start().await;
    let url = cluster.url();
    let log = cluster.node_of("{log}").await;
    let kill = async |round: u64| {
        // The node of the log and another one, each away for one purge.
        for (node, at) in [(log, purges() / 3), ((log + 1) % 3, purges() / 2)] {
            if round == at {
                cluster.nodes[node].kill();
            } else if round == at + 1 {
                cluster.restart(node).await;
            }
        }
    };
    let (seen, times) = Run::start(&[url]).await.check(kill).await;
    report("cluster nodes killed", &seen, times);
    assert_eq!(seen.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_same_while_sentinels_fail_over() {
    let mut sentinels = Sentinels::start().await;
    let url = sentinels.url();
    let fail_over = async |round: u64| {
        if round == purges() / 2 {
            sentinels.fail_over().await;
        }
    };
    let (seen, times) = Run::start(&[url]).await.check(fail_over).await;
    report("sentinel failover", &seen, times);
    assert_eq!(seen.violations, []);
}

/// The one case in which a purge cannot wait for everybody: an instance that nobody reaches. What it
/// holds, and what it fetches meanwhile, it serves for `max_unsynced` after the purge at the most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_cut_off_serves_what_was_purged_for_max_unsynced_at_most() {
    const BOUND: Duration = Duration::from_secs(2);
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    let bounded = |url: &str| section(url).replace("max_unsynced = '10s'", "max_unsynced = '2s'");
    let mut config = ConfigText::for_origin(&origin);
    config.section(&bounded(&wire.redis_url()));
    let cut_off = Millpond::run(&config).await;
    Scrape::until(cut_off.admin_client(), "invalidation_beats_total", 3).await;
    let one = Proxy::start(&origin).section(&bounded(&redis.url())).await;
    one.is_synced(true).await;
    let mut longest = Duration::ZERO;
    for round in 0..4_u32 {
        let path = format!("/{round}");
        let set =
            |body: &str| origin.set(&path, Reply::ok().header("cache-control", "max-age=600").body(body.to_owned()));
        set("old");
        let ask = async || cut_off.client().get(&path).header("host", "h").send().await.text().to_owned();
        assert_eq!(ask().await, "old");
        wire.silence(true);
        // Purged at once, and after ever longer times without a word from Redis.
        let until = Instant::now() + BOUND * round / 3;
        while Instant::now() < until {
            assert_eq!(ask().await, "old");
        }
        set("new");
        let purge = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        let purged = Instant::now();
        let status = purge.body(format!("{{\"url\": \"http://h{path}\"}}")).send().await.status;
        // After `max_unsynced` without a word it is waited for no longer.
        assert!(status == 202 || round == 3 && status == 200, "{status} in round {round}");
        loop {
            let after = purged.elapsed();
            if ask().await != "old" {
                break;
            }
            longest = longest.max(after);
        }
        wire.silence(false);
        let beats = Scrape::of(cut_off.admin_client()).await.value("invalidation_beats_total");
        Scrape::until(cut_off.admin_client(), "invalidation_beats_total", beats + 2).await;
    }
    println!("checker: cut off: requests got what was purged for {:.2} s; max_unsynced is 2 s", longest.as_secs_f64());
    assert!(longest <= BOUND, "{longest:?}");
}
