//! Byte ranges of a stored or arriving response (RFC 9110 section 14).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use http::request::Parts;
use http::{Response, StatusCode};

use crate::policy::ranges::{self, ContentRange, RangeRequest};
use crate::policy::validation;

use super::body::Body;
use super::respond::{Bulk, Representation, range_not_satisfiable};

/// What a client asked for, where it is not the whole.
pub(super) enum Part {
    Unsatisfiable(u64),
    One(Range<u64>, u64),
    Many(Vec<Range<u64>>, u64),
}

/// The part that the request asks for; `None` means the whole.
pub(super) fn requested(request: &Parts, shown: &Representation<'_>) -> Option<Part> {
    if shown.status != StatusCode::OK || !request.headers.contains_key(RANGE) {
        return None;
    }
    if !validation::if_range_holds(&request.headers, shown.headers) {
        return None;
    }
    let length = shown.body.length()?;
    match ranges::ranges(&request.headers, length) {
        RangeRequest::None => None,
        RangeRequest::Unsatisfiable => Some(Part::Unsatisfiable(length)),
        RangeRequest::One(range) => Some(Part::One(range, length)),
        // Several parts of a body that is still arriving would have to be kept until all are in.
        RangeRequest::Many(_) if matches!(shown.body, Bulk::Arriving(..)) => None,
        RangeRequest::Many(list) => Some(Part::Many(list, length)),
    }
}

/// Answers with a part of the representation.
pub(super) fn respond(part: Part, shown: Representation<'_>) -> Response<Body> {
    match part {
        Part::Unsatisfiable(length) => range_not_satisfiable(length),
        Part::One(range, length) => one(&range, length, shown),
        Part::Many(list, length) => many(&list, length, shown),
    }
}

fn one(range: &Range<u64>, length: u64, shown: Representation<'_>) -> Response<Body> {
    let body = match shown.body {
        Bulk::Whole(bytes) => Body::full(cut(&bytes, range)),
        Bulk::Arriving(reader, _) => Body::shared(reader, range.start, Some(range.end - range.start)),
    };
    let mut response = given(shown.headers, &ContentRange { range: range.clone(), complete: Some(length) }, body);
    validation::forget_content(response.headers_mut());
    response
}

/// A `multipart/byteranges` body (RFC 9110 section 14.6).
fn many(list: &[Range<u64>], length: u64, shown: Representation<'_>) -> Response<Body> {
    let Bulk::Whole(bytes) = shown.body else { return partial(shown.headers, Body::empty()) };
    let boundary = format!("millpond-{:016x}", rand::random::<u64>());
    let content_type = shown.headers.get(CONTENT_TYPE);
    let mut pieces = VecDeque::with_capacity(2 * list.len() + 1);
    for range in list {
        let head = ranges::multipart_part_head(&boundary, content_type, range, length);
        pieces.push_back(Bytes::from(head));
        pieces.push_back(cut(&bytes, range));
    }
    pieces.push_back(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let mut response = partial(shown.headers, Body::pieces(pieces));
    validation::forget_content(response.headers_mut());
    if let Ok(value) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A part that is there by itself.
pub(super) fn given(headers: &HeaderMap, part: &ContentRange, body: Body) -> Response<Body> {
    let mut response = partial(headers, body);
    response.headers_mut().insert(CONTENT_RANGE, part.to_value());
    response
}

fn partial(stored: &HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = stored.clone();
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// A slice of a body; the bounds were checked against its length.
fn cut(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}
