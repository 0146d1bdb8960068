//! Chunks as they are written, and the trailers behind the last of them.

use bytes::{BufMut, Bytes};
use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};

use super::field;

/// The names in all `Trailer` fields of a head.
pub(crate) fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.get_all(TRAILER).iter().flat_map(listed).collect()
}

/// The names in a `Trailer` field. Fields that decide how the message is read may not stand in trailers (RFC 9110
/// section 6.5.1).
pub(crate) fn listed(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    const NEVER: [HeaderName; 12] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
    ];
    let names = field::list(value.as_bytes()).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.filter(|name| !NEVER.contains(name))
}

/// What stands before the data of a chunk.
pub(crate) fn chunk_size(length: usize) -> Bytes {
    Bytes::from(format!("{length:X}\r\n"))
}

/// The end of a chunked body, with those trailers that were announced.
pub(crate) fn last_chunk(named: &[HeaderName], trailers: Option<&HeaderMap>) -> Bytes {
    let mut out = b"0\r\n".to_vec();
    for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| named.contains(name)) {
        field::write(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.into()
}
