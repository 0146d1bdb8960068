//! What operators do to a running instance: the admin listener's way into it, and reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use crate::admin::{
    Check, Control, Member, Missing, PurgeFault, PurgeOrder, PurgeReport, PurgeTarget, Readiness, Receipt,
};
use crate::bus::{Instance, Logged, Pattern, Seq};
use crate::config::{self, Config};
use crate::flow::{self, Proxy};
use crate::telemetry::LogHandle;
use crate::telemetry::metrics::Metrics;

/// How long the report of a purge waits for the number of entries that it matched.
const COUNT_PATIENCE: Duration = Duration::from_millis(50);

/// The handles that operators pull.
pub struct Controls {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Option<LogHandle>,
    pub(crate) config: ArcSwap<Config>,
    /// Off from the moment a shutdown begins.
    pub(crate) accepting: AtomicBool,
}

/// The name of this instance in receipts; with a fleet, instances have names of their own.
const INSTANCE: &str = "local";

impl Controls {
    /// Serves new requests by `config`. What only a restart can change is named in the log.
    pub fn reload(&self, config: Config) {
        let current = self.config.load();
        for section in needs_restart(&current, &config) {
            tracing::warn!(section, "this change takes effect after a restart");
        }
        self.proxy.reload(&config);
        if let Some(log) = &self.log
            && config.log.level != current.log.level
            && let Err(fault) = log.set_level(&config.log.level)
        {
            tracing::warn!(%fault, "the log level stays as it was");
        }
        self.config.store(Arc::new(config));
        self.metrics.reloads.with_label_values(&["applied"]).inc();
    }

    /// Notes that a new configuration was refused; the old one stays.
    pub fn refuse_reload(&self) {
        self.metrics.reloads.with_label_values(&["refused"]).inc();
    }

    /// The metrics of this process.
    pub fn metric_handles(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How the shared tier is. It never makes an instance unready: without it, it serves by itself.
    fn redis(&self) -> Check {
        let (ok, detail) = match self.proxy.unsynced() {
            None => (true, "not configured".to_owned()),
            Some(None) => (false, "not reached yet: serving from memory and the origins".to_owned()),
            Some(Some(span)) => {
                let ok = span <= self.config.load().invalidation.max_unsynced;
                (ok, format!("in sync with the invalidation log {} ms ago", span.as_millis()))
            }
        };
        Check { name: "redis".into(), ok, detail }
    }

    fn patterns(&self, target: &PurgeTarget) -> Result<Vec<Pattern>, flow::PurgeFault> {
        Ok(match target {
            PurgeTarget::Url(url) => self.proxy.url_patterns(url)?,
            PurgeTarget::Prefix(prefix) => vec![Pattern::Prefix(prefix.clone())],
            PurgeTarget::Tags(tags) => tags.iter().map(|tag| Pattern::Tag(tag.as_str().into())).collect(),
            PurgeTarget::Route(name) => vec![self.proxy.route_pattern(name)?],
            PurgeTarget::All => vec![Pattern::All],
        })
    }
}

/// The sections in which `new` differs from `old` in a way that only a restart can carry out.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let listen = |c: &Config| (c.listen.http, c.listen.runtime, c.listen.threads);
    let admin = |c: &Config| c.admin.as_ref().map(|admin| (admin.listen, admin.token.clone()));
    let log = |c: &Config| (c.log.format, c.log.access, c.log.access_sample.to_bits());
    [
        ("listen", listen(old) != listen(new)),
        ("limits", old.limits != new.limits),
        ("cache", old.cache != new.cache),
        ("redis", old.redis != new.redis),
        ("invalidation", old.invalidation != new.invalidation),
        ("log", log(old) != log(new)),
        ("admin", admin(old) != admin(new)),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect()
}

impl Control for Controls {
    fn metrics(&self) -> String {
        self.proxy.refresh_gauges();
        self.metrics.encode()
    }

    fn readiness(&self) -> Readiness {
        let ready = self.accepting.load(Ordering::Acquire);
        let detail = if ready { "accepting connections" } else { "shutting down" };
        let listener = Check { name: "listener".into(), ok: ready, detail: detail.into() };
        Readiness { ready, checks: vec![listener, self.redis()] }
    }

    fn effective_config(&self) -> String {
        config::effective(&self.config.load())
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        match &self.log {
            Some(log) => log.set_level(level).map_err(|fault| fault.to_string()),
            None => Err("the diagnostics of this process are not Millpond's to change".into()),
        }
    }

