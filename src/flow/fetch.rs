//! The leader's task: ask the origin, judge the answer, share it and store it.
//!
//! It runs detached from the client that caused it, so that nobody's disconnect strands others.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock::Moment;
use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::Key;
use crate::l2::Lease;
use crate::origin::ResponseBody;
use crate::policy::request::Demand;
use crate::policy::storability::{self, Exchange, ResponseVerdict, Storable, judge_response};
use crate::policy::validation;
use crate::policy::vary::Selecting;
use crate::reason::{OriginFault, Reason};

use super::Proxy;
use super::coding;
use super::complete::Met;
use super::flight::{Failure, FailureKind, Leader};
use super::forward::OriginHead;
use super::inquiry::Inquiry;
use super::parts::Scope;
use super::site::Route;

/// How a fetch ended, for those who wait for no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Stored,
    Confirmed,
    NotStored,
    Failed,
}

/// The fleet has nothing that would spare a fetch.
pub(super) struct Missing {
    /// Its consent to fetch, if it gave one.
    pub(super) lease: Option<Lease>,
    /// What it has that was not wanted.
    pub(super) stale: Option<Arc<Entry>>,
}

/// A response for the leader's own client alone.
pub(super) struct Direct {
    pub(super) response: Response<ResponseBody>,
    pub(super) reason: Reason,
}

/// After a failed refresh the next attempt waits this long, so that a struggling origin is left alone.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why there is a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A client waits, and demands this of a stored response.
    Client(Demand),
    /// What is stored is to be renewed before a client has to wait.
    Refresh,
    /// The fetch is nobody else's business: the key was uncacheable a moment ago, or waiting for
    /// others has lasted long enough.
    Alone,
}

/// One fetch, with all it needs to outlive its client.
pub(super) struct Fetch {
    pub(super) proxy: Arc<Proxy>,
    pub(super) route: Arc<Route>,
    pub(super) policy: Arc<CachePolicy>,
    pub(super) key: Key,
    /// `scheme://host`, the scope of cache groups.
    pub(super) site: String,
    /// What is sent.
    pub(super) request: OriginHead,
    /// The client's fields, which select the variant.
    pub(super) selecting_from: HeaderMap,
    /// What is stored: to be confirmed, and to stand in if the origin fails.
    pub(super) stored: Option<Arc<Entry>>,
    /// Whether that came from the fleet, and is not stored here.
    pub(super) borrowed: bool,
    /// Whom the fetch is for, which decides what of the fleet's will do.
    pub(super) cause: Cause,
    /// How much of the representation it is for.
    pub(super) scope: Scope,
    /// The fleet's consent. It is freed with the fetch, however that ends.
    pub(super) lease: Mutex<Option<Lease>>,
}

/// A response whose head has arrived.
pub(super) struct Arrived {
    pub(super) response: Response<ResponseBody>,
    pub(super) received: Moment,
    pub(super) delay: Duration,
}

impl Fetch {
    /// [Runs](Self::run) in a task of its own; what is returned gets a response that is for this client alone. Apart,
    /// so that the task takes no room on the stack of whoever begins it.
    #[inline(never)]
    pub(super) fn begin(self, leader: Leader, found: Missing) -> oneshot::Receiver<Direct> {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(self.run(leader, found, Some(sender)));
        receiver
    }

    /// Fetches as the leader, after the fleet was asked and has `found` nothing that spares it. `client` gets the
    /// response if it is for that client alone; if the client has left, such a response is dropped, and with it the
    /// origin's connection. It is dropped as soon as the response turns out to be shared: the client then reads it
    /// like any follower, while it arrives.
    pub(super) async fn run(
        mut self,
        leader: Leader,
        found: Missing,
        client: Option<oneshot::Sender<Direct>>,
    ) -> Fetched {
        self.lease = Mutex::new(found.lease);
        self.take_over(found.stale);
        let arrived = match self.send(true).await {
            Ok(arrived) => arrived,
            Err(fault) => return self.fail(leader, FailureKind::Origin(fault)),
        };
        match self.meet(&arrived) {
            Met::Confirmed(parts) => {
                return Box::pin(self.confirm_parts(leader, client, &parts, arrived)).await;
            }
            Met::Rest(parts, headers, storable) => {
                drop(client);
                return Box::pin(self.complete(leader, arrived, (parts, headers, *storable))).await;
            }
            Met::Useless => {
                drop(arrived);
                return Box::pin(self.ask_plainly(leader, client)).await;
            }
            Met::Nothing => {}
        }
        let status = arrived.response.status();
        if status == StatusCode::NOT_MODIFIED
            && self.request.can_validate()
            && let Some(stored) = &self.stored
        {
            if validation::confirms(stored.fields(), arrived.response.headers()) {
                return Box::pin(self.confirm(leader, client, stored, arrived)).await;
            }
            // RFC 9111 section 4.3.4: it speaks of a representation that we do not hold.
            drop(arrived);
            return Box::pin(self.ask_plainly(leader, client)).await;
        }
        if status.is_server_error() && self.can_stand_in() {
            return self.fail(leader, FailureKind::ServerError(status));
        }
        self.judge(leader, client, arrived).await
    }

