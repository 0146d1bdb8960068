//! Parts of what is not stored as a whole, from the leader's side: asked for, confirmed, stored and made
//! whole (RFC 9111 sections 3.3 and 3.4).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::coalesce::BodyLimits;
use crate::entry::{Parts, Provenance};
use crate::l1::Stored;
use crate::origin::ResponseBody;
use crate::policy::ranges::{ContentRange, RangeSpec};
use crate::policy::request::Demand;
use crate::policy::storability::{ResponseVerdict, Storable};
use crate::policy::tags::{MAX_TAGS, Tag};
use crate::policy::{fields, validation};
use crate::reason::Reason;

use super::fetch::{Arrived, Direct, Fetch, Fetched, RETRY_PAUSE};
use super::flight::{Filling, Head, Leader};
use super::forward::OriginHead;
use super::share::{Pumped, READ_AHEAD, share};

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
    fn to_confirm(&self) -> Option<(&Arc<Parts>, Range<u64>)> {
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
        if let Some(validator) = validation::strong_validator(&parts.entry().content().headers) {
            let to_the_end = parts.complete() == Some(missing.end);
            let last = missing.end.saturating_sub(1);
            let spec = if to_the_end { RangeSpec::From(missing.start) } else { RangeSpec::FromTo(missing.start, last) };
            request.headers.insert(RANGE, spec.to_value());
            request.headers.insert(IF_RANGE, validator.clone());
        }
        request
    }

    /// What a response to [`with_parts`](Self::with_parts) means for them.
    pub(super) fn meet(&self, arrived: &Arrived) -> Met {
        let (status, headers) = (arrived.response.status(), arrived.response.headers());
        if let Some((parts, _)) = self.to_confirm() {
            let entry = parts.entry();
            let confirmed = || {
                validation::confirms(&entry.content().headers, headers)
                    && entry.is_valid(self.key.url(), self.proxy.log.table())
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
        let stored = &entry.content().headers;
        let fits = part == ContentRange { range: missing, complete: parts.complete() }
            && validation::same_representation(stored, newer)
            && entry.is_valid(self.key.url(), self.proxy.log.table());
        if !fits {
            return None;
        }
        let headers = validation::updates(stored, newer);
        match self.verdict(StatusCode::OK, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable)
                if self.selecting(&storable) == *entry.selecting()
                    && self.tags_of_both(&headers, parts).len() <= MAX_TAGS =>
            {
                Some(Met::Rest(Arc::clone(parts), headers, Box::new(storable)))
            }
            _ => None,
        }
    }

    /// A purge by a tag reaches every byte that came with it.
    fn tags_of_both(&self, headers: &HeaderMap, parts: &Parts) -> Vec<Tag> {
        let mut tags = self.tags(headers);
        let more: Vec<Tag> = parts.entry().tags().iter().filter(|tag| !tags.contains(tag)).cloned().collect();
        tags.extend(more);
        tags
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
        let tags = self.tags_of_both(&headers, &parts);
        fields::prepare_stored(&mut headers, &storable);
        let head = Arc::new(Head {
            status: StatusCode::OK,
            headers,
            length: Some(complete),
            part: None,
            selecting: parts.entry().selecting().clone(),
            tags,
            initial_age: storable.lifetimes.initial_age,
            received: arrived.received,
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
        let kept = self.keep(self.entry(storable, &head, bytes, provenance));
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

    /// Judges a 206: a part that was asked for is stored as one, and any other is for one client alone.
    pub(super) async fn judge_part(
        &self,
        leader: Leader,
        client: Option<oneshot::Sender<Direct>>,
        arrived: Arrived,
    ) -> Fetched {
        let headers = arrived.response.headers();
        let verdict = match (&self.scope.asked, ContentRange::of(headers)) {
            (Some(_), Some(part)) => match self.verdict(StatusCode::PARTIAL_CONTENT, headers, arrived.delay) {
                ResponseVerdict::Storable(storable) => self.room_for(&arrived, &storable).map(|()| (part, storable)),
                ResponseVerdict::Uncacheable(reason) => Err(reason),
            },
            _ => Err(Reason::PartialContent),
        };
        match verdict {
            Ok((part, _)) if part.length() > self.policy.max_object_size => {
                self.release(leader, client, arrived.response, Reason::TooLarge)
            }
            Ok((part, storable)) => {
                drop(client);
                self.fill_part(leader, arrived, part, storable).await
            }
            Err(reason) => self.release(leader, client, arrived.response, reason),
        }
    }

    /// Streams a part to everybody who waits for it, and stores it when all of it is there.
    async fn fill_part(&self, leader: Leader, arrived: Arrived, part: ContentRange, storable: Storable) -> Fetched {
        let provenance = self.provenance(&leader, &arrived);
        let (mut parts, body) = arrived.response.into_parts();
        parts.headers.remove(CONTENT_RANGE);
        let head = self.head(&mut parts, &body, &storable, arrived.received);
        let head = Arc::new(Head { length: Some(part.length()), part: Some(part.clone()), ..head });
        let cap = usize::try_from(self.policy.max_object_size).unwrap_or(usize::MAX);
        let filling = leader.publish(Arc::clone(&head), BodyLimits { cap, window: READ_AHEAD });
        let mut landing = match self.pump(filling, body, true).await {
            Pumped::All(landing) => landing,
            Pumped::Broken(filling) => return self.keep_incomplete(&filling, storable, (&head, true), provenance),
            Pumped::Deserted => return Fetched::Failed,
        };
        let Some(bytes) = landing.body() else { return self.not_stored(Reason::TooLarge) };
        let withheld = storable.withheld.clone();
        let parts = Parts::new(self.entry(storable, &head, bytes, provenance), &part, withheld);
        // There were more or fewer bytes than announced.
        let kept = parts.ok_or(Reason::Incomplete).and_then(|parts| self.keep_parts(parts));
        drop(landing);
        kept.map_or_else(|reason| self.not_stored(reason), |()| Fetched::Stored)
    }

    /// What has arrived of a response that broke off is a part (RFC 9111 section 3.3), if the rest can be
    /// asked for: the origin serves ranges, and says which representation they are of. It is stored before
    /// the readers learn of it, so that whoever asks again finds it. With the head comes whether the response
    /// was itself a 206.
    pub(super) fn keep_incomplete(
        &self,
        filling: &Filling,
        storable: Storable,
        (head, partial): (&Head, bool),
        provenance: Provenance,
    ) -> Fetched {
        if let Some((part, bytes)) = beginning(filling, head, partial) {
            let withheld = storable.withheld.clone();
            if let Some(parts) = Parts::new(self.entry(storable, head, bytes, provenance), &part, withheld) {
                // The fetch has failed, whatever becomes of its beginning.
                let _ = self.keep_parts(parts);
            }
        }
        self.not_stored(Reason::Incomplete);
        Fetched::Failed
    }

    /// The origin confirmed the stored parts: freshens them (RFC 9111 section 4.3.4) and shares the range.
    pub(super) fn confirm_parts(&self, leader: Leader, parts: &Arc<Parts>, arrived: &Arrived) -> Fetched {
        let stored = parts.entry();
        let Some((_, range)) = self.to_confirm() else { return Fetched::NotStored };
        let mut headers = validation::updates(&stored.content().headers, arrived.response.headers());
        let judged = match self.verdict(StatusCode::OK, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable) => Ok(storable),
            ResponseVerdict::Uncacheable(reason) => Err(reason),
        };
        let tags = self.tags(&headers);
        if let Ok(storable) = &judged {
            fields::prepare_stored(&mut headers, storable);
        }
        let provenance = self.provenance(&leader, arrived);
        let head = Arc::new(Head {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            length: Some(range.end - range.start),
            part: Some(ContentRange { range: range.clone(), complete: parts.complete() }),
            selecting: stored.selecting().clone(),
            tags,
            initial_age: judged.as_ref().map_or(Duration::ZERO, |storable| storable.lifetimes.initial_age),
            received: arrived.received,
            confirmed: true,
            not_stored: judged.as_ref().err().copied(),
            found: None,
        });
        let bytes: Vec<Bytes> = parts.cut(&range).unwrap_or_default().into();
        let landing = share(leader, Arc::clone(&head), Bytes::from(bytes.concat()));
        let kept = judged.and_then(|storable| {
            let withheld = storable.withheld.clone();
            let entry = self.entry(storable, &head, Bytes::new(), provenance);
            self.keep_parts(parts.confirmed(entry, withheld))
        });
        drop(landing);
        match kept {
            Ok(()) => Fetched::Confirmed,
            Err(reason) => {
                if head.not_stored.is_some() {
                    self.mark_uncacheable();
                }
                self.not_stored(reason)
            }
        }
    }

    /// Puts parts into L1, with those that are stored already, unless they were invalidated meanwhile.
    pub(super) fn keep_parts(&self, parts: Parts) -> Result<(), Reason> {
        let (proxy, url, table) = (&self.proxy, self.key.url(), self.proxy.log.table());
        let version = table.version();
        if !parts.entry().is_valid(url, table) {
            return Err(Reason::Invalidated);
        }
        let (limit, now) = (self.policy.max_object_size, proxy.clock.now());
        // Parts from before a purge stay out: what is joined is as young as the newest.
        if proxy.l1.store_part(&self.key, parts, limit, now, |kept| kept.is_valid(url, table))
            == Stored::TooManyVariants
        {
            return Err(Reason::TooManyVariants);
        }
        // As with a whole: every reader checks `born` as well; this only frees the memory.
        if table.version() != version {
            proxy.l1.retain(&self.key, now, |kept| kept.is_valid(url, table));
        }
        Ok(())
    }

    /// Whether stored parts may stand in for a failed origin.
    pub(super) fn can_parts_stand_in(&self) -> bool {
        let (now, table) = (self.proxy.clock.now(), self.proxy.log.table());
        self.to_confirm().is_some_and(|(parts, _)| {
            let entry = parts.entry();
            entry.is_valid(self.key.url(), table) && entry.usable_on_error(now, &Demand::default())
        })
    }
}

/// What has arrived of a response that broke off, if it is of use as a part.
fn beginning(filling: &Filling, head: &Head, partial: bool) -> Option<(ContentRange, Bytes)> {
    let ranges = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"bytes");
    let serves_ranges = partial || head.headers.get(ACCEPT_RANGES).is_some_and(ranges);
    let of_the_whole = partial || head.status == StatusCode::OK;
    if !(serves_ranges && of_the_whole && validation::strong_validator(&head.headers).is_some()) {
        return None;
    }
    let bytes = filling.so_far()?;
    let length = bytes.len() as u64;
    let start = head.part.as_ref().map_or(0, |part| part.range.start);
    let complete = head.part.as_ref().map_or(head.length, |part| part.complete);
    let part = ContentRange { range: start..start + length, complete };
    // Where the announced length is unknown, so is what is missing.
    head.length.is_some_and(|announced| (1..announced).contains(&length)).then_some((part, bytes))
}
