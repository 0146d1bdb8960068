//! What the origin answers, as a test writes it down.

use std::time::Duration;

use bytes::Bytes;

use super::wire::Received;

/// A whole response. Field names and values go out as written.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) delay: Duration,
    pub(super) close: bool,
    validates: bool,
}

/// How the body is framed.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// With Content-Length.
    Whole(Bytes),
    /// Chunked, with trailers.
    Chunks(Vec<Bytes>, Vec<(String, String)>),
    /// By the end of the connection.
    UntilClose(Bytes),
}

impl Reply {
    /// A 200 with an empty body.
    pub(crate) const fn ok() -> Self {
        Self {
            status: 200,
            fields: Vec::new(),
            body: Body::Whole(Bytes::new()),
            delay: Duration::ZERO,
            close: false,
            validates: false,
        }
    }

    pub(super) fn unscripted(target: &str) -> Self {
        Self::ok().status(404).body(format!("the test has no script for {target}"))
    }

    /// Sets the status.
    pub(crate) const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a field.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, framed by Content-Length.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Whole(body.into());
        self
    }

    /// Sets the body, framed by chunks.
    pub(crate) fn chunks(mut self, chunks: &[&str]) -> Self {
        let chunks = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk.as_bytes())).collect();
        self.body = Body::Chunks(chunks, Vec::new());
        self
    }

    /// Adds a trailer to a chunked body.
    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        match &mut self.body {
            Body::Chunks(_, trailers) => trailers.push((name.to_owned(), value.to_owned())),
            other => panic!("only a chunked body has trailers, not {other:?}"),
        }
        self
    }

    /// Sets the body, ended by closing the connection (RFC 9112 section 6.3, rule 8).
    pub(crate) fn body_until_close(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::UntilClose(body.into());
        self.close = true;
        self
    }

    /// Waits before it answers, where a real delay is the point of the test.
    pub(crate) const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends `Connection: close` and closes the connection afterwards.
    pub(crate) fn close(mut self) -> Self {
        self.close = true;
        self.header("Connection", "close")
    }

    /// Answers a request whose `If-None-Match` names this reply's ETag, or whose
    /// `If-Modified-Since` equals its `Last-Modified`, with 304 and the same fields.
    pub(crate) const fn validates(mut self) -> Self {
        self.validates = true;
        self
    }

    /// The reply to `request`: itself, or its 304.
    pub(super) fn to(mut self, request: &Received) -> Self {
        let field = |name: &str| self.fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let same = |asked: &str, own: &str| {
            field(own).is_some_and(|(_, value)| request.header(asked).is_some_and(|list| list.contains(value.as_str())))
        };
        if self.validates && (same("if-none-match", "etag") || same("if-modified-since", "last-modified")) {
            self.status = 304;
            self.body = Body::Whole(Bytes::new());
        }
        self
    }
}
