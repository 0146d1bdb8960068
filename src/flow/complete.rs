//! What parts that are stored mean for a fetch: a condition to confirm them, or a request for the rest, which
//! makes them whole (RFC 9111 sections 3.3 and 3.4).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use http_body_util::BodyExt;

use crate::coalesce::BodyLimits;
use crate::entry::{self, Entry, Fields, Parts};
use crate::origin::ResponseBody;
use crate::policy::ranges::{ContentRange, RangeSpec};
use crate::policy::storability::{ResponseVerdict, Storable};
use crate::policy::{fields, validation};
use crate::reason::Reason;

use super::fetch::{Arrived, Fetch, Fetched, RETRY_PAUSE};
use super::flight::{Filling, Head, Leader};
use super::forward::OriginHead;
use super::share::{Pumped, READ_AHEAD};

/// What a response means for the parts that are stored.
pub(super) enum Met {
    /// They are still right.
    Confirmed(Arc<Parts>),
    /// It is what they lack: the fields of the whole, and what allows to store it.
    Rest(Arc<Parts>, HeaderMap, Box<Storable>),
    /// It answers a condition or a range that led nowhere: the request is to be sent without.
    Useless,
    /// It stands for itself.
    Nothing,
}

impl Fetch {
    /// The stored parts and what they lack, if this fetch is for the whole and they are worth completing.
    fn to_complete(&self) -> Option<(&Arc<Parts>, Range<u64>)> {
        let parts = self.scope.parts.as_ref().filter(|_| self.stored.is_none() && self.scope.asked.is_none())?;
        let small = parts.complete().is_some_and(|complete| complete <= self.policy.max_object_size);
        if small && parts.can_be_completed() { parts.missing().map(|missing| (parts, missing)) } else { None }
    }

    /// The stored parts that hold all of what this fetch is for. A client that has set a condition of its
    /// own is left to the origin.
    pub(super) fn to_confirm(&self) -> Option<(&Arc<Parts>, Range<u64>)> {
        let parts = self.scope.parts.as_ref().filter(|_| self.stored.is_none())?;
        let asked = self.scope.asked.as_ref().filter(|asked| asked.if_range.is_none())?;
        let range = asked.spec.within_known(parts.complete())?;
        parts.cut(&range).is_some().then_some((parts, range))
    }

    /// The request that makes use of the parts that are stored.
    pub(super) fn with_parts(&self, mut request: OriginHead) -> OriginHead {
        if let Some((parts, _)) = self.to_confirm() {
            return request.validating(parts.entry());
        }
        let Some((parts, missing)) = self.to_complete() else { return request };
        // RFC 9110 section 13.1.5: the rest of this representation, or all of another one.
        if let Some(Ok(validator)) = validation::strong_validator(parts.entry().fields()).map(HeaderValue::from_bytes) {
            let to_the_end = parts.complete() == Some(missing.end);
            let last = missing.end.saturating_sub(1);
            let spec = if to_the_end { RangeSpec::From(missing.start) } else { RangeSpec::FromTo(missing.start, last) };
            request.fields.set(&RANGE, &spec.to_value());
            request.fields.set(&IF_RANGE, &validator);
        }
        request
    }

    /// What a response to [`with_parts`](Self::with_parts) means for them.
    pub(super) fn meet(&self, arrived: &Arrived) -> Met {
        if !self.request.can_validate() {
            return Met::Nothing;
        }
        let (status, headers) = (arrived.response.status(), arrived.response.headers());
        if let Some((parts, _)) = self.to_confirm() {
            let entry = parts.entry();
            let confirmed = || {
                validation::confirms(entry.fields(), headers)
                    && entry.is_valid(|| self.key.url(), self.proxy.log.table())
            };
            return match status {
                StatusCode::NOT_MODIFIED if confirmed() => Met::Confirmed(Arc::clone(parts)),
                StatusCode::NOT_MODIFIED => Met::Useless,
                _ => Met::Nothing,
            };
        }
        let Some((parts, missing)) = self.to_complete() else { return Met::Nothing };
        match status {
            StatusCode::PARTIAL_CONTENT => self.rest(parts, missing, arrived).unwrap_or(Met::Useless),
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => {
                Met::Useless
            }
            _ => Met::Nothing,
        }
    }

