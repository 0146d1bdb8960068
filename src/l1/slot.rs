//! All that is known of one URL: its stored variants and whether it was uncacheable of late.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use smallvec::SmallVec;

use crate::clock::Moment;
use crate::entry::Entry;
use crate::policy::vary::Selecting;

/// Tells moka when a slot has become useless; freshness itself is judged on every hit.
pub(super) struct Usefulness;

/// What is stored under one key. Slots are replaced, never changed.
#[derive(Debug)]
pub struct Slot {
    /// The newest first.
    variants: SmallVec<[Arc<Entry>; 1]>,
    uncacheable_until: Option<Moment>,
    useful_for: Duration,
}

impl Slot {
    /// `old` with `entry` added. Entries with the same selecting fields are superseded. `None` if
    /// that would be more than `max_variants`.
    pub(super) fn with(old: Option<&Self>, entry: &Arc<Entry>, max_variants: usize, now: Moment) -> Option<Self> {
        let mut variants: SmallVec<[Arc<Entry>; 1]> = SmallVec::new();
        variants.push(Arc::clone(entry));
        variants.extend(old.into_iter().flat_map(|slot| slot.others(entry.selecting(), now)).map(Arc::clone));
        (variants.len() <= max_variants).then(|| Self::new(variants, None, now))
    }

    /// `old` with a hit-for-miss marker.
    pub(super) fn marked(old: Option<&Self>, until: Moment, now: Moment) -> Self {
        let variants = old.map(|slot| slot.variants.clone()).unwrap_or_default();
        Self::new(variants, Some(until), now)
    }

    /// Variants that an entry with these selecting fields leaves in place.
    pub(super) fn others(&self, selecting: &Selecting, now: Moment) -> impl Iterator<Item = &Arc<Entry>> {
        self.variants.iter().filter(move |o| o.selecting() != selecting && !o.useful_for(now).is_zero())
    }

    /// Without the entries that `keep` refuses. `None` if nothing is left.
    pub(super) fn retain(&self, keep: impl Fn(&Entry) -> bool, now: Moment) -> Option<Self> {
        let variants: SmallVec<[Arc<Entry>; 1]> = self.variants.iter().filter(|e| keep(e)).map(Arc::clone).collect();
        let empty = variants.is_empty() && self.uncacheable_until.is_none();
        (!empty).then(|| Self::new(variants, self.uncacheable_until, now))
    }

    fn new(variants: SmallVec<[Arc<Entry>; 1]>, uncacheable_until: Option<Moment>, now: Moment) -> Self {
        let marker = uncacheable_until.map_or(Duration::ZERO, |until| until.since(now));
        let useful_for = variants.iter().map(|entry| entry.useful_for(now)).fold(marker, Duration::max);
        Self { variants, uncacheable_until, useful_for }
    }

    /// The newest variant whose selecting fields match the request (RFC 9111 section 4.1), or else the
    /// newest in the language that it likes best.
    pub fn select(&self, request: &HeaderMap) -> Option<&Arc<Entry>> {
        let matching = self.variants.iter().find(|entry| entry.selecting().matches(request));
        let speaking = |entry: &&Arc<Entry>| entry.selecting().speaks(&entry.content().headers, request);
        matching.or_else(|| self.variants.iter().find(speaking))
    }

    /// Every variant, the newest first.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.variants
    }

    /// Whether the URL was found uncacheable a moment ago.
    pub fn is_uncacheable(&self, now: Moment) -> bool {
        self.uncacheable_until.is_some_and(|until| now < until)
    }

    /// How long from its making the slot can be of use.
    pub(super) fn useful_for(&self) -> Duration {
        self.useful_for
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.variants.iter().map(|entry| entry.weight()).sum::<usize>()
    }
}
