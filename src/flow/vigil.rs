//! Unsafe requests whose clients do not stay for the answer.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Handle;

use crate::origin::{Outgoing, Reply, Underway};
use crate::policy::invalidation;
use crate::reason::OriginFault;

use super::Proxy;
use super::site::Route;
use super::written::Written;

type Answered = Result<Reply, OriginFault>;

/// An unsafe request on its way. What it changes at the origin is invalidated whoever hears of the
/// success (RFC 9111 section 4.4): if the client leaves first, its answer is waited for all the same,
/// for as long as the origin's time-outs allow.
pub(super) struct Vigil<'a> {
    proxy: &'a Arc<Proxy>,
    written: &'a Written,
    underway: Underway,
    exchange: Option<BoxFuture<'static, Answered>>,
}

impl<'a> Vigil<'a> {
    pub(super) fn new(proxy: &'a Arc<Proxy>, written: &'a Written, route: &Arc<Route>, mut request: Outgoing) -> Self {
        let (underway, route) = (Underway::default(), Arc::clone(route));
        request.underway = Some(underway.clone());
        let exchange = async move { route.origin.send(request).await }.boxed();
        Self { proxy, written, underway, exchange: Some(exchange) }
    }

    /// The origin's answer, for a client that stays.
    pub(super) async fn answer(mut self) -> Answered {
        let Some(exchange) = &mut self.exchange else { return Err(OriginFault::Abandoned) };
        let answered = poll_fn(|cx| exchange.poll_unpin(cx)).await;
        self.exchange = None;
        answered
    }
}

impl Drop for Vigil<'_> {
    fn drop(&mut self) {
        let Some(exchange) = self.exchange.take().filter(|_| self.underway.is_set()) else { return };
        let deserted = Deserted { proxy: Arc::clone(self.proxy), written: Some(self.written.clone()) };
        // Without a runtime, or with one that is ending, it is dropped at once.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(deserted.await_answer(exchange));
        }
    }
}

/// An unsafe request without a client. If this instance ends before the answer is there, nobody will ever
/// know it, so that the target counts as changed.
struct Deserted {
    proxy: Arc<Proxy>,
    written: Option<Written>,
}

impl Deserted {
    async fn await_answer(mut self, exchange: BoxFuture<'static, Answered>) {
        let answered = exchange.await;
        let (Some(written), Ok(reply)) = (self.written.take(), answered) else { return };
        if invalidation::invalidates(reply.status) {
            self.proxy.invalidate_after(&written, &reply.headers(), None).await;
        }
    }
}

impl Drop for Deserted {
    fn drop(&mut self) {
        if let Some(written) = &self.written {
            self.proxy.owe(written);
        }
    }
}
