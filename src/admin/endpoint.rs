//! Paths and methods to what they do.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, request};
use serde_json::json;

use super::control::{Control, PurgeFault, PurgeOrder, PurgeReport};
use super::refusal::{Answer, Refusal, answer, json};
use super::scrape::Scrape;
use super::{guard, order};
use crate::config::Secret;

const TEXT: &str = "text/plain; charset=utf-8";

/// What the listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Metrics,
    Health,
    Readiness,
    Config,
    Fleet,
    LogLevel,
    Purge,
}

impl Endpoint {
    const ALL: &[(&str, Self)] = &[
        ("/metrics", Self::Metrics),
        ("/healthz", Self::Health),
        ("/readyz", Self::Readiness),
        ("/config", Self::Config),
        ("/fleet", Self::Fleet),
        ("/log-level", Self::LogLevel),
        ("/purge", Self::Purge),
    ];

    fn find(path: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == path).map(|(_, endpoint)| *endpoint)
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Metrics | Self::Health | Self::Readiness | Self::Config | Self::Fleet => "GET, HEAD",
            Self::LogLevel => "PUT",
            Self::Purge => "POST",
        }
    }
}

/// What all connections share.
pub(super) struct Desk<C> {
    pub(super) token: Option<Secret>,
    pub(super) control: Arc<C>,
    pub(super) scrape: Scrape,
}

impl<C: Control> Desk<C> {
    /// Answers one request whose body was read before, for better or worse.
    pub(super) async fn answer(
        &self,
        peer: SocketAddr,
        head: &request::Parts,
        body: Result<Bytes, Refusal>,
    ) -> Result<Answer, Refusal> {
        let found = Endpoint::find(head.uri.path());
        // A liveness probe has no token, and learns nothing but that the process answers.
        if found != Some(Endpoint::Health) {
            guard::check(self.token.as_ref(), head).inspect_err(|refusal| {
                let error = &refusal.problem.error;
                tracing::warn!(target: "millpond::audit", %peer, method = %head.method, path = head.uri.path(), error, "refused");
            })?;
        }
        let endpoint = found.ok_or_else(|| no_such_path(head.uri.path()))?;
        if !endpoint.methods().split(", ").any(|allowed| head.method == allowed) {
            return Err(Refusal::method(head.method.as_str(), head.uri.path(), endpoint.methods()));
        }
        match endpoint {
            Endpoint::Metrics => {
                let text = self.scrape.text(&self.control).await?;
                Ok(answer(StatusCode::OK, prometheus::TEXT_FORMAT, text))
            }
            Endpoint::Health => Ok(answer(StatusCode::OK, TEXT, "ok\n")),
            Endpoint::Readiness => {
                let readiness = self.control.readiness();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Ok(json(status, &readiness))
            }
            Endpoint::Config => Ok(answer(StatusCode::OK, TEXT, self.control.effective_config())),
            Endpoint::Fleet => match self.control.fleet().await {
                Ok(members) => Ok(json(StatusCode::OK, &members)),
                Err(error) => {
                    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error, "see /readyz for the state of Redis"))
                }
            },
            Endpoint::LogLevel => self.set_log_level(peer, &body?),
            Endpoint::Purge => self.purge(peer, &body?).await,
        }
    }

    fn set_log_level(&self, peer: SocketAddr, body: &[u8]) -> Result<Answer, Refusal> {
        const FIX: &str = "send the level as plain text, such as debug or warn,millpond=debug";
        let refuse = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error, FIX);
        let text = std::str::from_utf8(body).map_err(|_| refuse("the level is not text".into()))?.trim();
        if text.is_empty() {
            return Err(refuse("the body is empty".into()));
        }
        if text.starts_with(['{', '"']) {
            return Err(refuse("the level is plain text here, not JSON".into()));
        }
        self.control.set_log_level(text).map_err(refuse)?;
        tracing::info!(target: "millpond::audit", %peer, level = text, "log level changed");
        Ok(json(StatusCode::OK, &json!({ "level": text })))
    }

    /// A purge goes on when its client leaves: half a purge, done here and not logged for the
    /// others, would be worse than one nobody reads the report of.
    async fn purge(&self, peer: SocketAddr, body: &[u8]) -> Result<Answer, Refusal> {
        let order = order::parse(body)?;
        let control = Arc::clone(&self.control);
        let task = tokio::spawn(async move {
            let outcome = control.purge(order.clone()).await;
            audit(peer, &order, &outcome);
            outcome
        });
        let report = task.await.map_err(|_| Refusal::internal("the purge"))??;
        // Logged, so it will happen everywhere; but not all have said so yet.
        let status = if report.missing.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
        Ok(json(status, &report))
    }
}

/// Who removed what: one line per purge, with `Debug` texts, which escape what could forge one.
fn audit(peer: SocketAddr, order: &PurgeOrder, outcome: &Result<PurgeReport, PurgeFault>) {
    let (target, soft) = (&order.target, order.soft);
    match outcome {
        Ok(report) => {
            let PurgeReport { era, seq, entries: matched, .. } = *report;
            let missing = report.missing.len();
            tracing::info!(target: "millpond::audit", %peer, what = ?target, soft, era, seq, matched, missing, "purged");
        }
        Err(fault) => {
            tracing::warn!(target: "millpond::audit", %peer, what = ?target, soft, %fault, "purge failed");
        }
    }
}

fn no_such_path(path: &str) -> Refusal {
    let known: Vec<&str> = Endpoint::ALL.iter().map(|(path, _)| *path).collect();
    let fix = format!("the paths are: {}", known.join(", "));
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no {path:.64} here"), fix)
}
