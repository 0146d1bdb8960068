//! Invalidation: the log of records, and the table of what they invalidate.
//!
//! All invalidations form one log with a gapless sequence number. A fetch notes the number that is
//! applied when it starts, and its entry is valid only while no record with a higher number matches
//! it. Clocks take no part in this: every race between a fetch and an invalidation is decided by the
//! order of the log.

mod fleet;
mod follow;
mod number;
mod receipts;
mod scripts;
mod shared;
mod table;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock::Moment;
use crate::policy::tags::Tag;

pub use fleet::Instance;
pub use shared::{Logged, Membership, Shared, Unreachable};
pub use table::Table;

/// A position in the log. The first record has 1; 0 is before all.
pub type Seq = u64;

/// What a record invalidates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This URL, in the form it has in a key, with all its variants.
    Url(String),
    /// Every URL that starts with this text; a text that starts with `/` is compared with path and
    /// query on any host.
    Prefix(String),
    /// Every response with this tag.
    Tag(Tag),
    /// Every response of this route.
    Route(Arc<str>),
    /// Everything.
    All,
}

impl Pattern {
    /// Whether it is about `subject`.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let reaches = |text: &str, url: &str| subject.any_query && table::path(text) == table::path(url);
        match self {
            Self::Url(url) => url == subject.url || reaches(url, subject.url),
            Self::Prefix(prefix) if prefix.contains('?') && reaches(prefix, subject.url) => true,
            Self::Prefix(prefix) if prefix.contains('?') && reaches(prefix, table::path_and_query(subject.url)) => true,
            Self::Prefix(prefix) if prefix.starts_with('/') => table::path_and_query(subject.url).starts_with(prefix),
            Self::Prefix(prefix) => subject.url.starts_with(prefix),
            Self::Tag(tag) => subject.tags.contains(tag),
            Self::Route(route) => **route == *subject.route,
            Self::All => true,
        }
    }
}

/// One invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it invalidates.
    pub pattern: Pattern,
    /// Whether it only makes stale what it matches, rather than removing it.
    pub soft: bool,
}

/// The record that nothing survives.
const EVERYTHING: Record = Record { pattern: Pattern::All, soft: false };

/// What an entry is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The URL part of its key.
    pub url: &'a str,
    /// The name of its route.
    pub route: &'a str,
    /// Its tags.
    pub tags: &'a [Tag],
    /// Whether it may be good for other queries than that of its URL. Every URL of its path, and every
    /// prefix that reaches into a query of it, then stands for it: which queries those are is the
    /// matter of each response, and too much is invalidated rather than too little.
    pub any_query: bool,
}

/// What the records say about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// No later record matches it.
    Valid,
    /// It may only be used as a stale response.
    SoftPurged {
        /// When it became stale, at the latest.
        since: Moment,
    },
    /// It must not be used at all.
    Purged,
}

/// The log as this instance knows it: by itself, or as its part of a fleet's.
pub struct Log {
    table: Table,
    applied: AtomicU64,
    appending: Mutex<()>,
    shared: Option<Shared>,
    /// When this instance last knew that it had applied everything, in microseconds.
    synced: AtomicU64,
}

impl Log {
    /// An empty log whose table keeps up to `max_records` patterns.
    pub fn new(max_records: usize, shared: Option<Shared>) -> Self {
        Self {
            table: Table::new(max_records),
            applied: AtomicU64::new(0),
            appending: Mutex::new(()),
            shared,
            synced: AtomicU64::new(0),
        }
    }

    /// Makes records count on this instance at once, before anybody else is told of them. Returns the
    /// number of the last.
    pub fn apply_here(&self, records: &[Record], now: Moment) -> Seq {
        let appending = self.appending.lock();
        let mut last = self.applied();
        for record in records {
            let applied = self.applied();
            last = applied + 1;
            self.table.apply(last, record, now);
            // The local part of a number may run out while Redis is away. What is fetched from then on
            // passes for older than the record, and is not stored.
            if self.shared.is_none() || last < number::next(applied) {
                // Only now: a fetch that starts between the two counts as older than the record. The
                // other way round it would pass for newer although it may have found the table without.
                self.applied.store(last, Ordering::Release);
            }
        }
        drop(appending);
        last
    }

    /// Era and number of a position, as operators see them; without Redis there is one era, 0.
    pub fn position(&self, seq: Seq) -> (u64, u64) {
        if self.shared.is_some() { number::split(seq) } else { (0, seq) }
    }

    /// Appends records that [`Log::apply_here`] has applied to the log of the fleet, and returns the
    /// last when this instance has read them there.
    ///
    /// # Errors
    ///
    /// It is out of reach; it will be told when it is back.
    pub async fn append(&self, records: &[Record]) -> Result<Logged, Unreachable> {
        let Some(shared) = &self.shared else { return Ok(Logged { seq: self.applied(), line: String::new() }) };
        match shared.append(self.applied(), records).await {
            Ok(logged) => {
                shared.reach(self, logged.seq).await;
                Ok(logged)
            }
            Err(error) => {
                shared.owe(records);
                Err(error)
            }
        }
    }