    async fn fleet(&self) -> Result<Vec<Member>, String> {
        let Some(shared) = self.proxy.log().shared() else {
            return Err("this instance is by itself: there is no [redis]".into());
        };
        let instances = shared.instances().await.map_err(|fault| fault.to_string())?;
        let log = self.proxy.log();
        let newest = instances.iter().map(|(_, instance)| instance.applied).max().unwrap_or_default();
        let last = last_sign(&instances);
        let member = |(id, instance): (String, Instance)| Member {
            this: id == shared.id(),
            instance: id,
            version: instance.version,
            era: log.position(instance.applied).0,
            applied: log.position(instance.applied).1,
            lag: behind(log.position(newest), log.position(instance.applied)),
            silent_ms: last.saturating_sub(instance.seen),
            requests: instance.requests,
            hit_ratio: ratio(instance.hits, instance.requests),
        };
        Ok(instances.into_iter().map(member).collect())
    }

    async fn purge(&self, order: PurgeOrder) -> Result<PurgeReport, PurgeFault> {
        self.metrics.purges.with_label_values(&[order.target.kind().as_str()]).inc();
        let patterns = self.patterns(&order.target)?;
        let logged = self.proxy.invalidate(&patterns, order.soft).await;
        let seq = logged.as_ref().map_or(Seq::MAX, |logged| logged.seq);
        let mut entries = self.proxy.reclaim(&patterns, seq, order.soft);
        // A purge of anything but URLs walks through L1, which only frees memory.
        let walking = entries.is_none().then(|| {
            let proxy = Arc::clone(&self.proxy);
            tokio::task::spawn_blocking(move || proxy.walk(&patterns, seq, order.soft))
        });
        let logged = logged.map_err(|fault| PurgeFault::NotLogged(fault.to_string()))?;
        let (receipts, missing) = self.receipts(&logged, order.wait).await?;
        if let Some(walking) = walking {
            entries = timeout(COUNT_PATIENCE, walking).await.ok().and_then(Result::ok).flatten();
        }
        let (era, seq) = self.proxy.log().position(logged.seq);
        Ok(PurgeReport { era, seq, entries, receipts, missing })
    }
}

impl Controls {
    fn receipt(&self, instance: String, applied: Seq) -> Receipt {
        let (era, applied) = self.proxy.log().position(applied);
        Receipt { instance, era, applied }
    }

    /// Who has applied `seq` by now, or within `wait`, and who of the living has not.
    async fn receipts(
        &self,
        logged: &Logged,
        wait: Option<Duration>,
    ) -> Result<(Vec<Receipt>, Vec<Missing>), PurgeFault> {
        let seq = logged.seq;
        let Some(shared) = self.proxy.log().shared() else {
            // The local log applies a record before it returns, so the one receipt there is to have is here.
            return Ok((vec![self.receipt(INSTANCE.into(), seq)], Vec::new()));
        };
        let deadline = Instant::now() + wait.unwrap_or_default();
        let found = shared.receipts(logged, deadline).await;
        let found = found.map_err(|fault| PurgeFault::Unconfirmed(fault.to_string()))?;
        let last = last_sign(&found);
        let (done, missing): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, instance)| instance.applied >= seq);
        let receipts = done.into_iter().map(|(id, instance)| self.receipt(id, instance.applied)).collect();
        let silent = |instance: &Instance| last.saturating_sub(instance.seen);
        let missing = missing.into_iter().map(|(id, seen)| Missing { silent_ms: silent(&seen), instance: id });
        Ok((receipts, missing.collect()))
    }
}

/// How many records of the newest era an instance has yet to apply.
fn behind(newest: (u64, u64), applied: (u64, u64)) -> u64 {
    if newest.0 == applied.0 { newest.1 - applied.1 } else { newest.1 }
}

/// When the last sign of life of all was.
fn last_sign(instances: &[(String, Instance)]) -> u64 {
    instances.iter().map(|(_, instance)| instance.seen).max().unwrap_or_default()
}

/// `part` of `all`, to three places.
fn ratio(part: u64, all: u64) -> Option<f64> {
    let thousandths = part.saturating_mul(1000).checked_div(all)?;
    u32::try_from(thousandths).ok().map(|thousandths| f64::from(thousandths) / 1000.0)
}

impl From<flow::PurgeFault> for PurgeFault {
    fn from(fault: flow::PurgeFault) -> Self {
        match fault {
            flow::PurgeFault::NotAbsolute(_) => Self::BadUrl(fault.to_string()),
            flow::PurgeFault::UnknownRoute { name, known } => Self::UnknownRoute { name, known },
        }
    }
}
