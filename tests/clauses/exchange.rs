//! A request, its response, and a later request, judged by the policy alone.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use millpond::policy::request::{Demand, RequestVerdict, judge_request};
use millpond::policy::reuse::{Reuse, reuse, usable_on_error};
use millpond::policy::storability::{self, ResponseVerdict, Storable, judge_response};
use millpond::policy::vary::Selecting;
use millpond::policy::{Rules, fields};

/// When responses arrive, in seconds of Unix time: [`NOW`].
const ARRIVAL: u64 = 784_111_777;

/// Fields as a table writes them: `cache-control: max-age=60 | vary: x-a`.
pub(crate) fn map(text: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    for field in text.split(" | ").filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once(':').expect("a colon after the name");
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value.trim()).unwrap());
    }
    map
}

/// A GET and its 200, which arrived at 08:49:37 GMT on Sunday, 6 November 1994.
pub(crate) struct Exchange {
    rules: Rules,
    method: Method,
    request: HeaderMap,
    status: StatusCode,
    response: HeaderMap,
    delay: Duration,
}

/// When everything here happens: the arrival of the response.
pub(crate) fn arrival() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(ARRIVAL)
}

/// A GET that was answered with these fields.
pub(crate) fn answer(response: &str) -> Exchange {
    Exchange {
        rules: Rules { respect_client_cache_control: true, ..Rules::default() },
        method: Method::GET,
        request: HeaderMap::new(),
        status: StatusCode::OK,
        response: map(response),
        delay: Duration::ZERO,
    }
}

/// A response that is fresh for a minute.
pub(crate) fn minute() -> Exchange {
    answer("cache-control: max-age=60")
}

impl Exchange {
    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.parse().unwrap();
        self
    }

    pub(crate) fn asked(mut self, request: &str) -> Self {
        self.request = map(request);
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    /// Seconds from the request to the response.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.delay = Duration::from_secs(seconds);
        self
    }

    /// A route that looks this method up by its body.
    pub(crate) fn by_body(mut self, method: &str) -> Self {
        self.rules.by_body.push(method.parse().unwrap());
        self.method(method)
    }

    /// A route that grants a tenth of the time since `Last-Modified`.
    pub(crate) fn heuristic(mut self) -> Self {
        self.rules.heuristic_fraction = Some(0.1);
        self.rules.heuristic_max = Duration::from_hours(24);
        self
    }

    /// A route whose stale windows are an hour each.
    pub(crate) fn windows(mut self) -> Self {
        self.rules.stale_while_revalidate = Some(Duration::from_hours(1));
        self.rules.stale_if_error = Some(Duration::from_hours(1));
        self
    }

    fn judged(&self) -> Result<Storable, String> {
        let exchange = storability::Exchange {
            method: &self.method,
            request_headers: &self.request,
            status: self.status,
            response_headers: &self.response,
            received_at: arrival(),
            response_delay: self.delay,
        };
        match judge_response(&self.rules, &exchange) {
            ResponseVerdict::Storable(storable) => Ok(storable),
            ResponseVerdict::Uncacheable(reason) => Err(format!("not stored: {reason}")),
        }
    }

    fn if_stored(&self, say: impl FnOnce(Storable) -> String) -> String {
        self.judged().map_or_else(|refusal| refusal, say)
    }

    /// Whether it is stored.
    pub(crate) fn stored(self) -> String {
        self.if_stored(|_| "stored".to_owned())
    }

    /// Its freshness lifetime.
    pub(crate) fn lifetime(self) -> String {
        self.if_stored(|storable| format!("{} s", storable.lifetimes.fresh_for.as_secs()))
    }

    /// Its age on arrival.
    pub(crate) fn initial_age(self) -> String {
        self.if_stored(|storable| format!("{} s", storable.lifetimes.initial_age.as_secs()))
    }

    /// The fields of the stored copy.
    pub(crate) fn kept(self) -> String {
        self.if_stored(|storable| {
            let mut headers = self.response.clone();
            fields::prepare_stored(&mut headers, &storable);
            let mut lines: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
            lines.sort_unstable();
            lines.join(" | ")
        })
    }

    /// What happens to a GET with these fields so many seconds after the arrival.
    pub(crate) fn later(self, seconds: u64, request: &str) -> String {
        self.if_stored(|storable| {
            self.met(&storable, seconds, request, |demand, age| match reuse(&storable.lifetimes, age, None, demand) {
                Reuse::Fresh => "served",
                Reuse::StaleAccepted => "served stale",
                Reuse::StaleWhileRevalidate => "served stale, and refreshed",
                Reuse::StaleIfError | Reuse::Expired => "validated",
            })
        })
    }

    /// What happens to such a GET if the origin fails.
    pub(crate) fn cut_off(self, seconds: u64, request: &str) -> String {
        self.if_stored(|storable| {
            self.met(&storable, seconds, request, |demand, age| {
                if usable_on_error(&storable.lifetimes, age, None, demand) { "stands in" } else { "error" }
            })
        })
    }

    fn met(
        &self,
        storable: &Storable,
        seconds: u64,
        request: &str,
        judge: impl FnOnce(&Demand, Duration) -> &'static str,
    ) -> String {
        let request = map(request);
        let demand = match judge_request(&self.rules, &Method::GET, &request) {
            RequestVerdict::Lookup(demand) | RequestVerdict::LookupByBody(demand) => demand,
            RequestVerdict::Pass(reason) => return format!("passed: {reason}"),
            RequestVerdict::Unsafe => return "unsafe".to_owned(),
        };
        if !Selecting::new(storable.vary.names(), &self.request).matches(&request) {
            return "another variant".to_owned();
        }
        judge(&demand, storable.lifetimes.initial_age + Duration::from_secs(seconds)).to_owned()
    }
}
