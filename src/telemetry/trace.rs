//! Who a request is in the logs: its request id and the trace it belongs to.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

/// The field that carries a request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context: which trace and which caller.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context: vendor data, meaningless without a valid `traceparent`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest id taken over from a client.
const MAX_CLIENT_ID: usize = 128;

/// Ties together the log lines of one request, here and at the origin.
///
/// Made without formatting; only a log line or a header field turns it into text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestId(Source);

/// Where a request id comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Drawn here. Bytes rather than a `u128`, whose alignment would widen every access record.
    Drawn([u8; 16]),
    /// The client's, 1 to 128 visible ASCII characters.
    Client(HeaderValue),
}

impl RequestId {
    /// The client's `X-Request-Id` if there is exactly one and it is 1 to 128 visible ASCII
    /// characters, else a random one of 128 bits.
    pub fn of(headers: &HeaderMap) -> Self {
        match only(headers, &X_REQUEST_ID) {
            Some(value) if is_client_id(value.as_bytes()) => Self(Source::Client(value.clone())),
            _ => Self::random(),
        }
    }

    /// A new one.
    pub fn random() -> Self {
        // As one number: an array would be drawn byte by byte.
        Self(Source::Drawn(rand::random::<u128>().to_ne_bytes()))
    }

    /// Where it comes from, and so how it is told.
    pub(super) const fn source(&self) -> &Source {
        &self.0
    }

    /// Shows the id: visible ASCII.
    pub fn with_text<T>(&self, show: impl FnOnce(&[u8]) -> T) -> T {
        match &self.0 {
            Source::Client(value) => show(value.as_bytes()),
            Source::Drawn(bytes) => show(hex::digits(*bytes).as_flattened()),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(str::from_utf8(text).unwrap_or_default()))
    }
}

fn is_client_id(value: &[u8]) -> bool {
    (1..=MAX_CLIENT_ID).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// The only field of this name; `None` if there are none or several. Requests have few fields, so that each is looked at.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The trace a request belongs to, from a valid W3C `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// Lower-case hex, as it was sent.
    trace_id: [u8; 32],
}

impl TraceContext {
    /// Reads a `traceparent` value (W3C Trace Context level 1, section 3.2): a version of two digits, a trace id of 32, a
    /// parent id of 16 and flags of two, with dashes between them.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&[v0, v1, b'-'], rest) = value.split_first_chunk()? else { return None };
        let (trace_id, rest) = rest.split_first_chunk::<32>()?;
        let (&[b'-'], rest) = rest.split_first_chunk()? else { return None };
        let (parent_id, rest) = rest.split_first_chunk::<16>()?;
        let (&[b'-', f0, f1], more) = rest.split_first_chunk()? else { return None };
        // Section 3.2.2: version ff is invalid, 00 has no more parts, and a later version may
        // only go on after another dash.
        let version = [v0, v1];
        if version == *b"ff" || (version == *b"00" && !more.is_empty()) || !matches!(more.first(), None | Some(b'-')) {
            return None;
        }
        let sound = is_hex(&[v0, v1, f0, f1]) && is_hex(trace_id) && is_hex(parent_id);
        // Section 3.2.2.3 and 3.2.2.4: an id of zeros is invalid.
        (sound && *trace_id != [b'0'; 32] && *parent_id != [b'0'; 16]).then_some(Self { trace_id: *trace_id })
    }

    /// The trace id in lower-case hex: what a log line needs to be found from a trace.
    pub const fn trace_id(&self) -> &[u8] {
        &self.trace_id
    }

    /// That of a request with exactly one valid `traceparent`. With it both fields go on to the origin unchanged;
    /// without it neither does (section 4.3: `tracestate` must not be used when `traceparent` is bad).
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        only(headers, &TRACEPARENT).and_then(|value| Self::parse(value.as_bytes()))
    }
}

/// Whether all of it is lower-case hex; the standard forbids upper case. Looks at every digit without a branch, so that the
/// compiler can take many at a time.
#[allow(clippy::needless_bitwise_bool, reason = "a branch per digit would keep the loop from being vectorised")]
fn is_hex(text: &[u8]) -> bool {
    text.iter().fold(true, |hex, &b| hex & matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(fields: &[(&HeaderName, &[u8])]) -> HeaderMap {
        fields.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn the_clients_request_id_is_kept_when_it_is_short_visible_ascii() {
        for good in ["a", "req-1/2.3", &"x".repeat(128)] {
            let id = RequestId::of(&headers(&[(&X_REQUEST_ID, good.as_bytes())]));
            assert_eq!(id.to_string(), good);
        }
    }

    #[test]
    fn any_other_request_id_is_replaced_by_a_random_one() {
        let long = "x".repeat(129);
        let mut odd: Vec<HeaderMap> = [&b""[..], b"a b", b"a\tb", b"caf\xc3\xa9", b"\xff", long.as_bytes()]
            .iter()
            .map(|value| headers(&[(&X_REQUEST_ID, value)]))
            .collect();
        odd.push(HeaderMap::new());
        let mut twice = headers(&[(&X_REQUEST_ID, b"one")]);
        twice.append(X_REQUEST_ID, HeaderValue::from_static("two"));
        odd.push(twice);
        for headers in odd {
            let (id, other) = (RequestId::of(&headers), RequestId::of(&headers));
            let text = id.to_string();
            assert!(text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_valid_traceparent_names_its_trace() {
        let fields = headers(&[(&TRACEPARENT, VALID.as_bytes()), (&TRACESTATE, b"vendor=1")]);
        let context = TraceContext::of(&fields).expect("valid");
        assert_eq!(context.trace_id(), b"4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_later_version_may_have_more_parts() {
        assert!(TraceContext::parse(format!("cc-{}-more", &VALID[3..]).as_bytes()).is_some());
        assert!(TraceContext::parse(format!("cc-{}", &VALID[3..]).as_bytes()).is_some());
    }

    #[test]
    fn an_invalid_traceparent_names_none() {
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let (upper, short) = (VALID.to_uppercase(), &VALID[..VALID.len() - 1]);
        let (longer, glued) = (format!("{VALID}-more"), format!("cc-{}more", &VALID[3..]));
        let (reserved, moved) = (format!("ff-{}", &VALID[3..]), VALID.replacen("-4bf9", "4-bf9", 1));
        let all = ["", "00", zero_trace, zero_parent, &upper, short, &longer, &glued, &reserved, &moved, "0g-"];
        for bad in all {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
            let fields = headers(&[(&TRACEPARENT, bad.as_bytes()), (&TRACESTATE, b"vendor=1")]);
            assert_eq!(TraceContext::of(&fields), None, "{bad}");
        }
        let mut twice = headers(&[(&TRACEPARENT, VALID.as_bytes())]);
        twice.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceContext::of(&twice), None);
    }
}
