//! G1: Redis in every kind of trouble, under load, against the real binary.
//!
//! Each row of the table is one test: requests that hit in memory and requests that miss run at a
//! steady pace before, during and after a fault. No client may ever see a server error, and when the
//! fault is over the instance must find back by itself. `scripts/faults` runs the rows one by one in
//! release, with longer phases, and judges the times as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::{Origin, Reply};
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::soon;
use crate::support::wire::Wire;

/// How long the origin takes.
const LATENCY: Duration = Duration::from_millis(10);
/// The most that a request may wait for Redis.
const BUDGET: Duration = Duration::from_millis(50);
/// Connections that ask for what is in memory, and the pause of each between two requests.
const HITTING: (usize, Duration) = (4, Duration::from_millis(2));
/// Connections that ask for what nobody has, and the pause of each.
const MISSING: (usize, Duration) = (4, Duration::from_millis(10));
/// What a machine with two cores adds to a time without anybody's fault.
const NOISE: Duration = Duration::from_millis(10);

const BEFORE: usize = 0;
const DURING: usize = 1;
const AFTER: usize = 2;

/// How long a phase lasts; `FAULTS_SECONDS` for a longer one, whose times are then judged.
fn phase() -> (Duration, bool) {
    let seconds = std::env::var("FAULTS_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    (Duration::from_secs(seconds.unwrap_or(1)), seconds.is_some())
}

/// What the clients of one kind saw in one phase.
#[derive(Default, Clone)]
struct Seen {
    /// When each request began, and what it took.
    times: Vec<(Instant, Duration)>,
    errors: Vec<String>,
}

impl Seen {
    /// The median of what a percentile is in each second: one hiccup of the machine is not the rule.
    fn usual(&self, percent: usize) -> Duration {
        let Some(first) = self.times.iter().map(|(began, _)| *began).min() else { return Duration::ZERO };
        let mut seconds: BTreeMap<u64, Self> = BTreeMap::new();
        for (began, time) in &self.times {
            let second = began.duration_since(first).as_secs();
            seconds.entry(second).or_default().times.push((*began, *time));
        }
        let mut each: Vec<Duration> = seconds.values().map(|seen| seen.percentile(percent)).collect();
        each.sort_unstable();
        each[each.len() / 2]
    }

    fn percentile(&self, percent: usize) -> Duration {
        let mut times: Vec<Duration> = self.times.iter().map(|(_, time)| *time).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

/// Everything that one row of the table needs.
struct Row {
    origin: Origin,
    redis: Redis,
    wire: Wire,
    millpond: Millpond,
    phase: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    hitting: Vec<JoinHandle<[Seen; 3]>>,
    missing: Vec<JoinHandle<[Seen; 3]>>,
}

impl Row {
    async fn begin(arguments: &[&str]) -> Self {
        let origin = Origin::start().await;
        let reply = || Reply::ok().header("cache-control", "max-age=600").body("x").delay(LATENCY);
        origin.on_request("/hot", move |_| reply());
        origin.on_request("/cold", move |_| reply());
        let redis = Redis::start_with(arguments).await;
        let wire = Wire::to(redis.port()).await;
        let mut config = ConfigText::for_origin(&origin);
        config.section(&format!(
            "[redis]\nurl = '{}'\ntimeout = '50ms'\n[invalidation]\nheartbeat = '200ms'",
            wire.redis_url()
        ));
        let millpond = Millpond::run(&config).await;
        Scrape::until(millpond.admin_client(), "invalidation_beats_total", 1).await;
        let (phase, stop) = (Arc::default(), Arc::default());
        let mut row = Self { origin, redis, wire, millpond, phase, stop, hitting: Vec::new(), missing: Vec::new() };
        row.is_well().await;
        row.millpond.client().get("/hot").send().await;
        row.hitting = (0..HITTING.0).map(|_| row.client(HITTING.1, || "/hot".to_owned())).collect();
        row.missing = (0..MISSING.0).map(|_| row.client(MISSING.1, unique)).collect();
        row
    }

    /// One client at a steady pace, until it is told to stop.
    fn client(&self, pause: Duration, target: fn() -> String) -> JoinHandle<[Seen; 3]> {
        let (client, phase, stop) = (self.millpond.client(), Arc::clone(&self.phase), Arc::clone(&self.stop));
        tokio::spawn(async move {
            let mut seen: [Seen; 3] = Default::default();
            let mut connection = client.connect().await;
            while !stop.load(Ordering::SeqCst) {
                let (target, now) = (target(), phase.load(Ordering::SeqCst));
                let began = Instant::now();
                let answer = connection.send(client.get(&target)).await.expect("an answer");
                if answer.status >= 500 {
                    seen[now].errors.push(format!("{target}: {} {}", answer.status, answer.text()));
                }
                // A request for what is in memory that had to ask the origin is no hit.
                if target != "/hot" || answer.cache_status().hit {
                    seen[now].times.push((began, began.elapsed()));
                }
                sleep(pause).await;
            }
            seen
        })
    }

    async fn count(&self, series: &str) -> u64 {
        Scrape::of(self.millpond.admin_client()).await.value(series)
    }

    /// Waits until Redis is in use again: the log is compared, and look-ups succeed in a row.
    async fn is_well(&self) {
        let well = async {
            let beats = self.count("invalidation_beats_total").await;
            Scrape::until(self.millpond.admin_client(), "invalidation_beats_total", beats + 2).await;
            let mut in_a_row = 0;
            while in_a_row < 5 {
                let before = self.count("l2_fills_total{result=\"stored\"}").await;
                self.millpond.client().get(&unique()).send().await;
                sleep(Duration::from_millis(20)).await;
                let stored = self.count("l2_fills_total{result=\"stored\"}").await > before;
                in_a_row = if stored && self.count("l2_up").await == 1 { in_a_row + 1 } else { 0 };
            }
        };
        soon("Redis to be in use", well).await;
    }

    /// Ends the load and judges what it saw. `over` is when the fault was.
    async fn end(self, what: &str, over: Instant) {
        self.phase.store(AFTER, Ordering::SeqCst);
        self.is_well().await;
        let recovered = over.elapsed();
        self.stop.store(true, Ordering::SeqCst);
        let (hits, misses) = (gather(self.hitting).await, gather(self.missing).await);
        let (before, during) = (hits[BEFORE].usual(99), hits[DURING].usual(99));
        let ratio = during.as_secs_f64() / before.as_secs_f64();
        let usual = misses[BEFORE].percentile(50);
        let late = |percent| misses[DURING].percentile(percent).saturating_sub(usual);
        let all = hits.iter().chain(&misses).map(|seen| seen.times.len()).sum::<usize>();
        let errors: Vec<&String> = hits.iter().chain(&misses).flat_map(|seen| &seen.errors).collect();
        println!(
            "faults: {what:<28} {:>3} 5xx of {all:>6} | hits p99 {:>5.2} ms before, {:>5.2} during, ratio {ratio:.2} | \
             misses later by {:>5.1} ms at p99, {:>5.1} at worst | well after {:.1} s",
            errors.len(),
            ms(before),
            ms(during),
            ms(late(99)),
            ms(late(100)),
            recovered.as_secs_f64()
        );
        assert_eq!(errors, Vec::<&String>::new());
        assert!(!hits[DURING].times.is_empty() && !misses[DURING].times.is_empty());
        if phase().1 {
            // Below a millisecond the machine decides.
            assert!(ratio < 1.5 || during < Duration::from_millis(1), "hits: {before:?} before, {during:?} during");
            assert!(late(99) < BUDGET + NOISE, "misses are {:?} later", late(99));
        }
        drop(self.origin);
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

async fn gather(clients: Vec<JoinHandle<[Seen; 3]>>) -> [Seen; 3] {
    let mut all: [Seen; 3] = Default::default();
    for client in clients {
        for (all, seen) in all.iter_mut().zip(client.await.unwrap()) {
            all.times.extend(seen.times);
            all.errors.extend(seen.errors);
        }
    }
    all
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("/cold?{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One row: the fault begins, lasts for at least `least`, and ends.
async fn row(what: &str, least: Duration, begin: impl AsyncFnOnce(&mut Row), end: impl AsyncFnOnce(&mut Row)) {
    row_with(&[], what, least, begin, end).await;
}

async fn row_with(
    arguments: &[&str],
    what: &str,
    least: Duration,
    begin: impl AsyncFnOnce(&mut Row),
    end: impl AsyncFnOnce(&mut Row),
) {
    let mut row = Row::begin(arguments).await;
    let (span, judged) = phase();
    sleep(span).await;
    row.phase.store(DURING, Ordering::SeqCst);
    begin(&mut row).await;
    sleep(if judged { span.max(least) } else { span }).await;
    end(&mut row).await;
    row.end(what, Instant::now()).await;
}

const ANY: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_killed() {
    row("killed", ANY, async |row| row.redis.kill(), async |row| row.redis.restart().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_frozen() {
    let least = Duration::from_secs(10);
    row("frozen", least, async |row| row.redis.freeze(), async |row| row.redis.thaw()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_restarts_empty() {
    let restart = async |row: &mut Row| {
        row.redis.kill();
        row.redis.restart().await;
    };
    row("restarted empty", ANY, restart, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_full() {
    let fill = async |row: &mut Row| {
        row.redis.session(&["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1mb"]).await;
    };
    row("full, noeviction", ANY, fill, async |row| row.redis.session(&["CONFIG SET maxmemory 0"]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_a_replica_that_takes_no_writes() {
    // Nobody listens on port 1.
    let demote = async |row: &mut Row| row.redis.session(&["REPLICAOF 127.0.0.1 1"]).await;
    row("READONLY", ANY, demote, async |row| row.redis.session(&["REPLICAOF NO ONE"]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_loading() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().expect("a plain path");
    // A millisecond for each of the keys that are saved, and a look at the clients after each.
    let arguments = ["--dir", dir, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    let load = async |row: &mut Row| {
        let (span, _) = phase();
        let keys = span.as_millis();
        row.redis.session(&[&format!("DEBUG POPULATE {keys}"), "SAVE"]).await;
        row.redis.kill();
        row.redis.spawn();
        row.redis.says("PING", "LOADING").await;
    };
    let loaded = async |row: &mut Row| row.redis.says("PING", "PONG").await;
    row_with(&arguments, "LOADING", ANY, load, loaded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_is_slow_by_200_ms() {
    let slow = async |row: &mut Row| row.wire.delay(Duration::from_millis(100));
    row("200 ms away", ANY, slow, async |row| row.wire.delay(Duration::ZERO)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_connections_are_cut_every_100_ms() {
    let cut = async |row: &mut Row| {
        for _ in 0..phase().0.as_millis() / 100 {
            row.wire.cut();
            sleep(Duration::from_millis(100)).await;
        }
    };
    row("cut every 100 ms", ANY, cut, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_refuses_the_password() {
    let refuse = async |row: &mut Row| {
        row.redis
            .session(&["ACL SETUSER default resetpass >other", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"])
            .await;
    };
    let accept = async |row: &mut Row| row.redis.session(&["AUTH other", "ACL SETUSER default nopass"]).await;
    row("password refused", ANY, refuse, accept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_redis_loses_everything() {
    row("FLUSHALL", ANY, async |row| row.redis.session(&["FLUSHALL"]).await, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_packets_are_dropped() {
    row("packets dropped", ANY, async |row| row.wire.silence(true), async |row| row.wire.silence(false)).await;
}
