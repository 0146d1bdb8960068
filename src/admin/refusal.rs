//! What the listener says when it does not do what it was asked: a status, what is wrong, and
//! how to get it right.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::control::PurgeFault;
use super::order::OrderError;

/// The JSON body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub fix: String,
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) problem: Problem,
    /// A field that the status calls for.
    field: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status, problem: Problem { error: error.into(), fix: fix.into() }, field: None }
    }

    /// RFC 9110 section 15.5.2: a 401 carries a challenge (RFC 6750 section 3).
    pub(super) fn unauthorised(error: &str, challenge: &'static str) -> Self {
        let fix = "send the field Authorization: Bearer TOKEN with the token of [admin] in the configuration";
        let field = Some((WWW_AUTHENTICATE, challenge));
        Self { field, ..Self::new(StatusCode::UNAUTHORIZED, error, fix) }
    }

    /// RFC 9110 section 15.5.6: a 405 carries the methods that would do.
    pub(super) fn method(given: &str, path: &str, allowed: &'static str) -> Self {
        let error = format!("{path} does not take the method {given:.20}");
        let field = Some((ALLOW, allowed));
        Self { field, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, error, format!("use {allowed}")) }
    }

    /// A panic of ours: the process goes on, the client learns that it was not its fault.
    pub(super) fn internal(what: &str) -> Self {
        let error = format!("{what} failed inside Millpond");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error, "look into the log of this instance and report the fault")
    }
}

impl From<OrderError> for Refusal {
    fn from(fault: OrderError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, fault.to_string(), fault.fix())
    }
}

impl From<PurgeFault> for Refusal {
    fn from(fault: PurgeFault) -> Self {
        let error = fault.to_string();
        let (status, fix) = match fault {
            PurgeFault::UnknownRoute { name, known } => (StatusCode::BAD_REQUEST, route_fix(&name, &known)),
            PurgeFault::BadUrl(_) => {
                (StatusCode::BAD_REQUEST, "write it as clients request it, as in http://api.test/users/42".to_owned())
            }
            PurgeFault::NotLogged(_) | PurgeFault::Unconfirmed(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "send the purge again when Redis is back".to_owned())
            }
        };
        Self::new(status, error, fix)
    }
}

fn route_fix(name: &str, known: &[String]) -> String {
    match closest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("the routes are: {}", known.join(", ")),
    }
}

/// The candidate that `given` is a slip of, if there is one: at most a third of it is wrong.
pub(super) fn closest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes the product of both lengths; nothing that long is a slip.
    if given.len() > 64 {
        return None;
    }
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// A response of the admin listener.
pub(super) type Answer = Response<Full<Bytes>>;

/// A response; none of ours may be stored or guessed to be a page.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A response in JSON, with a line end for those who read it in a terminal.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => answer(status, "application/json", text + "\n"),
        // Only maps with keys that are no strings fail, and no answer has one.
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "application/json", Bytes::new()),
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut response = json(refusal.status, &refusal.problem);
        if let Some((name, value)) = refusal.field {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
