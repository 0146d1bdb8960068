//! Answers that no HTTP library would give: arbitrary bytes, resets, truncation, silence.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gate::Gate;
use super::wire::Wire;

/// What happens on the socket, step by step. Without an end, the connection goes on with its next
/// request.
#[derive(Clone, Default)]
pub(crate) struct RawScript {
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Send(Bytes),
    Pause(Duration),
    Wait(Gate),
    Echo,
    Hang,
    Close,
    Reset,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It takes the next request.
    GoOn,
    /// It is closed.
    Close,
}

impl RawScript {
    /// Writes these bytes.
    pub(crate) fn send(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Send(bytes.into()))
    }

    /// Lets real time pass, where that is the point of the test.
    pub(crate) fn pause(self, span: Duration) -> Self {
        self.then(Step::Pause(span))
    }

    /// Waits for the gate.
    pub(crate) fn wait(self, gate: &Gate) -> Self {
        self.then(Step::Wait(gate.clone()))
    }

    /// Sends back what it receives until the client closes, as after an upgrade.
    pub(crate) fn echo(self) -> Self {
        self.then(Step::Echo)
    }

    /// Says nothing more until the client closes.
    pub(crate) fn hang(self) -> Self {
        self.then(Step::Hang)
    }

    /// Closes the connection in order (FIN).
    pub(crate) fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection (RST).
    pub(crate) fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays the script on a connection.
    pub(super) async fn play(&self, wire: &mut Wire) -> After {
        for step in &self.steps {
            match step {
                Step::Send(bytes) => {
                    if wire.stream.write_all(bytes).await.is_err() {
                        return After::Close;
                    }
                }
                Step::Pause(span) => tokio::time::sleep(*span).await,
                Step::Wait(gate) => gate.pass().await,
                Step::Echo => {
                    echo(wire).await;
                    return After::Close;
                }
                Step::Hang => {
                    wire.closed().await;
                    return After::Close;
                }
                Step::Close => {
                    let _ = wire.stream.shutdown().await;
                    return After::Close;
                }
                Step::Reset => {
                    let _ = wire.stream.set_zero_linger();
                    return After::Close;
                }
            }
        }
        After::GoOn
    }
}

/// Bytes that arrived together with the request are echoed first.
async fn echo(wire: &mut Wire) {
    let early = wire.take_unread();
    let mut buffer = [0; 4096];
    let mut next = early.to_vec();
    loop {
        if wire.stream.write_all(&next).await.is_err() {
            return;
        }
        match wire.stream.read(&mut buffer).await {
            Ok(count @ 1..) => next = buffer[..count].to_vec(),
            _ => return,
        }
    }
}