    /// Asks without the conditions that led nowhere.
    pub(super) async fn ask_plainly(&self, leader: Leader, client: Option<oneshot::Sender<Direct>>) -> Fetched {
        match self.send(false).await {
            Ok(arrived) => self.judge(leader, client, arrived).await,
            Err(fault) => self.fail(leader, FailureKind::Origin(fault)),
        }
    }

    /// One exchange with the origin, up to the response head.
    async fn send(&self, conditional: bool) -> Result<Arrived, OriginFault> {
        let clock = &self.proxy.clock;
        let request = match &self.stored {
            Some(stored) if conditional && self.request.can_validate() => self.request.clone().validating(stored),
            None if conditional && self.request.can_validate() => self.with_parts(self.request.clone()),
            _ => self.request.clone(),
        };
        let request = if self.is_uncoded() { request.uncoded() } else { request };
        let asked = clock.now();
        let response = self.route.origin.send(request.with_content()).await?.into_response();
        let received = clock.now();
        Ok(Arrived { response, received, delay: received.since(asked) })
    }

    /// What this fetch would ask the fleet.
    pub(super) fn inquiry(&self) -> Inquiry<'_> {
        Inquiry {
            proxy: &self.proxy,
            policy: &self.policy,
            key: &self.key,
            request: &self.selecting_from,
            names: self.stored.as_ref().map_or(&[][..], |stored| stored.selecting().names()),
            stored: self.stored.as_ref(),
            cause: &self.cause,
            scope: &self.scope,
        }
    }

    /// Where nothing is stored here, what the fleet has can be confirmed, or stand in.
    fn take_over(&mut self, stale: Option<Arc<Entry>>) {
        if self.stored.is_none() {
            self.stored = stale.filter(|entry| self.inquiry().fits(entry));
            self.borrowed = self.stored.is_some();
        }
    }

    /// Stores and shares what may be stored, and releases everybody else from waiting.
    async fn judge(&self, leader: Leader, client: Option<oneshot::Sender<Direct>>, arrived: Arrived) -> Fetched {
        if arrived.response.status() == StatusCode::PARTIAL_CONTENT {
            return Box::pin(self.judge_part(leader, client, arrived)).await;
        }
        let verdict = self.verdict(arrived.response.status(), arrived.response.headers(), arrived.delay);
        match verdict {
            ResponseVerdict::Storable(storable) => match self.room_for(&arrived, &storable) {
                Ok(()) => {
                    // The client waits for a word from here; without one it reads what is shared.
                    drop(client);
                    self.fill(leader, arrived, storable).await
                }
                Err(reason) => self.release(leader, client, arrived.response, reason),
            },
            // A server error that is merely without a lifetime answers everybody who waits: asking
            // a struggling origin once per waiting client would finish it off.
            ResponseVerdict::Uncacheable(reason @ (Reason::NoLifetime | Reason::ZeroLifetime))
                if arrived.response.status().is_server_error() =>
            {
                drop(client);
                Box::pin(self.share_error(leader, arrived, reason)).await
            }
            ResponseVerdict::Uncacheable(reason) => self.release(leader, client, arrived.response, reason),
        }
    }

    pub(super) fn verdict(&self, status: StatusCode, headers: &HeaderMap, delay: Duration) -> ResponseVerdict {
        let exchange = Exchange {
            method: &self.request.method,
            request_headers: &self.selecting_from,
            status,
            response_headers: headers,
            received_at: self.proxy.clock.wall(),
            response_delay: delay,
        };
        judge_response(&self.policy.rules, &exchange)
    }

    /// Whether size and number of variants allow to store it.
    pub(super) fn room_for(&self, arrived: &Arrived, storable: &Storable) -> Result<(), Reason> {
        let length = http_body::Body::size_hint(arrived.response.body()).exact();
        if length.is_some_and(|length| length > self.policy.max_object_size) {
            return Err(Reason::TooLarge);
        }
        let selecting = self.selecting(storable, arrived.response.headers());
        let room = self.proxy.l1.has_room(&self.key, &selecting, arrived.received);
        if room { Ok(()) } else { Err(Reason::TooManyVariants) }
    }

    pub(super) fn selecting(&self, storable: &Storable, response: &HeaderMap) -> Selecting {
        coding::selecting(&self.policy, &storable.vary, response, &self.selecting_from)
    }

    /// Whether the origin is asked for a response without coding. A response that is for one client alone is not:
    /// it is not stored, so nobody would code it.
    fn is_uncoded(&self) -> bool {
        self.policy.compress.is_some() && self.cause != Cause::Alone
    }

    /// The response is not to be shared: marks the URL, frees the followers, serves the client.
    pub(super) fn release(
        &self,
        leader: Leader,
        client: Option<oneshot::Sender<Direct>>,
        response: Response<ResponseBody>,
        reason: Reason,
    ) -> Fetched {
        self.not_stored(reason);
        if response.status().is_server_error() {
            self.hold_refresh();
            self.disband(RETRY_PAUSE);
        } else {
            match self.cause {
                // One client's request does not decide what the others get: what is stored is still for everybody else.
                // But the next may get the same, an origin that limits its callers above all.
                Cause::Refresh if self.is_personal(response.status()) => self.hold_refresh(),
                _ if storability::is_about_one_request(response.status()) => {}
                _ if reason == Reason::TooLarge => self.mark_too_large(Some(response.headers())),
                _ => self.mark_uncacheable(),
            }
            self.disband(self.proxy.hit_for_miss_ttl);
        }
        // The client first: once the leader has let go, it looks for its answer.
        if let Some(client) = client {
            // A client that has left needs no answer; what is still to come of it closes the origin's connection.
            let _ = client.send(Direct { response, reason });
        }
        leader.uncacheable();
        Fetched::NotStored
    }

    /// Whether a response may say more of the client whose request was sent than of its target.
    fn is_personal(&self, status: StatusCode) -> bool {
        storability::is_about_one_request(status) || self.selecting_from.contains_key(AUTHORIZATION)
    }

    /// The marker comes before the followers' release, so that whoever comes next does not queue.
    pub(super) fn mark_uncacheable(&self) {
        let now = self.proxy.clock.now();
        self.proxy.l1.retain(&self.key, |entry| !entry.selecting().matches(&self.selecting_from));
        self.proxy.l1.mark_uncacheable(&self.key, now.plus(self.proxy.hit_for_miss_ttl));
    }

    /// The same for what is too large to be stored as a whole. Parts of the same representation stay.
    pub(super) fn mark_too_large(&self, newer: Option<&HeaderMap>) {
        let now = self.proxy.clock.now();
        self.proxy.l1.retain(&self.key, |entry| {
            let same = |newer| validation::same_representation(entry.fields(), newer);
            !entry.selecting().matches(&self.selecting_from) || newer.is_some_and(same)
        });
        self.proxy.l1.mark_too_large(&self.key, now.plus(self.proxy.hit_for_miss_ttl));
    }

    fn fail(&self, leader: Leader, kind: FailureKind) -> Fetched {
        self.hold_refresh();
        // Before the leader lets go: whoever comes then need not ask the origin to find it failing.
        if let Some(stored) = self.stored.as_ref().filter(|_| self.borrowed) {
            let _ = self.keep(Arc::clone(stored));
        }
        self.disband(RETRY_PAUSE);
        leader.fail(Failure { kind, stored: self.stored.clone() });
        Fetched::Failed
    }

    /// Tells the other instances that there is nothing to wait for.
    pub(super) fn disband(&self, span: Duration) {
        if let Some(lease) = self.lease.lock().take() {
            lease.disband(span);
        }
    }

    fn can_stand_in(&self) -> bool {
        let (now, table) = (self.proxy.clock.now(), self.proxy.log.table());
        self.can_parts_stand_in()
            || self.stored.as_ref().is_some_and(|stored| {
                stored.is_valid(|| self.key.url(), table) && stored.usable_on_error(now, &Demand::default())
            })
    }

    pub(super) fn hold_refresh(&self) {
        let parts = self.scope.parts.as_ref().map(|parts| parts.entry());
        for stored in self.stored.as_deref().into_iter().chain(parts) {
            stored.hold_refresh_until(self.proxy.clock.now().plus(RETRY_PAUSE));
        }
    }
}
