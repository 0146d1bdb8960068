//! A conversation with Redis about many look-ups at once: what is written, what was read, and whose it is. It does
//! no I/O and waits for nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fred::clients::Client;
use tokio::time::Instant;

use super::ask::{Ask, Said};
use super::resp::{self, Malformed, Word};
use super::shared::{Fault, Shared, hex};

/// Look-ups in one transaction. Each costs Redis less the more there are, but whoever else asks waits for all of them.
pub(super) const AT_ONCE: usize = 16;

/// What Redis has yet to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// A transaction of so many look-ups: the script, then each value.
    Looks(usize),
    /// Something whose answer changes nothing.
    Else,
}

/// What comes next of the answer to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// That so many commands were taken in.
    Queued(usize),
    /// How many of them were carried out.
    Carried,
    /// What the script says: so many times to live.
    Times,
    /// The time to live of this look-up.
    Time(usize),
    /// The value of this look-up.
    Value(usize),
}

/// An answer to look-ups of which a part is there.
struct Partial {
    looks: usize,
    next: Step,
    /// Why Redis did not carry them out.
    refused: Option<Vec<u8>>,
}

impl Step {
    fn queued(left: usize) -> Self {
        if left == 0 { Self::Carried } else { Self::Queued(left) }
    }
}

/// The conversation on one connection.
pub(super) struct Talk {
    shared: Arc<Shared>,
    /// What is to be written.
    out: Vec<u8>,
    sent: VecDeque<Sent>,
    /// The look-ups in `sent`, in their order.
    asked: VecDeque<Ask>,
    partial: Option<Partial>,
    /// What the script said of each of them.
    times: [i64; AT_ONCE],
    /// A name that is being written.
    name: String,
    /// Where the names stand in `out` of what is asked together.
    names: Vec<Range<usize>>,
    /// When Redis last said something.
    now: Instant,
    due: Option<Instant>,
}

