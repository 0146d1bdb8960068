//! Which pattern was last invalidated by which record.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use parking_lot::RwLock;

use super::{Pattern, Record, Seq, Subject, Validity};
use crate::clock::Moment;

/// The records that hit one pattern, reduced to what still matters.
#[derive(Clone, Copy)]
struct Marks {
    /// The lowest number of all.
    first: Seq,
    /// The highest number of a hard record; 0 for none.
    hard: Seq,
    /// The highest number of a soft record, and when it was applied; 0 for none.
    soft: Seq,
    soft_since: Moment,
}

impl Marks {
    const NONE: Self = Self { first: Seq::MAX, hard: 0, soft: 0, soft_since: Moment::from_micros(0) };

    fn of(seq: Seq, soft: bool, now: Moment) -> Self {
        if soft {
            Self { first: seq, soft: seq, soft_since: now, ..Self::NONE }
        } else {
            Self { first: seq, hard: seq, ..Self::NONE }
        }
    }

    fn newest(&self) -> Seq {
        self.hard.max(self.soft)
    }

    /// Adds what `other` knows. Numbers only ever rise, so that order and repetition of the records
    /// do not matter. Returns whether anything changed.
    fn absorb(&mut self, other: &Self) -> bool {
        let before = (self.first, self.hard, self.soft);
        self.first = self.first.min(other.first);
        self.hard = self.hard.max(other.hard);
        if other.soft > self.soft {
            (self.soft, self.soft_since) = (other.soft, other.soft_since);
        }
        before != (self.first, self.hard, self.soft)
    }
}

/// Texts of one kind with their marks.
#[derive(Default)]
struct Texts(HashMap<Box<str>, Marks, RandomState>);

impl Texts {
    fn mark(&mut self, text: &str, marks: &Marks) -> bool {
        if let Some(known) = self.0.get_mut(text) {
            return known.absorb(marks);
        }
        self.0.insert(text.into(), *marks);
        true
    }
}

/// Prefixes with their marks, and the lengths they have: a look-up tries each length once, however
/// many prefixes there are.
#[derive(Default)]
struct Prefixes {
    texts: Texts,
    lengths: BTreeSet<usize>,
}

impl Prefixes {
    fn mark(&mut self, text: &str, marks: &Marks) -> bool {
        self.lengths.insert(text.len());
        self.texts.mark(text, marks)
    }

    fn matching<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Marks> {
        let lengths = self.lengths.range(..=text.len());
        lengths.filter_map(move |length| self.texts.0.get(text.get(..*length)?))
    }
}

struct State {
    urls: Texts,
    tags: Texts,
    routes: Texts,
    /// Prefixes of whole URLs.
    url_prefixes: Prefixes,
    /// Prefixes of path and query on any host.
    path_prefixes: Prefixes,
    /// What URLs and prefixes with a query mark, by their text in front of it. No more of them than
    /// there are of those, which the floor takes over together with them.
    paths: Texts,
    /// Marks on everything: records for all, and those that outgrew the table.
    floor: Marks,
    /// The highest number of all: what began after it needs no look at any pattern.
    newest: Seq,
}

impl State {
    fn mark(&mut self, pattern: &Pattern, marks: &Marks) -> bool {
        // What a hard record for everything covers needs no line of its own.
        if *pattern == Pattern::All || marks.newest() <= self.floor.hard {
            return self.floor.absorb(marks);
        }
        if let Pattern::Url(text) | Pattern::Prefix(text) = pattern
            && text.contains('?')
        {
            self.paths.mark(path(text), marks);
        }
        match pattern {
            Pattern::Url(url) => self.urls.mark(url, marks),
            Pattern::Prefix(prefix) if prefix.starts_with('/') => self.path_prefixes.mark(prefix, marks),
            Pattern::Prefix(prefix) => self.url_prefixes.mark(prefix, marks),
            Pattern::Tag(tag) => self.tags.mark(tag.as_str(), marks),
            Pattern::Route(route) => self.routes.mark(route, marks),
            Pattern::All => false,
        }
    }