    /// Has records that [`Log::apply_here`] has applied appended when there is time, at the latest when this
    /// instance leaves its fleet.
    pub fn owe(&self, records: &[Record]) {
        if let Some(shared) = &self.shared {
            shared.owe(records);
            shared.ring();
        }
    }

    /// Whether `records` records are all that is new since `before`, here and in the fleet: `here` is what
    /// [`Log::apply_here`] has returned for them, and `logged` what [`Log::append`] has.
    pub fn is_all_since(&self, before: Seq, records: u64, here: Seq, logged: Seq) -> bool {
        let next = if self.shared.is_some() { number::after(before, records) } else { before + records };
        here == before + records && logged == next && self.applied() >= logged
    }

    /// Whether what was fetched elsewhere, when `born` was applied there, can be judged here: everything
    /// up to there is known. If not, the log is looked at soon.
    pub fn knows(&self, born: Seq) -> bool {
        let Some(shared) = &self.shared else { return true };
        let known = number::shared(born) <= self.applied();
        if !known {
            shared.ring();
        }
        known
    }

    /// `born` as other instances may compare it: without what this one did by itself.
    pub fn common(&self, born: Seq) -> Seq {
        if self.shared.is_some() { number::shared(born) } else { born }
    }

    /// Applies the next record.
    fn apply(&self, seq: Seq, record: &Record, now: Moment) {
        self.table.apply(seq, record, now);
        self.advance(seq);
    }

    /// Applies a record while others before it are missing.
    fn apply_out_of_order(&self, seq: Seq, record: &Record, now: Moment) {
        self.table.apply(seq, record, now);
    }

    /// Notes that everything up to `seq` is applied. Not between the two steps of
    /// [`Log::apply_here`]: what was fetched before would pass for newer than its record.
    fn advance(&self, seq: Seq) {
        let _appending = self.appending.lock();
        self.applied.fetch_max(seq, Ordering::AcqRel);
    }

    /// Notes that everything that was in the fleet's log at `moment` is applied.
    fn synced(&self, moment: Moment) {
        self.synced.fetch_max(moment.as_micros(), Ordering::AcqRel);
    }

    /// When this instance last knew that it had applied everything; `None` for one by itself, which
    /// always knows.
    pub fn last_synced(&self) -> Option<Moment> {
        self.shared.is_some().then(|| Moment::from_micros(self.synced.load(Ordering::Acquire)))
    }

    /// The fleet's side of it.
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// The highest number up to which all records are applied: what a fetch notes when it starts.
    pub fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_against_everything_born_before_it_and_nothing_born_after() {
        let log = Log::new(10, None);
        let subject = Subject { url: "http://h/a", route: "r", tags: &[], any_query: false };
        let before = log.applied();
        let record = Record { pattern: Pattern::Url("http://h/a".into()), soft: false };
        log.apply_here(&[record], Moment::default());
        assert_eq!(log.applied(), 1);
        assert_eq!(log.table().check(before, || subject), Validity::Purged);
        assert_eq!(log.table().check(log.applied(), || subject), Validity::Valid);
    }

    #[test]
    fn records_are_all_that_is_new_only_if_no_other_came_between() {
        let log = Log::new(10, None);
        let record = |url: &str| Record { pattern: Pattern::Url(url.into()), soft: false };
        let before = log.applied();
        let here = log.apply_here(&[record("http://h/a"), record("http://h/b")], Moment::default());
        assert!(log.is_all_since(before, 2, here, here));
        assert!(!log.is_all_since(before, 1, here, here));
        let before = log.applied();
        log.apply_here(&[record("http://h/c")], Moment::default());
        let here = log.apply_here(&[record("http://h/a")], Moment::default());
        assert!(!log.is_all_since(before, 1, here, here), "one came between");
    }

    #[test]
    fn concurrent_appends_leave_no_gap_and_count_when_they_return() {
        let log = Log::new(1000, None);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for round in 0..50 {
                        let url = format!("http://h/{thread}/{round}");
                        let before = log.applied();
                        let record = Record { pattern: Pattern::Url(url.clone()), soft: false };
                        log.apply_here(&[record], Moment::default());
                        let subject = Subject { url: &url, route: "r", tags: &[], any_query: false };
                        assert_eq!(log.table().check(before, || subject), Validity::Purged);
                        assert_eq!(log.table().check(log.applied(), || subject), Validity::Valid);
                    }
                });
            }
        });
        assert_eq!(log.applied(), 200);
    }
}
