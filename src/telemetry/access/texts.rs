//! The texts of an access record while it waits to be written: one behind the other, without the request they come from.

use http::{HeaderValue, Method, Uri};

use crate::hex;
use crate::telemetry::escape::{cut, quoted};
use crate::telemetry::trace::{RequestId, Source};

/// Bytes of a target; of what is longer, the line tells the length.
pub(super) const MAX_TARGET: usize = 2048;
/// Bytes of a host, a route or an id.
const MAX_TEXT: usize = 256;
/// Bytes of a method, which has no quotes around it that a mark could stand in.
const MAX_METHOD: usize = 32;

/// Bytes that are enough for all of them, nearly always.
const USUAL_TEXT: usize = 192;

/// What a line says in the words of others.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The request's method; `None` if it was refused unread.
    pub method: Option<&'a Method>,
    /// Its `Host` field.
    pub host: Option<&'a HeaderValue>,
    /// Its target; path and query are logged. `None` if the request was refused unread.
    pub uri: Option<&'a Uri>,
    /// The route's name; `None` if none matched.
    pub route: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a RequestId,
}

/// How to find each of them again: by how much is kept of it, in the order in which they stand. An id that was drawn has no
/// text before it is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    each: [Option<u32>; 5],
    drawn: Option<[u8; 16]>,
}

/// The texts as they are found again.
pub(super) struct Shown<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) route: Option<&'a [u8]>,
    /// The request's id, if it is the client's.
    client: Option<&'a [u8]>,
    /// The same, if it was drawn here.
    drawn: Option<[u8; 16]>,
}

impl Texts<'_> {
    /// A copy of what the line will say of them, one behind the other.
    pub(super) fn copy(&self) -> (Lengths, Vec<u8>) {
        let (client, drawn) = match self.request_id.source() {
            Source::Client(value) => (Some(value.as_bytes()), None),
            Source::Drawn(bytes) => (None, Some(*bytes)),
        };
        let method = self.method.map(|method| method.as_str().as_bytes());
        let all = [
            (method.map(|method| &method[..method.len().min(MAX_METHOD)]), MAX_METHOD),
            (self.host.map(HeaderValue::as_bytes), MAX_TEXT),
            (self.uri.map(|uri| target(uri).as_bytes()), MAX_TARGET),
            (self.route.map(str::as_bytes), MAX_TEXT),
            (client, MAX_TEXT),
        ];
        let mut text = Vec::with_capacity(USUAL_TEXT);
        let each = all.map(|(value, limit)| {
            let from = text.len();
            cut(&mut text, value?, limit);
            u32::try_from(text.len() - from).ok()
        });
        (Lengths { each, drawn }, text)
    }
}

impl Lengths {
    /// Finds them again.
    pub(super) fn find(self, mut text: &[u8]) -> Shown<'_> {
        let [method, host, target, route, client] = self.each.map(|length| text.split_off(..length? as usize));
        Shown { method, host, target, route, client, drawn: self.drawn }
    }
}

impl Shown<'_> {
    /// Appends the request's id in quotes.
    pub(super) fn request_id(&self, out: &mut Vec<u8>) {
        match self.drawn {
            Some(bytes) => {
                out.push(b'"');
                out.extend_from_slice(hex::digits(bytes).as_flattened());
                out.push(b'"');
            }
            None => quoted(out, self.client.unwrap_or_default()),
        }
    }
}

/// Path and query, or the host of a CONNECT. Never the user information of an absolute target,
/// which may be a password (trap F25).
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or_else(|| uri.host().unwrap_or_default(), |path| path.as_str())
}
