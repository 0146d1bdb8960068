//! The real binary: as a proxy with a configuration of its own, or with any other arguments.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::client::Client;
use super::config::ConfigText;
use super::process::Process;
use super::{PATIENCE, soon};

/// Between two looks at readiness.
const POLL: Duration = Duration::from_millis(20);

/// Starts the binary with these arguments.
pub(crate) fn millpond(arguments: &[&str]) -> Process {
    millpond_with(arguments, &[])
}

/// Starts the binary with these arguments and these variables in its environment.
pub(crate) fn millpond_with(arguments: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(arguments).envs(variables.iter().copied());
    Process::spawn(command)
}

/// A proxy in a process of its own.
pub(crate) struct Millpond {
    /// The process: signals, output, end.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where its admin listener listens.
    pub(crate) admin: SocketAddr,
    directory: TempDir,
}

impl Millpond {
    /// Writes the configuration, starts the proxy, and waits until it is ready.
    pub(crate) async fn run(config: &ConfigText) -> Self {
        Self::run_with(config, &[]).await
    }

    /// The same with these variables in its environment.
    pub(crate) async fn run_with(config: &ConfigText, variables: &[(&str, &str)]) -> Self {
        let (addr, admin) = (free_address(), free_address());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("millpond.toml");
        std::fs::write(&file, config.text(addr, admin)).unwrap();
        let process = millpond_with(&["run", "-c", file.to_str().expect("a plain path")], variables);
        let mut millpond = Self { process, addr, admin, directory };
        soon("the proxy to be ready", millpond.ready()).await;
        millpond
    }

    /// The path of its configuration, for a test that changes it.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("millpond.toml")
    }

    /// Writes another configuration over the one it runs by; it has to notice by itself.
    pub(crate) fn write(&self, config: &ConfigText) {
        std::fs::write(self.config_file(), config.text(self.addr, self.admin)).unwrap();
    }

    /// `http://` and the address of its admin listener, as the command line wants it.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// A client of the proxy.
    pub(crate) const fn client(&self) -> Client {
        Client::to(self.addr)
    }

    /// A client of its admin listener.
    pub(crate) const fn admin_client(&self) -> Client {
        Client::to(self.admin)
    }

    async fn ready(&mut self) {
        loop {
            if let Some(status) = self.process.ended() {
                panic!("the proxy ended with {status}:\n{}", self.process.stderr.text());
            }
            let asked = self.admin_client().get("/readyz").try_send();
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await
                // Without a token it does not say how it is, but it answers.
                && matches!(answer.status, 200 | 401)
            {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// An address that nobody listens on: below the range from which the system picks the ports of
/// other sockets, so that it stays free until it is used.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    // Test processes that run at the same time start at different ports.
    let start = u16::try_from(std::process::id() % 1_000).unwrap() * (COUNT / 1_000);
    (0..COUNT)
        .map(|_| {
            let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            SocketAddr::from(([127, 0, 0, 1], FIRST + offset))
        })
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}
