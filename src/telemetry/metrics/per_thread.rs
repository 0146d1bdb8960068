//! What is counted for every request, by each thread for itself: an addition that is not atomic, in memory that no
//! other core writes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use once_cell::race::OnceBox;
use prometheus::Opts;
use prometheus::core::{Atomic, GenericCounter, GenericCounterVec, Metric, MetricVec, MetricVecBuilder};
use prometheus::proto;

use crate::telemetry::place::{self, PLACES};

/// Upper bounds of the latency buckets, in microseconds: 100 microseconds to one minute.
pub(super) const LATENCY_BUCKETS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A number that only grows, as the sum of what each thread has added.
pub struct PerThread {
    shared: AtomicU64,
    own: [OnceBox<CachePadded<AtomicU64>>; PLACES],
}

impl Atomic for PerThread {
    type T = u64;

    fn new(value: u64) -> Self {
        Self { shared: AtomicU64::new(value), own: [const { OnceBox::new() }; PLACES] }
    }

    fn get(&self) -> u64 {
        let own = self.own.iter().filter_map(OnceBox::get).map(|own| own.load(Relaxed));
        own.fold(self.shared.load(Relaxed), u64::wrapping_add)
    }

    fn inc_by(&self, delta: u64) {
        match place::here() {
            Some(place) => {
                let own = self.own[place].get_or_init(Box::default);
                // Nobody else writes it.
                own.store(own.load(Relaxed).wrapping_add(delta), Relaxed);
            }
            None => {
                self.shared.fetch_add(delta, Relaxed);
            }
        }
    }

    fn dec_by(&self, delta: u64) {
        self.inc_by(delta.wrapping_neg());
    }

    /// What threads count at the same moment may be lost.
    fn set(&self, value: u64) {
        self.dec_by(self.get());
        self.inc_by(value);
    }
}

/// A counter of what happens for every request.
pub type Tally = GenericCounter<PerThread>;
/// Such counters by their labels.
pub(super) type TallyVec = GenericCounterVec<PerThread>;

/// How long something takes that happens for every request: a Prometheus histogram.
#[derive(Clone)]
pub struct Durations(Arc<Inner>);

struct Inner {
    labels: Vec<proto::LabelPair>,
    /// Not cumulative; the last is for what is longer than all bounds.
    buckets: [PerThread; LATENCY_BUCKETS.len() + 1],
    microseconds: PerThread,
}

impl Durations {
    /// Counts one more.
    pub fn observe(&self, span: Duration) {
        let took = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BUCKETS.iter().position(|most| took <= *most).unwrap_or(LATENCY_BUCKETS.len());
        self.0.buckets[bucket].inc_by(1);
        self.0.microseconds.inc_by(took);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.buckets.iter().map(PerThread::get).sum()
    }

    /// How long all of them took together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.0.microseconds.get())
    }
}

impl Metric for Durations {
    fn metric(&self) -> proto::Metric {
        let (mut histogram, mut count) = (proto::Histogram::default(), 0);
        let mut upto = |bucket: &PerThread| {
            count += bucket.get();
            count
        };
        let bounds = LATENCY_BUCKETS.iter().zip(&self.0.buckets).map(|(most, bucket)| {
            let mut shown = proto::Bucket::default();
            shown.set_upper_bound(Duration::from_micros(*most).as_secs_f64());
            shown.set_cumulative_count(upto(bucket));
            shown
        });
        histogram.set_bucket(bounds.collect());
        histogram.set_sample_count(upto(&self.0.buckets[LATENCY_BUCKETS.len()]));
        histogram.set_sample_sum(self.total().as_secs_f64());
        let mut metric = proto::Metric::from_label(self.0.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

/// Makes [`Durations`] by their labels.
#[derive(Clone)]
pub(super) struct DurationsBuilder;

impl MetricVecBuilder for DurationsBuilder {
    type M = Durations;
    type P = Opts;

    fn build<V: AsRef<str>>(&self, opts: &Opts, values: &[V]) -> prometheus::Result<Durations> {
        let labels = opts.variable_labels.iter().zip(values).map(|(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name(name.clone());
            label.set_value(value.as_ref().to_owned());
            label
        });
        Ok(Durations(Arc::new(Inner {
            labels: labels.collect(),
            buckets: std::array::from_fn(|_| PerThread::new(0)),
            microseconds: PerThread::new(0),
        })))
    }
}

/// [`Durations`] by their labels.
pub(super) type DurationsVec = MetricVec<DurationsBuilder>;

#[cfg(test)]
mod tests {
    use prometheus::core::Collector as _;

    use super::*;
    use crate::telemetry::place::tests::share;

    #[test]
    fn what_threads_count_by_themselves_and_together_adds_up() {
        const EACH: u64 = 10_000;
        let number = PerThread::new(7);
        std::thread::scope(|scope| {
            for own in [true, true, false, false] {
                let number = &number;
                scope.spawn(move || {
                    if !own {
                        share();
                    }
                    assert_eq!(place::here().is_some(), own);
                    (0..EACH).for_each(|_| number.inc_by(1));
                });
            }
        });
        assert_eq!((number.shared.load(Relaxed), number.get()), (7 + 2 * EACH, 7 + 4 * EACH));
        number.dec_by(7);
        assert_eq!(number.get(), 4 * EACH);
        number.set(3);
        assert_eq!(number.get(), 3);
    }

    #[test]
    fn durations_are_shown_as_a_histogram_of_the_library_is() {
        let text = |family: Vec<proto::MetricFamily>| prometheus::TextEncoder::new().encode_to_string(&family).unwrap();
        let opts = Opts::new("a", "b").variable_label("c");
        let own = DurationsVec::create(proto::MetricType::HISTOGRAM, DurationsBuilder, opts.clone()).unwrap();
        let buckets = LATENCY_BUCKETS.map(|most| Duration::from_micros(most).as_secs_f64()).to_vec();
        let theirs = prometheus::HistogramVec::new(prometheus::HistogramOpts { common_opts: opts, buckets }, &["c"]);
        let theirs = theirs.unwrap();
        for took in [0, 99, 100, 101, 500, 2_500_000, 60_000_000, 60_000_001, 600_000_000].map(Duration::from_micros) {
            own.with_label_values(&["d"]).observe(took);
            theirs.with_label_values(&["d"]).observe(took.as_secs_f64());
        }
        assert_eq!(text(own.collect()), text(theirs.collect()));
        assert_eq!(own.with_label_values(&["d"]).count(), 9);
    }
}
