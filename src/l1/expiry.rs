//! What has become useless leaves L1, or it would take the room of what is asked for.
//!
//! moka could see to that with a timer for each slot, of 48 bytes. But what is stored stays of use for an hour at least, if
//! only to be validated, so it is early enough to look at all slots in turn, a few at a time.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::table::Table;
use crate::clock::Clock;

/// Slots that are looked at without a pause, at least.
const AT_ONCE: usize = 256;
/// Between them.
const PAUSE: Duration = Duration::from_millis(10);
/// Pauses of a pass, at most: a pass through millions of slots takes about as long as that of a million and a half.
const PAUSES: usize = 6_000;
/// Between two passes.
const REST: Duration = Duration::from_secs(1);

/// The thread that looks. It ends when this is dropped.
pub struct Expiry {
    _alive: Sender<Infallible>,
}

impl Expiry {
    pub(super) fn start(table: Arc<Table>, clock: Clock) -> io::Result<Self> {
        let (alive, end) = mpsc::channel();
        let thread = thread::Builder::new().name("l1-expiry".to_owned());
        thread.spawn(move || while goes_on(&end, REST) && pass(&table, &clock, &end) {})?;
        Ok(Self { _alive: alive })
    }
}

/// Waits for so long. False if nobody needs this any more.
fn goes_on(end: &Receiver<Infallible>, pause: Duration) -> bool {
    matches!(end.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}

/// Looks at all slots. False if nobody needs this any more.
fn pass(table: &Table, clock: &Clock, end: &Receiver<Infallible>) -> bool {
    let (mut now, at_once) = (clock.now(), AT_ONCE.max(table.count() / PAUSES));
    for (number, (key, slot)) in (1..).zip(table.iter()) {
        if !slot.is_useful(now) {
            table.expire(&key, now);
        }
        if number % at_once == 0 {
            if !goes_on(end, PAUSE) {
                return false;
            }
            now = clock.now();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::super::Bounds;
    use super::super::slot::tests::{at, sized};
    use super::super::slot::{Marker, Slot};
    use super::super::table::Change;
    use super::*;

    fn table() -> (Table, IntCounter) {
        let bounds = Bounds { max_bytes: 1 << 30, max_entries: u64::MAX, max_variants: 9, threads: 1 };
        let [evicted, expired] = ["evicted", "expired"].map(|name| IntCounter::new(name, name).unwrap());
        (Table::new(&bounds, evicted, expired.clone()), expired)
    }

    fn put(table: &Table, number: usize, slot: Slot) {
        table.change(&number.to_be_bytes(), |_| Change::Put(slot));
    }

    #[test]
    fn a_pass_removes_what_is_of_no_use_any_more_and_nothing_else() {
        let ((table, expired), clock) = (table(), Clock::manual());
        let (alive, end) = mpsc::channel();
        for number in 0..3 * AT_ONCE {
            let marker = Marker { until: at(if number.is_multiple_of(2) { 10 } else { 20 }), too_large: false };
            put(&table, number, Slot::marked(None, marker));
        }
        put(&table, usize::MAX, Slot::with(None, &sized(1), 9, at(1)).unwrap());
        clock.advance(at(10).since(clock.now()));
        assert!(pass(&table, &clock, &end));
        let left: Vec<_> =
            table.iter().map(|(key, _)| usize::from_be_bytes(key.as_ref().as_ref().try_into().unwrap())).collect();
        assert!(left.iter().all(|number| !number.is_multiple_of(2)), "{left:?}");
        assert_eq!((left.len(), expired.get()), (3 * AT_ONCE / 2 + 1, 3 * AT_ONCE as u64 / 2));
        drop(alive);
        assert!(!pass(&table, &clock, &end), "nobody needs it any more");
    }

    #[test]
    fn what_has_been_renewed_since_it_was_looked_at_stays() {
        let (table, expired) = table();
        put(&table, 1, Slot::with(None, &sized(1), 9, at(1)).unwrap());
        table.expire(&1_usize.to_be_bytes(), at(1));
        table.expire(&2_usize.to_be_bytes(), at(1));
        assert_eq!((table.iter().count(), expired.get()), (1, 0));
    }
}
