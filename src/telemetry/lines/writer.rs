//! The writer's thread: takes what waits, makes lines of it in the order of all threads, and writes them.

use std::io::{ErrorKind, Write};
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

use super::Shared;
use super::waiting::{Line, Waiting, Written};
use crate::clock::{Clock, Moment};

/// Bytes gathered before they are written even though more lines wait.
const BATCH_BYTES: usize = 64 * 1024;

/// Pause after each batch. While the thread sleeps it is not parked, so under load
/// the senders never pay for waking it, and lines leave in batches.
const PAUSE: Duration = Duration::from_millis(5);

/// The thread's side.
pub(super) struct Writer<R, W> {
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
    pub(super) const fn new(render: R, out: W, lost: IntCounter) -> Self {
        Self { render, out, lost, batch: Vec::new(), ends: Vec::new(), torn: false }
    }

    /// Ends when nobody will log any more and nothing waits.
    pub(super) fn run<L>(&mut self, shared: &Shared<L>, clock: &Clock)
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
mod tests {
    use std::{io, slice};

    use super::super::waiting::{QUEUE_LINES, USUAL};
    use super::*;

    #[test]
    fn what_was_logged_later_waits_for_what_may_come_before_it() {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |at: Moment, (): &(), text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(text);
            out.extend_from_slice(at.as_micros().to_string().as_bytes());
        };
        let mut writer = Writer::new(render, io::sink(), lost);
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
    fn memory_that_a_stall_has_taken_is_given_back() {
        let lost = IntCounter::new("lost", "lost").unwrap();
        let render = |_, (): &(), text: &[u8], out: &mut Vec<u8>| out.extend_from_slice(text);
        let mut writer = Writer::new(render, io::sink(), lost);
        let length = 1_000;
        let lines = (0..QUEUE_LINES).map(|_| Line { at: Moment::default(), about: (), length }).collect();
        let mut taken = Waiting { lines, text: vec![b'x'; length * QUEUE_LINES] };
        writer.make_lines(slice::from_mut(&mut taken), Moment::default());
        assert!(taken.lines.capacity() <= USUAL.0 && taken.text.capacity() <= USUAL.1 && taken.text.is_empty());
        assert!(writer.batch.capacity() <= 4 * BATCH_BYTES, "nor is more gathered before it is written");
    }
}
