//! Byte ranges of a stored or arriving response (RFC 9110 section 14).

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use http::request::Parts;
use http::{Response, StatusCode};

use crate::entry::Fields;
use crate::policy::fields::ByName;
use crate::policy::ranges::{self, ContentRange, RangeRequest};
use crate::policy::validation;

use super::body::Body;
use super::respond::{self, Bulk, Representation, range_not_satisfiable};

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
    if !validation::if_range_holds(&request.headers, shown.fields) {
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
pub(super) fn answer(part: Part, shown: Representation<'_>) -> Response<Body> {
    match part {
        Part::Unsatisfiable(length) => range_not_satisfiable(length),
        Part::One(range, length) => one(&range, length, shown),
        Part::Many(list, length) => many(&list, length, &shown),
    }
}

fn one(range: &Range<u64>, length: u64, shown: Representation<'_>) -> Response<Body> {
    let body = match shown.body {
        Bulk::Stored(entry) => {
            let body = entry.body();
            Body::full(body.share_range(within(body.len(), range)))
        }
        Bulk::Whole(bytes) => Body::full(bytes.slice(within(bytes.len(), range))),
        Bulk::Arriving(reader, _) => Body::shared(reader, range.start, Some(range.end - range.start)),
    };
    let part = ContentRange { range: range.clone(), complete: Some(length) };
    given(&of_a_part(shown.fields), &part, body)
}

/// A `multipart/byteranges` body (RFC 9110 section 14.6).
fn many(list: &[Range<u64>], length: u64, shown: &Representation<'_>) -> Response<Body> {
    let Some(bytes) = shown.body.bytes() else {
        return respond::of(StatusCode::PARTIAL_CONTENT, shown.fields, Body::empty());
    };
    let boundary = format!("millpond-{:016x}", rand::random::<u64>());
    let content_type = shown.fields.first(&CONTENT_TYPE);
    let mut pieces = VecDeque::with_capacity(2 * list.len() + 1);
    for range in list {
        let head = ranges::multipart_part_head(&boundary, content_type, range, length);
        pieces.push_back(Bytes::from(head));
        pieces.push_back(bytes.slice(within(bytes.len(), range)));
    }
    pieces.push_back(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let fields = of_a_part(shown.fields).select(|name| name != CONTENT_TYPE);
    let mut response = respond::of(StatusCode::PARTIAL_CONTENT, &fields, Body::pieces(pieces));
    if let Ok(value) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A part that is there by itself.
pub(super) fn given(fields: &Fields, part: &ContentRange, body: Body) -> Response<Body> {
    let mut response = respond::of(StatusCode::PARTIAL_CONTENT, fields, body);
    response.headers_mut().insert(CONTENT_RANGE, part.to_value());
    response
}

/// The fields of a whole without those that speak of its very bytes, and without the place that it cannot have in
/// itself (RFC 9110 section 14.4).
fn of_a_part(whole: &Fields) -> Fields {
    whole.select(|name| name != CONTENT_RANGE && !validation::is_of_the_content(name))
}

/// A range of a body that has so many bytes; it was checked against them.
fn within(length: usize, range: &Range<u64>) -> Range<usize> {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(length);
    at(range.start)..at(range.end)
}
