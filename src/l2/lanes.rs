//! Lines for the look-ups of each runtime that asks: what reads an answer then runs beside what waits for it, and wakes
//! no other thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::runtime::{Handle, Id, RuntimeFlavor};

use super::line::Line;
use super::shared::Shared;

/// The lines of all runtimes.
#[derive(Default)]
pub(super) struct Lanes(RwLock<Vec<Lane>>);

/// The lines of one runtime, used in turn.
struct Lane {
    runtime: Id,
    lines: Vec<Arc<Line>>,
    turn: AtomicUsize,
}

impl Lane {
    fn next(&self) -> Option<Arc<Line>> {
        let turn = if self.lines.len() > 1 { self.turn.fetch_add(1, Ordering::Relaxed) % self.lines.len() } else { 0 };
        self.lines.get(turn).map(Arc::clone)
    }
}

impl Lanes {
    /// Ends all lines.
    pub(super) fn close(&self) {
        std::mem::take(&mut *self.0.write()).iter().flat_map(|lane| &lane.lines).for_each(|line| line.close());
    }
}

impl Shared {
    /// The line of the caller's runtime whose turn it is, which begins to connect when it is first asked for. None where
    /// Redis can only be reached by the library.
    pub(super) fn line(self: &Arc<Self>) -> Option<Arc<Line>> {
        self.direct.as_ref()?;
        let handle = Handle::try_current().ok()?;
        let of_this = |lane: &&Lane| lane.runtime == handle.id();
        if let Some(lane) = self.lanes.0.read().iter().find(of_this) {
            return lane.next();
        }
        let mut open = self.lanes.0.write();
        // Another task may have been first.
        if let Some(lane) = open.iter().find(of_this) {
            return lane.next();
        }
        let count = match handle.runtime_flavor() {
            // One thread: a second connection would only make two writes of one.
            RuntimeFlavor::CurrentThread => 1,
            _ => self.settings.connections.max(1),
        };
        let lines = (0..count).map(|_| Line::open(self, self.library())).collect();
        open.push(Lane { runtime: handle.id(), lines, turn: AtomicUsize::new(0) });
        open.last().and_then(Lane::next)
    }
}
