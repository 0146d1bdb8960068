//! One exchange on one connection, up to the response head: the request is written and the answer read in one
//! task, so that an origin may answer before it has read all, and one that does not read holds nobody up.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::head::{Head, HeadReader};
use super::interim::OnInterim;
use super::link::Link;
use super::upload::Upload;
use crate::reason::OriginFault;

/// No time-out is longer, so that adding one to an instant cannot overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// When `limit` will have passed.
pub(super) fn after(limit: Duration) -> Instant {
    behind(Instant::now(), limit)
}

/// The same, counted from `moment`.
pub(super) fn behind(moment: Instant, limit: Duration) -> Instant {
    moment + limit.min(LONGEST)
}

/// A request that got no response head.
pub(super) struct Lost {
    /// Why.
    pub(super) fault: OriginFault,
    /// Whether a reused connection proved dead: not one byte came back. A server may close an idle connection at
    /// the very moment a request is written to it (RFC 9112 section 9.3.1).
    pub(super) stale: bool,
}

/// How long an exchange may wait for its head.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// When it begins.
    pub(super) began: Instant,
    /// After the last movement of the request.
    pub(super) first_byte: Duration,
    /// For the exchange as a whole.
    pub(super) total: Option<Instant>,
}

/// One exchange.
pub(super) struct Exchange<'a> {
    link: &'a mut Link,
    upload: &'a mut Upload,
    interim: Option<&'a OnInterim>,
    patience: Patience,
    deadline: Option<Instant>,
    reader: HeadReader,
    heard: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        link: &'a mut Link,
        upload: &'a mut Upload,
        interim: Option<&'a OnInterim>,
        patience: Patience,
    ) -> Self {
        Self { link, upload, interim, patience, deadline: None, reader: HeadReader::default(), heard: false }
    }

    /// Sends the request and waits for the head of its answer.
    pub(super) async fn head(mut self) -> Result<Head, Lost> {
        let head = poll_fn(|cx| self.poll(cx)).await;
        head.map_err(|fault| Lost { fault, stale: fault == OriginFault::Reset && self.link.is_reused() && !self.heard })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, OriginFault>> {
        if let Poll::Ready(Err(fault)) = self.upload.poll(cx, self.link) {
            // What the origin has said by now is its answer all the same: it may have done what it was asked to.
            return match self.poll_answer(cx) {
                Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
                _ => Poll::Ready(Err(fault)),
            };
        }
        if self.upload.is_unheard() {
            return Poll::Ready(Err(OriginFault::Reset));
        }
        if let Poll::Ready(head) = self.poll_answer(cx) {
            return Poll::Ready(head);
        }
        let deadline = self.deadline();
        let total = self.patience.total.filter(|total| *total < deadline);
        ready!(self.link.poll_overdue(cx, total.unwrap_or(deadline)));
        Poll::Ready(Err(match total {
            Some(_) => OriginFault::TotalTimeout,
            // The origin cannot answer what the client does not send.
            None if self.upload.is_starved() => OriginFault::RequestBody,
            None => OriginFault::FirstByteTimeout,
        }))
    }

    /// When the head must have come at the latest.
    fn deadline(&mut self) -> Instant {
        let limit = self.patience.first_byte;
        let moved = self.upload.has_moved();
        let deadline = match self.deadline {
            // A moment ago.
            None => behind(self.patience.began, limit),
            Some(_) if moved => after(limit),
            Some(deadline) => deadline,
        };
        *self.deadline.insert(deadline)
    }

    /// Reads heads until one is the answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, OriginFault>> {
        loop {
            while let Some(head) = self.reader.take(self.link.kept())? {
                if !head.is_interim() {
                    return Poll::Ready(Ok(head));
                }
                if let Some(interim) = self.interim {
                    interim.tell(&head);
                }
            }
            ready!(self.link.poll_fill(cx)).map_err(|_| OriginFault::Reset)?;
            self.heard = true;
        }
    }
}
