//! A program under test: its output line by line, its signals, its end.

use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::soon;

/// A running program; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// What it wrote to standard output.
    pub(crate) stdout: Lines,
    /// What it wrote to standard error.
    pub(crate) stderr: Lines,
}

/// The lines that a program has written so far to one of its outputs.
pub(crate) struct Lines {
    written: watch::Receiver<Vec<String>>,
    stalled: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Starts `command` with its input closed.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it has not ended");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits for its end and the end of its output.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        let status = soon("the program to end", self.child.wait()).await.unwrap();
        for lines in [&mut self.stdout, &mut self.stderr] {
            soon("the end of its output", &mut lines.reader).await.unwrap();
        }
        status
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, written) = watch::channel(Vec::new());
        let (stalled, mut watched) = watch::channel(false);
        let reader = tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = pipe.next_line().await {
                sender.send_modify(|lines| lines.push(line));
                // Nobody to end the stall is left when the test is over.
                let _ = watched.wait_for(|stalled| !stalled).await;
            }
        });
        Self { written, stalled, reader }
    }

    /// Stops reading, so that the program finds its pipe full sooner or later, or reads on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// All of them so far.
    pub(crate) fn text(&self) -> String {
        self.written.borrow().join("\n")
    }

    /// Waits for a line that contains `text`, and returns it.
    pub(crate) async fn says(&self, text: &str) -> String {
        let mut lines = self.written.clone();
        let found = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let seen = soon(&format!("a line with {text:?} in:\n{}", self.text()), lines.wait_for(found)).await.map(|_| ());
        assert!(seen.is_ok(), "the output ended without {text:?}:\n{}", self.text());
        let lines = self.written.borrow();
        lines.iter().find(|line| line.contains(text)).cloned().unwrap_or_default()
    }
}
