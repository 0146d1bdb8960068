//! An access record as a line. Trap F19: one record is one line, whatever its fields hold.
//!
//! Each request has one, so that nothing goes through `std::fmt` but what hardly any has.

use super::common::{Calendar, Peer, Repeated, Second, decimals};
use super::texts::Shown;
use super::{Ended, Facts};
use crate::clock::{Clock, Moment};
use crate::config::LogFormat;
use crate::telemetry::escape::quoted;

/// Makes lines of records.
pub(super) struct Format {
    form: LogFormat,
    calendar: Calendar,
    second: Second,
    peer: Peer,
    method: Repeated,
    host: Repeated,
    route: Repeated,
}

impl Format {
    pub(super) fn new(form: LogFormat, clock: Clock) -> Self {
        let (host, route) = match form {
            LogFormat::Json => (",\"host\":", ",\"route\":"),
            LogFormat::Text => (" host=", " route="),
        };
        Self {
            form,
            calendar: Calendar::new(clock),
            second: Second::default(),
            peer: Peer::default(),
            // The text form has a column for it.
            method: Repeated::new(",\"method\":"),
            host: Repeated::new(host),
            route: Repeated::new(route),
        }
    }

    /// Appends the line of a request that ended at a moment, with its end.
    pub(super) fn line(&mut self, at: Moment, ended: &Ended, text: &[u8], out: &mut Vec<u8>) {
        match self.form {
            LogFormat::Json => self.json(at, &ended.facts, &ended.lengths.find(text), out),
            LogFormat::Text => self.text(at, &ended.facts, &ended.lengths.find(text), out),
        }
        out.push(b'\n');
    }

    /// One flat object. Absent values are left out; names and units are part of the interface.
    fn json(&mut self, at: Moment, r: &Facts, texts: &Shown<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.second.timestamp(self.calendar.begin(r.started, at), out);
        out.extend_from_slice(b"\",\"peer\":\"");
        self.peer.address(r.peer, out);
        out.push(b'"');
        self.method.show(texts.method, out);
        self.host.show(texts.host, out);
        if let Some(target) = texts.target {
            out.extend_from_slice(b",\"target\":");
            quoted(out, target);
        }
        out.extend_from_slice(b",\"status\":");
        number(r.status.into(), out);
        out.extend_from_slice(b",\"outcome\":\"");
        out.extend_from_slice(r.outcome.as_str().as_bytes());
        out.push(b'"');
        words(r, &mut |name, value| {
            for piece in [b",\"", name.as_bytes(), b"\":\"", value, b"\""] {
                out.extend_from_slice(piece);
            }
        });
        self.route.show(texts.route, out);
        if let Some(age) = r.age {
            out.extend_from_slice(b",\"age_seconds\":");
            number(age, out);
        }
        out.extend_from_slice(b",\"body_bytes\":");
        number(r.body_bytes, out);
        out.extend_from_slice(b",\"duration_seconds\":");
        seconds(r.started, at, out);
        out.extend_from_slice(b",\"request_id\":");
        texts.request_id(out);
        out.push(b'}');
    }

    /// Six fixed columns, then `name=value` pairs in a fixed order. Values from outside are quoted.
    fn text(&mut self, at: Moment, r: &Facts, texts: &Shown<'_>, out: &mut Vec<u8>) {
        self.second.timestamp(self.calendar.begin(r.started, at), out);
        out.push(b' ');
        self.peer.address(r.peer, out);
        out.push(b' ');
        // A token (RFC 9110 section 9.1), hence plain ASCII that needs no quotes.
        out.extend_from_slice(texts.method.unwrap_or(b"-"));
        out.push(b' ');
        match texts.target {
            Some(target) => quoted(out, target),
            None => out.push(b'-'),
        }
        out.push(b' ');
        number(r.status.into(), out);
        out.push(b' ');
        out.extend_from_slice(r.outcome.as_str().as_bytes());
        words(r, &mut |name, value| {
            for piece in [b" ", name.as_bytes(), b"=", value] {
                out.extend_from_slice(piece);
            }
        });
        if let Some(age) = r.age {
            out.extend_from_slice(b" age_seconds=");
            number(age, out);
        }
        out.extend_from_slice(b" body_bytes=");
        number(r.body_bytes, out);
        out.extend_from_slice(b" duration_seconds=");
        seconds(r.started, at, out);
        self.route.show(texts.route, out);
        self.host.show(texts.host, out);
        out.extend_from_slice(b" request_id=");
        texts.request_id(out);
    }
}

