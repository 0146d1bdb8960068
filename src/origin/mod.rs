//! Sends requests to an origin, and protects it: a bounded queue, a bounded number of
//! connections, and a limit on every wait.
//!
//! | file | concern |
//! | --- | --- |
//! | `queue` | whose turn it is |
//! | `pool`, `connector`, `link` | connections: which, how, and one of them |
//! | `exchange` | one exchange on one connection, up to the head |
//! | `fields`, `request`, `upload` | what is written: the head, and the body as it comes |
//! | `head`, `download`, `body` | what is read: the head, the bytes behind it, and the body as others see it |
//! | `reply`, `interim` | the response, and what the origin says before it |
//! | `underway` | whether a request has left |
//! | `fault` | what is reported |

mod body;
mod connector;
mod download;
mod exchange;
mod fault;
mod fields;
mod head;
mod interim;
mod link;
mod pool;
mod queue;
mod reply;
mod request;
mod underway;
mod upload;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::DATE;
use tokio::time::Instant;

pub use self::body::ResponseBody;
pub use self::fields::Fields;
pub use self::interim::OnInterim;
pub use self::reply::Reply;
pub use self::request::Outgoing;
pub use self::underway::Underway;
pub use self::upload::{RequestBody, UploadError};
pub use crate::wire::{Lines, Tunnel};

use self::body::Lease;
use self::download::Download;
use self::exchange::{Exchange, Patience, behind};
use self::head::Head;
use self::link::Link;
use self::pool::Pool;
use self::queue::{Queue, Turn};
use self::request::{Asked, Framing};
use self::upload::Upload;
use crate::clock::{Clock, Moment};
use crate::config::OriginConfig;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;

/// One upstream server: its queue, its connections, its limits. Shared by all runtimes.
pub struct Origin {
    config: Arc<OriginConfig>,
    metrics: Arc<OriginMetrics>,
    clock: Clock,
    host: request::Host,
    queue: Queue,
    pool: Arc<Pool>,
}

impl Origin {
    /// An origin without connections; the first request opens one.
    pub fn new(config: Arc<OriginConfig>, metrics: OriginMetrics, clock: Clock) -> Self {
        Self {
            host: request::Host::new(&config),
            queue: Queue::new(&config, &metrics),
            pool: Arc::new(Pool::new(&config, clock.clone())),
            metrics: Arc::new(metrics),
            config,
            clock,
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &OriginConfig {
        &self.config
    }

    /// Sends one request and resolves at the response head. Must run on a tokio runtime.
    ///
    /// The caller has left out hop-by-hop fields, but for `Connection` and `Upgrade` of an upgrade. The
    /// connection behind a 101 is [`ResponseBody::take_tunnel`]. A response without `Date` gets one.
    ///
    /// Each failure is counted once under the fault returned, here or by the [`ResponseBody`].
    pub async fn send(&self, request: Outgoing) -> Result<Reply, OriginFault> {
        let answer = self.journey(request).await;
        if let Err(fault) = answer {
            self.metrics.errors[fault as usize].inc();
        }
        answer
    }

    /// Queue, connection, head, body.
    async fn journey(&self, request: Outgoing) -> Result<Reply, OriginFault> {
        let turn = self.queue.enter().await?;
        self.metrics.requests.inc();
        let started = Instant::now();
        let began = self.clock.at(started);
        let total = self.config.total_timeout.map(|limit| behind(started, limit));
        let patience = Patience { began: started, first_byte: self.config.first_byte_timeout, total };
        let (asked, framing) = (Asked::by(&request), Framing::of(&request));
        let head = request::head(&request, &self.host, &framing);
        let Outgoing { body, interim, underway, .. } = request;
        let mut upload = Upload::new(head, body, framing);
        let told = (underway.as_ref(), interim.as_ref());
        let idle = self.pool.idle(began);
        let (link, head) = self.exchange(idle, &mut upload, asked, told, patience).await?;
        let framing = head.judge(asked)?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS && !upload.is_done() {
            // The rest of the request would be taken for the other protocol (RFC 9110 section 7.8).
            return Err(OriginFault::Protocol);
        }
        let now = self.clock.now();
        self.metrics.latency.observe(now.since(began));
        Ok(self.respond(head, Framed { framing, upload, total }, link, turn, now))
    }

    /// One exchange up to the response head, and a second one where that is allowed.
    async fn exchange(
        &self,
        idle: Option<Link>,
        upload: &mut Upload,
        asked: Asked,
        (underway, interim): (Option<&Underway>, Option<&OnInterim>),
        mut patience: Patience,
    ) -> Result<(Link, Head), OriginFault> {
        let mut link = match idle {
            Some(link) => link,
            None => self.fresh(&mut patience).await?,
        };
        if let Some(underway) = underway {
            underway.set();
        }
        let lost = match Exchange::new(&mut link, upload, interim, patience).head().await {
            Ok(head) => return Ok((link, head)),
            Err(lost) => lost,
        };
        drop(link);
        if !lost.stale || !upload.rewind(asked.idempotent) {
            return Err(lost.fault);
        }
        self.metrics.retries.inc();
        let mut link = self.fresh(&mut patience).await?;
        let head = Exchange::new(&mut link, upload, interim, patience).head().await.map_err(|lost| lost.fault)?;
        Ok((link, head))
    }

    /// A fresh connection; the exchange on it begins now.
    async fn fresh(&self, patience: &mut Patience) -> Result<Link, OriginFault> {
        // Boxed, so that the usual exchange carries no connector about.
        let link = Box::pin(self.pool.fresh(patience.total)).await;
        patience.began = Instant::now();
        link
    }

    fn respond(&self, mut head: Head, body: Framed, mut link: Link, turn: Turn, now: Moment) -> Reply {
        let length = head.length();
        if !head.is_dated() {
            // RFC 9110 section 6.6.1: whoever has a clock says when it came.
            let date = httpdate::fmt_http_date(self.clock.wall());
            head.fields.push(DATE.as_str().as_bytes(), date.as_bytes());
        }
        let keeps = head.keeps(body.framing);
        let body = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            ResponseBody::switched(link.into_tunnel(turn))
        } else if let Some(bytes) = body.take_whole(&mut link) {
            // Before the turn ends: the next request finds the connection, or it is closed.
            if keeps {
                self.pool.put_at(link, now);
            } else {
                drop(link);
            }
            ResponseBody::whole(bytes)
        } else {
            let Framed { framing, upload, total } = body;
            let upload = (!upload.is_done()).then(|| Box::new(upload));
            let lease = Lease { link, pool: Arc::clone(&self.pool), keeps, upload, _turn: turn };
            let (download, gap) = (Download::new(framing), self.config.between_bytes_timeout);
            ResponseBody::arriving(download, lease, gap, total, Arc::clone(&self.metrics))
        };
        let Head { status, fields, apart, .. } = head;
        Reply { status, fields, apart, length, body }
    }
}

/// What a response body starts from.
struct Framed {
    framing: head::Framing,
    upload: Upload,
    total: Option<Instant>,
}

impl Framed {
    /// All of the body, if its length is known, it has come with its head and nothing else has, and the request is sent.
    fn take_whole(&self, link: &mut Link) -> Option<Bytes> {
        let head::Framing::Length(length) = self.framing else { return None };
        let here = link.kept().len() as u64 == length && self.upload.is_done();
        here.then(|| std::mem::take(link.kept()).freeze())
    }
}
