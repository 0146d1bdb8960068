//! One generated case: an exchange whose response may be stored, and a later request.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use millpond::policy::Rules;
use millpond::policy::request::{RequestVerdict, judge_request};
use millpond::policy::reuse::{Reuse, reuse};
use millpond::policy::storability::{Exchange, ResponseVerdict, judge_response};
use millpond::policy::vary::Selecting;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// When the response arrived, in seconds of Unix time.
const RECEIVED: u64 = 1_700_000_000;
/// The share of the time since `Last-Modified` that both take as a heuristic lifetime.
const FRACTION: f32 = 0.125;

/// Header fields, in order.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Vec<(&'static str, String)>);

/// Both requests and the response.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) first: Fields,
    pub(crate) status: u16,
    pub(crate) response: Fields,
    pub(crate) second: Fields,
    /// From the arrival of the response to the second request.
    pub(crate) later: Duration,
}

fn received() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(RECEIVED)
}

impl Fields {
    fn map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.0 {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| *n == name)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| *n != name);
    }

    pub(crate) fn replace(&mut self, name: &str, concerned: impl Fn(&str) -> bool, with: &str) {
        for (_, value) in self.0.iter_mut().filter(|(n, value)| *n == name && concerned(value)) {
            with.clone_into(value);
        }
    }

    pub(crate) fn any_member(&self, name: &str, is: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|(n, value)| *n == name && split(value).any(&is))
    }

    pub(crate) fn drop_members(&mut self, name: &str, which: impl Fn(&str) -> bool) {
        self.change_members(name, |member| (!which(member)).then(|| member.to_owned()));
    }

    /// Rewrites the members of a list, and drops those that become `None`.
    pub(crate) fn change_members(&mut self, name: &str, mut change: impl FnMut(&str) -> Option<String>) {
        for (_, value) in self.0.iter_mut().filter(|(n, _)| *n == name) {
            *value = split(value).filter_map(&mut change).collect::<Vec<_>>().join(", ");
        }
        self.0.retain(|(n, value)| *n != name || !value.is_empty());
    }

    /// Of several members of one name, the first.
    pub(crate) fn keep_first(&mut self, name: &str) {
        let mut seen = Vec::new();
        self.change_members(name, |member| {
            let directive = directive(member);
            (!seen.contains(&directive)).then(|| {
                seen.push(directive);
                member.to_owned()
            })
        });
    }

    /// Of several lifetimes of one name, the smallest.
    pub(crate) fn keep_smallest(&mut self, name: &str) {
        for (_, value) in self.0.iter_mut().filter(|(n, _)| *n == name) {
            let mut members: Vec<_> = split(value).collect();
            members.sort_by_key(|member| seconds(member));
            *value = members.join(", ");
        }
        self.keep_first(name);
    }
}

/// The members of a list, as the generator joined them: with a space, which no value has inside.
fn split(value: &str) -> impl Iterator<Item = &str> {
    value.split(", ")
}

fn directive(member: &str) -> String {
    member.split('=').next().unwrap_or(member).to_lowercase()
}

/// The argument of a lifetime; what is no number counts as zero.
fn seconds(member: &str) -> u64 {
    let argument = member.split('=').nth(1).unwrap_or_default();
    argument.trim_matches('"').parse().unwrap_or(0)
}

