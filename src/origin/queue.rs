//! The queue before an origin: who may start, who waits, who is refused.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::OriginConfig;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;

/// A bounded number of requests under way, and a bounded, timed queue behind them.
pub(super) struct Queue {
    turns: Arc<Turns>,
    places: Semaphore,
    patience: Duration,
    queued: IntGauge,
}

/// What of the turns is free, and how many are taken.
#[derive(Debug)]
struct Turns {
    free: Semaphore,
    in_flight: IntGauge,
}

/// The right to use one connection of the origin. Dropping it lets the next request start.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Turn {
    /// With a permit, of which it takes care from now on.
    fn new(turns: &Arc<Turns>, permit: SemaphorePermit<'_>) -> Self {
        permit.forget();
        turns.in_flight.inc();
        Self(Arc::clone(turns))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.in_flight.dec();
        self.0.free.add_permits(1);
    }
}

/// One unit of a gauge, for as long as it lives.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn on(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queue {
    pub(super) fn new(config: &OriginConfig, metrics: &OriginMetrics) -> Self {
        Self {
            turns: Arc::new(Turns { free: semaphore(config.max_connections), in_flight: metrics.in_flight.clone() }),
            places: semaphore(config.max_queue),
            patience: config.queue_timeout,
            queued: metrics.queued.clone(),
        }
    }

    /// Waits for a turn. The semaphore serves in order of arrival and hands a returned permit
    /// to whoever waits, so a newcomer never overtakes the queue.
    ///
    /// Fails with `QueueFull` at once, or with `QueueTimeout` after `queue_timeout`.
    pub(super) async fn enter(&self) -> Result<Turn, OriginFault> {
        let permit = match self.turns.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        Ok(Turn::new(&self.turns, permit))
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, OriginFault> {
        let _place = self.places.try_acquire().map_err(|_| OriginFault::QueueFull)?;
        let _queued = Counted::on(&self.queued);
        match timeout(self.patience, self.turns.free.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(OriginFault::Abandoned),
            Err(_) => Err(OriginFault::QueueTimeout),
        }
    }
}

/// A semaphore of `size` permits, or of as many as there can be.
pub(super) fn semaphore(size: usize) -> Semaphore {
    Semaphore::new(size.min(Semaphore::MAX_PERMITS))
}
