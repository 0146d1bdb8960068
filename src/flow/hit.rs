//! L1: what is stored, and what may be done with it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::clock::Moment;
use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::{Key, KeyBuffer};
use crate::l1::Slot;
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;
use crate::reason::Outcome;

use super::Proxy;
use super::answer::Answer;
use super::cache_status::{CacheStatus, Forwarded};
use super::coding::{self, Form};
use super::parts::PartHit;
use super::respond;
use super::site::Route;
use super::visit::Visit;

/// What L1 says of a request.
pub(super) enum LookUp {
    /// Serve it.
    Fresh(Arc<Entry>),
    /// Serve it and refresh it in the background.
    StaleUsable(Arc<Entry>),
    /// Serve it: the client said that it takes stale responses.
    StaleAccepted(Arc<Entry>),
    /// Serve it: the origin failed a moment ago, and another attempt is not due yet.
    OriginDown(Arc<Entry>),
    /// Serve a stored part of it, which is what the client asks for.
    Part(Box<PartHit>),
    /// The URL was uncacheable a moment ago: do not queue.
    HitForMiss,
    /// The same, because it is too large to be stored as a whole.
    TooLarge,
    /// Ask the origin.
    Forward(Known),
}

/// What L1 knows of a key, where it cannot answer.
pub(super) struct Known {
    /// All that stands under the key.
    pub(super) slot: Option<Slot>,
    /// What of it can be validated, and may stand in if the origin fails.
    pub(super) stored: Option<Arc<Entry>>,
    /// Why the origin is asked.
    pub(super) why: Forwarded,
}

impl Known {
    pub(super) const fn nothing(why: Forwarded) -> Self {
        Self { slot: None, stored: None, why }
    }
}

/// Beyond this multiple of the fetch time the chance of an early refresh is below one in a million.
const EARLY_REFRESH_HORIZON: f64 = 14.0;

impl Proxy {
    pub(super) fn look_up(&self, visit: &Visit, key: &KeyBuffer, demand: &Demand) -> LookUp {
        let Some(slot) = self.l1.find(key) else {
            return LookUp::Forward(Known::nothing(Forwarded::UriMiss));
        };
        let now = visit.started;
        let table = self.log.table();
        let url = || super::key::url_of(key);
        let judged = slot.position(&visit.parts.headers).and_then(|at| {
            let entry = &slot.entries()[at];
            let reuse = || if self.is_trusted(entry, now) { entry.reuse(now, demand) } else { Reuse::Expired };
            entry.is_valid(url, table).then(|| (at, reuse()))
        });
        match judged {
            Some((at, Reuse::Fresh)) => LookUp::Fresh(slot.into_entry(at)),
            Some((at, Reuse::StaleAccepted)) => LookUp::StaleAccepted(slot.into_entry(at)),
            Some((at, Reuse::StaleWhileRevalidate)) => LookUp::StaleUsable(slot.into_entry(at)),
            judged => match self.find_part(&slot, visit, url(), demand) {
                Some(hit) => LookUp::Part(Box::new(hit)),
                None => {
                    let judged = judged.map(|(at, reuse)| (&slot.entries()[at], reuse));
                    self.forward(&slot, judged, visit, url())
                }
            },
        }
    }

    /// What to do where nothing stored can be used as it is.
    fn forward(&self, slot: &Slot, judged: Option<(&Arc<Entry>, Reuse)>, visit: &Visit, url: &str) -> LookUp {
        let (now, request, table) = (visit.started, &visit.parts.headers, self.log.table());
        let (stored, why) = match judged {
            Some((entry, Reuse::StaleIfError)) if !entry.refresh_due(now) => {
                return LookUp::OriginDown(Arc::clone(entry));
            }
            _ if slot.is_too_large(now) => return LookUp::TooLarge,
            _ if slot.is_uncacheable(now) => return LookUp::HitForMiss,
            Some((entry, _)) if entry.fresh_left(now).is_zero() => (Some(Arc::clone(entry)), Forwarded::Stale),
            Some((entry, _)) => (Some(Arc::clone(entry)), Forwarded::Request),
            None if slot.select_parts(request).is_none() && slot.all().any(|entry| entry.is_valid(|| url, table)) => {
                (None, Forwarded::VaryMiss)
            }
            None => (None, Forwarded::UriMiss),
        };
        LookUp::Forward(Known { slot: Some(slot.clone()), stored, why })
    }

    /// Whether an invalidation that this instance has not heard of may be older than `max_unsynced`,
    /// so that the origin must be asked. What the origin has said since then is trusted.
    pub(super) fn is_trusted(&self, entry: &Entry, now: Moment) -> bool {
        self.unasked(entry, now) <= self.max_unsynced
    }

