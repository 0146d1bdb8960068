//! The place that a connection takes.

use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A connection's place: it counts against the limit, shows in the metrics and is waited for in a
/// drain, until the connection is closed. It moves with the connection through an upgrade.
#[derive(Debug)]
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    _tracked: TaskTrackerToken,
    connections: IntGauge,
}

impl Seat {
    /// Takes the place that `permit` allows.
    pub(super) fn take(permit: OwnedSemaphorePermit, tracked: TaskTrackerToken, connections: IntGauge) -> Self {
        connections.inc();
        Self { _permit: permit, _tracked: tracked, connections }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
