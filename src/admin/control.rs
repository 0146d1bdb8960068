//! What the admin listener needs from the proxy, and the words both use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The proxy as the admin listener sees it.
pub trait Control: Send + Sync + 'static {
    /// All metrics in the Prometheus text format 0.0.4, gauges refreshed. Runs on a blocking
    /// thread, never twice at once.
    fn metrics(&self) -> String;

    /// Whether this instance should get traffic, and why.
    fn readiness(&self) -> Readiness;

    /// The configuration in force as text, secrets hidden.
    fn effective_config(&self) -> String;

    /// Changes the level of diagnostics; the error says what is wrong with `level`.
    fn set_log_level(&self, level: &str) -> Result<(), String>;

    /// The instances of the fleet; the error says why they cannot be listed.
    fn fleet(&self) -> impl Future<Output = Result<Vec<Member>, String>> + Send;

    /// Carries out a purge. Runs in a task of its own: it goes on when the client leaves.
    fn purge(&self, order: PurgeOrder) -> impl Future<Output = Result<PurgeReport, PurgeFault>> + Send;
}

/// Whether an instance should get traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The verdict. A check may fail without it: Redis down is told, but no reason to send
    /// clients elsewhere.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, such as `listener` or `redis`.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// In words, for an operator.
    pub detail: String,
}

/// One instance of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub instance: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Its version of Millpond.
    pub version: String,
    /// The era of the log that it is in.
    pub era: u64,
    /// The number in that era up to which it has applied all invalidations.
    pub applied: u64,
    /// Milliseconds between its last sign of life and the last of all.
    pub silent_ms: u64,
    /// How many invalidations the instance that is furthest has applied and this one has not.
    pub lag: u64,
    /// Requests that it has answered.
    pub requests: u64,
    /// The part of them that it answered from memory; `None` before the first.
    pub hit_ratio: Option<f64>,
}

/// A purge that somebody asked for, checked for form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeOrder {
    /// What to invalidate.
    pub target: PurgeTarget,
    /// Mark as stale instead of removing, so that the stale windows still help.
    pub soft: bool,
    /// Wait this long for the receipts of all instances; at most [`MAX_WAIT`](super::MAX_WAIT).
    pub wait: Option<Duration>,
}

/// What a purge invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeTarget {
    /// All variants of one absolute `http` or `https` URL.
    Url(String),
    /// All URLs that begin so: an absolute URL at least up to the slash after the host, or a path
    /// longer than `/`, which holds for every host.
    Prefix(String),
    /// All responses that carry any of these tags; at least one.
    Tags(Vec<String>),
    /// All responses of the route of this name.
    Route(String),
    /// Everything.
    All,
}

/// The kinds of [`PurgeTarget`], for labels and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// [`PurgeTarget::Url`].
    Url,
    /// [`PurgeTarget::Prefix`].
    Prefix,
    /// [`PurgeTarget::Tags`].
    Tag,
    /// [`PurgeTarget::Route`].
    Route,
    /// [`PurgeTarget::All`].
    All,
}

impl TargetKind {
    /// The text used in labels, messages and as key in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Prefix => "prefix",
            Self::Tag => "tag",
            Self::Route => "route",
            Self::All => "all",
        }
    }
}

impl PurgeTarget {
    /// Which kind it is.
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Url(_) => TargetKind::Url,
            Self::Prefix(_) => TargetKind::Prefix,
            Self::Tags(_) => TargetKind::Tag,
            Self::Route(_) => TargetKind::Route,
            Self::All => TargetKind::All,
        }
    }
}

impl PurgeOrder {
    /// The order as the body of `POST /purge`, for clients.
    pub fn to_json(&self) -> String {
        let mut fields = serde_json::Map::new();
        let (key, value) = match &self.target {
            PurgeTarget::Tags(tags) => ("tags", tags.clone().into()),
            PurgeTarget::Url(text) | PurgeTarget::Prefix(text) | PurgeTarget::Route(text) => {
                (self.target.kind().as_str(), text.clone().into())
            }
            PurgeTarget::All => ("all", true.into()),
        };
        fields.insert(key.to_owned(), value);
        if self.soft {
            fields.insert("soft".to_owned(), true.into());
        }
        if let Some(wait) = self.wait {
            fields.insert("wait".to_owned(), humantime::format_duration(wait).to_string().into());
        }
        serde_json::Value::Object(fields).to_string()
    }
}

/// What a purge did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReport {
    /// The era of the log of invalidations, which changes when Redis loses writes; 0 without Redis.
    pub era: u64,
    /// Its number in that era.
    pub seq: u64,
    /// Stored responses it matched on this instance; `None` when they were not counted.
    pub entries: Option<u64>,
    /// Instances that have applied it.
    #[serde(default)]
    pub receipts: Vec<Receipt>,
    /// Instances that had not said so when the wait was over, and may serve what it matches.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// The word of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id.
    pub instance: String,
    /// The era of the log that it is in.
    pub era: u64,
    /// The number in that era up to which it has applied all invalidations.
    pub applied: u64,
}

/// An instance without a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its id.
    pub instance: String,
    /// Milliseconds since its last sign of life. After `invalidation.max_unsynced` it is missed no longer: by
    /// then it asks the origin before it serves what it had.
    pub silent_ms: u64,
}

/// Why a purge was not carried out, or not everywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeFault {
    /// The order names a route that the configuration does not have.
    #[error("there is no route {name:?}")]
    UnknownRoute {
        /// The name in the order.
        name: String,
        /// All names of routes, for the answer.
        known: Vec<String>,
    },
    /// The order's URL or prefix cannot be a key of this cache.
    #[error("the URL cannot be purged: {0}")]
    BadUrl(String),
    /// The log of invalidations is out of reach: what could be done on this instance is done,
    /// the others have not heard of it.
    #[error("purged on this instance only, the others were not told: {0}")]
    NotLogged(String),
    /// The log has the purge; who has applied it cannot be told.
    #[error("everybody will be told, but who was cannot be learnt: {0}")]
    Unconfirmed(String),
}
