//! The journey of a request: the sole composer of routes, key, L1, coalescing, L2 and origin.
//!
//! ```text
//! listener -> route -> key -> L1 -> coalesce -> L2 -> origin -> store -> respond
//! ```
//!
//! `Proxy::journey` reads as that line. Each station answers with a closed enum.

mod admission;
mod answer;
mod body;
mod cache_status;
mod coding;
mod complete;
mod content;
mod fetch;
mod fetch_part;
mod fill;
mod flight;
mod forward;
mod head;
mod hit;
mod inquiry;
mod interim;
mod lead;
mod partial;
mod parts;
mod pass;
mod posted;
mod purge;
mod record;
mod refresh;
mod respond;
mod revalidate;
mod search;
mod share;
mod signature;
mod site;
mod upload;
mod vigil;
mod visit;
mod written;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Response, request};
use tokio::sync::Semaphore;

use crate::bus::Log;
use crate::clock::Clock;
use crate::config::Config;
use crate::key::{self, Key};
use crate::l1::{Bounds, Expiry, L1};
use crate::l2::Remote;
use crate::listener::{self, Client, Fault, Handler, RequestBody};
use crate::reason::{Outcome, Reason};
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;

use admission::Admission;
use answer::Answer;
pub use body::Body;
use fetch::Cause;
use flight::Flights;
use hit::LookUp;
pub use purge::PurgeFault;
pub use site::Site;
use visit::Visit;

/// What the journey needs besides its configuration.
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Metric handles.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access: Arc<AccessLog>,
    /// The invalidation log.
    pub log: Log,
    /// The shared tier.
    pub remote: Box<dyn Remote>,
}

/// One instance: everything that outlives a request.
pub struct Proxy {
    site: ArcSwap<Site>,
    l1: L1,
    flights: Flights,
    log: Log,
    max_unsynced: Duration,
    /// How long a client whose write has invalidated something waits until the fleet is told.
    invalidation_wait: Duration,
    remote: Box<dyn Remote>,
    refreshes: Arc<Semaphore>,
    /// One permit for each body that may be coded at the same time.
    coders: Arc<Semaphore>,
    hit_for_miss_ttl: Duration,
    clock: Clock,
    metrics: Arc<Metrics>,
    access: Arc<AccessLog>,
    sweeping: parking_lot::Mutex<()>,
}

impl Proxy {
    /// An instance with an empty cache.
    pub fn new(config: &Config, parts: Parts) -> Self {
        let Parts { clock, metrics, access, log, remote } = parts;
        let bounds = Bounds {
            max_bytes: config.cache.max_bytes,
            max_entries: config.cache.max_entries,
            max_variants: config.cache.max_variants,
            threads: config.listen.threads.get(),
        };
        Self {
            site: ArcSwap::from_pointee(Site::new(config, None, &metrics, &clock)),
            l1: L1::new(bounds, &metrics.l1),
            flights: Flights::new(),
            log,
            max_unsynced: config.invalidation.max_unsynced,
            invalidation_wait: config.redis.as_ref().map_or(Duration::ZERO, |redis| redis.timeout),
            remote,
            refreshes: Arc::new(Semaphore::new(config.cache.max_refreshes)),
            coders: Arc::new(Semaphore::new(coders())),
            hit_for_miss_ttl: config.cache.hit_for_miss_ttl,
            clock,
            metrics,
            access,
            sweeping: parking_lot::Mutex::new(()),
        }
    }

    /// Serves new requests by another configuration. Requests under way finish by the old one;
    /// stored responses stay.
    pub fn reload(&self, config: &Config) {
        let site = Site::new(config, Some(&self.site.load()), &self.metrics, &self.clock);
        self.site.store(Arc::new(site));
    }

    /// From now on what is of no use any more leaves L1, for as long as the result is held.
    ///
    /// # Errors
    ///
    /// The system has no thread for it.
    pub fn expire(&self) -> io::Result<Expiry> {
        self.l1.expire(self.clock.clone())
    }