    /// The response as what is missing: exactly those bytes, of the same representation, and to be stored.
    fn rest(&self, parts: &Arc<Parts>, missing: Range<u64>, arrived: &Arrived) -> Option<Met> {
        let (entry, newer) = (parts.entry(), arrived.response.headers());
        let part = ContentRange::of(newer)?;
        let stored = entry.fields();
        let fits = part == ContentRange { range: missing, complete: parts.complete() }
            && validation::same_representation(stored, newer)
            && entry.is_valid(|| self.key.url(), self.proxy.log.table());
        if !fits {
            return None;
        }
        let headers = validation::updates(stored.to_map(), newer);
        match self.verdict(StatusCode::OK, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable)
                if self.selecting(&storable, &headers) == *entry.selecting()
                    && self.has_room_for_tags(&headers, entry) =>
            {
                Some(Met::Rest(Arc::clone(parts), headers, Box::new(storable)))
            }
            _ => None,
        }
    }

    /// Whether the whole has room for all tags of its parts: a purge by a tag reaches every byte that came with it.
    fn has_room_for_tags(&self, headers: &HeaderMap, parts: &Entry) -> bool {
        let tags = self.tags_with(headers, parts);
        parts.tags().iter().all(|tag| tags.contains(tag))
    }

    /// Completes the parts: those who wait get the whole while the rest arrives.
    pub(super) async fn complete(
        &self,
        leader: Leader,
        arrived: Arrived,
        (parts, mut headers, storable): (Arc<Parts>, HeaderMap, Storable),
    ) -> Fetched {
        let provenance = self.provenance(&leader, &arrived);
        let (Some(missing), Some(complete)) = (parts.missing(), parts.complete()) else { return Fetched::NotStored };
        let tags = self.tags_with(&headers, parts.entry());
        let cookies = fields::prepare_stored(&mut headers, &storable);
        let head = Arc::new(Head {
            status: StatusCode::OK,
            fields: Fields::from_map(&headers),
            cookies,
            length: Some(complete),
            part: None,
            selecting: parts.entry().selecting().clone(),
            tags,
            initial_age: storable.lifetimes.initial_age,
            received: arrived.received,
            ttl: Some(entry::fresh_on_arrival(&storable.lifetimes, provenance.jitter)),
            confirmed: false,
            not_stored: None,
            found: None,
        });
        let cap = usize::try_from(self.policy.max_object_size).unwrap_or(usize::MAX);
        let mut filling = leader.publish(Arc::clone(&head), BodyLimits { cap, window: READ_AHEAD });
        for piece in parts.cut(&(0..missing.start)).unwrap_or_default() {
            filling.append(piece);
        }
        let after = parts.cut(&(missing.end..complete)).unwrap_or_default();
        let body = arrived.response.into_body();
        let mut landing = match self.pump_rest(filling, body, missing.end - missing.start, after).await {
            Pumped::All(landing) => landing,
            Pumped::Broken(filling) => return self.keep_incomplete(&filling, storable, (&head, true), provenance),
            Pumped::Deserted => return Fetched::Failed,
        };
        let Some(bytes) = landing.body() else { return self.not_stored(Reason::TooLarge) };
        let kept = self.keep(Arc::new(self.entry(storable, &head, bytes, provenance)));
        self.land(landing, kept).await
    }

    /// Copies the rest to the readers, and after it what was stored behind it. The last chunk is held back
    /// until the whole is stored.
    async fn pump_rest(
        &self,
        mut filling: Filling,
        mut body: ResponseBody,
        mut left: u64,
        mut after: VecDeque<Bytes>,
    ) -> Pumped {
        let mut last = after.pop_back();
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(chunk)) if chunk.len() as u64 <= left => {
                    left -= chunk.len() as u64;
                    if left == 0 && last.is_none() {
                        last = Some(chunk);
                    } else {
                        filling.append(chunk);
                    }
                }
                Ok(Err(_trailers)) => {}
                Ok(Ok(_too_much)) => return self.contradicted(filling),
                Err(fault) => {
                    tracing::debug!(%fault, url = self.key.url(), "the rest of a response broke off");
                    self.disband(RETRY_PAUSE);
                    return Pumped::Broken(filling);
                }
            }
        }
        if left > 0 {
            return self.contradicted(filling);
        }
        for piece in after {
            filling.append(piece);
        }
        Pumped::All(filling.finish(last.unwrap_or_default()))
    }

    /// The rest has more or fewer bytes than announced: nobody can say what they are.
    fn contradicted(&self, filling: Filling) -> Pumped {
        self.disband(RETRY_PAUSE);
        filling.abort();
        self.not_stored(Reason::Incomplete);
        Pumped::Deserted
    }
}
