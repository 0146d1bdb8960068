//! An access record as a line. Trap F19: one record is one line, whatever its fields hold.

use std::fmt::Display;
use std::time::SystemTime;

use http::Uri;

use super::AccessRecord;
use crate::config::LogFormat;
use crate::telemetry::escape::{quoted, write_to};

/// Bytes of a target; more are cut.
const MAX_TARGET: usize = 2048;
/// Bytes of any other text.
const MAX_TEXT: usize = 256;
/// Bytes of a method.
const MAX_METHOD: usize = 32;

/// Appends the line of `record`, with its end.
pub(super) fn line(form: LogFormat, record: &AccessRecord, out: &mut Vec<u8>) {
    match form {
        LogFormat::Json => json(record, out),
        LogFormat::Text => text(record, out),
    }
    out.push(b'\n');
}

/// One flat object. Absent values are left out; names and units are part of the interface.
fn json(r: &AccessRecord, out: &mut Vec<u8>) {
    write_to(out, format_args!("{{\"time\":\"{}\",\"peer\":\"{}\"", timestamp(r.time), r.peer));
    if let Some(method) = &r.method {
        out.extend_from_slice(b",\"method\":");
        quoted(out, method.as_str().as_bytes(), MAX_METHOD);
    }
    if let Some(host) = &r.host {
        out.extend_from_slice(b",\"host\":");
        quoted(out, host.as_bytes(), MAX_TEXT);
    }
    if let Some(uri) = &r.uri {
        out.extend_from_slice(b",\"target\":");
        target(uri, out);
    }
    write_to(out, format_args!(",\"status\":{},\"outcome\":\"{}\"", r.status, r.outcome));
    let mut optional = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            write_to(out, format_args!(",\"{name}\":\"{value}\""));
        }
    };
    optional("reason", display(r.reason.as_ref()));
    optional("refusal", display(r.refusal.as_ref()));
    optional("origin_fault", display(r.origin_fault.as_ref()));
    optional("trace_id", display(r.trace.as_ref()));
    if let Some(route) = &r.route {
        out.extend_from_slice(b",\"route\":");
        quoted(out, route.as_bytes(), MAX_TEXT);
    }
    if let Some(age) = r.age {
        write_to(out, format_args!(",\"age_seconds\":{age}"));
    }
    let seconds = r.duration.as_secs_f64();
    write_to(out, format_args!(",\"body_bytes\":{},\"duration_seconds\":{seconds:.6},\"request_id\":", r.body_bytes));
    quoted(out, r.request_id.to_string().as_bytes(), MAX_TEXT);
    out.push(b'}');
}

/// Six fixed columns, then `name=value` pairs in a fixed order. Values from outside are quoted.
fn text(r: &AccessRecord, out: &mut Vec<u8>) {
    let method = r.method.as_ref().map_or("-", |method| cut_method(method.as_str()));
    write_to(out, format_args!("{} {} {method} ", timestamp(r.time), r.peer));
    match &r.uri {
        Some(uri) => target(uri, out),
        None => out.push(b'-'),
    }
    write_to(out, format_args!(" {} {}", r.status, r.outcome));
    let mut optional = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            write_to(out, format_args!(" {name}={value}"));
        }
    };
    optional("reason", display(r.reason.as_ref()));
    optional("refusal", display(r.refusal.as_ref()));
    optional("origin_fault", display(r.origin_fault.as_ref()));
    optional("trace_id", display(r.trace.as_ref()));
    optional("age_seconds", display(r.age.as_ref()));
    let seconds = r.duration.as_secs_f64();
    write_to(out, format_args!(" body_bytes={} duration_seconds={seconds:.6}", r.body_bytes));
    let id = r.request_id.to_string();
    let host = r.host.as_ref().map(http::HeaderValue::as_bytes);
    let quotable =
        [("route", r.route.as_deref().map(str::as_bytes)), ("host", host), ("request_id", Some(id.as_bytes()))];
    for (name, value) in quotable.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        write_to(out, format_args!(" {name}="));
        quoted(out, value, MAX_TEXT);
    }
}

