//! What came back.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sfv::{BareItem, ListEntry, Parser};
use tokio::time::Instant;

/// A response whose body was read to its end, or to where it broke off.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The fields.
    pub(crate) headers: HeaderMap,
    /// The body, or what had arrived when it broke off.
    pub(crate) body: Result<Bytes, Aborted>,
    /// The trailers, if there were any.
    pub(crate) trailers: HeaderMap,
    /// From the request to the head.
    pub(crate) first_byte: Duration,
    /// From the request to the end of the body.
    pub(crate) last_byte: Duration,
}

/// A body that broke off.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Aborted {
    /// What had arrived.
    pub(crate) arrived: Bytes,
}

impl fmt::Debug for Aborted {
    /// Without the bytes, of which there may be megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aborted after {} bytes", self.arrived.len())
    }
}

/// No response head came back.
#[derive(Clone, Debug)]
pub(crate) struct NoAnswer(String);

impl NoAnswer {
    pub(super) fn because(what: &str, error: &dyn Error) -> Self {
        let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
        Self(format!("{what}: {error}{cause}"))
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The member of `Cache-Status` (RFC 9211) that the nearest cache added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    /// The name of the cache.
    pub(crate) cache: String,
    /// Answered from the cache.
    pub(crate) hit: bool,
    /// Why it went to the origin.
    pub(crate) fwd: Option<String>,
    /// What the origin answered.
    pub(crate) fwd_status: Option<i64>,
    /// Seconds of freshness left; negative when stale.
    pub(crate) ttl: Option<i64>,
    /// Whether the response was stored.
    pub(crate) stored: bool,
    /// Whether it shared another request's fetch.
    pub(crate) collapsed: bool,
    /// The cache's own word for it.
    pub(crate) detail: Option<String>,
}

impl Answer {
    /// Reads the body of `response`; times count from `start`.
    pub(super) async fn read(response: Response<Incoming>, start: Instant) -> Self {
        let first_byte = start.elapsed();
        let (head, mut incoming) = response.into_parts();
        let (mut arrived, mut trailers, mut broke) = (BytesMut::new(), HeaderMap::new(), false);
        while let Some(frame) = incoming.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => arrived.extend_from_slice(&data),
                Ok(Err(other)) => trailers = other.into_trailers().unwrap_or_default(),
                Err(_) => broke = true,
            }
        }
        let arrived = arrived.freeze();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: if broke { Err(Aborted { arrived }) } else { Ok(arrived) },
            trailers,
            first_byte,
            last_byte: start.elapsed(),
        }
    }

    /// The whole body as text.
    ///
    /// # Panics
    ///
    /// When it broke off.
    pub(crate) fn text(&self) -> &str {
        let body = self.body.as_ref().unwrap_or_else(|aborted| panic!("the body broke off: {aborted:?}"));
        std::str::from_utf8(body).unwrap()
    }

    /// The values of a field, joined by `, `.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The `Age` field in seconds.
    pub(crate) fn age(&self) -> Option<u64> {
        self.header("age").map(|text| text.parse().unwrap_or_else(|_| panic!("Age is a whole number, not {text}")))
    }

    /// What the nearest cache says about this answer: the last member of `Cache-Status`.
    pub(crate) fn cache_status(&self) -> CacheStatus {
        let text = self.header("cache-status").expect("the answer has a Cache-Status field");
        let list: sfv::List = Parser::new(&text).parse().unwrap_or_else(|error| panic!("Cache-Status {text}: {error}"));
        let Some(ListEntry::Item(member)) = list.last() else { panic!("Cache-Status has a member: {text}") };
        let word = |item: &BareItem| match item {
            BareItem::Token(token) => token.as_str().to_owned(),
            BareItem::String(string) => string.as_str().to_owned(),
            other => panic!("a token or string in Cache-Status, not {other:?}: {text}"),
        };
        let flag = |name: &str| member.params.get(name).is_some_and(|item| *item == BareItem::Boolean(true));
        let number = |name: &str| member.params.get(name).map(|item| item.as_integer().expect("a number").into());
        CacheStatus {
            cache: word(&member.bare_item),
            hit: flag("hit"),
            fwd: member.params.get("fwd").map(word),
            fwd_status: number("fwd-status"),
            ttl: number("ttl"),
            stored: flag("stored"),
            collapsed: flag("collapsed"),
            detail: member.params.get("detail").map(word),
        }
    }
}
