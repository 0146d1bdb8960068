//! The connections of one origin: at most so many, reused while they last.
//!
//! Every socket owns a slot until it is closed, idle ones too. There are as many slots as turns
//! (see [`queue`](super::queue)), a turn uses at most one connection, and an upgraded connection
//! keeps its turn. No request waits for a slot that an idle connection sits on:
//!
//! - A request wants a slot only when it found nothing idle, or has closed the connection it had.
//! - At that moment every slot not in use by another turn is free or closing, which makes at least
//!   one for each request that wants one.
//! - What becomes idle later was in use before, so it takes nothing from them; what comes later
//!   takes what is idle first.
//! - Closing needs nobody's help: who drops a [`Link`] closes its socket.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::connector::Connector;
use super::exchange::after;
use super::link::Link;
use super::queue::semaphore;
use crate::clock::{Clock, Moment};
use crate::config::OriginConfig;
use crate::reason::OriginFault;

/// How often the connections that are idle are looked at: nobody waits for one to be closed by the origin.
const LOOK: Duration = Duration::from_secs(1);

/// The connections of one origin, shared by all runtimes.
pub(super) struct Pool {
    connector: Connector,
    slots: Arc<Semaphore>,
    idle: Mutex<Idle>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    clock: Clock,
}

/// Connections between two requests, the one used last at the back.
#[derive(Default)]
struct Idle {
    links: VecDeque<(Moment, Link)>,
    /// Whether a task closes those that stay idle too long.
    swept: bool,
}

impl Pool {
    pub(super) fn new(config: &OriginConfig, clock: Clock) -> Self {
        Self {
            connector: Connector::new(config),
            slots: Arc::new(semaphore(config.max_connections)),
            idle: Mutex::default(),
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            clock,
        }
    }

    /// An idle connection, if there is one that is of use `now`. The caller holds a turn.
    pub(super) fn idle(&self, now: Moment) -> Option<Link> {
        while let Some(mut link) = self.pop(now) {
            if link.resume() {
                return Some(link);
            }
        }
        None
    }

    /// A fresh connection within `connect_timeout`, and before `total`. The caller holds a turn and no connection.
    pub(super) async fn fresh(&self, total: Option<Instant>) -> Result<Link, OriginFault> {
        let limit = after(self.connect_timeout);
        let (deadline, fault) = match total {
            Some(total) if total < limit => (total, OriginFault::TotalTimeout),
            _ => (limit, OriginFault::ConnectTimeout),
        };
        timeout_at(deadline, self.open()).await.unwrap_or(Err(fault))
    }

    /// Takes back a connection whose exchange is complete.
    pub(super) fn put(self: &Arc<Self>, link: Link) {
        self.put_at(link, self.clock.now());
    }

    /// The same, `now`.
    pub(super) fn put_at(self: &Arc<Self>, link: Link, now: Moment) {
        let mut idle = self.idle.lock();
        idle.links.push_back((now, link));
        if idle.swept {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        idle.swept = true;
        // Not under the lock: a runtime that is ending drops the task at once, and the sweeper locks.
        drop(idle);
        runtime.spawn(sweep(Sweeper { pool: Arc::downgrade(self), armed: true }));
    }

    async fn open(&self) -> Result<Link, OriginFault> {
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| OriginFault::Abandoned)?;
        self.connector.dial(slot).await
    }

    /// The connection used last, because it is the least likely to have been closed meanwhile.
    fn pop(&self, now: Moment) -> Option<Link> {
        let mut idle = self.idle.lock();
        let (since, link) = idle.links.pop_back()?;
        if now.since(since) < self.idle_timeout {
            return Some(link);
        }
        // The others have been idle for even longer. Sockets are closed while nobody waits for the lock.
        let expired = std::mem::take(&mut idle.links);
        drop(idle);
        drop((link, expired));
        None
    }

    /// Closes what was idle too long, and what the origin has closed. Says when to look again, or that there is
    /// nothing left.
    fn expire(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut idle = self.idle.lock();
        let mut ended = Vec::new();
        for (since, mut link) in std::mem::take(&mut idle.links) {
            let useful = now.since(since) < self.idle_timeout && link.is_quiet();
            if useful { idle.links.push_back((since, link)) } else { ended.push(link) }
        }
        let oldest = idle.links.front().map(|(since, _)| now.since(*since));
        idle.swept = oldest.is_some();
        drop(idle);
        // Sockets are closed while nobody waits for the lock.
        drop(ended);
        oldest.map(|idle| self.idle_timeout.saturating_sub(idle).min(LOOK))
    }
}

/// Makes room for another sweeper if this one ends with its runtime.
struct Sweeper {
    pool: Weak<Pool>,
    armed: bool,
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if self.armed
            && let Some(pool) = self.pool.upgrade()
        {
            pool.idle.lock().swept = false;
        }
    }
}

/// Closes connections `idle_timeout` after their last use, or soon after the origin has closed them, for as long
/// as there are any.
async fn sweep(mut sweeper: Sweeper) {
    // The pool is not held while sleeping, so that it ends with its origin.
    while let Some(left) = sweeper.pool.upgrade().and_then(|pool| pool.expire()) {
        sleep(left).await;
    }
    sweeper.armed = false;
}
