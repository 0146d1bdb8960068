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
use crate::clock::{Clock, Moment};

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

/// Lines that nobody has written yet, in the order in which they were logged.
struct Waiting<L> {
    lines: Vec<Line<L>>,
    /// The text of all of them.
    text: Vec<u8>,
}

struct Line<L> {
    at: Moment,
    about: L,
    /// Bytes of its text.
    length: usize,
}

impl<L> Waiting<L> {
    const fn new() -> Self {
        Self { lines: Vec::new(), text: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= QUEUE_LINES || self.text.len() >= QUEUE_BYTES
    }

    /// Takes all that waits on a shelf.
    fn take(&mut self, waiting: &mut Self) {
        if self.lines.is_empty() {
            mem::swap(self, waiting);
        } else {
            self.lines.append(&mut waiting.lines);
            self.text.append(&mut waiting.text);
        }
    }

    /// Removes the first lines and their text; of the memory it keeps what is usual.
    fn remove(&mut self, Written { lines, bytes }: Written) {
        self.lines.drain(..lines);
        self.text.drain(..bytes);
        // After a stall there may be far more.
        self.lines.shrink_to(USUAL.0);
        self.text.shrink_to(USUAL.1);
    }
}

/// How much of what waits has been made lines of.
#[derive(Clone, Copy, Default)]
struct Written {
    lines: usize,
    bytes: usize,
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
        let mut writer = Writer { render, out, lost: lost.clone(), batch: Vec::new(), ends: Vec::new(), torn: false };
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
    fn run<L>(&mut self, shared: &Shared<L>, clock: &Clock)
    where
        R: FnMut(Moment, &L, &[u8], &mut Vec<u8>),
    {
        let mut taken: Vec<Waiting<L>> = shared.shelves.iter().map(|_| Waiting::new()).collect();
        loop {
            // All three before the lines: what was logged before is among them.
            let closed = shared.closed.load(Ordering::Acquire);
            let flushes = mem::take(&mut *shared.flushes.lock());
            let until = clock.now();
            for (shelf, taken) in shared.shelves.iter().zip(&mut taken) {
                let mut waiting = shelf.lock();
                if !waiting.lines.is_empty() {
                    taken.take(&mut waiting);
                }
            }
            let idle = taken.iter().all(|taken| taken.lines.is_empty());
            self.make_lines(&mut taken, until);
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

    /// Makes lines of what was logged until some moment, in the order of all threads. What was logged later stays: something
    /// that came before it may not have been there yet.
    fn make_lines<L>(&mut self, taken: &mut [Waiting<L>], until: Moment)
    where
        R: FnMut(Moment, &L, &[u8], &mut Vec<u8>),
    {
        let mut sources: Vec<_> =
            taken.iter_mut().filter(|taken| !taken.lines.is_empty()).map(|taken| (taken, Written::default())).collect();
        loop {
            let next = |(taken, written): &(&mut Waiting<L>, Written)| Some(taken.lines.get(written.lines)?.at);
            let heads = sources.iter_mut().filter_map(|source| Some((next(source)?, source)));
            let Some((_, (taken, written))) = heads.filter(|(at, _)| *at <= until).min_by_key(|(at, _)| *at) else {
                break;
            };
            let Line { at, about, length } = &taken.lines[written.lines];
            (self.render)(*at, about, &taken.text[written.bytes..][..*length], &mut self.batch);
            *written = Written { lines: written.lines + 1, bytes: written.bytes + length };
            self.ends.push(self.batch.len());
            if self.batch.len() >= BATCH_BYTES {
                self.write_batch();
            }
        }
        for (taken, written) in sources {
            taken.remove(written);
        }
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
    use std::slice;
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
    fn what_was_logged_later_waits_for_what_may_come_before_it() {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |at: Moment, (): &(), text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(text);
            out.extend_from_slice(at.as_micros().to_string().as_bytes());
        };
        let mut writer = Writer { render, out: io::sink(), lost, batch: Vec::new(), ends: Vec::new(), torn: false };
        let waiting = |name: &str, times: &[u64]| Waiting {
            lines: times
                .iter()
                .map(|at| Line { at: Moment::from_micros(*at), about: (), length: name.len() })
                .collect(),
            text: name.repeat(times.len()).into_bytes(),
        };
        let mut taken = [waiting("a", &[1, 4, 9]), waiting("b", &[]), waiting("cc", &[2, 3, 8])];
        writer.make_lines(&mut taken, Moment::from_micros(7));
        assert_eq!(str::from_utf8(&writer.batch).unwrap(), "a1cc2cc3a4");
        taken[0].take(&mut waiting("a", &[11]));
        taken[1].take(&mut waiting("b", &[7, 10]));
        writer.make_lines(&mut taken, Moment::from_micros(20));
        assert_eq!(str::from_utf8(&writer.batch).unwrap(), "a1cc2cc3a4b7cc8a9b10a11");
        assert!(taken.iter().all(|taken| taken.lines.is_empty() && taken.text.is_empty()));
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
        let render = |_, (): &(), text: &[u8], out: &mut Vec<u8>| out.extend_from_slice(text);
        let mut writer = Writer { render, out: io::sink(), lost, batch: Vec::new(), ends: Vec::new(), torn: false };
        let length = 1_000;
        let lines = (0..QUEUE_LINES).map(|_| Line { at: Moment::default(), about: (), length }).collect();
        let mut taken = Waiting { lines, text: vec![b'x'; length * QUEUE_LINES] };
        writer.make_lines(slice::from_mut(&mut taken), Moment::default());
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