    /// The invalidation log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Brings the gauges that are read rather than kept up to date, for a scrape.
    pub fn refresh_gauges(&self) {
        let (entries, bytes) = self.l1.size();
        self.metrics.l1.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.metrics.l1.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.metrics
            .invalidation_applied
            .set(i64::try_from(self.log.position(self.log.applied()).1).unwrap_or(i64::MAX));
        self.metrics.invalidation_records.set(i64::try_from(self.log.table().len()).unwrap_or(i64::MAX));
    }

    /// The journey. Everything that waits is boxed, so that a hit carries no large future about.
    async fn journey(self: &Arc<Self>, visit: &mut Visit) -> Answer {
        if visit.parts.method == Method::CONNECT {
            return Answer::connect_refused();
        }
        let Some(route) = visit.site.route(&visit.parts.method, visit.host(), visit.parts.uri.path()).map(Arc::clone)
        else {
            return Answer::no_route();
        };
        let (policy, demand) = match admission::admit(visit, &route).await {
            Admission::Lookup(policy, demand) => (policy, demand),
            Admission::Pass(reason) => return Box::pin(self.pass(visit, route, reason)).await,
            Admission::PassUnsafe(reason) => return Box::pin(self.pass_unsafe(visit, route, reason)).await,
        };
        let now = visit.started;
        let (key, found) = self.find(visit, policy, &demand);
        match found {
            LookUp::Fresh(entry) => {
                if Self::is_early_refresh_due(&entry, policy, now) || self.is_trust_waning(&entry, now) {
                    self.refresh(visit, &route, policy, &Key::new(&key), &entry);
                }
                self.serve(visit, route, &key, &entry, Outcome::Hit)
            }
            LookUp::StaleUsable(entry) => {
                self.refresh(visit, &route, policy, &Key::new(&key), &entry);
                self.serve(visit, route, &key, &entry, Outcome::StaleWhileRevalidate)
            }
            LookUp::StaleAccepted(entry) => self.serve(visit, route, &key, &entry, Outcome::StaleAccepted),
            LookUp::OriginDown(entry) => self.serve(visit, route, &key, &entry, Outcome::StaleIfError),
            LookUp::Part(hit) => {
                if hit.outcome == Outcome::StaleWhileRevalidate {
                    self.refresh_parts(visit, &route, policy, &Key::new(&key), &hit.parts);
                }
                self.hit_part(visit, route, *hit)
            }
            LookUp::Forward(..) | LookUp::HitForMiss | LookUp::TooLarge if demand.only_if_cached => {
                Answer::only_if_cached(route)
            }
            LookUp::HitForMiss => {
                let policy = Arc::clone(policy);
                Box::pin(self.fetch_alone(visit, route, policy, &Key::new(&key), Reason::HitForMiss)).await
            }
            LookUp::TooLarge => {
                let policy = Arc::clone(policy);
                Box::pin(self.fill_too_large(visit, route, policy, Key::new(&key), demand)).await
            }
            LookUp::Forward(known) => {
                let (key, cause) = (Key::new(&key), Cause::Client(demand.clone()));
                let scope = self.scope(visit, policy, &key, &known, false);
                let miss = fill::Miss { key, policy: Arc::clone(policy), demand, known, cause, scope };
                Box::pin(self.fill(visit, route, miss)).await
            }
        }
    }
}

/// Bodies that are coded at the same time: half of the cores go on serving, whatever arrives.
fn coders() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// The proxy as the listener sees it.
#[derive(Clone)]
pub struct Service(pub Arc<Proxy>);

impl Handler for Service {
    type Body = Body;

    async fn handle(&self, head: Box<request::Parts>, body: RequestBody, client: Client) -> Response<Body> {
        let proxy = &self.0;
        let mut visit = Visit::new(head, body, client, &proxy.clock, proxy.site.load_full());
        let answer = proxy.journey(&mut visit).await;
        let response = proxy.settle(&mut visit, answer);
        listener::give_back(visit.parts);
        response
    }

    fn reject(&self, fault: Fault, peer: SocketAddr) -> Response<Body> {
        tracing::debug!(%peer, fault = fault.as_str(), "request refused");
        self.0.refuse(fault, peer)
    }
}
