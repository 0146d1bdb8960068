//! One writer thread for lines that many threads log: the part both logs share.
//!
//! Whoever has a line to log adds it to those that wait and pays for nothing else. The writer takes all that wait at
//! once; formatting and writing happen on its thread, which alone may block on a full disk or a stalled reader.

pub(super) mod waiting;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use self::waiting::{Line, Waiting};
use self::writer::Writer;
use super::place::{self, PLACES};
use crate::clock::{Clock, Moment};

/// The sending side. A line is an `L` and a text that belongs to it.
pub(super) struct LineQueue<L> {
    clock: Clock,
    shared: Arc<Shared<L>>,
    writer: Thread,
    lost: IntCounter,
}

struct Shared<L> {
    /// By place; the last is that of all threads that have none.
    shelves: Box<[CachePadded<Mutex<Waiting<L>>>]>,
    /// Whoever waits until what was logged is written.
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
    /// Nobody will log any more.
    closed: AtomicBool,
}

impl<L: Send + 'static> LineQueue<L> {
    /// Starts the thread. `render` appends one line with its end, given when it was logged, and its text; `lost` counts
    /// lines that found no room or could not be written.
    pub(super) fn start(
        name: &str,
        clock: Clock,
        lost: IntCounter,
        render: impl FnMut(Moment, &L, &[u8], &mut Vec<u8>) + Send + 'static,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shelves = (0..=PLACES).map(|_| CachePadded::new(Mutex::new(Waiting::new()))).collect();
        let shared = Arc::new(Shared { shelves, flushes: Mutex::default(), closed: AtomicBool::new(false) });
        let mut writer = Writer::new(render, out, lost.clone());
        let (theirs, time) = (Arc::clone(&shared), clock.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&theirs, &time))?;
        Ok(Self { clock, shared, writer: thread.thread().clone(), lost })
    }
}

impl<L> LineQueue<L> {
    /// Adds a line, which `make` gives and whose text it appends, or counts it as lost. Never waits for the writer, but while
    /// it takes away what is there.
    pub(super) fn push(&self, make: impl FnOnce(&mut Vec<u8>) -> L) {
        let mut waiting = self.shared.shelves[place::here().unwrap_or(PLACES)].lock();
        if waiting.is_full() {
            self.lost.inc();
            return;
        }
        // Behind the lock: what was logged until some moment can be found from that moment on.
        let at = self.clock.now();
        let before = waiting.text.len();
        let about = make(&mut waiting.text);
        let length = waiting.text.len() - before;
        waiting.lines.push(Line { at, about, length });
        // Whoever came before has woken the writer, and it has not looked since.
        let first = waiting.lines.len() == 1;
        drop(waiting);
        if first {
            self.writer.unpark();
        }
    }

    /// Waits until all lines pushed so far were written or counted as lost; `false` when that
    /// takes longer than `within`.
    pub(super) async fn flush(&self, within: Duration) -> bool {
        let (done, written) = oneshot::channel();
        self.shared.flushes.lock().push(done);
        self.writer.unpark();
        matches!(tokio::time::timeout(within, written).await, Ok(Ok(())))
    }
}

