//! The queue before an origin: who may start, who waits, who is refused.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::OriginConfig;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;

/// A bounded number of requests under way, and a bounded, timed queue behind them.
pub(super) struct Queue {
    turns: Arc<Semaphore>,
    places: Semaphore,
    patience: Duration,
    in_flight: IntGauge,
    queued: IntGauge,
}

/// The right to use one connection of the origin. Dropping it lets the next request start.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _in_flight: Counted,
}

/// One unit of a gauge, for as long as it lives.
#[derive(Debug)]
struct Counted(IntGauge);

impl Counted {
    fn on(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queue {
    pub(super) fn new(config: &OriginConfig, metrics: &OriginMetrics) -> Self {
        Self {
            turns: Arc::new(semaphore(config.max_connections)),
            places: semaphore(config.max_queue),
            patience: config.queue_timeout,
            in_flight: metrics.in_flight.clone(),
            queued: metrics.queued.clone(),
        }
    }

    /// Waits for a turn. The semaphore serves in order of arrival and hands a returned permit
    /// to whoever waits, so a newcomer never overtakes the queue.
    ///
    /// Fails with `QueueFull` at once, or with `QueueTimeout` after `queue_timeout`.
    pub(super) async fn enter(&self) -> Result<Turn, OriginFault> {
        let permit = match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        Ok(Turn { _permit: permit, _in_flight: Counted::on(&self.in_flight) })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, OriginFault> {
        let _place = self.places.try_acquire().map_err(|_| OriginFault::QueueFull)?;
        let _queued = Counted::on(&self.queued);
        match timeout(self.patience, Arc::clone(&self.turns).acquire_owned()).await {
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
