//! What those who wait for a fetch see of it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};

use crate::bus::Seq;
use crate::clock::Moment;
use crate::coalesce;
use crate::entry::{Entry, Fields};
use crate::key::Key;
use crate::policy::ranges::ContentRange;
use crate::policy::tags::Tag;
use crate::policy::vary::Selecting;
use crate::reason::{OriginFault, Reason};

use super::fill::Miss;
use super::parts::Asked;

/// What fetches are shared by: the key, and the selecting fields once those are known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct FlightKey {
    pub(super) key: Key,
    /// The values of the fields that an earlier response varied on.
    pub(super) variant: Option<Selecting>,
    /// The range that is fetched, where it is not the whole.
    pub(super) asked: Option<Asked>,
    /// Set for a fetch that nobody may join.
    pub(super) alone: Option<u64>,
}

/// All fetches under way in this instance.
pub(super) type Flights = coalesce::Flights<FlightKey, Seq, Arc<Head>, Failure>;
pub(super) type Filling = coalesce::Filling<FlightKey, Seq, Arc<Head>, Failure>;
pub(super) type Landing = coalesce::Landing<FlightKey, Seq, Arc<Head>, Failure>;
pub(super) type Leader = coalesce::Leader<FlightKey, Seq, Arc<Head>, Failure>;

/// What followers see of a response before its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Fields as sent to clients, without `Age`.
    pub(super) fields: Fields,
    /// `Set-Cookie`, for the client whose request was sent and nobody else.
    pub(super) cookies: Vec<HeaderValue>,
    /// `Content-Length`, where the origin gave it.
    pub(super) length: Option<u64>,
    /// Which part it is of the whole.
    pub(super) part: Option<ContentRange>,
    /// Which requests it may be shown to.
    pub(super) selecting: Selecting,
    pub(super) tags: Vec<Tag>,
    /// Age on arrival, and when that was.
    pub(super) initial_age: Duration,
    pub(super) received: Moment,
    /// For how long from its arrival it is fresh, if it is to be stored.
    pub(super) ttl: Option<Duration>,
    /// Whether the origin confirmed what was stored.
    pub(super) confirmed: bool,
    /// Why it is shared without being stored.
    pub(super) not_stored: Option<Reason>,
    /// What the fleet had stored: no fetch was needed.
    pub(super) found: Option<Arc<Entry>>,
}

/// Why a shared fetch has no response for anyone, and what may stand in for one.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// What the fleet has stored, which not everybody who waits knows of.
    pub(super) stored: Option<Arc<Entry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// There was no answer.
    Origin(OriginFault),
    /// The answer was a server error, and what is stored may stand in for it.
    ServerError(StatusCode),
}

impl Failure {
    /// What may stand in for the response to a request: what was stored for it here, or in the fleet.
    pub(super) fn stored_for<'a>(&'a self, miss: &'a Miss, request: &HeaderMap) -> Option<&'a Arc<Entry>> {
        let fleet = self.stored.as_ref().filter(|entry| entry.selecting().matches(request));
        miss.known.stored.as_ref().or(fleet)
    }

    /// Whether the origin did answer, with an error, and what is stored in its place is for other
    /// requests only.
    pub(super) fn is_for_others(&self, miss: &Miss, request: &HeaderMap) -> bool {
        let nothing = miss.scope.parts.is_none() && self.stored_for(miss, request).is_none();
        matches!(self.kind, FailureKind::ServerError(_)) && nothing
    }

    /// A failure that nothing new may stand in for.
    pub(super) const fn origin(fault: OriginFault) -> Self {
        Self { kind: FailureKind::Origin(fault), stored: None }
    }
}
