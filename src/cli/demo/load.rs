//! A small closed-loop load generator: each connection asks, reads the whole answer, pauses and
//! asks again. Popular keys are asked for far more often than rare ones, as real ones are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use tokio::task::JoinSet;

use super::client::Connection;

/// Between an answer and the next question of the same connection, so that the load generator
/// leaves the processor to what it measures.
const THINK: Duration = Duration::from_millis(10);

/// Products that are asked for. With what belongs to them they are fewer than the origin can renew
/// in one lifetime; with more, the line would show an origin at its limit rather than a cache.
const POPULAR: u32 = 100;

/// The rank at which the one uncacheable path is asked for: now and then.
const UNCACHEABLE: u32 = 97;

/// After a failure, so that a proxy that is down is not flooded with connections.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Load under way; dropping it ends the load.
pub(super) struct Load {
    failed: Arc<AtomicU64>,
    _connections: JoinSet<()>,
}

impl Load {
    /// Starts `connections` clients of `addr`.
    pub(super) fn start(addr: SocketAddr, connections: usize) -> Self {
        let failed = Arc::<AtomicU64>::default();
        let mix = Arc::new(Mix::new());
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(client(addr, Arc::clone(&mix), Arc::clone(&failed)));
        }
        Self { failed, _connections: tasks }
    }

    /// Requests that got no answer, or a 5xx.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Asks for ever; a broken connection is replaced.
async fn client(addr: SocketAddr, mix: Arc<Mix>, failed: Arc<AtomicU64>) {
    loop {
        if let Ok(mut connection) = Connection::open(addr).await {
            while let Ok(answer) = connection.get(mix.pick()).await {
                if answer.status.is_server_error() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(THINK).await;
            }
        }
        failed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// What is asked for, the most popular first.
struct Mix {
    paths: Vec<String>,
    popularity: Option<WeightedIndex<f64>>,
}

impl Mix {
    fn new() -> Self {
        let paths: Vec<String> = (1..=POPULAR)
            .flat_map(|id| {
                let more = match id % 10 {
                    0 => Some(format!("/api/products/{id}/reviews")),
                    3 => Some(format!("/api/search?q=mill+{id}")),
                    5 => Some("/api/products".to_owned()),
                    // Private to each client: every request for it is one at the origin.
                    7 if id == UNCACHEABLE => Some("/api/cart".to_owned()),
                    _ => None,
                };
                std::iter::once(format!("/api/products/{id}")).chain(more)
            })
            .collect();
        // Zipf: the key of rank k is asked for in proportion to 1/k.
        let weights = (1_u32..).take(paths.len()).map(|rank| 1.0 / f64::from(rank));
        Self { popularity: WeightedIndex::new(weights).ok(), paths }
    }

    fn pick(&self) -> &str {
        let rank = self.popularity.as_ref().map_or(0, |popularity| popularity.sample(&mut rand::rng()));
        &self.paths[rank]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::origin::{DemoOrigin, OriginOptions};

    #[test]
    fn popular_keys_are_asked_for_far_more_often_than_rare_ones_and_those_now_and_then() {
        let mix = Mix::new();
        let picked: Vec<&str> = (0..20_000).map(|_| mix.pick()).collect();
        let asked = |path: &str| picked.iter().filter(|other| **other == path).count();
        let (popular, rare) = (asked("/api/products/1"), asked("/api/products/100"));
        assert!(rare > 0 && popular > 20 * rare, "{popular} against {rare}");
    }

    #[tokio::test]
    async fn load_arrives_until_it_is_dropped_and_failures_are_counted() {
        let quick = OriginOptions { latency: Duration::ZERO, error_rate: 1.0, ..OriginOptions::default() };
        let origin = DemoOrigin::start(quick).await.unwrap();
        let load = Load::start(origin.addr(), 3);
        while load.failed() < 10 {
            tokio::task::yield_now().await;
        }
        drop(load);
        // What was under way when the load ended may still be answered.
        while origin.at_once() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(THINK).await;
        let after = origin.requests();
        tokio::time::sleep(THINK * 5).await;
        assert_eq!(origin.requests(), after);
    }
}
