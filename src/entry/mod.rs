//! A stored response and everything needed to judge it later.

mod body;
mod coded;
pub mod coder;
mod fields;
mod parts;
mod size;
mod span;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bitflags::bitflags;
use bytes::Bytes;
use http::StatusCode;
use once_cell::race::OnceBox;
use string_cache::DefaultAtom;

pub use self::body::StoredBody;
pub use self::fields::Fields;
pub use self::parts::{Joined, Parts};
pub use self::size::allocated;
pub use crate::bus::Seq;
use crate::bus::{Subject, Table, Validity};
use crate::clock::Moment;
use crate::policy::fields::ByName;
use crate::policy::request::Demand;
use crate::policy::reuse::{self, Reuse};
use crate::policy::search::NO_VARY_SEARCH;
use crate::policy::storability::{Lifetimes, Storable};
use crate::policy::tags::Tag;
use crate::policy::vary::Selecting;

pub use coded::Coded;
use span::Span;

/// What the origin sent, as it is stored: without hop-by-hop and framing fields.
#[derive(Clone, Debug)]
pub struct Content {
    /// Final status.
    pub status: StatusCode,
    /// Fields as sent to clients, without what is added to each answer.
    pub fields: Fields,
    /// The whole body.
    pub body: Bytes,
}

/// How a fetch came to its response.
#[derive(Clone, Copy, Debug)]
pub struct Provenance {
    /// Highest invalidation applied when the fetch began: older ones can not concern this entry.
    pub born: Seq,
    /// When the response head arrived; `Age` counts from here.
    pub received: Moment,
    /// From the request to the response head: what a miss costs.
    pub fetch_time: Duration,
    /// The part of the remaining lifetime to cut off, 0.0 to 0.9, drawn once per stored response.
    pub jitter: f64,
}

/// No moment: the entry was not purged softly.
const NEVER: u64 = u64::MAX;
/// No version: the entry was not compared with the invalidation table yet.
const UNCHECKED: u64 = u64::MAX;

/// Where a response stands in its life.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its age.
    pub age: Duration,
    /// Time until it turns stale, zero if it is.
    pub fresh_left: Duration,
    /// Time since it turned stale, zero if it is fresh.
    pub stale_for: Duration,
}

/// A stored response. L1 holds millions, so what is small takes little room, what many share is shared, and what most have
/// not takes a word. It is immutable but for what it comes to later, and a hint that any thread may rewrite at any time.
#[derive(Debug)]
pub struct Entry {
    status: StatusCode,
    fields: Fields,
    body: StoredBody,
    /// Once there is any of it.
    extra: OnceBox<Extra>,
    /// One copy of each name for all.
    route: DefaultAtom,
    born: Seq,
    received: Moment,
    fetch_time: Span,
    fresh_for: Span,
    initial_age: Span,
    stale_while_revalidate: Span,
    stale_if_error: Span,
    traits: Traits,
    /// Whether its body may be coded, once somebody wants to know.
    codable: coded::Verdict,
    /// The table version at which the entry was last found valid.
    checked: AtomicU64,
}

/// With its reference counts it just fits into the allocator's 112 bytes; the next class has 128.
const _: () = assert!(size_of::<Entry>() <= 96);

bitflags! {
    #[derive(Clone, Copy, Debug)]
    struct Traits: u8 {
        const MUST_REVALIDATE = 1;
        const ALWAYS_REVALIDATE = 1 << 1;
        /// This instance fetched it, rather than another.
        const OWN = 1 << 2;
    }
}

impl Traits {
    fn of(lifetimes: &Lifetimes) -> Self {
        let mut traits = Self::empty();
        traits.set(Self::MUST_REVALIDATE, lifetimes.must_revalidate);
        traits.set(Self::ALWAYS_REVALIDATE, lifetimes.always_revalidate);
        traits
    }
}

/// What few responses have: by what one is found, beside its key, and what it comes to later.
#[derive(Debug)]
struct Extra {
    selecting: Selecting,
    tags: Box<[Tag]>,
    later: OnceBox<Later>,
}

impl Default for Extra {
    fn default() -> Self {
        Self { selecting: Selecting::NONE, tags: Box::default(), later: OnceBox::new() }
    }
}

impl Extra {
    fn of(selecting: Selecting, tags: Box<[Tag]>) -> OnceBox<Self> {
        if selecting == Selecting::NONE && tags.is_empty() {
            return OnceBox::new();
        }
        OnceBox::with_value(Box::new(Self { selecting, tags, later: OnceBox::new() }))
    }

    fn weight(&self) -> usize {
        let tags = self.tags.iter().map(|tag| allocated(REFERENCE_COUNTS + tag.as_str().len()));
        let table = allocated(size_of_val(&*self.tags));
        let selecting = self.selecting.fields().map(|(_, value)| FIELD + value.map_or(0, Bytes::len));
        let later = self.later.get().map_or(0, |later| allocated(size_of::<Later>()) + later.forms.weight());
        allocated(size_of::<Self>()) + table + tags.sum::<usize>() + selecting.sum::<usize>() + later
    }
}

