//! One connection for look-ups. All that are begun in one turn of the runtime leave in one write, and their answers
//! are read at once.
//!
//! The library's connections cost a channel, a task and a write for each command, several times what Redis itself
//! takes for a look-up. So look-ups have this, where there is one server and no TLS; everything else is the
//! library's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fred::clients::Client;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::ask::Ask;
use super::connection::Connection;
use super::resp::{self, Word};
use super::shared::{Fault, Shared};
use super::talk::{AT_ONCE, Talk};
use crate::redis::{CONNECT, RECONNECT, SILENCE, Socket};

/// Look-ups that may wait to be sent or for an answer; more fail at once.
const QUEUED: usize = 4096;

/// The longest answer to what is said first.
const LONGEST_HELLO: usize = 1024;

/// Look-ups on their way to Redis, and the connection that they go by.
pub(super) struct Line {
    shared: Arc<Shared>,
    /// One of the library's connections: it knows where the primary is, and frees leases of a lost connection.
    library: Client,
    state: Mutex<State>,
    /// The task that reads, and writes what is left.
    task: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// Look-ups that have not been sent.
    unsent: Vec<Ask>,
    connection: Option<Connection>,
    /// Redis could not be reached a moment ago.
    refusing: bool,
    /// Nobody will ask any more.
    ended: bool,
}

/// The instance has ended.
struct Ended;

impl Line {
    /// Begins to connect; look-ups may be sent at once.
    pub(super) fn open(shared: &Arc<Shared>, library: &Client) -> Arc<Self> {
        let line = Arc::new(Self {
            shared: Arc::clone(shared),
            library: library.clone(),
            state: Mutex::default(),
            task: AtomicWaker::new(),
        });
        tokio::spawn(Arc::clone(&line).run());
        line
    }

    /// Sends a look-up with the others of this turn. Redis need not wait until all of them are there: as soon as they
    /// fill a command, it leaves.
    pub(super) fn send(&self, mut ask: Ask) {
        let mut state = self.state.lock();
        let asked = state.connection.as_ref().map_or(0, Connection::asked);
        if state.ended || state.refusing || asked + state.unsent.len() >= QUEUED {
            drop(state);
            return ask.give_up(&self.shared, Fault::Refused, Instant::now());
        }
        state.unsent.push(ask);
        let first = state.unsent.len() == 1;
        if state.unsent.len() >= AT_ONCE {
            state.flush(&mut Context::from_waker(Waker::noop()));
        }
        drop(state);
        if first {
            self.task.wake();
        }
    }

    /// Ends the line: nobody asks any more.
    pub(super) fn close(&self) {
        self.state.lock().ended = true;
        self.task.wake();
    }

    async fn run(self: Arc<Self>) {
        let (first, longest) = (Duration::from_millis(RECONNECT.0.into()), Duration::from_millis(RECONNECT.1.into()));
        let mut pause = first;
        loop {
            let ended = match self.keep(connect(&self.shared, &self.library)).await {
                Ok(Ok(connection)) => {
                    pause = first;
                    self.serve(connection).await.is_err() || self.keep(sleep(first)).await.is_err()
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "Redis");
                    self.refuse(true);
                    let ended = self.keep(sleep(pause)).await.is_err();
                    self.refuse(false);
                    pause = (pause * 2).min(longest);
                    ended
                }
                Err(Ended) => true,
            };
            if ended {
                return;
            }
        }
    }

    /// Lets look-ups wait, while they can, until something is there.
    async fn keep<T>(&self, something: impl Future<Output = T>) -> Result<T, Ended> {
        let mut something = std::pin::pin!(something);
        let mut alarm = std::pin::pin!(sleep(SILENCE));
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if let Poll::Ready(there) = something.as_mut().poll(cx) {
                return Poll::Ready(Ok(there));
            }
            let mut state = self.state.lock();
            if state.ended {
                return Poll::Ready(Err(Ended));
            }
            while poll_due(&state.unsent, alarm.as_mut(), cx).is_ready() {
                let now = Instant::now();
                for mut late in state.unsent.extract_if(.., |ask| ask.span.until <= now) {
                    late.give_up(&self.shared, Fault::Late, now);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Lets nobody wait for a connection from now on, or else again.
    fn refuse(&self, refuse: bool) {
        let mut state = self.state.lock();
        state.refusing = refuse;
        for mut ask in state.unsent.drain(..) {
            ask.give_up(&self.shared, Fault::Refused, Instant::now());
        }
    }

    /// Sends look-ups and hears answers until the connection is lost.
    async fn serve(&self, connection: Connection) -> Result<(), Ended> {
        self.state.lock().connection = Some(connection);
        // A runtime of several threads runs a task that was woken next, before the others that have something to ask.
        let several = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        let mut gathered = !several;
        let lost = poll_fn(|cx| {
            self.task.register(cx.waker());
            let mut state = self.state.lock();
            if state.ended {
                return Poll::Ready(None);
            }
            if !state.unsent.is_empty() && !std::mem::replace(&mut gathered, !several) {
                gathered = true;
                cx.waker().wake_by_ref();
            } else {
                state.flush(cx);
            }
            let Some(connection) = &mut state.connection else { return Poll::Ready(None) };
            connection.poll(cx).map(Some)
        });
        let lost = lost.await;
        let connection = self.state.lock().connection.take();
        if let Some(connection) = connection {
            connection.lose(&self.library);
        }
        let error = lost.ok_or(Ended)?;
        tracing::debug!(%error, "Redis");
        Ok(())
    }
}

impl State {
    /// Sends what there is to send, if there is a connection. What goes wrong is noticed by the task.
    fn flush(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && !self.unsent.is_empty()
        {
            connection.send(&mut self.unsent, cx);
        }
    }
}

/// Ready when the first of these is too late.
fn poll_due(asks: &[Ask], mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(due) = asks.iter().map(|ask| ask.span.until).min() else { return Poll::Pending };
    if alarm.deadline() != due {
        alarm.as_mut().reset(due);
    }
    alarm.poll(cx)
}

/// A connection on which Redis knows the script.
async fn connect(shared: &Arc<Shared>, library: &Client) -> io::Result<Connection> {
    let direct = shared.direct.as_ref().ok_or(io::ErrorKind::Unsupported)?;
    let connected = timeout(CONNECT, async {
        let mut socket = direct.connect(library).await?;
        let mut hello = Vec::new();
        for words in direct.hello() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            resp::command(&mut hello, &words);
        }
        let script = shared.script.lua().ok_or(io::ErrorKind::Unsupported)?;
        resp::command(&mut hello, &["SCRIPT", "LOAD", script]);
        greet(&mut socket, &hello, direct.hello().len() + 1).await?;
        Ok::<_, io::Error>(socket)
    });
    let socket = connected.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Connection::new(socket, Talk::new(Arc::clone(shared))))
}

/// Says what comes first, and hears that Redis agrees to all of it.
async fn greet(socket: &mut Socket, hello: &[u8], answers: usize) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    socket.write_all(hello).await?;
    let mut said = Vec::new();
    for _ in 0..answers {
        let length = loop {
            match resp::word(&said, LONGEST_HELLO).map_err(|_| io::ErrorKind::InvalidData)? {
                Some((Word::Error(error), _)) => return Err(io::Error::other(String::from_utf8_lossy(error))),
                Some((_, length)) => break length,
                None => {}
            }
            if socket.read_buf(&mut said).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        said.drain(..length);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
