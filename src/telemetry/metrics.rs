//! Metric handles, resolved once when a route or origin is set up, so that counting a request
//! costs an addition and no look-up by label.

mod coding;
mod per_thread;
mod registrar;
#[cfg(test)]
mod tests;

use prometheus::core::Collector;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

use coding::CodingFamilies;
pub use coding::CodingMetrics;
pub use per_thread::{Durations, Tally};
use per_thread::{DurationsVec, TallyVec};
use registrar::Registrar;

use crate::reason::{OriginFault, Outcome, Reason};

/// Every metric of the process and the registry that holds them.
pub struct Metrics {
    /// What a scrape gathers. Private, so that nothing outside can register a name twice.
    registry: Registry,
    /// Client connections and what was refused before routing.
    pub listener: ListenerMetrics,
    /// L1.
    pub l1: L1Metrics,
    /// Client latency by outcome, indexed by `Outcome as usize`.
    pub latency: Vec<Durations>,
    /// Requests that wait for the fetch of another now.
    pub coalesce_waiting: IntGauge,
    /// Time that followers waited for a head.
    pub coalesce_wait: Histogram,
    /// Purges by kind (`url`, `prefix`, `tag`, `route`, `all`).
    pub purges: IntCounterVec,
    /// Reloads by result (`applied`, `refused`).
    pub reloads: IntCounterVec,
    /// Access log lines dropped because the writer could not keep up.
    pub log_lines_lost: IntCounter,
    /// Diagnostic lines dropped for the same reason.
    pub diagnostic_lines_lost: IntCounter,
    /// Highest invalidation applied.
    pub invalidation_applied: IntGauge,
    /// Records in the invalidation table.
    pub invalidation_records: IntGauge,
    /// The shared tier.
    pub l2: L2Metrics,
    /// Heartbeats by which this instance knew that it had applied everything.
    pub invalidation_beats: IntCounter,
    /// Heartbeats that Redis did not answer.
    pub invalidation_missed_beats: IntCounter,
    /// Messages that say nothing of the log.
    pub invalidation_ignored: IntCounter,
    families: Families,
}

/// The families that get a label set per route or origin.
struct Families {
    requests: TallyVec,
    responses: TallyVec,
    body_bytes: TallyVec,
    not_stored: IntCounterVec,
    passed: IntCounterVec,
    refreshes: IntCounterVec,
    origin_requests: TallyVec,
    origin_errors: IntCounterVec,
    origin_retries: IntCounterVec,
    origin_latency: DurationsVec,
    origin_in_flight: IntGaugeVec,
    origin_queued: IntGaugeVec,
    coding: CodingFamilies,
}

/// Client connections.
#[derive(Clone)]
pub struct ListenerMetrics {
    /// Open now.
    pub connections: IntGauge,
    /// Accepted since start.
    pub accepted: IntCounter,
    /// Accept calls that failed (descriptors exhausted and the like).
    pub accept_errors: IntCounter,
    /// Requests that wait for something now, such as an origin; the others are answered at once.
    pub in_flight: IntGauge,
    /// Requests refused before routing, by the fault's text.
    pub rejected: IntCounterVec,
}

/// L1.
#[derive(Clone)]
pub struct L1Metrics {
    /// Stored URLs; refreshed at each scrape.
    pub entries: IntGauge,
    /// Their weight in bytes; refreshed at each scrape.
    pub bytes: IntGauge,
    /// Evictions by cause (`expired`, `size`).
    pub evictions: IntCounterVec,
}

/// How a look-up in the shared tier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// What was wanted was there.
    Hit,
    /// It came while this instance waited for another's fetch: an origin request saved.
    Coalesced,
    /// It was not there, and this instance fetches.
    Miss,
    /// Others are fetching, but there is nothing to share.
    Disbanded,
    /// Another instance's fetch took longer than `coalesce_wait`.
    GaveUp,
    /// Redis did not answer in time.
    Unavailable,
}

impl LookUp {
    const LABELS: [&str; 6] = ["hit", "coalesced", "miss", "disbanded", "gave-up", "unavailable"];
}

/// The shared tier.
#[derive(Clone, Debug)]
pub struct L2Metrics {
    /// 1 while Redis is worth asking.
    pub up: IntGauge,
    /// How long Redis takes for a command, in seconds.
    pub latency: Histogram,
    looked_up: Vec<IntCounter>,
    /// Commands that Redis did not carry out in time.
    pub faults: IntCounter,
    damaged: Vec<IntCounter>,
    filled: Vec<IntCounter>,
}

impl L2Metrics {
    const DAMAGE: [&str; 8] =
        ["foreign", "version", "length", "checksum", "metadata", "wrong-key", "too-large", "immortal"];
    const FILLED: [&str; 4] = ["lease-lost", "stored", "purged", "refused"];