/// What few responses come to: it is asked for in a coding, purged softly, or its refresh fails. Its forms are added once
/// each; the moments are hints that any thread may rewrite at any time. It counts in the weight from the next weighing on.
#[derive(Debug)]
struct Later {
    forms: coded::Forms,
    /// Since when a soft purge makes it stale, in microseconds.
    soft_since: AtomicU64,
    /// No refresh is tried before this moment, in microseconds, because the last one failed.
    retry_after: AtomicU64,
}

impl Default for Later {
    fn default() -> Self {
        Self { forms: coded::Forms::default(), soft_since: AtomicU64::new(NEVER), retry_after: AtomicU64::new(0) }
    }
}

impl Entry {
    /// Stores what a policy verdict allows to store; there is no other way to make an entry.
    pub fn new(
        storable: Storable,
        content: Content,
        selecting: Selecting,
        tags: Vec<Tag>,
        route: &str,
        provenance: Provenance,
    ) -> Self {
        let mut lifetimes = storable.lifetimes;
        lifetimes.fresh_for = jittered(&lifetimes, provenance.jitter);
        let mut entry = Self::restored(&lifetimes, content, selecting, tags, route, provenance);
        entry.traits.insert(Traits::OWN);
        entry
    }

    /// An entry that an instance of this fleet stored before, with the lifetimes it had there.
    pub fn restored(
        lifetimes: &Lifetimes,
        content: Content,
        selecting: Selecting,
        tags: Vec<Tag>,
        route: &str,
        provenance: Provenance,
    ) -> Self {
        Self {
            codable: coded::Verdict::default(),
            status: content.status,
            fields: content.fields,
            body: content.body.into(),
            extra: Extra::of(selecting, tags.into()),
            route: route.into(),
            born: provenance.born,
            received: provenance.received,
            fetch_time: Span::at_least(provenance.fetch_time),
            fresh_for: Span::at_most(lifetimes.fresh_for),
            initial_age: Span::at_least(lifetimes.initial_age),
            stale_while_revalidate: Span::at_most(lifetimes.stale_while_revalidate),
            stale_if_error: Span::at_most(lifetimes.stale_if_error),
            traits: Traits::of(lifetimes),
            checked: AtomicU64::new(UNCHECKED),
        }
    }

    /// Final status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Fields as sent to clients, without what is added to each answer.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The whole body.
    pub fn body(&self) -> &StoredBody {
        &self.body
    }

