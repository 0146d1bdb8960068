//! Sends requests to an origin, and protects it: a bounded queue, a bounded number of
//! connections, and a limit on every wait.
//!
//! | file | concern |
//! | --- | --- |
//! | `queue` | whose turn it is |
//! | `pool`, `connector`, `link` | connections: which, how, and one exchange on one |
//! | `head` | what is changed in a request, what is refused in a response |
//! | `interim` | what the origin says before its response |
//! | `underway` | whether a request has left |
//! | `upload`, `body` | the two bodies |
//! | `retry`, `fault` | what may be sent again, and what is reported |

mod body;
mod connector;
mod fault;
mod head;
mod interim;
mod link;
mod pool;
mod queue;
mod retry;
mod underway;
mod upload;

use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

pub use self::body::ResponseBody;
pub use self::interim::OnInterim;
pub use self::underway::Underway;
pub use self::upload::{RequestBody, UploadError};

use self::body::Lease;
use self::link::{Link, Lost};
use self::pool::Pool;
use self::queue::Queue;
use self::upload::Outgoing;
use crate::clock::Clock;
use crate::config::OriginConfig;
use crate::reason::OriginFault;
use crate::telemetry::metrics::OriginMetrics;

/// One upstream server: its queue, its connections, its limits. Shared by all runtimes.
pub struct Origin {
    config: Arc<OriginConfig>,
    metrics: Arc<OriginMetrics>,
    clock: Clock,
    host: head::Host,
    queue: Queue,
    pool: Arc<Pool>,
}

impl Origin {
    /// An origin without connections; the first request opens one.
    pub fn new(config: Arc<OriginConfig>, metrics: OriginMetrics, clock: Clock) -> Self {
        Self {
            host: head::Host::new(&config),
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
    /// The caller has removed hop-by-hop fields (and put back `Connection` and `Upgrade` for an
    /// upgrade). `Host` and the framing fields are set here, and of the URI only path and query
    /// count. Of the request's extensions [`OnInterim`] and [`Underway`] are obeyed and the others are
    /// dropped: take [`hyper::upgrade::on`] of the client's request before. That of the response works as usual.
    ///
    /// Each failure is counted once under the fault returned, here or by the [`ResponseBody`].
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, OriginFault> {
        let answer = self.journey(request).await;
        if let Err(fault) = answer {
            self.metrics.errors[fault as usize].inc();
        }
        answer
    }

    /// Queue, connection, head, body.
    async fn journey(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, OriginFault> {
        let turn = self.queue.enter().await?;
        self.metrics.requests.inc();
        let began = self.clock.now();
        let mut total = self.config.total_timeout.map(|limit| Box::pin(sleep(limit)));
        let underway = request.extensions().get::<Underway>().cloned().unwrap_or_default();
        let request = head::prepare(request, &self.host);
        let (upgrade, upload) = (head::asks_upgrade(&request), request.body().upload());
        let (response, link) = within(total.as_mut(), self.exchange(request, &underway)).await?;
        head::judge(&response, upgrade)?;
        self.metrics.latency.observe(self.clock.now().since(began).as_secs_f64());
        Ok(self.respond(response, Lease { link, pool: Arc::clone(&self.pool), upload, turn }, total))
    }

    /// One exchange up to the response head, and a second one where that is allowed.
    async fn exchange(
        &self,
        request: Request<Outgoing>,
        underway: &Underway,
    ) -> Result<(Response<Incoming>, Link), OriginFault> {
        let limit = self.config.first_byte_timeout;
        let mut link = self.pool.link().await?;
        underway.set();
        let spare = retry::spare(&request, &link);
        let lost = match link.send(request, limit).await {
            Ok(response) => return Ok((response, link)),
            Err(lost) => lost,
        };
        drop(link);
        // Boxed, so that the usual exchange carries no second one about.
        Box::pin(self.again(lost, spare)).await
    }

    /// The second attempt, on a fresh connection, where that is allowed.
    async fn again(
        &self,
        lost: Lost,
        spare: Option<Request<Outgoing>>,
    ) -> Result<(Response<Incoming>, Link), OriginFault> {
        let request = retry::after(lost, spare)?;
        self.metrics.retries.inc();
        let mut link = self.pool.fresh().await?;
        let response = link.send(request, self.config.first_byte_timeout).await.map_err(|lost| lost.fault)?;
        Ok((response, link))
    }

    fn respond(
        &self,
        response: Response<Incoming>,
        lease: Lease,
        total: Option<Pin<Box<Sleep>>>,
    ) -> Response<ResponseBody> {
        let lease = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lease.hand_over();
            None
        } else {
            Some(lease)
        };
        let gap = self.config.between_bytes_timeout;
        response.map(|incoming| ResponseBody::new(incoming, lease, gap, total, Arc::clone(&self.metrics)))
    }
}

/// `work`, unless `total` ends first.
async fn within<T>(
    total: Option<&mut Pin<Box<Sleep>>>,
    work: impl Future<Output = Result<T, OriginFault>>,
) -> Result<T, OriginFault> {
    let Some(total) = total else { return work.await };
    tokio::select! {
        biased;
        done = work => done,
        () = total.as_mut() => Err(OriginFault::TotalTimeout),
    }
}