    /// Whether the origin is to be asked soon, because this instance is out of touch with its fleet.
    /// Before the trust has ended, so that nobody waits for it; and for each entry at another time, or
    /// a Redis that fails would send a herd to the origin.
    pub(super) fn is_trust_waning(&self, entry: &Entry, now: Moment) -> bool {
        let unasked = self.unasked(entry, now);
        if unasked <= self.max_unsynced / 2 {
            return false;
        }
        // Spread by Fibonacci hashing over the time from one half to nine tenths.
        let spread = entry.received().as_micros().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let tenths = 5.0 + 4.0 * (f64::from(u32::try_from(spread).unwrap_or(u32::MAX)) / f64::from(u32::MAX));
        unasked > self.max_unsynced.mul_f64(tenths / 10.0)
    }

    /// Time since this instance last knew that the entry is right, from the log or from the origin; none
    /// for an instance by itself.
    fn unasked(&self, entry: &Entry, now: Moment) -> Duration {
        self.log.last_synced().map_or(Duration::ZERO, |synced| now.since(synced).min(entry.unasked(now)))
    }

    /// Whether what other instances have stored can be judged here: the invalidations of the fleet
    /// are known, all but the last few.
    pub(super) fn is_in_sync(&self) -> bool {
        self.unsynced().is_some_and(|span| span.is_some_and(|span| span <= self.max_unsynced))
    }

    /// Time since this instance was known to be in sync with its fleet: `None` for one by itself,
    /// and no time if it never was.
    pub fn unsynced(&self) -> Option<Option<Duration>> {
        let synced = self.log.last_synced()?;
        Some((synced > Moment::default()).then(|| self.clock.now().since(synced)))
    }

    /// What L1 holds now for these request fields, if it is to be used without asking the origin: it is fresh,
    /// or the origin has failed a moment ago.
    pub(super) fn find_usable(&self, key: &Key, headers: &HeaderMap, demand: &Demand) -> Option<(Arc<Entry>, Outcome)> {
        let slot = self.l1.find(key.as_bytes())?;
        let entry = slot.select(headers)?;
        let now = self.clock.now();
        if !entry.is_valid(|| key.url(), self.log.table()) || !self.is_trusted(entry, now) {
            return None;
        }
        match entry.reuse(now, demand) {
            Reuse::Fresh => Some((Arc::clone(entry), Outcome::Hit)),
            Reuse::StaleIfError if !entry.refresh_due(now) => Some((Arc::clone(entry), Outcome::StaleIfError)),
            _ => None,
        }
    }

    /// Answers from L1, and has the form made that the client would rather have had.
    pub(super) fn serve(
        self: &Arc<Self>,
        visit: &Visit,
        route: Arc<Route>,
        key: &KeyBuffer,
        entry: &Arc<Entry>,
        outcome: Outcome,
    ) -> Answer {
        let form = coding::stored(&visit.parts, &route, entry);
        if let Form::Plain(_, Some(wanted)) = form {
            self.code(&route, || Key::new(key), entry, wanted);
        }
        Self::show_stored(visit, route, entry, &form, visit.started, outcome)
    }

    /// Answers from the store.
    pub(super) fn hit(visit: &Visit, route: Arc<Route>, entry: &Arc<Entry>, now: Moment, outcome: Outcome) -> Answer {
        let form = coding::stored(&visit.parts, &route, entry);
        Self::show_stored(visit, route, entry, &form, now, outcome)
    }

    fn show_stored(
        visit: &Visit,
        route: Arc<Route>,
        entry: &Arc<Entry>,
        form: &Form<'_>,
        now: Moment,
        outcome: Outcome,
    ) -> Answer {
        let standing = entry.standing(now);
        let status = CacheStatus::hit(outcome, &standing);
        let response = respond::stored(visit, entry, form, standing.age, status);
        form.count(&route, entry, &response);
        Answer::new(response, outcome, Some(route))
    }

    /// XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention,
    /// VLDB 2015): the closer the end and the dearer the fetch, the likelier a refresh, so that a
    /// hot key is renewed before anyone has to wait for it.
    pub(super) fn is_early_refresh_due(entry: &Entry, policy: &CachePolicy, now: Moment) -> bool {
        let cost = entry.fetch_time().as_secs_f64() * policy.early_refresh;
        let left = entry.fresh_left(now).as_secs_f64();
        // The usual case costs no random number: the end is far away.
        if left > cost * EARLY_REFRESH_HORIZON {
            return false;
        }
        let draw: f64 = rand::random();
        -cost * (1.0 - draw).ln() >= left
    }
}
