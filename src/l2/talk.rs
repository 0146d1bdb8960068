//! A conversation with Redis about many look-ups at once: what is written, what was read, and whose it is. It does
//! no I/O and waits for nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::vec::Drain;

use bytes::Bytes;
use fred::clients::Client;
use tokio::time::Instant;

use super::ask::{Ask, Said};
use super::envelope::Damage;
use super::names::Place;
use super::resp::{self, Malformed, Word};
use super::shared::{Fault, Shared, hex};

/// Look-ups in one run of the script. Each costs Redis less the more there are, but whoever else asks waits for all of
/// them.
pub(super) const AT_ONCE: usize = 16;

/// What Redis has yet to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The script for so many look-ups, and then each value.
    Looks(usize),
    /// The script for one value.
    Read,
    /// Something whose answer changes nothing.
    Else,
}

/// What comes next of an answer.
#[derive(Debug)]
enum Next {
    /// How long the value of this look-up lives.
    Time(usize),
    /// The value of this look-up.
    Value(usize),
    /// How long the one value lives that is read.
    Left,
    /// Its text.
    Text(i64),
    /// What was wrong with it, if anything.
    Unfit(i64, Bytes),
}

/// An answer of which a part is there.
struct Partial {
    looks: usize,
    next: Next,
    /// Why Redis did not run the script.
    refused: Option<Vec<u8>>,
}

/// Writes the name of a value, with `name` as room for it.
fn push_name(out: &mut Vec<u8>, name: &mut String, shared: &Shared, place: Place) {
    name.clear();
    place.push_value(name, &shared.settings.prefix);
    resp::push(out, name.as_bytes());
}

/// Writes what a lease is called, and how long it lives.
fn push_terms(out: &mut Vec<u8>, shared: &Shared, token: u64) {
    resp::push(out, hex(token).as_bytes());
    resp::push_number(out, usize::try_from(shared.settings.lease.as_millis()).unwrap_or(usize::MAX));
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
    /// What the script said of each look-up of `partial`.
    times: [i64; AT_ONCE],
    /// A name that is being written.
    name: String,
    /// Where the names stand in `out` of what is asked together.
    names: Vec<Range<usize>>,
    /// What the command that reads a value says before its name, and behind it.
    before_name: Vec<u8>,
    after_name: Vec<u8>,
    /// When Redis last said something.
    now: Instant,
    due: Option<Instant>,
}

impl Talk {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (out, sent, asked) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let (mut before_name, mut after_name) = (Vec::new(), Vec::new());
        resp::begin(&mut before_name, 4);
        resp::push(&mut before_name, b"GETRANGE");
        resp::push(&mut after_name, b"0");
        resp::push_number(&mut after_name, shared.longest());
        Self {
            shared,
            out,
            sent,
            asked,
            partial: None,
            times: [0; AT_ONCE],
            name: String::new(),
            names: Vec::new(),
            before_name,
            after_name,
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
        !self.sent.is_empty() || self.partial.is_some()
    }

    /// Look-ups that Redis has yet to answer.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// When the first is too late of those that were asked since the last call.
    pub(super) fn take_due(&mut self) -> Option<Instant> {
        self.due.take()
    }

    /// Asks all of this in as few commands as may be.
    pub(super) fn ask(&mut self, asks: &mut Vec<Ask>) {
        for ask in &*asks {
            self.due = Some(self.due.map_or(ask.span.until, |due| due.min(ask.span.until)));
        }
        asks.extract_if(.., |ask| ask.seen.is_some()).for_each(|ask| self.read(ask));
        while !asks.is_empty() {
            let count = asks.len().min(AT_ONCE);
            self.look(asks.drain(..count));
        }
    }

    /// Asks for values of which any will do.
    fn look(&mut self, asks: Drain<'_, Ask>) {
        let (token, count) = (self.shared.token(), asks.len());
        let out = &mut self.out;
        resp::begin(out, 3 + count + 3);
        resp::push(out, b"EVALSHA");
        resp::push(out, self.shared.script.sha1().as_bytes());
        resp::push_number(out, count);
        self.names.clear();
        for mut ask in asks {
            ask.token = token;
            let from = out.len();
            push_name(out, &mut self.name, &self.shared, ask.place);
            self.names.push(from..out.len());
            self.asked.push_back(ask);
        }
        push_terms(out, &self.shared, token);
        resp::push(out, b"look");
        for name in self.names.drain(..) {
            out.extend_from_slice(&self.before_name);
            out.extend_from_within(name);
            out.extend_from_slice(&self.after_name);
        }
        self.sent.push_back(Sent::Looks(count));
    }