impl<L> Drop for LineQueue<L> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::ErrorKind;

    use super::waiting::{QUEUE_BYTES, QUEUE_LINES};
    use super::*;
    use std::sync::{Condvar, Mutex, MutexGuard};

    use crate::telemetry::place::tests::share;

    /// A writer that tests stall, break and read. Clones share one state.
    #[derive(Clone, Default)]
    pub(in crate::telemetry) struct TestSink(Arc<(Mutex<State>, Condvar)>);

    #[derive(Default)]
    struct State {
        bytes: Vec<u8>,
        stalled: bool,
        /// A write call waits for the stall to end.
        blocked: bool,
        /// Bytes that still fit.
        room: Option<usize>,
    }

    impl TestSink {
        fn state(&self) -> MutexGuard<'_, State> {
            self.0.0.lock().unwrap()
        }

        pub(in crate::telemetry) fn text(&self) -> String {
            String::from_utf8(self.state().bytes.clone()).expect("logs are UTF-8")
        }

        pub(in crate::telemetry) fn stall(&self, stalled: bool) {
            self.state().stalled = stalled;
            self.0.1.notify_all();
        }

        /// Returns once the writer thread hangs in a write call.
        pub(in crate::telemetry) fn wait_until_blocked(&self) {
            let state = self.0.1.wait_while(self.state(), |state| !state.blocked).unwrap();
            drop(state);
        }

        /// Returns once all of this and nothing else is written.
        fn wait_for(&self, text: &str) {
            drop(self.0.1.wait_while(self.state(), |state| state.bytes != text.as_bytes()).unwrap());
        }

        /// Like a disk with `room` bytes left.
        pub(in crate::telemetry) fn limit(&self, room: Option<usize>) {
            self.state().room = room;
        }
    }

    impl Write for TestSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.state();
            while state.stalled {
                state.blocked = true;
                self.0.1.notify_all();
                state = self.0.1.wait(state).unwrap();
            }
            state.blocked = false;
            let fits = state.room.unwrap_or(bytes.len()).min(bytes.len());
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            state.bytes.extend_from_slice(&bytes[..fits]);
            self.0.1.notify_all();
            state.room = state.room.map(|room| room - fits);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::telemetry) const PATIENCE: Duration = Duration::from_secs(20);

    fn queue(sink: &TestSink) -> (LineQueue<usize>, IntCounter) {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |_, number: &usize, text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{number} {}\n", str::from_utf8(text).unwrap()).as_bytes());
        };
        (LineQueue::start("test-log", Clock::system(), lost.clone(), render, sink.clone()).unwrap(), lost)
    }

    fn push(queue: &LineQueue<usize>, number: usize, text: &str) {
        queue.push(|out| {
            out.extend_from_slice(text.as_bytes());
            number
        });
    }

    #[tokio::test]
    async fn flush_returns_when_every_line_is_written_in_order() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        for (number, text) in ["one", "", "three"].into_iter().enumerate() {
            push(&queue, number, text);
        }
        assert!(queue.flush(PATIENCE).await);
        assert_eq!(sink.text(), "0 one\n1 \n2 three\n");
        assert_eq!(lost.get(), 0);
    }

    #[tokio::test]
    async fn threads_with_a_place_and_without_lose_nothing_and_keep_their_order() {
        const EACH: usize = 2_000;
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        thread::scope(|scope| {
            for (name, placed) in [("a", true), ("b", true), ("c", false), ("d", false)] {
                let queue = &queue;
                scope.spawn(move || {
                    if !placed {
                        share();
                    }
                    assert_eq!(place::here().is_some(), placed);
                    (0..EACH).for_each(|number| push(queue, number, name));
                });
            }
        });
        assert!(queue.flush(PATIENCE).await);
        assert_eq!(lost.get(), 0);
        let text = sink.text();
        for name in ["a", "b", "c", "d"] {
            let own = text.lines().filter_map(|line| line.split_once(' ')).filter(|(_, from)| *from == name);
            assert!(own.map(|(number, _)| number.parse::<usize>().unwrap()).eq(0..EACH), "{name}");
        }
    }

    #[tokio::test]
    async fn lines_are_written_in_the_order_of_all_threads() {
        const TURNS: usize = 2_000;
        let sink = TestSink::default();
        let (queue, _) = queue(&sink);
        // Threads take turns, some with a place and some without, while the writer writes.
        let turn = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for own in 0..4 {
                let (queue, turn) = (&queue, &turn);
                scope.spawn(move || {
                    if own > 1 {
                        share();
                    }
                    for number in (own..TURNS).step_by(4) {
                        while turn.load(Ordering::Acquire) < number {
                            thread::yield_now();
                        }
                        push(queue, number, "");
                        // Times are in microseconds.
                        let logged = queue.clock.now();
                        while queue.clock.now() == logged {}
                        turn.store(number + 1, Ordering::Release);
                    }
                });
            }
        });
        assert!(queue.flush(PATIENCE).await);
        assert!(sink.text().lines().map(|line| line.trim().parse::<usize>().unwrap()).eq(0..TURNS));
    }

    #[test]
    fn what_was_logged_last_is_written_though_nobody_logs_any_more() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.stall(true);
        push(&queue, 1, "");
        sink.wait_until_blocked();
        push(&queue, 2, "");
        let shared = Arc::downgrade(&queue.shared);
        drop(queue);
        sink.stall(false);
        sink.wait_for("1 \n2 \n");
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
        assert_eq!(lost.get(), 0, "and the thread has ended");
    }

    #[tokio::test]
    async fn g8_a_stalled_reader_costs_lines_and_never_blocks_the_sender() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.stall(true);
        push(&queue, 0, "held");
        sink.wait_until_blocked();
        for number in 0..QUEUE_LINES {
            push(&queue, number, "waiting");
        }
        assert_eq!(lost.get(), 0, "there is room for this many");
        for number in 0..10 {
            push(&queue, number, "lost");
        }
        assert_eq!(lost.get(), 10);
        assert!(!queue.flush(Duration::from_millis(20)).await, "a stalled writer must not hold up the exit");
        sink.stall(false);
        assert!(queue.flush(PATIENCE).await);
        assert_eq!(sink.text().lines().count(), 1 + QUEUE_LINES);
        assert!(!sink.text().contains("lost"));
    }

    #[tokio::test]
    async fn g8_long_lines_that_wait_take_a_bounded_room() {
        let long = "x".repeat(QUEUE_BYTES / 4);
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.stall(true);
        push(&queue, 0, "held");
        sink.wait_until_blocked();
        (0..9).for_each(|number| push(&queue, number, &long));
        assert_eq!(lost.get(), 5);
        sink.stall(false);
        assert!(queue.flush(PATIENCE).await);
        push(&queue, 0, &long);
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().lines().count(), lost.get()), (1 + 4 + 1, 5));
    }

    #[tokio::test]
    async fn g8_a_full_disk_costs_lines_and_leaves_no_torn_line_when_there_is_room_again() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.limit(Some(8));
        push(&queue, 1, "one");
        assert!(queue.flush(PATIENCE).await);
        push(&queue, 2, "two");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("1 one\n2 ", 1));
        push(&queue, 3, "three");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("1 one\n2 ", 2));
        sink.limit(None);
        push(&queue, 4, "four");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("1 one\n2 \n4 four\n", 2));
    }
}
