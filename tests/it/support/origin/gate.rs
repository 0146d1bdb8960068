//! Gates: requests arrive and wait until the test lets them through.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::support::soon;

/// Holds requests. Clones are the same gate.
#[derive(Clone)]
pub(crate) struct Gate(Arc<State>);

struct State {
    passes: Semaphore,
    arrived: watch::Sender<usize>,
    left: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(State {
            passes: Semaphore::new(0),
            arrived: watch::Sender::default(),
            left: watch::Sender::default(),
        }))
    }
}

impl Gate {
    /// Waits until `count` requests have arrived in all.
    pub(crate) async fn arrived(&self, count: usize) {
        let mut arrived = self.0.arrived.subscribe();
        soon(&format!("{count} requests at the gate"), arrived.wait_for(|now| *now >= count)).await.unwrap();
    }

    /// Waits until `count` requests have left because their client closed its connection.
    pub(crate) async fn deserted(&self, count: usize) {
        let mut left = self.0.left.subscribe();
        soon(&format!("{count} requests to leave the gate"), left.wait_for(|now| *now >= count)).await.unwrap();
    }

    /// Opens the gate for good.
    pub(crate) fn release(&self) {
        self.0.passes.close();
    }

    /// Lets one request through.
    pub(crate) fn release_one(&self) {
        self.0.passes.add_permits(1);
    }

    /// Waits for the gate to open, or a pass.
    pub(super) async fn pass(&self) {
        self.0.arrived.send_modify(|count| *count += 1);
        // A closed semaphore is an open gate.
        if let Ok(permit) = self.0.passes.acquire().await {
            permit.forget();
        }
    }

    /// Notes that a client did not wait.
    pub(super) fn leave(&self) {
        self.0.left.send_modify(|count| *count += 1);
    }
}