    /// Asks for one value, which must be another than the one that was seen.
    fn read(&mut self, mut ask: Ask) {
        ask.token = self.shared.token();
        let out = &mut self.out;
        resp::begin(out, 3 + 1 + 6);
        resp::push(out, b"EVALSHA");
        resp::push(out, self.shared.script.sha1().as_bytes());
        resp::push_number(out, 1);
        push_name(out, &mut self.name, &self.shared, ask.place);
        push_terms(out, &self.shared, ask.token);
        resp::push_number(out, self.shared.longest());
        let seen = ask.seen.as_ref();
        resp::push(out, seen.map_or(&[], |seen| &seen.head));
        resp::push(out, seen.map_or(0, |seen| seen.left).to_string().as_bytes());
        resp::push(out, b"read");
        self.sent.push_back(Sent::Read);
        self.asked.push_back(ask);
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
        let answer = |looks, next| Some(Partial { looks, next, refused: None });
        match (self.sent.pop_front().ok_or(Malformed)?, word) {
            (Sent::Looks(looks), Word::Array(times)) if *times == looks => self.partial = answer(looks, Next::Time(0)),
            // The values follow all the same.
            (Sent::Looks(looks), Word::Error(error)) => {
                self.partial = Some(Partial { looks, next: Next::Value(0), refused: Some(error.to_vec()) });
            }
            (Sent::Read, Word::Array(3)) => self.partial = answer(1, Next::Left),
            (Sent::Read, Word::Error(error)) => self.refused(1, error),
            (Sent::Looks(_) | Sent::Read, _) | (Sent::Else, Word::Array(_)) => return Err(Malformed),
            (Sent::Else, _) => {}
        }
        Ok(())
    }

    /// An answer goes on.
    fn go_on(&mut self, partial: Partial, word: &Word<'_>) -> Result<(), Malformed> {
        let Partial { looks, next, refused } = partial;
        let next = match (next, word) {
            (Next::Time(at), Word::Number(time)) => {
                self.times[at] = *time;
                Some(if at + 1 < looks { Next::Time(at + 1) } else { Next::Value(0) })
            }
            (Next::Value(at), Word::Bulk(_) | Word::Error(_)) => {
                if refused.is_none() {
                    self.value(self.times[at], word)?;
                }
                (at + 1 < looks).then_some(Next::Value(at + 1))
            }
            (Next::Left, Word::Number(left)) => Some(Next::Text(*left)),
            (Next::Text(left), Word::Bulk(value)) => Some(Next::Unfit(left, Bytes::copy_from_slice(value))),
            (Next::Unfit(left, value), Word::Number(unfit)) => {
                self.tell(Said::from((left, value, *unfit)))?;
                None
            }
            _ => return Err(Malformed),
        };
        match (next, refused) {
            (Some(next), refused) => self.partial = Some(Partial { looks, next, refused }),
            (None, Some(error)) => self.refused(looks, &error),
            (None, None) => {}
        }
        Ok(())
    }

    /// What came for the value of the first look-up that waits, of which the script said this.
    fn value(&mut self, left: i64, word: &Word<'_>) -> Result<(), Malformed> {
        let value = match word {
            // There was none.
            _ if left < -1 => Ok(Bytes::new()),
            Word::Bulk(value) if value.len() > self.shared.longest() => Err(Damage::TooLarge),
            // What came is a part of a buffer that the next answers are read into.
            Word::Bulk(value) => Ok(Bytes::copy_from_slice(value)),
            Word::Error(error) if error.starts_with(b"WRONGTYPE") => Err(Damage::Foreign),
            _ => {
                tracing::debug!(said = ?word, "Redis");
                let mut ask = self.asked.pop_front().ok_or(Malformed)?;
                ask.give_up(&self.shared, Fault::Refused, self.now);
                return Ok(());
            }
        };
        if let (Err(damage), Some(ask)) = (&value, self.asked.front().filter(|ask| !ask.is_open())) {
            // Whoever waits looks again, and the script removes it. But if it came too late, so it would for the next.
            self.shared.metrics.damaged(*damage as usize).inc();
            let name = ask.place.value(&self.shared.settings.prefix);
            resp::command(&mut self.out, &["UNLINK", &name]);
            self.sent.push_back(Sent::Else);
        }
        self.tell(Said { left, value })
    }

    fn tell(&mut self, said: Said) -> Result<(), Malformed> {
        self.asked.pop_front().ok_or(Malformed)?.tell(&self.shared, said, self.now);
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
