//! One writer thread for lines that many threads log: the part both logs share.
//!
//! Whoever has a line to log adds it to those that wait and pays for nothing else. The writer takes all that wait at
//! once; formatting and writing happen on its thread, which alone may block on a full disk or a stalled reader.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::place::{self, PLACES};

/// Lines that may wait on a shelf. Bounds memory, like the next.
pub(super) const QUEUE_LINES: usize = 4096;
/// Bytes of their text; the last line may go beyond.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Lines, and bytes of text, that an empty shelf keeps memory for.
const USUAL: (usize, usize) = (1024, 128 * 1024);

/// Bytes gathered before they are written even though more lines wait.
const BATCH_BYTES: usize = 64 * 1024;

/// Pause after each batch. While the thread sleeps it is not parked, so under load
/// the senders never pay for waking it, and lines leave in batches.
const PAUSE: Duration = Duration::from_millis(5);

/// Where lines wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelves {
    /// Together: they are written in the order in which they were logged.
    One,
    /// Those of each thread by themselves, so that no thread waits for another: a thread's lines are in order, those of
    /// several are mixed.
    PerThread,
}

/// The sending side. A line is an `L` and a text that belongs to it.
pub(super) struct LineQueue<L> {
    shared: Arc<Shared<L>>,
    writer: Thread,
    lost: IntCounter,
}

struct Shared<L> {
    /// The first is that of all threads that have none of their own; the others are those of places.
    shelves: Box<[CachePadded<Mutex<Waiting<L>>>]>,
    /// Whoever waits until what was logged is written.
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
    /// Nobody will log any more.
    closed: AtomicBool,
}

/// Lines that nobody has written yet.
struct Waiting<L> {
    /// Each with the place where its text ends.
    lines: Vec<(L, usize)>,
    /// The text of all of them.
    text: Vec<u8>,
}

impl<L> Waiting<L> {
    const fn new() -> Self {
        Self { lines: Vec::new(), text: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= QUEUE_LINES || self.text.len() >= QUEUE_BYTES
    }
}

impl<L: Send + 'static> LineQueue<L> {
    /// Starts the thread. `render` appends one line with its end; `lost` counts lines that found
    /// no room or could not be written.
    pub(super) fn start(
        name: &str,
        shelves: Shelves,
        lost: IntCounter,
        render: impl FnMut(&L, &[u8], &mut Vec<u8>) + Send + 'static,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let own = if shelves == Shelves::PerThread { PLACES } else { 0 };
        let shelves = (0..=own).map(|_| CachePadded::new(Mutex::new(Waiting::new()))).collect();
        let shared = Arc::new(Shared { shelves, flushes: Mutex::default(), closed: AtomicBool::new(false) });
        let mut writer = Writer { render, out, lost: lost.clone(), batch: Vec::new(), ends: Vec::new(), torn: false };
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&theirs))?;
        Ok(Self { shared, writer: thread.thread().clone(), lost })
    }
}

