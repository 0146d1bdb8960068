//! Real Redis servers on free ports, to be killed, paused and restarted.

mod cluster;
mod sentinel;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::binary::free_address;
use super::soon;

pub(crate) use cluster::Cluster;
pub(crate) use sentinel::Sentinels;

/// Between two looks at a server that is about to change.
const POLL: Duration = Duration::from_millis(5);

/// One server without persistence.
pub(crate) struct Redis {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Where it writes what it is told to save, or copies from its master.
    directory: TempDir,
}

impl Redis {
    /// Starts a server; it answers when this returns.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further arguments.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut redis = Self { port: free_address().port(), arguments, child: None, directory };
        redis.restart().await;
        redis
    }

    /// Starts it, empty, on the port that it has.
    pub(crate) async fn restart(&mut self) {
        let _ = std::fs::remove_file(self.directory.path().join("dump.rdb"));
        self.restore().await;
    }

    /// Starts it with what it held when it was last told to `SAVE`.
    pub(crate) async fn restore(&mut self) {
        self.spawn();
        soon("redis-server to answer", async {
            while self.try_ask("PING").await.is_none() {
                tokio::time::sleep(POLL).await;
            }
        })
        .await;
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.directory.path());
        command.args(&self.arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, with everything it held.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes it: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it is running").id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Sends one command as a line and returns what comes back.
    pub(crate) async fn ask(&self, command: &str) -> String {
        self.try_ask(command).await.expect("redis-server answers")
    }

    /// Sends commands on one connection, one after the other.
    pub(crate) async fn session(&self, commands: &[&str]) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("redis-server answers");
        let mut stream = BufReader::new(stream);
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
            read_value(&mut stream, &mut String::new()).await.expect("redis-server answers");
        }
    }

    /// The same, if it answers.
    pub(crate) async fn try_ask(&self, command: &str) -> Option<String> {
        ask(self.port, command).await
    }

    /// The keys that match.
    pub(crate) async fn keys(&self, pattern: &str) -> Vec<String> {
        let answer = self.ask(&format!("KEYS {pattern}")).await;
        answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
    }

    /// Waits until the answer to a command contains a text.
    pub(crate) async fn says(&self, command: &str, text: &str) {
        soon(&format!("{command} to say {text}"), async {
            while !self.try_ask(command).await.is_some_and(|answer| answer.contains(text)) {
                tokio::time::sleep(POLL).await;
            }
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            // A frozen process is not killed until it goes on.
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGCONT);
        }
        self.kill();
    }
}

/// Sends one command as a line, on a connection of its own, and returns the whole answer.
async fn ask(port: u16, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    read_value(&mut stream, &mut answer).await?;
    Some(answer)
}

/// One value of RESP2, as it stands on the wire.
async fn read_value(stream: &mut BufReader<TcpStream>, answer: &mut String) -> Option<()> {
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        let from = answer.len();
        stream.read_line(answer).await.ok().filter(|count| *count > 0)?;
        let line = answer[from..].trim_end().to_owned();
        let number: usize = line.get(1..)?.parse().unwrap_or(0);
        match line.as_bytes()[0] {
            b'*' => left += number,
            b'$' if line != "$-1" => {
                let mut text = vec![0; number + 2];
                stream.read_exact(&mut text).await.ok()?;
                answer.push_str(&String::from_utf8_lossy(&text));
            }
            _ => {}
        }
    }
    Some(())
}
