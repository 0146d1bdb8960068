//! A running proxy in front of a scripted origin, for clauses that the policy alone cannot show.

use std::time::Duration;

use crate::support::client::Answer;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::{Proxy, Starting};

/// An origin and the proxy in front of it.
pub(crate) struct Rig {
    pub(crate) origin: Origin,
    pub(crate) proxy: Proxy,
}

/// Lifetimes to the second.
pub(crate) const EXACT: &str = "jitter = 0.0, early_refresh = 0.0";
/// Clients may demand what RFC 9111 section 5.2.1 lets them.
pub(crate) const RESPECTFUL: &str = "respect_client_cache_control = true";

/// Runs a script against a proxy of its own.
pub(crate) fn live(script: impl AsyncFnOnce(Rig) -> String) -> String {
    live_with("", script)
}

/// The same, with further cache rules of the route: `, stale_if_error = '1h'`.
pub(crate) fn live_with(rules: &str, script: impl AsyncFnOnce(Rig) -> String) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = Origin::start().await;
        let proxy = Proxy::start(&origin).cache(&format!("{EXACT}, {RESPECTFUL}{rules}")).await;
        script(Rig { origin, proxy }).await
    })
}

impl Rig {
    /// The same origin behind another proxy.
    pub(crate) async fn behind(self, proxy: impl FnOnce(Starting) -> Starting) -> Self {
        let proxy = proxy(Proxy::start(&self.origin).cache(EXACT)).await;
        Self { origin: self.origin, proxy }
    }

    /// Scripts `/a`: these fields and this body.
    pub(crate) fn on(&self, fields: &str, body: &'static str) {
        self.origin.set("/a", reply(fields, body));
    }

    /// A GET of `/a` with these fields.
    pub(crate) async fn get(&self, fields: &str) -> Answer {
        self.ask("GET", fields).await
    }

    /// A request for `/a` with these fields.
    pub(crate) async fn ask(&self, method: &str, fields: &str) -> Answer {
        let ask = self.proxy.client().ask(method, "/a");
        pairs(fields).fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
    }

    /// Lets this many seconds pass.
    pub(crate) fn pass(&self, seconds: u64) {
        self.proxy.pass(Duration::from_secs(seconds));
    }
}

/// A response with these fields and this body.
pub(crate) fn reply(fields: &str, body: &'static str) -> Reply {
    pairs(fields).fold(Reply::ok(), |reply, (name, value)| reply.header(name, value)).body(body)
}

fn pairs(fields: &str) -> impl Iterator<Item = (&str, &str)> {
    fields.split(" | ").filter_map(|field| field.split_once(": "))
}

/// Status and body, and whether they came from the store.
pub(crate) fn brief(answer: &Answer) -> String {
    let from = if answer.cache_status().hit { "stored" } else { "origin" };
    match &answer.body {
        Ok(_) => format!("{} {}, {from}", answer.status, answer.text()),
        Err(_) => format!("{} broken off, {from}", answer.status),
    }
}

/// The value of a field, or `none`.
pub(crate) fn field(answer: &Answer, name: &str) -> String {
    answer.header(name).unwrap_or_else(|| "none".to_owned())
}