fn display<T: Display>(value: Option<&T>) -> Option<&dyn Display> {
    value.map(|value| value as &dyn Display)
}

/// Path and query, or the host of a CONNECT. Never the user information of an absolute target,
/// which may be a password (trap F25).
fn target(uri: &Uri, out: &mut Vec<u8>) {
    let shown = uri.path_and_query().map_or_else(|| uri.host().unwrap_or_default(), |path| path.as_str());
    quoted(out, shown.as_bytes(), MAX_TARGET);
}

/// Methods are tokens (RFC 9110 section 9.1), hence plain ASCII that needs no quotes.
fn cut_method(method: &str) -> &str {
    method.get(..MAX_METHOD).unwrap_or(method)
}

/// RFC 3339 with milliseconds. A wall clock set before 1970 or after 9999 shows as 1970: the
/// formatter panics on the one and fails on the other.
fn timestamp(time: SystemTime) -> humantime::Rfc3339Timestamp {
    const YEAR_10000: u64 = 253_402_300_800;
    let known = time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < YEAR_10000);
    humantime::format_rfc3339_millis(if known { time } else { SystemTime::UNIX_EPOCH })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::reason::{OriginFault, Outcome, Reason};
    use crate::telemetry::trace::{RequestId, TraceContext, X_REQUEST_ID};
    use http::{HeaderMap, HeaderValue, Method};
    use proptest::prelude::*;
    use std::time::Duration;

    fn id(value: &'static str) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static(value))]))
    }

    /// A plain hit.
    pub(in crate::telemetry::access) fn record() -> AccessRecord {
        AccessRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123),
            peer: "203.0.113.9".parse().unwrap(),
            method: Some(Method::GET),
            host: Some(HeaderValue::from_static("api.test")),
            uri: Some(Uri::from_static("/users/42?full=1")),
            status: 200,
            outcome: Outcome::Hit,
            reason: None,
            refusal: None,
            origin_fault: None,
            route: Some("api".into()),
            body_bytes: 512,
            duration: Duration::from_micros(1234),
            request_id: id("abc"),
            trace: None,
            age: Some(7),
        }
    }

    fn full() -> AccessRecord {
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        AccessRecord {
            status: 504,
            outcome: Outcome::Failed,
            reason: Some(Reason::HitForMiss),
            origin_fault: Some(OriginFault::FirstByteTimeout),
            trace: TraceContext::parse(parent),
            age: None,
            ..record()
        }
    }

    fn shown(form: LogFormat, record: &AccessRecord) -> String {
        let mut out = Vec::new();
        line(form, record, &mut out);
        String::from_utf8(out).expect("lines are UTF-8")
    }

    #[test]
    fn the_text_form_is_stable() {
        assert_eq!(
            shown(LogFormat::Text, &record()),
            "2026-09-21T14:13:20.123Z 203.0.113.9 GET \"/users/42?full=1\" 200 hit age_seconds=7 body_bytes=512 \
             duration_seconds=0.001234 route=\"api\" host=\"api.test\" request_id=\"abc\"\n"
        );
        assert_eq!(
            shown(LogFormat::Text, &full()),
            "2026-09-21T14:13:20.123Z 203.0.113.9 GET \"/users/42?full=1\" 504 failed reason=hit-for-miss \
             origin_fault=first-byte-timeout trace_id=4bf92f3577b34da6a3ce929d0e0e4736 body_bytes=512 \
             duration_seconds=0.001234 route=\"api\" host=\"api.test\" request_id=\"abc\"\n"
        );
    }

    #[test]
    fn the_json_form_is_stable() {
        assert_eq!(
            shown(LogFormat::Json, &record()),
            "{\"time\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"203.0.113.9\",\"method\":\"GET\",\
             \"host\":\"api.test\",\"target\":\"/users/42?full=1\",\"status\":200,\"outcome\":\"hit\",\
             \"route\":\"api\",\"age_seconds\":7,\"body_bytes\":512,\"duration_seconds\":0.001234,\
             \"request_id\":\"abc\"}\n"
        );
        let value: serde_json::Value = serde_json::from_str(&shown(LogFormat::Json, &full())).unwrap();
        assert_eq!(value["origin_fault"], "first-byte-timeout");
        assert_eq!(value["reason"], "hit-for-miss");
        assert_eq!(value["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(value.get("age_seconds").is_none());
    }

    #[test]
    fn a_request_refused_unread_has_no_method_and_no_target() {
        let refused = AccessRecord {
            method: None,
            uri: None,
            host: None,
            status: 400,
            outcome: Outcome::Rejected,
            refusal: Some("host-repeated"),
            route: None,
            age: None,
            ..record()
        };
        assert_eq!(
            shown(LogFormat::Text, &refused),
            "2026-09-21T14:13:20.123Z 203.0.113.9 - - 400 rejected refusal=host-repeated body_bytes=512 \
             duration_seconds=0.001234 request_id=\"abc\"\n"
        );
        let value: serde_json::Value = serde_json::from_str(&shown(LogFormat::Json, &refused)).unwrap();
        assert_eq!(value["refusal"], "host-repeated");
        assert!(value.get("method").is_none() && value.get("target").is_none());
    }

    #[test]
    fn f25_user_information_of_an_absolute_target_is_not_logged() {
        for (target, logged) in [("http://joe:secret@h/a?b", "\"/a?b\""), ("joe:secret@h:443", "\"h\"")] {
            let record = AccessRecord { uri: target.parse().ok(), ..record() };
            for form in [LogFormat::Json, LogFormat::Text] {
                let line = shown(form, &record);
                assert!(!line.contains("secret") && line.contains(logged), "{line}");
            }
        }
    }

    #[test]
    fn c3_a_wall_clock_out_of_range_neither_panics_nor_loses_the_line() {
        for time in
            [SystemTime::UNIX_EPOCH - Duration::from_secs(1), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)]
        {
            let line = shown(LogFormat::Text, &AccessRecord { time, ..record() });
            assert!(line.starts_with("1970-01-01T00:00:00.000Z 203.0.113.9 GET"), "{line}");
        }
    }

    #[test]
    fn very_long_values_are_cut_with_a_mark() {
        let record = AccessRecord {
            uri: format!("/{}", "a".repeat(9_999)).parse().ok(),
            host: Some(HeaderValue::from_str(&"h".repeat(5_000)).unwrap()),
            method: Method::from_bytes(&[b'M'; 400]).ok(),
            ..record()
        };
        for form in [LogFormat::Json, LogFormat::Text] {
            let line = shown(form, &record);
            assert!(line.contains("aaa...[cut, 10000 bytes]\"") && line.contains("hhh...[cut, 5000 bytes]\""));
            assert!(line.len() < MAX_TARGET + 800, "{}", line.len());
        }
    }

    proptest! {
        #[test]
        fn f19_one_record_is_one_line_whatever_its_fields_hold(
            host in proptest::collection::vec(prop_oneof![Just(9u8), 32u8..127, 128u8..=255], 0..300),
            route in ".{0,40}|(\r|\n|\u{1b}|\"|\\\\){1,9}",
            path in "(/|[a-z\"{}]|%0d%0a|é|\u{9b}|\u{202e}){0,30}",
            request_id in "[!-~]{1,128}",
        ) {
            let record = AccessRecord {
                host: Some(HeaderValue::from_bytes(&host).expect("a legal field value")),
                route: Some(route.as_str().into()),
                uri: Some(format!("/{path}").parse().unwrap_or_default()),
                request_id: RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, request_id.parse().unwrap())])),
                ..record()
            };
            for form in [LogFormat::Json, LogFormat::Text] {
                let line = shown(form, &record);
                let body = line.strip_suffix('\n').expect("ends its line");
                prop_assert!(!body.chars().any(char::is_control), "{body:?}");
            }
            let value: serde_json::Value = serde_json::from_str(&shown(LogFormat::Json, &record)).expect("valid JSON");
            prop_assert_eq!(value["route"].as_str(), Some(route.as_str()));
            prop_assert_eq!(value["request_id"].as_str(), Some(request_id.as_str()));
        }
    }
}
