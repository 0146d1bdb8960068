//! Connections for stored responses, some for each runtime that asks: what reads a reply then runs beside what waits
//! for it, and wakes no other thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::clients::Client;
use fred::interfaces::ClientLike;
use parking_lot::RwLock;
use tokio::runtime::{Handle, Id, RuntimeFlavor};

use super::line::Line;
use super::shared::Shared;

/// The connections of one instance.
pub(super) struct Lanes {
    /// What each connection is made like. Never connected itself.
    template: Client,
    /// Connections for each runtime.
    size: usize,
    open: RwLock<Vec<Arc<Lane>>>,
}

/// The connections of one runtime, used in turn.
pub(super) struct Lane {
    runtime: Option<Id>,
    clients: Vec<Client>,
    /// For look-ups; none where those go by the library's connections.
    lines: Vec<Arc<Line>>,
    turn: AtomicUsize,
}

impl Lane {
    /// The library's connection whose turn it is.
    pub(super) fn client(&self) -> Client {
        self.clients[self.turn() % self.clients.len()].clone()
    }

    /// Where a look-up goes.
    pub(super) fn line(&self) -> Option<&Line> {
        let turn = if self.lines.len() > 1 { self.turn() % self.lines.len() } else { 0 };
        self.lines.get(turn).map(|line| &**line)
    }

    fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Lanes {
    /// Connects to nothing yet; `size` is at least 1.
    pub(super) fn new(template: Client, size: usize) -> Self {
        Self { template, size: size.max(1), open: RwLock::default() }
    }

    fn connect(&self) -> Vec<Client> {
        let client = |_| {
            let client = self.template.clone_new();
            drop(client.connect());
            client
        };
        (0..self.size).map(client).collect()
    }

    /// All of the library's connections that there are.
    pub(super) fn all(&self) -> Vec<Client> {
        self.open.read().iter().flat_map(|lane| lane.clients.clone()).collect()
    }

    /// Forgets all connections. Those for look-ups end; the others are to be ended.
    pub(super) fn close(&self) -> Vec<Client> {
        let lanes = std::mem::take(&mut *self.open.write());
        lanes.iter().flat_map(|lane| &lane.lines).for_each(|line| line.close());
        lanes.iter().flat_map(|lane| lane.clients.clone()).collect()
    }
}

impl Shared {
    /// The connections of the caller's runtime, which begin to connect when they are first asked for.
    pub(super) fn lane(self: &Arc<Self>) -> Arc<Lane> {
        let handle = Handle::try_current().ok();
        let runtime = handle.as_ref().map(Handle::id);
        let of_this = |lane: &&Arc<Lane>| lane.runtime == runtime;
        if let Some(lane) = self.lanes.open.read().iter().find(of_this) {
            return Arc::clone(lane);
        }
        let mut open = self.lanes.open.write();
        // Another task may have been first.
        if let Some(lane) = open.iter().find(of_this) {
            return Arc::clone(lane);
        }
        let count = match (&self.direct, handle.map(|handle| handle.runtime_flavor())) {
            (None, _) | (_, None) => 0,
            // One thread: a second connection would only make two writes of one.
            (Some(_), Some(RuntimeFlavor::CurrentThread)) => 1,
            (Some(_), Some(_)) => self.lanes.size,
        };
        let clients = self.lanes.connect();
        let lines = clients.iter().cycle().take(count).map(|client| Line::open(self, client)).collect();
        let lane = Arc::new(Lane { runtime, clients, lines, turn: AtomicUsize::new(0) });
        open.push(Arc::clone(&lane));
        lane
    }
}
