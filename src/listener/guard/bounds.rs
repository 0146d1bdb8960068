//! The bounds that a guard checks.

use crate::config::Limits;

/// The part of [`Limits`] that bounds bytes and fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of a request head, the empty line included.
    pub(super) head_bytes: usize,
    /// Header fields of a request, and trailer fields.
    pub(super) head_fields: usize,
    /// Bytes of a request target.
    pub(super) target_bytes: usize,
    /// Bytes of a request body.
    pub(super) body: Option<u64>,
}

/// The HTTP library can hold no longer target than this.
const MAX_TARGET: usize = u16::MAX as usize - 1;

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            head_bytes: limits.head_bytes,
            head_fields: limits.head_fields,
            target_bytes: limits.target_bytes.min(MAX_TARGET),
            body: limits.request_body,
        }
    }
}