impl<L> LineQueue<L> {
    /// Adds a line, which `make` gives and whose text it appends, or counts it as lost. Never waits for the writer, but while
    /// it takes away what is there.
    pub(super) fn push(&self, make: impl FnOnce(&mut Vec<u8>) -> L) {
        let shelves = &self.shared.shelves;
        let own = place::here().and_then(|place| shelves.get(1 + place));
        let mut waiting = own.unwrap_or(&shelves[0]).lock();
        if waiting.is_full() {
            self.lost.inc();
            return;
        }
        let line = make(&mut waiting.text);
        let end = waiting.text.len();
        waiting.lines.push((line, end));
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

/// The thread's side.
struct Writer<R, W> {
    render: R,
    out: W,
    lost: IntCounter,
    batch: Vec<u8>,
    /// Where each line of the batch ends.
    ends: Vec<usize>,
    /// Whether the last write broke off inside a line. The next batch then begins with a line
    /// end, so that the fragment cannot swallow the line after it.
    torn: bool,
}

impl<R, W: Write> Writer<R, W> {
    /// Ends when nobody will log any more and nothing waits.
    fn run<L>(&mut self, shared: &Shared<L>)
    where
        R: FnMut(&L, &[u8], &mut Vec<u8>),
    {
        let mut taken = Waiting::new();
        loop {
            // Both before the lines: what was logged before is among them.
            let closed = shared.closed.load(Ordering::Acquire);
            let flushes = mem::take(&mut *shared.flushes.lock());
            let mut idle = true;
            for shelf in &shared.shelves {
                let mut waiting = shelf.lock();
                if !waiting.lines.is_empty() {
                    mem::swap(&mut *waiting, &mut taken);
                    drop(waiting);
                    self.take(&mut taken);
                    idle = false;
                }
            }
            self.write_batch();
            for done in flushes {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            match (idle, closed) {
                (false, _) => thread::sleep(PAUSE),
                (true, true) => return,
                (true, false) => thread::park(),
            }
        }
    }

    /// Makes lines of what has waited, and leaves its memory for what will.
    fn take<L>(&mut self, taken: &mut Waiting<L>)
    where
        R: FnMut(&L, &[u8], &mut Vec<u8>),
    {
        let mut from = 0;
        for (line, end) in taken.lines.drain(..) {
            (self.render)(&line, &taken.text[from..end], &mut self.batch);
            from = end;
            self.ends.push(self.batch.len());
            if self.batch.len() >= BATCH_BYTES {
                self.write_batch();
            }
        }
        taken.text.clear();
        // After a stall there may be far more.
        taken.lines.shrink_to(USUAL.0);
        taken.text.shrink_to(USUAL.1);
    }

    fn write_batch(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let written = write_what_fits(&mut self.out, &self.batch);
        let whole = self.ends.partition_point(|end| *end <= written);
        self.lost.inc_by((self.ends.len() - whole) as u64);
        if written > 0 {
            let lead = usize::from(self.torn);
            let last_end = whole.checked_sub(1).map_or(lead, |last| self.ends[last]);
            self.torn = written > last_end;
        }
        self.ends.clear();
        self.batch.clear();
        if self.torn {
            self.batch.push(b'\n');
        }
    }
}

/// Writes until done or refused (ENOSPC, EPIPE and the like), and tells how many bytes went out.
fn write_what_fits(out: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = out.flush();
    written
}

#[cfg(test)]
pub(super) mod tests {
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
        queue_of(Shelves::PerThread, sink)
    }

    fn queue_of(shelves: Shelves, sink: &TestSink) -> (LineQueue<usize>, IntCounter) {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |number: &usize, text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{number} {}\n", str::from_utf8(text).unwrap()).as_bytes());
        };
        (LineQueue::start("test-log", shelves, lost.clone(), render, sink.clone()).unwrap(), lost)
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
    async fn lines_on_one_shelf_are_written_in_the_order_of_all_threads() {
        let sink = TestSink::default();
        let (queue, _) = queue_of(Shelves::One, &sink);
        sink.stall(true);
        push(&queue, 0, "");
        sink.wait_until_blocked();
        for number in 1..10 {
            thread::scope(|scope| scope.spawn(|| push(&queue, number, "")).join().unwrap());
        }
        sink.stall(false);
        assert!(queue.flush(PATIENCE).await);
        assert!(sink.text().lines().map(|line| line.trim().parse::<usize>().unwrap()).eq(0..10));
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

    #[test]
    fn memory_that_a_stall_has_taken_is_given_back() {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |(): &(), text: &[u8], out: &mut Vec<u8>| out.extend_from_slice(text);
        let mut writer = Writer { render, out: io::sink(), lost, batch: Vec::new(), ends: Vec::new(), torn: false };
        let text = vec![b'x'; 1_000];
        let mut taken = Waiting { lines: vec![((), 0); QUEUE_LINES], text: text.repeat(QUEUE_LINES) };
        (1..).zip(&mut taken.lines).for_each(|(line, ((), end))| *end = line * text.len());
        writer.take(&mut taken);
        assert!(taken.lines.capacity() <= USUAL.0 && taken.text.capacity() <= USUAL.1 && taken.text.is_empty());
        assert!(writer.batch.capacity() <= 4 * BATCH_BYTES, "nor is more gathered before it is written");
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