    fn register(r: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let damaged = r.counters("l2_damaged_total", "Values in Redis that could not be used.", &["kind"])?;
        let filled = r.counters("l2_fills_total", "Responses offered to Redis.", &["result"])?;
        let each = |family: &IntCounterVec, values: &[&str]| {
            values.iter().map(|value| family.with_label_values(&[value])).collect()
        };
        let looked_up =
            "Look-ups in Redis; \"coalesced\" ones saved an origin request by waiting for another instance.";
        let looked_up = r.counters("l2_lookups_total", looked_up, &["result"])?;
        Ok(Self {
            up: r.gauge("l2_up", "1 while Redis is worth asking, 0 while the breaker in front of it is open.")?,
            latency: r.histogram("l2_command_seconds", "How long Redis takes for a command.")?,
            looked_up: each(&looked_up, &LookUp::LABELS),
            faults: r.counter("l2_faults_total", "Commands that Redis did not carry out in time.")?,
            damaged: each(&damaged, &Self::DAMAGE),
            filled: each(&filled, &Self::FILLED),
        })
    }

    /// The counter of one way in which look-ups end.
    pub fn looked_up(&self, result: LookUp) -> &IntCounter {
        &self.looked_up[result as usize]
    }

    /// The counter of one kind of damage.
    pub fn damaged(&self, kind: usize) -> &IntCounter {
        &self.damaged[kind.min(self.damaged.len() - 1)]
    }

    /// The counter of what became of a fill: 0 the lease was lost, 1 stored, 2 purged, 3 refused by Redis.
    pub fn filled(&self, result: usize) -> &IntCounter {
        &self.filled[result.min(self.filled.len() - 1)]
    }
}

/// The handles of one route.
#[derive(Clone)]
pub struct RouteMetrics {
    /// Requests, indexed by `Outcome as usize`.
    pub requests: Vec<Tally>,
    /// Responses by status class, indexed by class minus one (1xx to 5xx).
    pub responses: Vec<Tally>,
    /// Bytes of response bodies sent to clients.
    pub body_bytes: Tally,
    /// Responses not stored, indexed by `Reason as usize`.
    pub not_stored: Vec<IntCounter>,
    /// Requests passed, indexed by `Reason as usize`.
    pub passed: Vec<IntCounter>,
    /// Background refreshes, indexed by `RefreshResult as usize`.
    pub refreshes: Vec<IntCounter>,
}

/// How a background refresh ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshResult {
    /// A new response was stored.
    Replaced,
    /// The origin confirmed the stored one.
    Confirmed,
    /// The new response may not be stored.
    Uncacheable,
    /// The origin failed.
    Failed,
    /// Too many refreshes were running.
    Dropped,
}

impl RefreshResult {
    const ALL: &[(Self, &'static str)] = &[
        (Self::Replaced, "replaced"),
        (Self::Confirmed, "confirmed"),
        (Self::Uncacheable, "uncacheable"),
        (Self::Failed, "failed"),
        (Self::Dropped, "dropped"),
    ];
}

/// The handles of one origin.
#[derive(Clone)]
pub struct OriginMetrics {
    /// Requests sent.
    pub requests: Tally,
    /// Failures, indexed by `OriginFault as usize`.
    pub errors: Vec<IntCounter>,
    /// Requests sent again after a reused connection had been reset.
    pub retries: IntCounter,
    /// Time to the response head.
    pub latency: Durations,
    /// Requests under way.
    pub in_flight: IntGauge,
    /// Requests waiting for a connection.
    pub queued: IntGauge,
}

impl Metrics {
    /// Registers every family. The names are constants, so a failure is a bug and a test finds it.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = Registrar(&registry);
        let latency =
            r.durations("request_duration_seconds", "Time to the response head, by outcome.", &["outcome"])?;
        let metrics = Self {
            listener: ListenerMetrics {
                connections: r.gauge("connections", "Open client connections.")?,
                accepted: r.counter("connections_accepted_total", "Client connections accepted.")?,
                accept_errors: r.counter("accept_errors_total", "Failures to accept a connection.")?,
                in_flight: r
                    .gauge("requests_in_flight", "Requests being answered, but for those that are answered at once.")?,
                rejected: r.counters(
                    "requests_rejected_total",
                    "Requests refused before routing, by fault.",
                    &["fault"],
                )?,
            },
            l1: L1Metrics {
                entries: r.gauge("l1_entries", "URLs stored in L1.")?,
                bytes: r.gauge("l1_bytes", "Weight of L1 in bytes, overhead included.")?,
                evictions: r.counters("l1_evictions_total", "URLs that left L1 unasked, by cause.", &["cause"])?,
            },
            latency: Outcome::ALL.iter().map(|o| latency.with_label_values(&[o.as_str()])).collect(),
            coalesce_waiting: r.gauge("coalesce_waiting", "Requests waiting for the fetch of another.")?,
            coalesce_wait: r
                .histogram("coalesce_wait_seconds", "Time that coalesced requests waited for a response head.")?,
            purges: r.counters("purges_total", "Purges, by kind.", &["kind"])?,
            reloads: r.counters("config_reloads_total", "Configuration reloads, by result.", &["result"])?,
            log_lines_lost: r.counter("access_log_lines_lost_total", "Access log lines dropped by a slow reader.")?,
            diagnostic_lines_lost: r
                .counter("diagnostic_lines_lost_total", "Diagnostic lines dropped by a slow reader.")?,
            invalidation_applied: r.gauge("invalidation_applied_seq", "Highest invalidation applied.")?,
            invalidation_records: r.gauge("invalidation_records", "Records in the invalidation table.")?,
            l2: L2Metrics::register(&r)?,
            invalidation_beats: r.counter("invalidation_beats_total", "Comparisons with the invalidation log.")?,
            invalidation_missed_beats: r
                .counter("invalidation_missed_beats_total", "Comparisons that Redis did not answer.")?,
            invalidation_ignored: r.counter(
                "invalidation_ignored_messages_total",
                "Messages that cannot be read, or speak of records that the log does not have.",
            )?,
            families: Families::register(&r)?,
            registry: registry.clone(),
        };
        r.gauges("build_info", "Always 1; the labels describe the build.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        r.process()?;
        Ok(metrics)
    }

