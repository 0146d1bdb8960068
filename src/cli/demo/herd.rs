//! The herd: many clients ask for one key at the same moment, and once more when it has just
//! expired. What the clients waited for and what the origin saw is measured, with and without
//! the proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::client::Connection;
use super::origin::DemoOrigin;
use super::text;
use crate::clock::Clock;

/// How long after the last answer the origin must stay idle before its requests are counted, so
/// that refreshes in the background are counted too.
const SETTLE: Duration = Duration::from_millis(200);

/// How often it is asked whether it is idle.
const POLL: Duration = Duration::from_millis(10);

/// One burst as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burst {
    /// Answers with a status below 400, body read to its end.
    pub(super) answered: u64,
    /// All others.
    pub(super) failed: u64,
    /// From the shot to the end of the last answer.
    pub(super) slowest: Duration,
    /// Requests that the origin got because of it.
    pub(super) origin_requests: u64,
    /// The most that it had at once.
    pub(super) origin_at_once: usize,
}

/// The same two bursts against one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// Nobody asked for the key before.
    pub(super) cold: Burst,
    /// The lifetime of the key has just ended.
    pub(super) expired: Burst,
}

/// A herd to let loose.
pub(super) struct Herd<'a> {
    /// The origin whose requests are counted.
    pub(super) origin: &'a DemoOrigin,
    /// Clients at once.
    pub(super) clients: usize,
    /// The lifetime to wait for between the two bursts.
    pub(super) lifetime: Duration,
    /// Measures the answers.
    pub(super) clock: &'a Clock,
}

impl Herd<'_> {
    /// Both bursts for `path` at `addr`. The pause between them is left out where `cached` is
    /// false: without a cache nothing expires.
    pub(super) async fn measure(&self, addr: SocketAddr, path: &str, cached: bool) -> io::Result<Measured> {
        let cold = self.burst(addr, path).await?;
        if cached {
            tokio::time::sleep(self.lifetime).await;
        }
        let expired = self.burst(addr, path).await?;
        Ok(Measured { cold, expired })
    }

    async fn burst(&self, addr: SocketAddr, path: &str) -> io::Result<Burst> {
        let requests_before = self.origin.requests();
        self.origin.take_peak();
        // Everybody connects first: the burst is about requests, not about handshakes.
        let shot = Arc::new(Barrier::new(self.clients + 1));
        let mut clients = JoinSet::new();
        for _ in 0..self.clients {
            let mut connection = Connection::open(addr).await?;
            let (shot, path) = (Arc::clone(&shot), path.to_owned());
            clients.spawn(async move {
                shot.wait().await;
                connection.get(&path).await
            });
        }
        let start = self.clock.now();
        shot.wait().await;
        let (mut answered, mut failed) = (0, 0);
        while let Some(joined) = clients.join_next().await {
            let fine = matches!(joined, Ok(Ok(answer)) if answer.status.as_u16() < 400);
            *(if fine { &mut answered } else { &mut failed }) += 1;
        }
        let slowest = self.clock.now().since(start);
        self.settled().await;
        Ok(Burst {
            answered,
            failed,
            slowest,
            origin_requests: self.origin.requests() - requests_before,
            origin_at_once: self.origin.take_peak(),
        })
    }

    /// Waits until the origin has had nothing to do for [`SETTLE`].
    async fn settled(&self) {
        let mut idle_since = self.clock.now();
        while self.clock.now().since(idle_since) < SETTLE {
            tokio::time::sleep(POLL).await;
            if self.origin.at_once() > 0 {
                idle_since = self.clock.now();
            }
        }
    }
}

/// Both measurements side by side.
pub(super) fn compare(direct: &Measured, proxied: &Measured) -> String {
    let mut rows = Vec::new();
    for (title, direct, proxied) in [
        ("a key that nobody asked for before", direct.cold, proxied.cold),
        ("the same key, just expired", direct.expired, proxied.expired),
    ] {
        let row =
            |label: &str, value: fn(&Burst) -> String| vec![format!("  {label}"), value(&direct), value(&proxied)];
        rows.push(vec![title.to_owned()]);
        rows.push(row("requests at the origin", |burst| text::count(burst.origin_requests)));
        rows.push(row("at the origin at once", |burst| burst.origin_at_once.to_string()));
        rows.push(row("slowest answer", |burst| text::span(burst.slowest)));
        if direct.failed + proxied.failed > 0 {
            rows.push(row("failed", |burst| text::count(burst.failed)));
        }
    }
    text::table(&["", "straight to the origin", "through Millpond"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::origin::OriginOptions;

    fn burst(origin_requests: u64, origin_at_once: usize, millis: u64) -> Burst {
        let slowest = Duration::from_millis(millis);
        Burst { answered: 200, failed: 0, slowest, origin_requests, origin_at_once }
    }

    #[tokio::test]
    async fn every_client_of_a_burst_reaches_an_origin_without_a_proxy_at_once() {
        let latency = Duration::from_millis(100);
        let options = OriginOptions { latency, workers: 100, ..OriginOptions::default() };
        let origin = DemoOrigin::start(options).await.unwrap();
        let clock = Clock::system();
        let herd = Herd { origin: &origin, clients: 30, lifetime: Duration::ZERO, clock: &clock };
        let measured = herd.measure(origin.addr(), "/api/products/1", false).await.unwrap();
        for burst in [measured.cold, measured.expired] {
            assert_eq!((burst.answered, burst.failed, burst.origin_requests), (30, 0, 30));
            assert_eq!(burst.origin_at_once, 30, "they all came within one answer's time");
            assert!(burst.slowest >= latency);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_an_error_counts_as_failed() {
        let origin = DemoOrigin::start(OriginOptions::default()).await.unwrap();
        let clock = Clock::system();
        let herd = Herd { origin: &origin, clients: 3, lifetime: Duration::ZERO, clock: &clock };
        let burst = herd.burst(origin.addr(), "/api/products/none").await.unwrap();
        assert_eq!((burst.answered, burst.failed), (0, 3));
    }

    #[test]
    fn the_comparison_shows_both_bursts_side_by_side_and_failures_only_where_there_are_any() {
        let direct = Measured { cold: burst(200, 200, 4_020), expired: burst(200, 200, 4_010) };
        let mut proxied = Measured { cold: burst(1, 1, 512), expired: burst(1, 1, 9) };
        let expected = "                                       straight to the origin   through Millpond
  a key that nobody asked for before
    requests at the origin                                200                  1
    at the origin at once                                 200                  1
    slowest answer                                     4.02 s             512 ms
  the same key, just expired
    requests at the origin                                200                  1
    at the origin at once                                 200                  1
    slowest answer                                     4.01 s             9.0 ms
";
        assert_eq!(compare(&direct, &proxied), expected);
        proxied.cold.failed = 2;
        let with_failures = compare(&direct, &proxied);
        assert_eq!(with_failures.lines().filter(|line| line.contains("failed")).count(), 1);
    }
}
