//! A cluster of three masters.

use tempfile::TempDir;

use super::{POLL, Redis};
use crate::support::soon;

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// Three masters that share the slots, without replicas.
pub(crate) struct Cluster {
    /// The nodes.
    pub(crate) nodes: Vec<Redis>,
    _directory: TempDir,
}

impl Cluster {
    /// Starts it; every node knows of all slots when this returns.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut nodes = Vec::new();
        for number in 0..3 {
            let file = directory.path().join(format!("nodes-{number}.conf"));
            let file = file.to_str().expect("a plain path");
            let dir = directory.path().to_str().expect("a plain path");
            let bus = super::free_address().port().to_string();
            let arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                file,
                "--dir",
                dir,
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1000",
                "--cluster-require-full-coverage",
                "no",
            ];
            nodes.push((Redis::start_with(&arguments).await, bus));
        }
        let share = SLOTS / 3 + 1;
        for (number, (node, _)) in (0_u16..).zip(&nodes) {
            let last = ((number + 1) * share - 1).min(SLOTS - 1);
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {} {last}", number * share)).await;
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await;
        }
        for (node, bus) in &nodes[1..] {
            let port = node.port();
            nodes[0].0.ask(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await;
        }
        let nodes: Vec<Redis> = nodes.into_iter().map(|(node, _)| node).collect();
        for node in &nodes {
            node.says("CLUSTER INFO", "cluster_slots_ok:16384").await;
            node.says("CLUSTER INFO", "cluster_state:ok").await;
        }
        Self { nodes, _directory: directory }
    }

    /// Where it is: any node knows the others.
    pub(crate) fn url(&self) -> String {
        let [one, two, three] = [0, 1, 2].map(|number: usize| self.nodes[number].port());
        format!("redis-cluster://127.0.0.1:{one}?node=127.0.0.1:{two}&node=127.0.0.1:{three}")
    }

    /// The node that has a key.
    pub(crate) async fn node_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        let slot: u16 = slot.trim_start_matches(':').trim().parse().expect("a slot");
        usize::from(slot / (SLOTS / 3 + 1))
    }

    /// Starts a node that was killed. It remembers its place, and nothing else.
    pub(crate) async fn restart(&mut self, number: usize) {
        self.nodes[number].restart().await;
        soon("the cluster to take it back", async {
            for node in &self.nodes {
                while !node.try_ask("CLUSTER INFO").await.is_some_and(|info| info.contains("cluster_slots_ok:16384")) {
                    tokio::time::sleep(POLL).await;
                }
            }
        })
        .await;
    }
}
