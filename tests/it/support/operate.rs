//! What an operator sees of a proxy and does to it.

use std::time::Duration;

use serde_json::Value;

use super::proxy::Proxy;
use super::scrape::Scrape;
use super::soon;

/// Between two looks at a metric.
const POLL: Duration = Duration::from_millis(2);

impl Proxy {
    /// Purges with this JSON body and returns the report; fails the test unless that succeeds.
    pub(crate) async fn purge(&self, body: &str) -> Value {
        let ask = self.admin().ask("POST", "/purge").header("content-type", "application/json");
        let answer = ask.body(body.to_owned()).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_str(answer.text()).expect("the report is JSON")
    }

    /// The value of a counter or gauge, by its name without the prefix and with its labels as `/metrics`
    /// writes them.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        Scrape::of(self.admin()).await.value(series)
    }

    /// Waits until so many requests wait for the fetch of another.
    pub(crate) async fn followers(&self, count: u64) {
        self.reaches("coalesce_waiting", count).await;
    }

    /// Waits until so many background refreshes have ended in this way.
    pub(crate) async fn refreshed(&self, result: &str, count: u64) {
        self.reaches(&format!("refreshes_total{{result=\"{result}\",route=\"all\"}}"), count).await;
    }

    /// Waits until exactly `count` requests are being answered. A request that waits for the fetch
    /// of another is one of them.
    pub(crate) async fn answering(&self, count: u64) {
        let reached = async {
            while self.metric("requests_in_flight").await != count {
                tokio::time::sleep(POLL).await;
            }
        };
        soon(&format!("{count} requests under way"), reached).await;
    }

    /// Waits until this metric has at least this value.
    pub(crate) async fn reaches(&self, series: &str, least: u64) {
        Scrape::until(self.admin(), series, least).await;
    }

    /// Waits until `/a` of the host `h` is answered with this body.
    pub(crate) async fn answers(&self, body: &str) {
        let reached = async {
            while self.client().get("/a").header("host", "h").send().await.text() != body {
                tokio::time::sleep(POLL).await;
            }
        };
        soon(&format!("the answer {body:?}"), reached).await;
    }

    /// Waits until a heartbeat has succeeded within the last few, or has not.
    pub(crate) async fn is_synced(&self, wanted: bool) {
        let reached = async {
            loop {
                let before = self.metric("invalidation_beats_total").await;
                tokio::time::sleep(Duration::from_millis(250)).await;
                if (self.metric("invalidation_beats_total").await > before) == wanted {
                    return;
                }
            }
        };
        soon("the invalidation log", reached).await;
    }
}
