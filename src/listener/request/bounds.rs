//! The bounds that a request is held to.

use crate::config::Limits;
use crate::wire::chunked;

/// The part of [`Limits`] that bounds bytes and fields.
#[derive(Clone, Copy, Debug)]
pub(in crate::listener) struct Bounds {
    /// Bytes of a request head, the empty line included.
    pub(in crate::listener) head_bytes: usize,
    /// Header fields of a request, and trailer fields.
    pub(in crate::listener) head_fields: usize,
    /// Bytes of a request target.
    pub(in crate::listener) target_bytes: usize,
    /// Bytes of a request body.
    pub(in crate::listener) body: Option<u64>,
    /// What a chunked body is held to.
    pub(in crate::listener) chunked: chunked::Bounds,
}

/// The `http` crate can hold no longer target than this.
const MAX_TARGET: usize = u16::MAX as usize - 1;

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            head_bytes: limits.head_bytes,
            head_fields: limits.head_fields,
            target_bytes: limits.target_bytes.min(MAX_TARGET),
            body: limits.request_body,
            chunked: chunked::Bounds {
                body: limits.request_body,
                trailer_bytes: limits.head_bytes,
                trailer_fields: limits.head_fields,
                padded: false,
            },
        }
    }
}
