//! `Vary` and the choice among stored responses: the fields of a request, and then, for each response that is stored
//! before it comes, the fields of that response and of the request it answered.

#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Provenance};
use millpond::key::{Key, MethodClass};
use millpond::l1::{Bounds, L1, Stored};
use millpond::policy::Rules;
use millpond::policy::storability::{Exchange, ResponseVerdict, Storable, judge_response};
use millpond::policy::vary::{Selecting, Vary};
use millpond::telemetry::metrics::Metrics;
use millpond_fuzz::meaning::meaning;
use millpond_fuzz::{fields, sections};

/// More responses than variants, so that both bounds are met.
const RESPONSES: usize = 6;
const VARIANTS: usize = 3;
const NOW: Moment = Moment::from_micros(1_000_000);

static MEMORY: LazyLock<L1> = LazyLock::new(|| {
    let bounds = Bounds { max_bytes: 1 << 24, max_entries: 10, max_variants: VARIANTS, threads: 1 };
    L1::new(bounds, &Metrics::new().expect("metrics").l1)
});

fuzz_target!(|input: &[u8]| {
    let key = Key::of_url("http://h/a", MethodClass::Get);
    MEMORY.retain(&key, |_| false);
    let mut sections = sections(input).map(fields);
    let mut next = || sections.next().unwrap_or_default();
    let asked = next();
    // What memory should hold, the newest first.
    let mut model: Vec<(Arc<Entry>, HeaderMap)> = Vec::new();
    for number in 0..RESPONSES {
        let (response, request) = (next(), next());
        let vary = Vary::of(&response);
        assert!(vary.names().is_sorted_by(|a, b| a.as_str() < b.as_str()), "sorted, each once");
        assert!(every_member_counts(&response, &vary));
        pairwise(vary.names(), &request, &asked);
        let Some(storable) = storable(&response, &request) else { continue };
        assert_eq!(storable.vary, vary, "what can not be compared is not stored");
        let entry = Arc::new(entry(storable, response, &request, number));
        let names = entry.selecting().names();
        let supersedes =
            |(old, of): &(Arc<Entry>, HeaderMap)| old.selecting().names() == names && same(names, of, &request);
        let others = model.iter().filter(|old| !supersedes(old)).count();
        let kept = MEMORY.store(&key, &entry, NOW);
        assert_eq!(kept == Stored::Kept, others < VARIANTS);
        if kept == Stored::Kept {
            model.retain(|old| !supersedes(old));
            model.insert(0, (entry.clone(), request));
        }
    }
    let slot = MEMORY.find(key.as_bytes());
    let found = slot.as_ref().and_then(|slot| slot.select(&asked));
    let fits = |(entry, of): &&(Arc<Entry>, HeaderMap)| same(entry.selecting().names(), of, &asked);
    let speaks = |entry: &Arc<Entry>| entry.selecting().speaks(entry.fields(), &asked);
    let (fitting, speaking) = (model.iter().any(|kept| fits(&kept)), model.iter().any(|(entry, _)| speaks(entry)));
    assert_eq!(found.is_some(), fitting || speaking, "what fits is found");
    if let Some(found) = found {
        let kept = model.iter().find(|(entry, _)| Arc::ptr_eq(entry, found)).expect("what is found was stored");
        // Only where nothing was stored for such a request, one in its favourite language will do.
        assert!(if fitting { fits(&kept) } else { speaks(found) });
    }
});

/// The rule of RFC 9111 section 4.1, by another reading of the fields.
fn same(names: &[HeaderName], a: &HeaderMap, b: &HeaderMap) -> bool {
    names.iter().all(|name| meaning(name.as_str(), a) == meaning(name.as_str(), b))
}

fn pairwise(names: &[HeaderName], first: &HeaderMap, second: &HeaderMap) {
    let (a, b) = (Selecting::new(names, first), Selecting::new(names, second));
    assert!(a.matches(first) && b.matches(second), "a response is for its own request");
    let same = same(names, first, second);
    assert_eq!((a.matches(second), b.matches(first)), (same, same), "{a:?} {b:?}");
    // What is superseded in memory, and what is told apart in Redis, goes by the same rule.
    assert_eq!(a == b, same);
    let restored = Selecting::restored(a.fields().map(|(name, value)| (name.clone(), value.cloned())).collect());
    assert_eq!(restored, a);
    // Fields that the response does not vary on take no part.
    let mut only = HeaderMap::new();
    for (name, value) in first.iter().filter(|(name, _)| names.contains(name)) {
        only.append(name.clone(), value.clone());
    }
    assert_eq!(Selecting::new(names, &only), a);
}

/// Each name in the field is one of those compared, or there is no comparing.
fn every_member_counts(response: &HeaderMap, vary: &Vary) -> bool {
    let Vary::Names(names) = vary else { return true };
    let mut members = response.get_all("vary").iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    members.all(|member| {
        let member = member.trim_ascii();
        member.is_empty() || names.iter().any(|name| name.as_str().as_bytes().eq_ignore_ascii_case(member))
    })
}

fn storable(response: &HeaderMap, request: &HeaderMap) -> Option<Storable> {
    let rules = Rules { force_ttl: Some(Duration::from_secs(60)), ..Rules::default() };
    let exchange = Exchange {
        method: &Method::GET,
        request_headers: request,
        status: StatusCode::OK,
        response_headers: response,
        received_at: SystemTime::UNIX_EPOCH,
        response_delay: Duration::ZERO,
    };
    match judge_response(&rules, &exchange) {
        ResponseVerdict::Storable(storable) => Some(storable),
        ResponseVerdict::Uncacheable(_) => None,
    }
}

fn entry(storable: Storable, headers: HeaderMap, request: &HeaderMap, number: usize) -> Entry {
    let selecting = Selecting::new(storable.vary.names(), request);
    let content =
        Content { status: StatusCode::OK, fields: Fields::from_map(&headers), body: Bytes::from(number.to_string()) };
    let provenance = Provenance { born: 0, received: NOW, fetch_time: Duration::ZERO, jitter: 0.0 };
    Entry::new(storable, content, selecting, Vec::new(), "r", provenance)
}
