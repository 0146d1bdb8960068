//! A master with a replica, watched by three sentinels.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{POLL, Redis, ask};
use crate::support::binary::free_address;
use crate::support::soon;

/// What the sentinels call the master.
const NAME: &str = "millpond";

/// Two servers and who decides which of them is the master.
pub(crate) struct Sentinels {
    /// The servers; the first is the master at the start.
    pub(crate) servers: [Redis; 2],
    watchers: Vec<(u16, Child)>,
    _directory: TempDir,
}

impl Sentinels {
    /// Starts all; the sentinels know one another and the replica when this returns.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let master = Redis::start_with(&at_once).await;
        let port = master.port();
        let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {port}"), at_once[0], at_once[1]]).await;
        replica.says("INFO replication", "master_link_status:up").await;
        let mut watchers = Vec::new();
        for number in 0..3 {
            let own = free_address().port();
            let file = directory.path().join(format!("sentinel-{number}.conf"));
            let text = format!(
                "port {own}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 3000\n"
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel");
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
            watchers.push((own, command.spawn().expect("redis-server is installed")));
        }
        let this = Self { servers: [master, replica], watchers, _directory: directory };
        for (sentinel, _) in &this.watchers {
            this.wait_for(*sentinel, "SENTINEL MASTERS", "num-slaves\r\n$1\r\n1").await;
            this.wait_for(*sentinel, "SENTINEL MASTERS", "num-other-sentinels\r\n$1\r\n2").await;
        }
        this
    }

    async fn wait_for(&self, port: u16, command: &str, text: &str) {
        soon(&format!("{command} to say {text:?}"), async {
            while !ask(port, command).await.is_some_and(|answer| answer.contains(text)) {
                tokio::time::sleep(POLL).await;
            }
        })
        .await;
    }

    /// Where the sentinels are.
    pub(crate) fn url(&self) -> String {
        let [one, two, three] = [0, 1, 2].map(|number: usize| self.watchers[number].0);
        format!(
            "redis-sentinel://127.0.0.1:{one}?sentinelServiceName={NAME}&node=127.0.0.1:{two}&node=127.0.0.1:{three}"
        )
    }

    /// Kills the master and waits until the replica has taken its place.
    pub(crate) async fn fail_over(&mut self) {
        self.servers[0].kill();
        self.servers[1].says("ROLE", "master").await;
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (_, child) in &mut self.watchers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
