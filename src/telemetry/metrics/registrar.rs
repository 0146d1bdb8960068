//! Names, prefixes and registration, in one place so that no metric can escape the conventions.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::per_thread::{DurationsBuilder, DurationsVec, LATENCY_BUCKETS, TallyVec};

/// Creates metrics with the common prefix and registers them.
pub(super) struct Registrar<'a>(pub(super) &'a Registry);

impl Registrar<'_> {
    /// `process_*` figures under the names that every Prometheus client library uses.
    #[cfg(target_os = "linux")]
    pub(super) fn process(&self) -> Result<(), prometheus::Error> {
        self.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
    }

    /// The figures come from `/proc`, which only Linux has.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn process(&self) -> Result<(), prometheus::Error> {
        Ok(())
    }

    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(opts(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(histogram_opts(name, help))?)
    }

    /// Counters of what happens for every request.
    pub(super) fn tallies(&self, name: &str, help: &str, labels: &[&str]) -> Result<TallyVec, prometheus::Error> {
        self.add(TallyVec::new(opts(name, help), labels)?)
    }

    /// Histograms of what happens for every request.
    pub(super) fn durations(&self, name: &str, help: &str, labels: &[&str]) -> Result<DurationsVec, prometheus::Error> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let opts = opts(name, help).variable_labels(labels);
        self.add(DurationsVec::create(MetricType::HISTOGRAM, DurationsBuilder, opts)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("millpond")
}

fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
    let buckets = LATENCY_BUCKETS.map(|most| Duration::from_micros(most).as_secs_f64()).to_vec();
    HistogramOpts { common_opts: opts(name, help), buckets }
}
