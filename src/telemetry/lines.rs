//! One writer thread behind a bounded queue: the part both logs share.
//!
//! Whoever has a line to log pays one attempt to enqueue and nothing else. Formatting and
//! writing happen on the thread, which alone may block on a full disk or a stalled reader.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::oneshot;

/// Lines that may wait. Bounds memory: a waiting access record keeps its request head alive.
pub(super) const QUEUE_LINES: usize = 4096;

/// Bytes gathered before they are written even though more lines wait.
const BATCH_BYTES: usize = 64 * 1024;

/// Pause after each batch. While the thread sleeps it is not parked on the queue, so under load
/// the senders never pay for waking it, and lines leave in batches.
const PAUSE: Duration = Duration::from_millis(5);

/// How often [`LineQueue::flush`] looks for a free place in a full queue.
const FLUSH_RETRY: Duration = Duration::from_millis(1);

/// The sending side.
pub(super) struct LineQueue<T> {
    sender: SyncSender<Message<T>>,
    lost: IntCounter,
}

enum Message<T> {
    Line(T),
    /// Answered once every line before it was written or counted as lost.
    Flush(oneshot::Sender<()>),
}

impl<T: Send + 'static> LineQueue<T> {
    /// Starts the thread. `render` appends one line with its end; `lost` counts lines that found
    /// the queue full or could not be written.
    pub(super) fn start(
        name: &str,
        lost: IntCounter,
        render: impl FnMut(&T, &mut Vec<u8>) + Send + 'static,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let mut writer = Writer { render, out, lost: lost.clone(), batch: Vec::new(), ends: Vec::new(), torn: false };
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender, lost })
    }

    /// Enqueues a line, or counts it as lost. Never blocks.
    pub(super) fn push(&self, line: T) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.lost.inc();
        }
    }

    /// Waits until all lines pushed so far were written or counted as lost; `false` when that
    /// takes longer than `within`.
    pub(super) async fn flush(&self, within: Duration) -> bool {
        let flushed = async {
            let (done, written) = oneshot::channel();
            let mut message = Message::Flush(done);
            loop {
                match self.sender.try_send(message) {
                    Ok(()) => return written.await.is_ok(),
                    Err(TrySendError::Full(back)) => message = back,
                    Err(TrySendError::Disconnected(_)) => return false,
                }
                tokio::time::sleep(FLUSH_RETRY).await;
            }
        };
        tokio::time::timeout(within, flushed).await.unwrap_or(false)
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
    /// Ends when the last sender is gone and the queue is empty.
    fn run<T>(&mut self, queue: &Receiver<Message<T>>)
    where
        R: FnMut(&T, &mut Vec<u8>),
    {
        while let Ok(first) = queue.recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                self.take(message);
                next = queue.try_recv().ok();
            }
            self.write_batch();
            thread::sleep(PAUSE);
        }
    }

    fn take<T>(&mut self, message: Message<T>)
    where
        R: FnMut(&T, &mut Vec<u8>),
    {
        match message {
            Message::Line(line) => {
                (self.render)(&line, &mut self.batch);
                self.ends.push(self.batch.len());
                if self.batch.len() >= BATCH_BYTES {
                    self.write_batch();
                }
            }
            Message::Flush(done) => {
                self.write_batch();
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
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
    use std::sync::{Arc, Condvar, Mutex, MutexGuard};

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
            state.room = state.room.map(|room| room - fits);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(in crate::telemetry) const PATIENCE: Duration = Duration::from_secs(20);

    fn queue(sink: &TestSink) -> (LineQueue<&'static str>, IntCounter) {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |line: &&str, out: &mut Vec<u8>| out.extend_from_slice(format!("{line}\n").as_bytes());
        (LineQueue::start("test-log", lost.clone(), render, sink.clone()).unwrap(), lost)
    }

    #[tokio::test]
    async fn flush_returns_when_every_line_is_written_in_order() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        for line in ["one", "two", "three"] {
            queue.push(line);
        }
        assert!(queue.flush(PATIENCE).await);
        assert_eq!(sink.text(), "one\ntwo\nthree\n");
        assert_eq!(lost.get(), 0);
    }

    #[tokio::test]
    async fn g8_a_stalled_reader_costs_lines_and_never_blocks_the_sender() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.stall(true);
        queue.push("held");
        sink.wait_until_blocked();
        for _ in 0..QUEUE_LINES {
            queue.push("waiting");
        }
        assert_eq!(lost.get(), 0, "the queue has room for this many");
        for _ in 0..10 {
            queue.push("lost");
        }
        assert_eq!(lost.get(), 10);
        assert!(!queue.flush(Duration::from_millis(20)).await, "a stalled writer must not hold up the exit");
        sink.stall(false);
        assert!(queue.flush(PATIENCE).await);
        assert_eq!(sink.text().lines().count(), 1 + QUEUE_LINES);
        assert!(!sink.text().contains("lost"));
    }

    #[tokio::test]
    async fn g8_a_full_disk_costs_lines_and_leaves_no_torn_line_when_there_is_room_again() {
        let sink = TestSink::default();
        let (queue, lost) = queue(&sink);
        sink.limit(Some(6));
        queue.push("one");
        assert!(queue.flush(PATIENCE).await);
        queue.push("two");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("one\ntw", 1));
        queue.push("three");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("one\ntw", 2));
        sink.limit(None);
        queue.push("four");
        assert!(queue.flush(PATIENCE).await);
        assert_eq!((sink.text().as_str(), lost.get()), ("one\ntw\nfour\n", 2));
    }
}
