//! Request bodies that become a part of the key: read whole, or given back as they came.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::config::CachePolicy;
use crate::key::{self, Content};
use crate::policy::graphql;
use crate::reason::Reason;

use super::visit::Visit;

/// How long a body may take to arrive. A client that needs longer is served all the same, past the
/// cache; the listener's own limits apply to it as to any other.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A body that was perhaps read in part: what was read comes first, then the rest.
#[derive(Debug)]
pub(super) struct Replay<B: Body> {
    read: BytesMut,
    /// What came behind it that is no data: trailers.
    other: Option<Frame<Bytes>>,
    /// What ended the reading, if it was a fault.
    fault: Option<B::Error>,
    ended: bool,
    rest: B,
}

impl<B: Body<Data = Bytes> + Unpin> Replay<B> {
    /// A body of which nothing was read.
    pub(super) fn new(rest: B) -> Self {
        Self { read: BytesMut::new(), other: None, fault: None, ended: false, rest }
    }

    /// The whole body, if it is no larger than `most` and arrives in `patience`. In any other case
    /// this body still gives all of itself, from its first byte to its trailers or its fault.
    pub(super) async fn whole(&mut self, most: usize, patience: Duration) -> Option<Bytes> {
        if self.rest.size_hint().lower() > most as u64 {
            return None;
        }
        // What was read by then is kept, since the future that is dropped here owns nothing.
        tokio::time::timeout(patience, self.read_up_to(most)).await.ok()??;
        Some(Bytes::copy_from_slice(&self.read))
    }

    /// Reads to the end; `None` if there are more bytes than that, or something other than bytes.
    async fn read_up_to(&mut self, most: usize) -> Option<()> {
        while let Some(frame) = self.rest.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(fault) => {
                    self.fault = Some(fault);
                    return None;
                }
            };
            match frame.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                // A trailer is part of the request that no key shows.
                Err(other) => {
                    self.other = Some(other);
                    return None;
                }
            }
            if self.read.len() > most {
                return None;
            }
        }
        self.ended = true;
        Some(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Replay<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.read.split().freeze()))));
        }
        if let Some(other) = self.other.take() {
            return Poll::Ready(Some(Ok(other)));
        }
        if let Some(fault) = self.fault.take() {
            self.ended = true;
            return Poll::Ready(Some(Err(fault)));
        }
        if self.ended { Poll::Ready(None) } else { Pin::new(&mut self.rest).poll_frame(cx) }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && self.other.is_none()
            && self.fault.is_none()
            && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.len() as u64;
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

/// Reads the body of `visit` and makes it part of its key, or says why it cannot be; then the body is
/// still there to be passed on.
pub(super) async fn take_in(visit: &mut Visit, policy: &CachePolicy) -> Result<(), Reason> {
    let rule = policy.key.body.as_ref().ok_or(Reason::RequestBody)?;
    let bytes = match &mut visit.body {
        Some(body) => body.whole(rule.max_size, PATIENCE).await.ok_or(Reason::RequestBody)?,
        None => Bytes::new(),
    };
    let headers = &visit.parts.headers;
    if rule.graphql && visit.parts.uri.query().is_some_and(graphql::names_a_document) {
        return Err(Reason::NotAQuery);
    }
    let json = (rule.normalise_json || rule.graphql).then(|| key::json_of(headers, &bytes)).flatten();
    if rule.graphql && !graphql::is_query(json.as_ref()) {
        return Err(Reason::NotAQuery);
    }
    visit.content = Some(Box::new(Content::new(&visit.parts.method, bytes.clone(), json.as_ref(), rule)));
    visit.body = None;
    Ok(())
}

#[cfg(test)]
mod tests;