    /// Lifetimes after jitter.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            fresh_for: self.fresh_for.get(),
            initial_age: self.initial_age.get(),
            stale_while_revalidate: self.stale_while_revalidate.get(),
            stale_if_error: self.stale_if_error.get(),
            must_revalidate: self.traits.contains(Traits::MUST_REVALIDATE),
            always_revalidate: self.traits.contains(Traits::ALWAYS_REVALIDATE),
        }
    }

    /// The request fields that select this variant.
    pub fn selecting(&self) -> &Selecting {
        self.extra.get().map_or(&Selecting::NONE, |extra| &extra.selecting)
    }

    /// The names under which it is purged.
    pub fn tags(&self) -> &[Tag] {
        self.extra.get().map_or(&[], |extra| &extra.tags)
    }

    /// The name of its route.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Highest invalidation that was applied when its fetch began.
    pub fn born(&self) -> Seq {
        self.born
    }

    /// When it came to this instance, from the origin or from another instance.
    pub fn received(&self) -> Moment {
        self.received
    }

    /// Time since this instance asked the origin about it; what has changed there since, it cannot
    /// know by itself. `Duration::MAX` if another instance asked.
    pub fn unasked(&self, now: Moment) -> Duration {
        let since = now.since(self.received).saturating_add(self.fetch_time.get());
        if self.traits.contains(Traits::OWN) { since } else { Duration::MAX }
    }

    /// What fetching it cost.
    pub fn fetch_time(&self) -> Duration {
        self.fetch_time.get()
    }

    /// `current_age` of RFC 9111 section 4.2.3.
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.get().saturating_add(now.since(self.received))
    }

    /// Where it stands in its life.
    pub fn standing(&self, now: Moment) -> Standing {
        let (age, from) = (self.age(now), self.stale_from());
        Standing { age, fresh_left: from.saturating_sub(age), stale_for: age.saturating_sub(from) }
    }

    /// Time until it turns stale, zero if it is.
    pub fn fresh_left(&self, now: Moment) -> Duration {
        self.standing(now).fresh_left
    }

    /// What may be done with it for a client with this demand.
    pub fn reuse(&self, now: Moment, demand: &Demand) -> Reuse {
        reuse::reuse(&self.lifetimes(), self.age(now), self.soft_age(), demand)
    }

    /// Whether it may stand in for a failed origin (RFC 5861 section 4).
    pub fn usable_on_error(&self, now: Moment, demand: &Demand) -> bool {
        reuse::usable_on_error(&self.lifetimes(), self.age(now), self.soft_age(), demand)
    }

    /// How long it can be of any use: fresh, within a stale window, or to be validated.
    pub fn useful_for(&self, now: Moment) -> Duration {
        let window = self.stale_while_revalidate.get().max(self.stale_if_error.get()).max(VALIDATION_GRACE);
        self.fresh_for.get().saturating_add(window).saturating_sub(self.age(now))
    }

    /// Whether it was found valid, and the table has not changed since.
    fn is_checked(&self, table: &Table) -> bool {
        cfg!(feature = "unfenced") || self.checked.load(Ordering::Acquire) == table.version()
    }

    /// Whether no invalidation younger than its fetch matches. Costs one atomic load unless the
    /// table changed since the last call; only then is the URL looked at.
    pub fn is_valid<'a>(&self, url: impl FnOnce() -> &'a str, table: &Table) -> bool {
        // The version is read before the check: a record that arrives in between leaves the
        // older version behind, and the next hit checks again.
        let version = table.version();
        if self.is_checked(table) {
            return true;
        }
        match table.check(self.born, || self.subject(url())) {
            Validity::Purged => return false,
            Validity::SoftPurged { since } => {
                self.later().soft_since.fetch_min(since.as_micros(), Ordering::AcqRel);
            }
            Validity::Valid => {}
        }
        self.checked.store(version, Ordering::Release);
        true
    }

    /// What invalidations are matched against.
    pub fn subject<'a>(&'a self, url: &'a str) -> Subject<'a> {
        let any_query = self.fields.has(&NO_VARY_SEARCH);
        Subject { url, route: &self.route, tags: self.tags(), any_query }
    }

    /// Makes it stale from this moment on.
    pub fn go_stale(&self, now: Moment) {
        self.later().soft_since.fetch_min(now.as_micros(), Ordering::AcqRel);
    }

    /// Whether a refresh may be tried: always, unless one failed a moment ago.
    pub fn refresh_due(&self, now: Moment) -> bool {
        self.later_so_far().is_none_or(|later| now.as_micros() >= later.retry_after.load(Ordering::Relaxed))
    }

    /// Notes that a refresh failed, so that the next is not tried before `moment`.
    pub fn hold_refresh_until(&self, moment: Moment) {
        self.later().retry_after.store(moment.as_micros(), Ordering::Relaxed);
    }

    /// Bytes it occupies, overhead and coded forms included.
    pub fn weight(&self) -> usize {
        allocated(REFERENCE_COUNTS + size_of::<Self>())
            + allocated(self.fields.lines().len())
            + self.body.weight()
            + self.extra.get().map_or(0, Extra::weight)
    }

    fn later_so_far(&self) -> Option<&Later> {
        self.extra.get()?.later.get()
    }

    fn later(&self) -> &Later {
        self.extra.get_or_init(Box::default).later.get_or_init(Box::default)
    }

    /// Gives it these tags in place of its own. What it has come to is found anew: other invalidations may match it now.
    fn set_tags(&mut self, tags: Vec<Tag>) {
        self.extra = Extra::of(self.selecting().clone(), tags.into());
        self.checked = AtomicU64::new(UNCHECKED);
    }

    /// The age at which it turned or turns stale.
    fn stale_from(&self) -> Duration {
        let fresh_for = self.fresh_for.get();
        self.soft_age().map_or(fresh_for, |soft| soft.min(fresh_for))
    }

    /// Its age when a soft purge hit it.
    fn soft_age(&self) -> Option<Duration> {
        let since = self.later_so_far()?.soft_since.load(Ordering::Acquire);
        (since != NEVER).then(|| self.age(Moment::from_micros(since)))
    }
}

/// Of what is shared.
const REFERENCE_COUNTS: usize = 16;
/// What a selecting field costs beside its value, about.
const FIELD: usize = size_of::<(http::HeaderName, Option<Bytes>)>();

/// How long a response that nothing allows to serve stale is kept for validation.
const VALIDATION_GRACE: Duration = Duration::from_hours(1);

/// For how long a response with these lifetimes is fresh from its arrival, after jitter.
pub fn fresh_on_arrival(lifetimes: &Lifetimes, jitter: f64) -> Duration {
    jittered(lifetimes, jitter).saturating_sub(lifetimes.initial_age)
}

/// The freshness lifetime with a part of what remains of it cut off. It only ever shortens, so
/// `Age` never exceeds what the origin allowed.
fn jittered(lifetimes: &Lifetimes, jitter: f64) -> Duration {
    let remaining = lifetimes.fresh_for.saturating_sub(lifetimes.initial_age);
    lifetimes.fresh_for.saturating_sub(remaining.mul_f64(jitter.clamp(0.0, 0.9)))
}
