//! The texts of an access record while it waits to be written: one behind the other, without the request they come from.

use http::{HeaderValue, Uri};

use super::AccessRecord;
use crate::hex;
use crate::telemetry::escape::quoted;
use crate::telemetry::trace::Source;

/// Where in the text beside it each of them is: how long it is, in the order of the fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    method: Option<u32>,
    host: Option<u32>,
    target: Option<u32>,
    route: Option<u32>,
    request_id: Id<u32>,
}

/// A request id in a form that costs nothing to copy.
#[derive(Clone, Copy, Debug)]
enum Id<T> {
    Drawn([u8; 16]),
    Client(Option<T>),
}

/// The texts themselves.
pub(super) struct Shown<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) route: Option<&'a [u8]>,
    request_id: Id<&'a [u8]>,
}

impl Texts {
    /// Appends those of a record.
    pub(super) fn append(record: &AccessRecord, text: &mut Vec<u8>) -> Self {
        let mut append = |value: Option<&[u8]>| {
            let length = u32::try_from(value?.len()).ok()?;
            text.extend_from_slice(value?);
            Some(length)
        };
        Self {
            method: append(record.method.as_ref().map(|method| method.as_str().as_bytes())),
            host: append(record.host.as_ref().map(HeaderValue::as_bytes)),
            target: append(record.uri.as_ref().map(|uri| target(uri).as_bytes())),
            route: append(record.route.as_deref().map(str::as_bytes)),
            request_id: match record.request_id.source() {
                Source::Drawn(bytes) => Id::Drawn(*bytes),
                Source::Client(value) => Id::Client(append(Some(value.as_bytes()))),
            },
        }
    }

    /// Finds them again.
    pub(super) fn of(self, mut text: &[u8]) -> Shown<'_> {
        let mut next = |length: Option<u32>| text.split_off(..length? as usize);
        Shown {
            method: next(self.method),
            host: next(self.host),
            target: next(self.target),
            route: next(self.route),
            request_id: match self.request_id {
                Id::Drawn(bytes) => Id::Drawn(bytes),
                Id::Client(length) => Id::Client(next(length)),
            },
        }
    }
}

impl Shown<'_> {
    /// Appends the request's id in quotes.
    pub(super) fn request_id(&self, limit: usize, out: &mut Vec<u8>) {
        match &self.request_id {
            Id::Drawn(bytes) => {
                out.push(b'"');
                out.extend_from_slice(hex::digits(*bytes).as_flattened());
                out.push(b'"');
            }
            Id::Client(id) => quoted(out, id.unwrap_or_default(), limit),
        }
    }
}

/// Path and query, or the host of a CONNECT. Never the user information of an absolute target,
/// which may be a password (trap F25).
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or_else(|| uri.host().unwrap_or_default(), |path| path.as_str())
}
