//! RFC 9111 section 4.1: a stored response is for requests that mean the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Provenance};
use millpond::key::{Key, MethodClass};
use millpond::l1::{Bounds, L1};
use millpond::policy::Rules;
use millpond::policy::vary::Selecting;
use millpond::telemetry::metrics::Metrics;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Compared as it is; no name before the preferences, so that the indexes below hold.
const LISTS: [&str; 2] = ["x-a", "x-b"];
const PREFERENCES: [&str; 2] = ["accept-encoding", "accept-language"];

/// What a request says in its selecting fields: a member is a text, and in a preference a name with
/// its weight in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    lists: [Option<Vec<&'static str>>; 2],
    preferences: [Option<Vec<(&'static str, u16)>>; 2],
}

/// How it is written, which should make no difference.
#[derive(Clone, Debug)]
struct Writing {
    /// The separators of members, in turn; a line break begins another field.
    separators: Vec<&'static str>,
    upper: bool,
    long_weights: bool,
    /// By how many places preferences are rotated.
    rotation: usize,
}

fn meanings() -> impl Strategy<Value = Meaning> {
    // Few values, so that requests often agree.
    let members = select(&["1", "2", "\"a, b\"", "\"a,b\"", "a b", "\"\\\", c\""][..]);
    let lists = || option::weighted(0.8, vec(members.clone(), 1..3));
    let preference = || (select(&["de", "en", "de-at", "*"][..]), select(&[1000_u16, 1000, 500, 0][..]));
    let preferences = move || option::weighted(0.8, vec(preference(), 1..3));
    (lists(), lists(), preferences(), preferences()).prop_map(|(a, b, c, d)| {
        let sorted = |preferences: Option<Vec<_>>| {
            preferences.map(|mut preferences| {
                preferences.sort_unstable();
                preferences
            })
        };
        Meaning { lists: [a, b], preferences: [sorted(c), sorted(d)] }
    })
}

fn writings() -> impl Strategy<Value = Writing> {
    let separators = vec(select(&[",", ", ", " ,\t", ",, ,", "\n", ",\n"][..]), 1..4);
    (separators, any::<bool>(), any::<bool>(), 0..3_usize)
        .prop_map(|(separators, upper, long_weights, rotation)| Writing { separators, upper, long_weights, rotation })
}

impl Meaning {
    fn is_equal_in(&self, other: &Self, names: &[&str]) -> bool {
        let lists = LISTS.iter().zip(self.lists.iter().zip(&other.lists)).map(|(name, (a, b))| (name, a == b));
        let preferences = self.preferences.iter().zip(&other.preferences).map(|(a, b)| a == b);
        lists.chain(PREFERENCES.iter().zip(preferences)).all(|(name, equal)| equal || !names.contains(name))
    }
}

impl Writing {
    fn of(&self, meaning: &Meaning) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, members) in LISTS.iter().zip(&meaning.lists) {
            let members = members.iter().flatten().map(|member| (*member).to_owned()).collect();
            self.add(&mut map, name, members);
        }
        for (name, members) in PREFERENCES.iter().zip(&meaning.preferences) {
            let mut members: Vec<String> = members.iter().flatten().map(|member| self.preference(*member)).collect();
            let places = self.rotation % members.len().max(1);
            members.rotate_left(places);
            self.add(&mut map, name, members);
        }
        map
    }

    fn preference(&self, (name, weight): (&str, u16)) -> String {
        let name = if self.upper { name.to_uppercase() } else { name.to_owned() };
        match (weight, self.long_weights) {
            (1000, false) => name,
            (500, false) => format!("{name};q=0.5"),
            (weight, false) => format!("{name};q={}", weight / 1000),
            (weight, true) => format!("{name} ; Q={}.{:03}", weight / 1000, weight % 1000),
        }
    }

    fn add(&self, map: &mut HeaderMap, name: &'static str, members: Vec<String>) {
        let mut separators = self.separators.iter().cycle();
        let whole = members.into_iter().reduce(|all, member| format!("{all}{}{member}", separators.next().unwrap()));
        for line in whole.iter().flat_map(|whole| whole.split('\n')) {
            map.append(name, HeaderValue::from_str(line).unwrap());
        }
    }
}

fn memory() -> L1 {
    let bounds = Bounds { max_bytes: 1 << 20, max_entries: 10, max_variants: 10, threads: 1 };
    L1::new(bounds, &Metrics::new().unwrap().l1)
}

/// Stores a response as the journey does.
fn entry(names: &[&str], request: &HeaderMap, number: usize) -> Entry {
    let mut response = HeaderMap::new();
    response.append("cache-control", HeaderValue::from_static("max-age=60"));
    for name in names {
        response.append("vary", HeaderValue::from_str(name).unwrap());
    }
    let storable =
        super::stored(&Rules::default(), request, &response, SystemTime::UNIX_EPOCH, Duration::ZERO).unwrap();
    let selecting = Selecting::new(storable.vary.names(), request);
    let content =
        Content { status: StatusCode::OK, fields: Fields::from_map(&response), body: Bytes::from(number.to_string()) };
    let provenance = Provenance { born: 0, received: Moment::default(), fetch_time: Duration::ZERO, jitter: 0.0 };
    Entry::new(storable, content, selecting, Vec::new(), "r", provenance)
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence([LISTS, PREFERENCES].concat(), 0..=4)
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn the_newest_response_to_a_request_that_means_the_same_is_served_and_no_other(
        before in vec((names(), meanings(), writings()), 1..5),
        (meaning, writing) in (meanings(), writings()),
    ) {
        let (memory, key) = (memory(), Key::of_url("http://h/a", MethodClass::Get));
        for (number, (names, meaning, writing)) in before.iter().enumerate() {
            memory.store(&key, &Arc::new(entry(names, &writing.of(meaning), number)), Moment::default());
        }
        let slot = memory.find(key.as_bytes()).unwrap();
        let served = slot.select(&writing.of(&meaning)).map(|entry| entry.body().share());
        let fits = |(_, (names, stored, _)): &(usize, &(Vec<&str>, Meaning, Writing))| stored.is_equal_in(&meaning, names);
        let expected = before.iter().enumerate().rev().find(fits).map(|(number, _)| Bytes::from(number.to_string()));
        prop_assert_eq!(served, expected);
    }

    #[test]
    fn requests_that_mean_the_same_share_a_response_however_they_are_written(
        names in names(), meaning in meanings(), one in writings(), other in writings(),
    ) {
        let stored = entry(&names, &one.of(&meaning), 0);
        prop_assert!(stored.selecting().matches(&other.of(&meaning)), "{:?}", stored.selecting());
    }
}