    /// The marks of every pattern that matches.
    fn matching<'a>(&'a self, subject: &'a Subject<'_>) -> impl Iterator<Item = &'a Marks> {
        let tags = subject.tags.iter().filter_map(|tag| self.tags.0.get(tag.as_str()));
        std::iter::once(&self.floor)
            .chain(self.urls.0.get(subject.url))
            .chain(self.routes.0.get(subject.route))
            .chain(tags)
            .chain(self.url_prefixes.matching(subject.url))
            .chain(self.path_prefixes.matching(path_and_query(subject.url)))
            .chain(self.of_path(subject).into_iter().flatten())
    }

    /// The marks of every URL of the path, if the query of `subject` does not tell.
    fn of_path(&self, subject: &Subject<'_>) -> Option<impl Iterator<Item = &Marks>> {
        let (whole, bare) = (path(subject.url), path(path_and_query(subject.url)));
        let found = [self.urls.0.get(whole), self.paths.0.get(whole), self.paths.0.get(bare)];
        subject.any_query.then(|| found.into_iter().flatten())
    }

    fn texts(&self) -> [&Texts; 5] {
        [&self.urls, &self.tags, &self.routes, &self.url_prefixes.texts, &self.path_prefixes.texts]
    }

    fn len(&self) -> usize {
        self.texts().iter().map(|texts| texts.0.len()).sum()
    }

    /// Lets the floor take over every pattern whose newest record is at or below `cut`.
    fn collapse(&mut self, cut: Seq) {
        let floor = &mut self.floor;
        for texts in [
            &mut self.urls,
            &mut self.tags,
            &mut self.routes,
            &mut self.url_prefixes.texts,
            &mut self.path_prefixes.texts,
        ] {
            texts.0.retain(|_, marks| {
                let stays = marks.newest() > cut;
                if !stays {
                    floor.absorb(marks);
                }
                stays
            });
        }
        // Whatever marked them is in the floor by now.
        self.paths.0.retain(|_, marks| marks.newest() > cut);
        for prefixes in [&mut self.url_prefixes, &mut self.path_prefixes] {
            prefixes.lengths = prefixes.texts.0.keys().map(|text| text.len()).collect();
        }
    }

    /// Collapses the oldest patterns once there are more than `max`; a sixteenth of the table at a
    /// time, so that a flood of records does not walk the table for each of them.
    fn shrink(&mut self, max: usize) {
        let len = self.len();
        if len <= max {
            return;
        }
        let excess = (len - max + max / 16).min(len);
        let mut ages: Vec<Seq> = self.texts().iter().flat_map(|texts| texts.0.values()).map(Marks::newest).collect();
        let (_, cut, _) = ages.select_nth_unstable(excess - 1);
        let cut = *cut;
        self.collapse(cut);
    }
}

/// A URL, or the begin of one, up to its query.
pub(super) fn path(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

pub(super) fn path_and_query(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    url[after_scheme..].find('/').map_or("", |at| &url[after_scheme + at..])
}

/// All that the records applied so far invalidate, in bounded space.
///
/// Per pattern only the highest numbers count. When the patterns outgrow the bound, the oldest
/// collapse into marks on everything: more becomes invalid than was asked for, never less.
pub struct Table {
    state: RwLock<State>,
    version: AtomicU64,
    max_records: usize,
}

impl Table {
    /// An empty table that keeps up to `max_records` patterns.
    pub fn new(max_records: usize) -> Self {
        let state = State {
            urls: Texts::default(),
            tags: Texts::default(),
            routes: Texts::default(),
            url_prefixes: Prefixes::default(),
            path_prefixes: Prefixes::default(),
            paths: Texts::default(),
            floor: Marks::NONE,
            newest: 0,
        };
        Self { state: RwLock::new(state), version: AtomicU64::new(0), max_records }
    }

    /// Applies a record. In any order, any number of times: the result is the same, except that a
    /// soft record counts from the moment at which it was first applied.
    pub fn apply(&self, seq: Seq, record: &Record, now: Moment) {
        let mut state = self.state.write();
        state.newest = state.newest.max(seq);
        let hard_floor = state.floor.hard;
        if !state.mark(&record.pattern, &Marks::of(seq, record.soft, now)) {
            return;
        }
        if state.floor.hard > hard_floor {
            // A hard record for everything covers all that came before it.
            let cut = state.floor.hard;
            state.collapse(cut);
        }
        state.shrink(self.max_records);
        // Before the lock is released: who reads this version finds this record.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Rises with every change. An entry that was checked after this version was read need not be
    /// checked again until it has risen.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What the records say about an entry whose fetch started when `born` was applied. Only if there are any since then,
    /// it is made out what they are matched against.
    pub fn check<'a>(&self, born: Seq, subject: impl FnOnce() -> Subject<'a>) -> Validity {
        let state = self.state.read();
        if state.newest <= born {
            return Validity::Valid;
        }
        let mut since: Option<Moment> = None;
        for marks in state.matching(&subject()) {
            if marks.hard > born {
                return Validity::Purged;
            }
            if marks.soft > born {
                since = Some(since.map_or(marks.soft_since, |earliest| earliest.min(marks.soft_since)));
            }
        }
        since.map_or(Validity::Valid, |since| Validity::SoftPurged { since })
    }

    /// Whether a record after `after` and up to `up_to`, hard or soft, matches. May say yes without
    /// need, where a pattern was hit both before and after that span; never no in place of yes.
    pub fn matched_between(&self, after: Seq, up_to: Seq, subject: &Subject<'_>) -> bool {
        let state = self.state.read();
        state.newest > after && state.matching(subject).any(|marks| marks.newest() > after && marks.first <= up_to)
    }

    /// Patterns kept.
    pub fn len(&self) -> usize {
        self.state.read().len()
    }

    /// Whether no pattern is kept; marks on everything may still be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
