//! What an origin answers, as others see it.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRAILER};
use http::{Response, StatusCode};

use super::body::ResponseBody;
use crate::wire::Lines;

/// An answer whose head has arrived.
///
/// Its fields are lines, as most are written to a client as they were read: a map would be filled, searched, written line
/// by line and dropped. Whoever has to judge them has [a map](Self::headers).
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end fields, but for those that frame it and those [apart](Self::apart). There is a `Date` among them
    /// (RFC 9110 section 6.6.1).
    pub fields: Lines,
    /// `Trailer`, and `Upgrade` of a 101: whoever frames the message for a client acts upon them.
    pub apart: Option<Box<HeaderMap>>,
    /// `Content-Length`, in bytes. For HEAD and 304 this is not the length of the body.
    pub length: Option<u64>,
    /// The body.
    pub body: ResponseBody,
}

impl Reply {
    /// All end-to-end fields, `Content-Length` included.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = self.fields.to_map();
        for (name, value) in self.apart.iter().flat_map(|apart| apart.iter()) {
            headers.append(name, value.clone());
        }
        if let Some(length) = self.length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        headers
    }

    /// The same with a map of fields.
    pub fn into_response(self) -> Response<ResponseBody> {
        let headers = self.headers();
        let mut response = Response::new(self.body);
        (*response.status_mut(), *response.headers_mut()) = (self.status, headers);
        response
    }
}

impl From<Response<ResponseBody>> for Reply {
    fn from(response: Response<ResponseBody>) -> Self {
        let (mut parts, body) = response.into_parts();
        let digits = |value: HeaderValue| value.to_str().ok()?.parse().ok();
        let length = parts.headers.remove(CONTENT_LENGTH).and_then(digits);
        let trailers: HeaderMap = parts.headers.get_all(TRAILER).iter().map(|names| (TRAILER, names.clone())).collect();
        parts.headers.remove(TRAILER);
        let apart = (!trailers.is_empty()).then(|| Box::new(trailers));
        Self { status: parts.status, fields: Lines::from_map(&parts.headers), apart, length, body }
    }
}
