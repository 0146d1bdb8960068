//! A conversation with Redis about many look-ups at once: what is written, what was read, and whose it is. It does
//! no I/O and waits for nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fred::clients::Client;
use tokio::time::Instant;

use super::ask::{Ask, Said};
use super::resp::{self, Malformed, Word};
use super::shared::{Fault, Shared, hex};

/// Look-ups in one command. Each costs Redis less the more there are, but whoever else asks waits for all of them.
pub(super) const AT_ONCE: usize = 16;

/// A command that Redis has yet to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// So many look-ups.
    Looks(usize),
    /// Something whose answer changes nothing.
    Else,
}

/// An answer to look-ups of which a part is there.
struct Partial {
    /// Look-ups whose answer is yet to come.
    left: usize,
    state: Option<u8>,
    value: Option<Bytes>,
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
    /// A name that is being written.
    name: String,
    /// When Redis last said something.
    now: Instant,
    due: Option<Instant>,
}

impl Talk {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (out, sent, asked) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { shared, out, sent, asked, partial: None, name: String::new(), now: Instant::now(), due: None }
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

    /// Asks all of this in as few commands as may be.
    pub(super) fn ask(&mut self, asks: &mut Vec<Ask>) {
        while !asks.is_empty() {
            let count = asks.len().min(AT_ONCE);
            let (token, longest) = (self.shared.token(), self.shared.longest());
            let prefix = &self.shared.settings.prefix;
            let out = &mut self.out;
            resp::begin(out, 3 + count + 3 + count + 1);
            resp::push(out, b"EVALSHA");
            resp::push(out, self.shared.script.sha1().as_bytes());
            resp::push_number(out, count);
            for ask in &mut asks[..count] {
                ask.token = token;
                self.due = Some(self.due.map_or(ask.span.until, |due| due.min(ask.span.until)));
                self.name.clear();
                ask.place.push_value(&mut self.name, prefix);
                resp::push(out, self.name.as_bytes());
            }
            resp::push(out, hex(token).as_bytes());
            resp::push_number(out, usize::try_from(self.shared.settings.lease.as_millis()).unwrap_or(usize::MAX));
            resp::push_number(out, longest);
            for ask in &asks[..count] {
                resp::push(out, &ask.seen);
            }
            resp::push(out, b"look");
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
            (Sent::Looks(count), Word::Array(elements)) if *elements == count * 3 => {
                self.partial = Some(Partial { left: count, state: None, value: None });
            }
            (Sent::Looks(count), Word::Error(error)) => self.refused(count, error),
            (Sent::Looks(_), _) | (Sent::Else, Word::Array(_)) => return Err(Malformed),
            (Sent::Else, _) => {}
        }
        Ok(())
    }

    /// An answer goes on.
    fn go_on(&mut self, mut partial: Partial, word: &Word<'_>) -> Result<(), Malformed> {
        match (partial.state, partial.value.take(), word) {
            (None, None, Word::Number(state)) => partial.state = Some(u8::try_from(*state).map_err(|_| Malformed)?),
            // What came is a part of a buffer that the next answers are read into.
            (Some(_), None, Word::Bulk(value)) => partial.value = Some(Bytes::copy_from_slice(value)),
            (Some(state), Some(value), Word::Number(left)) => {
                self.tell((state, value, *left))?;
                partial = Partial { left: partial.left - 1, state: None, value: None };
            }
            _ => return Err(Malformed),
        }
        self.partial = (partial.left > 0).then_some(partial);
        Ok(())
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