    /// Requests answered so far, and those of them from memory, over all routes.
    pub fn traffic(&self) -> (u64, u64) {
        let families = self.families.requests.collect();
        let series = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let (mut requests, mut hits) = (0, 0);
        for metric in series {
            // A counter of whole numbers is shown as a float, exact up to 2 to the power of 53.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole numbers")]
            let count = metric.get_counter().get_value() as u64;
            requests += count;
            let outcome = metric.get_label().iter().find(|label| label.name() == "outcome");
            if outcome.is_some_and(|outcome| outcome.value() == Outcome::Hit.as_str()) {
                hits += count;
            }
        }
        (requests, hits)
    }

    /// All metrics in the text exposition format 0.0.4.
    ///
    /// Walks every series, so it is work for a blocking thread, not for one that serves requests.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // The encoder refuses only families without a name or without metrics, which a registry
        // never returns; what was written before such a family would still be of use.
        if let Err(fault) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%fault, "metrics are incomplete: a fault of Millpond, please report it");
        }
        text
    }

    /// The handles of a route.
    pub fn route(&self, name: &str) -> RouteMetrics {
        let f = &self.families;
        RouteMetrics {
            requests: Outcome::ALL.iter().map(|o| f.requests.with_label_values(&[name, o.as_str()])).collect(),
            responses: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .iter()
                .map(|c| f.responses.with_label_values(&[name, c]))
                .collect(),
            body_bytes: f.body_bytes.with_label_values(&[name]),
            not_stored: Reason::ALL.iter().map(|r| f.not_stored.with_label_values(&[name, r.as_str()])).collect(),
            passed: Reason::ALL.iter().map(|r| f.passed.with_label_values(&[name, r.as_str()])).collect(),
            refreshes: RefreshResult::ALL
                .iter()
                .map(|(_, text)| f.refreshes.with_label_values(&[name, text]))
                .collect(),
        }
    }

    /// The handles of a route that codes, indexed by `Coding as usize`.
    pub fn coding(&self, route: &str) -> Vec<CodingMetrics> {
        self.families.coding.of(route)
    }

    /// The handles of an origin.
    pub fn origin(&self, name: &str) -> OriginMetrics {
        let f = &self.families;
        OriginMetrics {
            requests: f.origin_requests.with_label_values(&[name]),
            errors: OriginFault::ALL.iter().map(|k| f.origin_errors.with_label_values(&[name, k.as_str()])).collect(),
            retries: f.origin_retries.with_label_values(&[name]),
            latency: f.origin_latency.with_label_values(&[name]),
            in_flight: f.origin_in_flight.with_label_values(&[name]),
            queued: f.origin_queued.with_label_values(&[name]),
        }
    }
}

impl Families {
    fn register(r: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: r.tallies("requests_total", "Requests, by route and outcome.", &["route", "outcome"])?,
            responses: r.tallies("responses_total", "Responses, by route and status class.", &["route", "class"])?,
            body_bytes: r.tallies(
                "response_body_bytes_total",
                "Bytes of response bodies sent to clients.",
                &["route"],
            )?,
            not_stored: r.counters("not_stored_total", "Responses not stored, by reason.", &["route", "reason"])?,
            passed: r.counters(
                "passed_total",
                "Requests that did not consult the cache, by reason.",
                &["route", "reason"],
            )?,
            refreshes: r.counters("refreshes_total", "Background refreshes, by result.", &["route", "result"])?,
            origin_requests: r.tallies("origin_requests_total", "Requests sent to an origin.", &["origin"])?,
            origin_errors: r.counters(
                "origin_errors_total",
                "Failed origin requests, by kind.",
                &["origin", "kind"],
            )?,
            origin_retries: r.counters(
                "origin_retries_total",
                "Requests sent again on a new connection.",
                &["origin"],
            )?,
            origin_latency: r.durations(
                "origin_duration_seconds",
                "Time to the origin's response head.",
                &["origin"],
            )?,
            origin_in_flight: r.gauges("origin_requests_in_flight", "Origin requests under way.", &["origin"])?,
            origin_queued: r.gauges(
                "origin_requests_queued",
                "Requests waiting for an origin connection.",
                &["origin"],
            )?,
            coding: CodingFamilies::register(r)?,
        })
    }
}