impl Talk {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (out, sent, asked) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self {
            shared,
            out,
            sent,
            asked,
            partial: None,
            times: [0; AT_ONCE],
            name: String::new(),
            names: Vec::new(),
            now: Instant::now(),
            due: None,
        }
    }

    /// What is to be written. Whoever writes takes it out.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether Redis owes an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Look-ups that Redis has yet to answer.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// When the first is too late of those that were asked since the last call.
    pub(super) fn take_due(&mut self) -> Option<Instant> {
        self.due.take()
    }

    /// Asks all of this in as few transactions as may be. A value and its time to live have to be of the same moment:
    /// with the time of the next value, an old one would live on.
    pub(super) fn ask(&mut self, asks: &mut Vec<Ask>) {
        while !asks.is_empty() {
            let count = asks.len().min(AT_ONCE);
            let (token, longest) = (self.shared.token(), self.shared.longest());
            let prefix = &self.shared.settings.prefix;
            let out = &mut self.out;
            resp::command(out, &["MULTI"]);
            resp::begin(out, 3 + count + 3 + count + 1);
            resp::push(out, b"EVALSHA");
            resp::push(out, self.shared.script.sha1().as_bytes());
            resp::push_number(out, count);
            self.names.clear();
            for ask in &mut asks[..count] {
                ask.token = token;
                self.due = Some(self.due.map_or(ask.span.until, |due| due.min(ask.span.until)));
                self.name.clear();
                ask.place.push_value(&mut self.name, prefix);
                let from = out.len();
                resp::push(out, self.name.as_bytes());
                self.names.push(from..out.len());
            }
            resp::push(out, hex(token).as_bytes());
            resp::push_number(out, usize::try_from(self.shared.settings.lease.as_millis()).unwrap_or(usize::MAX));
            resp::push_number(out, longest);
            for ask in &asks[..count] {
                resp::push(out, ask.useless.as_bytes());
            }
            resp::push(out, b"look");
            for name in self.names.drain(..) {
                resp::begin(out, 4);
                resp::push(out, b"GETRANGE");
                out.extend_from_within(name);
                resp::push(out, b"0");
                resp::push_number(out, longest);
            }
            resp::command(out, &["EXEC"]);
            self.sent.push_back(Sent::Looks(count));
            self.asked.extend(asks.drain(..count));
        }
    }

    /// Takes in what Redis said so far, and tells those who wait for it. Returns how much of it was understood; the
    /// rest is the beginning of something.
    pub(super) fn hear(&mut self, said: &[u8]) -> Result<usize, Malformed> {
        self.now = Instant::now();
        let mut at = 0;
        while let Some((word, length)) = resp::word(&said[at..], self.shared.longest().saturating_add(1))? {
            match self.partial.take() {
                Some(partial) => self.go_on(partial, &word)?,
                None => self.begin(&word)?,
            }
            at += length;
        }
        Ok(at)
    }

    /// An answer begins.
    fn begin(&mut self, word: &Word<'_>) -> Result<(), Malformed> {
        match (self.sent.pop_front().ok_or(Malformed)?, word) {
            (Sent::Looks(looks), _) => {
                // `MULTI`, the script and each value.
                let next = Step::Queued(1 + 1 + looks);
                self.go_on(Partial { looks, next, refused: None }, word)
            }
            (Sent::Else, Word::Array(_)) => Err(Malformed),
            (Sent::Else, _) => Ok(()),
        }
    }

    /// An answer goes on.
    fn go_on(&mut self, mut partial: Partial, word: &Word<'_>) -> Result<(), Malformed> {
        let looks = partial.looks;
        partial.next = match (partial.next, word) {
            (Step::Queued(left), Word::Status) => Step::queued(left - 1),
            (Step::Queued(left), Word::Error(error)) => {
                partial.refused.get_or_insert_with(|| error.to_vec());
                Step::queued(left - 1)
            }
            (Step::Carried, Word::Array(commands)) if *commands == 1 + looks => Step::Times,
            (Step::Carried, Word::Error(error)) => {
                self.refused(looks, partial.refused.as_deref().unwrap_or(error));
                return Ok(());
            }
            (Step::Times, Word::Array(times)) if *times == looks => Step::Time(0),
            (Step::Times, Word::Error(error)) => {
                partial.refused = Some(error.to_vec());
                Step::Value(0)
            }
            (Step::Time(at), Word::Number(time)) => {
                self.times[at] = *time;
                if at + 1 < looks { Step::Time(at + 1) } else { Step::Value(0) }
            }
            (Step::Value(at), Word::Bulk(_) | Word::Error(_)) => {
                if partial.refused.is_none() {
                    self.tell((self.times[at], word.value()))?;
                }
                if at + 1 == looks {
                    if let Some(error) = partial.refused {
                        self.refused(looks, &error);
                    }
                    return Ok(());
                }
                Step::Value(at + 1)
            }
            _ => return Err(Malformed),
        };
        self.partial = Some(partial);
        Ok(())
    }

    fn tell(&mut self, (left, value): Said<&[u8]>) -> Result<(), Malformed> {
        // What came is a part of a buffer that the next answers are read into.
        let value = value.map(Bytes::copy_from_slice);
        self.asked.pop_front().ok_or(Malformed)?.tell(&self.shared, (left, value), self.now);
        Ok(())
    }

    /// Redis did not carry out these look-ups.
    fn refused(&mut self, count: usize, error: &[u8]) {
        let mut asks: Vec<Ask> = self.asked.drain(..count).collect();
        if error.starts_with(b"NOSCRIPT") {
            // It was told to forget all scripts.
            asks.retain(Ask::is_open);
            self.teach();
            return self.ask(&mut asks);
        }
        tracing::debug!(error = %String::from_utf8_lossy(error), "Redis");
        for ask in &mut asks {
            ask.give_up(&self.shared, Fault::Refused, self.now);
        }
    }

    /// Tells Redis the script.
    pub(super) fn teach(&mut self) {
        if let Some(text) = self.shared.script.lua() {
            resp::command(&mut self.out, &["SCRIPT", "LOAD", text]);
            self.sent.push_back(Sent::Else);
        }
    }

    /// Gives up what is too late. Redis may carry it out after this, and give leases to nobody, so they are freed
    /// behind it. Returns when the next is too late.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let late = |ask: &&mut Ask| ask.is_open() && ask.span.until <= now;
        for ask in self.asked.iter_mut().filter(late) {
            ask.give_up(&self.shared, Fault::Late, now);
            let (keys, args) = self.shared.release(ask.place, hex(ask.token), None);
            let words = ["EVALSHA", &**self.shared.script.sha1(), "3"].into_iter();
            let words: Vec<&str> = words.chain(keys.iter().chain(&args).map(String::as_str)).collect();
            resp::command(&mut self.out, &words);
            self.sent.push_back(Sent::Else);
        }
        self.asked.iter().filter(|ask| ask.is_open()).map(|ask| ask.span.until).min()
    }

    /// The connection is lost. What Redis was asked it may still do.
    pub(super) fn lose(mut self, library: &Client) {
        for ask in &mut self.asked {
            ask.give_up(&self.shared, Fault::Refused, Instant::now());
            self.shared.free(library, ask.place, hex(ask.token), None);
        }
    }
}
