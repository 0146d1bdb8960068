//! Many clients at once.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pending::Pending;
use super::{Answer, Ask, Connection, NoAnswer};

/// Connections that are opened at the same time, below the kernel's backlog.
const CONNECTING: usize = 256;

/// What became of a herd.
#[derive(Debug)]
pub(crate) struct Herd {
    /// Every answer. Its times count from the moment at which all requests were let loose.
    pub(crate) answers: Vec<Answer>,
    /// Clients that got none.
    pub(crate) unanswered: Vec<NoAnswer>,
}

/// Connects `clients` clients, then lets all their requests loose at once and reads every answer.
///
/// Raise the limit of open files first (`open_files`).
pub(crate) async fn herd(clients: usize, ask: impl Fn() -> Ask) -> Herd {
    let asks = (0..clients).map(|_| ask());
    let connecting = asks.map(|ask| async {
        let connection = Connection::open(ask.addr, ask.receive_buffer).await;
        connection.map(|connection| (connection, ask))
    });
    let connected: Vec<_> = stream::iter(connecting).buffer_unordered(CONNECTING).collect().await;
    let mut herd = Herd { answers: Vec::with_capacity(clients), unanswered: Vec::new() };
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for ready in connected {
        match ready {
            Ok((connection, ask)) => {
                tasks.spawn(Pending::on(connection, ask).answer(start));
            }
            Err(error) => herd.unanswered.push(error),
        }
    }
    while let Some(joined) = tasks.join_next().await {
        match joined.expect("a client does not panic") {
            Ok(answer) => herd.answers.push(answer),
            Err(error) => herd.unanswered.push(error),
        }
    }
    herd
}

impl Herd {
    /// Fails the test unless every client got this status and this body.
    pub(crate) fn all_got(&self, status: u16, body: &str) {
        assert!(self.unanswered.is_empty(), "{} without an answer: {}", self.unanswered.len(), self.unanswered[0]);
        for answer in &self.answers {
            assert_eq!((answer.status, answer.text()), (status, body));
        }
    }

    /// When the first head arrived.
    pub(crate) fn first_byte(&self) -> Duration {
        self.answers.iter().map(|answer| answer.first_byte).min().expect("an answer")
    }

    /// When the last body was complete.
    pub(crate) fn last_byte(&self) -> Duration {
        self.answers.iter().map(|answer| answer.last_byte).max().expect("an answer")
    }
}
