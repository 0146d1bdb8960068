//! A 206 that was asked for: stored as a part, kept as far as it came, or confirmed (RFC 9111 section 3.3).

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE};
use tokio::sync::oneshot;

use crate::coalesce::BodyLimits;
use crate::entry::{Parts, Provenance};
use crate::l1::Stored;
use crate::policy::fields::ByName;
use crate::policy::ranges::{Carried, ContentRange, RangeSpec};
use crate::policy::request::Demand;
use crate::policy::storability::{ResponseVerdict, Storable};
use crate::policy::validation;
use crate::reason::Reason;

use super::fetch::{Arrived, Direct, Fetch, Fetched};
use super::flight::{Filling, Head, Leader};
use super::share::{Pumped, READ_AHEAD, share};

impl Fetch {
    /// Judges a 206: a part that was asked for is stored as one, and any other is for one client alone.
    pub(super) async fn judge_part(
        &self,
        leader: Leader,
        client: Option<oneshot::Sender<Direct>>,
        arrived: Arrived,
    ) -> Fetched {
        let headers = arrived.response.headers();
        let verdict = match (&self.scope.asked, Carried::of(headers)) {
            // RFC 9110 section 15.3.7: such a 206 leaves out what the client has already, and others have not.
            (Some(asked), _) if asked.if_range.is_some() => Err(Reason::PartialContent),
            (Some(asked), Some(carried)) => match self.verdict(StatusCode::PARTIAL_CONTENT, headers, arrived.delay) {
                ResponseVerdict::Storable(storable) => {
                    self.room_for(&arrived, &storable).map(|()| ((carried, asked.spec), storable))
                }
                ResponseVerdict::Uncacheable(reason) => Err(reason),
            },
            _ => Err(Reason::PartialContent),
        };
        match verdict {
            Ok(((carried, _), _)) if carried.part.length() > self.policy.max_object_size => {
                self.release(leader, client, arrived.response, Reason::TooLarge)
            }
            Ok((carried, storable)) => {
                drop(client);
                self.fill_part(leader, arrived, carried, storable).await
            }
            Err(reason) => self.release(leader, client, arrived.response, reason),
        }
    }

    /// Streams a part to everybody who waits for it, as the origin sent it, and stores it when all of it is
    /// there.
    async fn fill_part(
        &self,
        leader: Leader,
        arrived: Arrived,
        (carried, asked): (Carried, RangeSpec),
        storable: Storable,
    ) -> Fetched {
        let provenance = self.provenance(&leader, &arrived);
        let (mut parts, body) = arrived.response.into_parts();
        parts.headers.remove(CONTENT_RANGE);
        let head = self.head(&mut parts, &body, &storable, &provenance);
        let (length, announced) = (Some(carried.part.length()), Some(carried.announced.clone()));
        let head = Arc::new(Head { length, part: announced, ..head });
        let cap = usize::try_from(self.policy.max_object_size).unwrap_or(usize::MAX);
        let filling = leader.publish(Arc::clone(&head), BodyLimits { cap, window: READ_AHEAD });
        let mut landing = match self.pump(filling, body, true).await {
            Pumped::All(landing) => landing,
            Pumped::Broken(filling) => return self.keep_incomplete(&filling, storable, (&head, true), provenance),
            Pumped::Deserted => return Fetched::Failed,
        };
        let Some(bytes) = landing.body() else { return self.not_stored(Reason::TooLarge) };
        let withheld = storable.withheld.clone();
        let parts = Parts::new(self.entry(storable, &head, bytes, provenance), &carried.part, withheld);
        let parts =
            if carried.is_short() { parts.map(|parts| parts.contradicting(carried.announced, asked)) } else { parts };
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
        let can_be_completed = self.request.can_validate();
        if let Some((part, bytes)) = beginning(filling, head, partial).filter(|_| can_be_completed) {
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
    pub(super) async fn confirm_parts(
        &self,
        leader: Leader,
        client: Option<oneshot::Sender<Direct>>,
        parts: &Arc<Parts>,
        arrived: Arrived,
    ) -> Fetched {
        let stored = parts.entry();
        let Some((_, range)) = self.to_confirm() else { return Fetched::NotStored };
        let provenance = self.provenance(&leader, &arrived);
        // A part is judged as the whole would be.
        let Some((head, judged)) = self.confirmed(stored, StatusCode::OK, &arrived, &provenance) else {
            drop(arrived);
            return self.ask_plainly(leader, client).await;
        };
        drop(client);
        let head = Arc::new(Head {
            status: StatusCode::PARTIAL_CONTENT,
            length: Some(range.end - range.start),
            part: Some(ContentRange { range: range.clone(), complete: parts.complete() }),
            ..head
        });
        let bytes: Vec<Bytes> = parts.cut(&range).unwrap_or_default().into();
        let landing = share(leader, Arc::clone(&head), Bytes::from(bytes.concat()));
        let kept = judged.and_then(|storable| {
            let withheld = storable.withheld.clone();
            let entry = self.entry(storable, &head, Bytes::new(), provenance);
            self.keep_parts(parts.confirmed(entry, withheld))
        });
        if kept.is_ok() && head.selecting.names() != stored.selecting().names() {
            self.proxy.l1.retain(&self.key, |kept| !std::ptr::eq(kept, stored));
        }
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
        if !parts.entry().is_valid(|| url, table) {
            return Err(Reason::Invalidated);
        }
        let (limit, now) = (self.policy.max_object_size, proxy.clock.now());
        // Parts from before a purge stay out: what is joined is as young as the newest.
        if proxy.l1.store_part(&self.key, parts, limit, now, |kept| kept.is_valid(|| url, table))
            == Stored::TooManyVariants
        {
            return Err(Reason::TooManyVariants);
        }
        // As with a whole: every reader checks `born` as well; this only frees the memory.
        if table.version() != version {
            proxy.l1.retain(&self.key, |kept| kept.is_valid(|| url, table));
        }
        Ok(())
    }

    /// Whether stored parts may stand in for a failed origin.
    pub(super) fn can_parts_stand_in(&self) -> bool {
        let (now, table) = (self.proxy.clock.now(), self.proxy.log.table());
        self.to_confirm().is_some_and(|(parts, _)| {
            let entry = parts.entry();
            entry.is_valid(|| self.key.url(), table) && entry.usable_on_error(now, &Demand::default())
        })
    }
}

/// What has arrived of a response that broke off, if it is of use as a part.
fn beginning(filling: &Filling, head: &Head, partial: bool) -> Option<(ContentRange, Bytes)> {
    let ranges = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"bytes");
    // One that announced more than it meant to send is no part to go on from.
    let contradicted = head.part.as_ref().is_some_and(|part| head.length != Some(part.length()));
    let serves_ranges = partial || head.fields.first(&ACCEPT_RANGES).is_some_and(ranges);
    let of_the_whole = partial || head.status == StatusCode::OK;
    if contradicted || !(serves_ranges && of_the_whole && validation::strong_validator(&head.fields).is_some()) {
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