/// A date this many seconds after the arrival.
pub(crate) fn http_date(offset: i64) -> String {
    let seconds = RECEIVED.checked_add_signed(offset).unwrap();
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Absent more often than not, so that the other fields decide.
fn maybe(
    name: &'static str,
    weight: u32,
    values: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<Option<(&'static str, String)>> {
    prop_oneof![10 - weight => Just(None), weight => values.prop_map(move |value| Some((name, value)))].boxed()
}

fn texts(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(values).prop_map(str::to_owned)
}

fn list(values: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    vec(select(values), 1..=most).prop_map(|members| members.join(", "))
}

fn dates(offsets: &'static [i64]) -> impl Strategy<Value = String> {
    select(offsets).prop_map(http_date)
}

fn response_fields() -> impl Strategy<Value = Fields> {
    let directives = list(
        &[
            "max-age=60",
            "max-age=60",
            "max-age=600",
            "max-age=0",
            "Max-Age=60",
            "max-age=\"60\"",
            "max-age=x",
            "max-age",
            "max-age=99999999999",
            "s-maxage=30",
            "s-maxage=300",
            "s-maxage=0",
            "public",
            "public",
            "must-revalidate",
            "proxy-revalidate",
            "no-cache",
            "no-store",
            "private",
            "private=\"x-a\"",
            "no-cache=\"x-a\"",
            "must-understand",
            "immutable",
            "stale-while-revalidate=60",
            "stale-if-error=60",
            "extension=\"max-age=5,no-store\"",
            "no-transform",
        ],
        3,
    );
    let expires = prop_oneof![
        4 => dates(&[-60, 0, 60, 3600]),
        1 => texts(&["0", "-1", "tomorrow", "Tuesday, 14-Nov-23 23:13:20 GMT"]),
    ];
    let fields = vec![
        maybe("cache-control", 7, directives),
        maybe("expires", 2, expires),
        maybe("date", 6, prop_oneof![6 => dates(&[0, -1]), 1 => dates(&[-100, 100]), 1 => texts(&["x"])]),
        maybe("age", 1, texts(&["0", "5", "100", "-5", "5, 9", "x"])),
        maybe("last-modified", 2, dates(&[-800, -80_000, -800_000])),
        maybe("etag", 3, texts(&["\"a\"", "W/\"a\""])),
        maybe("vary", 2, texts(&["x-a", "X-A", "x-b, x-a", "*", "x-a, *"])),
        maybe("set-cookie", 1, texts(&["a=b"])),
        maybe("pragma", 1, texts(&["no-cache"])),
    ];
    together(fields)
}

fn together(fields: Vec<BoxedStrategy<Option<(&'static str, String)>>>) -> impl Strategy<Value = Fields> {
    fields.prop_map(|fields| Fields(fields.into_iter().flatten().collect()))
}

impl Case {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let status = prop_oneof![
            8 => Just(200_u16),
            4 => select(&[203, 204, 206, 299, 300, 301, 302, 307, 308, 400, 404, 405, 410, 429, 451, 500, 501, 503, 599][..]),
        ];
        let first = vec![maybe("authorization", 1, texts(&["Bearer x"])), maybe("x-a", 3, texts(&["1", "2"]))];
        let demand = list(
            &[
                "no-cache",
                "no-store",
                "max-age=0",
                "max-age=20",
                "max-age=1000",
                "min-fresh=0",
                "min-fresh=20",
                "max-stale",
                "max-stale=20",
                "max-stale=5000",
                "only-if-cached",
            ],
            2,
        );
        let second = vec![
            maybe("cache-control", 3, demand),
            maybe("pragma", 1, texts(&["no-cache"])),
            maybe("x-a", 3, texts(&["1", "2"])),
        ];
        let later = select(&[0, 1, 10, 29, 30, 59, 60, 61, 79, 80, 99, 100, 200, 3000, 20_000][..]);
        (together(first), status, response_fields(), together(second), later).prop_map(
            |(first, status, response, second, later)| Self {
                first,
                status,
                response,
                second,
                later: Duration::from_secs(later),
            },
        )
    }

    fn judged_here(&self) -> (Rules, ResponseVerdict) {
        let rules = Rules {
            respect_client_cache_control: true,
            heuristic_fraction: Some(f64::from(FRACTION)),
            heuristic_max: Duration::MAX,
            ..Rules::default()
        };
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &self.first.map(),
            status: StatusCode::from_u16(self.status).unwrap(),
            response_headers: &self.response.map(),
            received_at: received(),
            response_delay: Duration::ZERO,
        };
        let verdict = judge_response(&rules, &exchange);
        (rules, verdict)
    }

    /// Whether Millpond stores the response.
    pub(crate) fn is_storable_here(&self) -> bool {
        matches!(self.judged_here().1, ResponseVerdict::Storable(_))
    }

    /// The `Age` in seconds under which Millpond answers the second request from the store.
    fn ours(&self) -> Option<u64> {
        let (rules, ResponseVerdict::Storable(storable)) = self.judged_here() else { return None };
        let second = self.second.map();
        let RequestVerdict::Lookup(demand) = judge_request(&rules, &Method::GET, &second) else { return None };
        if !Selecting::new(storable.vary.names(), &self.first.map()).matches(&second) {
            return None;
        }
        let age = storable.lifetimes.initial_age + self.later;
        let verdict = reuse(&storable.lifetimes, age, None, &demand);
        matches!(verdict, Reuse::Fresh | Reuse::StaleAccepted).then_some(age.as_secs())
    }

    /// The same by `http-cache-semantics`.
    fn theirs(&self) -> Option<u64> {
        let request = |fields: &Fields| {
            let mut request = Request::get("http://a.test/").body(()).unwrap();
            *request.headers_mut() = fields.map();
            request
        };
        let mut response = Response::builder().status(self.status).body(()).unwrap();
        *response.headers_mut() = self.response.map();
        let options = CacheOptions {
            cache_heuristic: FRACTION,
            immutable_min_time_to_live: Duration::ZERO,
            ..CacheOptions::default()
        };
        let policy = CachePolicy::new_options(&request(&self.first), &response, received(), options);
        let now = received() + self.later;
        // The library leaves it to its caller not to store what it calls not storable.
        let served = policy.is_storable()
            && matches!(policy.before_request(&request(&self.second), now), BeforeRequest::Fresh(_));
        served.then(|| policy.age(now).as_secs())
    }

    /// How the two judge the case.
    pub(crate) fn verdicts(&self) -> Verdicts {
        match (self.ours(), self.theirs()) {
            (Some(ours), Some(theirs)) if ours == theirs => Verdicts::BothServe,
            (Some(_), Some(_)) => Verdicts::Differ("other age"),
            (None, None) => Verdicts::NeitherServes,
            (Some(_), None) => Verdicts::Differ("served here alone"),
            (None, Some(_)) => Verdicts::Differ("served there alone"),
        }
    }
}

/// How the two judge a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdicts {
    BothServe,
    NeitherServes,
    Differ(&'static str),
}