/// Shows what is a word of our own, where there is one.
fn words(r: &Facts, show: &mut impl FnMut(&str, &[u8])) {
    if let Some(reason) = r.reason {
        show("reason", reason.as_str().as_bytes());
    }
    if let Some(refusal) = r.refusal {
        show("refusal", refusal.as_bytes());
    }
    if let Some(fault) = r.origin_fault {
        show("origin_fault", fault.as_str().as_bytes());
    }
    if let Some(trace) = &r.trace {
        show("trace_id", trace.trace_id());
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The time between two moments in seconds, with six decimals.
fn seconds(began: Moment, ended: Moment, out: &mut Vec<u8>) {
    const SECOND: u64 = 1_000_000;
    let micros = ended.as_micros().saturating_sub(began.as_micros());
    number(micros / SECOND, out);
    out.push(b'.');
    decimals(micros % SECOND, SECOND, out);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::reason::{OriginFault, Outcome, Reason};
    use crate::telemetry::trace::{RequestId, TraceContext, X_REQUEST_ID};
    use http::{HeaderMap, HeaderValue, Method, Uri};
    use proptest::prelude::*;
    use std::time::{Duration, SystemTime};

    use super::super::AccessRecord;
    use super::super::texts::{MAX_TARGET, Texts};

    fn id(value: &'static str) -> RequestId {
        RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static(value))]))
    }

    /// What a line is told of.
    struct Told {
        facts: Facts,
        method: Option<Method>,
        host: Option<HeaderValue>,
        uri: Option<Uri>,
        route: Option<String>,
        request_id: RequestId,
    }

    impl Told {
        fn record(&self) -> AccessRecord {
            let (method, host, uri) = (self.method.as_ref(), self.host.as_ref(), self.uri.as_ref());
            let texts = Texts { method, host, uri, route: self.route.as_deref(), request_id: &self.request_id };
            AccessRecord::new(self.facts, &texts)
        }
    }

    /// A plain hit.
    pub(in crate::telemetry::access) fn record() -> AccessRecord {
        told().record()
    }

    fn told() -> Told {
        Told {
            facts: facts(),
            method: Some(Method::GET),
            host: Some(HeaderValue::from_static("api.test")),
            uri: Some(Uri::from_static("/users/42?full=1")),
            route: Some("api".into()),
            request_id: id("abc"),
        }
    }

    fn facts() -> Facts {
        Facts {
            started: Moment::default(),
            peer: "203.0.113.9".parse().unwrap(),
            status: 200,
            outcome: Outcome::Hit,
            reason: None,
            refusal: None,
            origin_fault: None,
            body_bytes: 512,
            trace: None,
            age: Some(7),
        }
    }

    fn full() -> Told {
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let facts = Facts {
            status: 504,
            outcome: Outcome::Failed,
            reason: Some(Reason::HitForMiss),
            origin_fault: Some(OriginFault::FirstByteTimeout),
            trace: TraceContext::parse(parent),
            age: None,
            ..facts()
        };
        Told { facts, ..told() }
    }

    fn shown(form: LogFormat, told: &Told) -> String {
        shown_at(SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123), form, told)
    }

    fn shown_at(time: SystemTime, form: LogFormat, told: &Told) -> String {
        let mut out = Vec::new();
        let started = told.facts.started;
        let mut format = Format::new(form, Clock::manual());
        format.calendar.set(started, time);
        append(&mut format, told, started.plus(Duration::from_micros(1234)), &mut out);
        String::from_utf8(out).expect("lines are UTF-8")
    }

    fn append(format: &mut Format, told: &Told, at: Moment, out: &mut Vec<u8>) {
        let record = told.record();
        format.line(at, &Ended { facts: record.facts, lengths: record.lengths }, &record.text, out);
    }

    #[test]
    fn the_text_form_is_stable() {
        assert_eq!(
            shown(LogFormat::Text, &told()),
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
    fn each_line_has_its_own_time_and_an_address_of_either_family() {
        let clock = Clock::manual();
        let mut format = Format::new(LogFormat::Text, clock.clone());
        let mut out = Vec::new();
        let since_epoch = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        clock.jump_wall(1_790_000_000_000 - i64::try_from(since_epoch.as_millis()).unwrap());
        let start = clock.now();
        for (millis, peer, duration) in [
            (999, "203.0.113.9", Duration::from_micros(7)),
            (1_000, "2001:db8::1", Duration::from_millis(61_500)),
            (1_001, "10.0.0.1", Duration::ZERO),
        ] {
            let started = start.plus(Duration::from_millis(millis));
            let facts = Facts { peer: peer.parse().unwrap(), started, ..facts() };
            clock.advance(Duration::from_secs(100));
            append(&mut format, &Told { facts, ..told() }, started.plus(duration), &mut out);
        }
        let shown = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        for (line, begin, duration) in [
            (lines[0], "2026-09-21T14:13:20.999Z 203.0.113.9 ", "=0.000007 "),
            (lines[1], "2026-09-21T14:13:21.000Z 2001:db8::1 ", "=61.500000 "),
            (lines[2], "2026-09-21T14:13:21.001Z 10.0.0.1 ", "=0.000000 "),
        ] {
            assert!(line.starts_with(begin) && line.contains(duration), "{line}");
        }
    }

    #[test]
    fn a_line_shows_its_own_values_whatever_the_lines_before_it_have_shown() {
        let long = HeaderValue::try_from("x".repeat(300)).unwrap();
        let hosts = [None, Some("a"), Some("a"), Some("b\""), None, Some("a"), Some("")]
            .map(|host| host.map(HeaderValue::from_static));
        let hosts = || hosts.iter().cloned().chain([Some(long.clone()), None]);
        for form in [LogFormat::Json, LogFormat::Text] {
            let mut format = Format::new(form, Clock::manual());
            for (number, host) in hosts().enumerate() {
                let method = if number.is_multiple_of(3) { Method::HEAD } else { Method::GET };
                let route = (number % 4 > 0).then(|| format!("r{}", number % 2).as_str().into());
                let record = Told { host, method: Some(method), route, ..told() };
                let (mut line, mut alone) = (Vec::new(), Vec::new());
                append(&mut format, &record, record.facts.started, &mut line);
                append(&mut Format::new(form, Clock::manual()), &record, record.facts.started, &mut alone);
                assert_eq!(String::from_utf8(line), String::from_utf8(alone));
            }
        }
    }

    #[test]
    fn the_json_form_is_stable() {
        assert_eq!(
            shown(LogFormat::Json, &told()),
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
        let refused = Told {
            method: None,
            uri: None,
            host: None,
            facts: Facts {
                status: 400,
                outcome: Outcome::Rejected,
                refusal: Some("host-repeated"),
                age: None,
                ..facts()
            },
            route: None,
            ..told()
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
            let record = Told { uri: target.parse().ok(), ..told() };
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
            let line = shown_at(time, LogFormat::Text, &told());
            assert!(line.starts_with("1970-01-01T00:00:00.000Z 203.0.113.9 GET"), "{line}");
        }
    }

    #[test]
    fn very_long_values_are_cut_with_a_mark() {
        let record = Told {
            uri: format!("/{}", "a".repeat(9_999)).parse().ok(),
            host: Some(HeaderValue::from_str(&"h".repeat(5_000)).unwrap()),
            method: Method::from_bytes(&[b'M'; 400]).ok(),
            ..told()
        };
        assert!(record.record().text.len() < MAX_TARGET + 400, "what is not shown does not wait either");
        for form in [LogFormat::Json, LogFormat::Text] {
            let line = shown(form, &record);
            assert!(line.contains("aaa...[cut, 10000 bytes]\"") && line.contains("hhh...[cut, 5000 bytes]\""));
            assert!(line.contains(&"M".repeat(32)) && !line.contains(&"M".repeat(33)));
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
            let record = Told {
                host: Some(HeaderValue::from_bytes(&host).expect("a legal field value")),
                route: Some(route.as_str().into()),
                uri: Some(format!("/{path}").parse().unwrap_or_default()),
                request_id: RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, request_id.parse().unwrap())])),
                ..told()
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
