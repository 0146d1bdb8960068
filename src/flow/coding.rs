//! Content codings: which form of a stored response a client gets, and who makes it.
//!
//! What is stored has no coding. The first hit that would rather have one gets the stored form all the same and has the
//! coded one made, behind its back and once; nobody ever waits for it.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, RANGE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;
use smallvec::SmallVec;

use crate::config::CachePolicy;
use crate::entry::{Coded, Entry, Fields, coder};
use crate::key::Key;
use crate::origin::Lines;
use crate::policy::coding::{self, Accepted, Codable, Coding, Compress};
use crate::policy::fields::ByName;
use crate::policy::vary::{Selecting, Vary};

use super::Proxy;
use super::body::Body;
use super::flight::Head;
use super::site::Route;

/// The form of a response that a request selects.
pub(super) enum Form<'a> {
    /// As it came; there is no other.
    Sole,
    /// As it came, though there are others; the coding that the client would rather have.
    Plain(Codable, Option<Coding>),
    /// In a coding.
    Coded(Coding, &'a Coded),
    /// In a coding, which the client has: the fields of that form.
    Held(Box<Fields>),
}

/// What selects a response. On a route that codes, one without coding serves every client, so `Accept-Encoding` selects
/// nothing. One that the origin has coded all the same is for those alone who asked alike.
pub(super) fn selecting(policy: &CachePolicy, vary: &Vary, response: &HeaderMap, request: &HeaderMap) -> Selecting {
    let for_all = policy.compress.is_some() && !response.contains_key(CONTENT_ENCODING);
    let names = vary.names().iter().filter(|name| !(for_all && **name == ACCEPT_ENCODING)).cloned();
    Selecting::new(&names.collect::<SmallVec<[HeaderName; 4]>>(), request)
}

/// The form of a stored response. On routes that code nothing this is one comparison.
pub(super) fn stored<'a>(request: &Parts, route: &Route, entry: &'a Entry) -> Form<'a> {
    let Some(compress) = route.compress() else { return Form::Sole };
    let codable = entry.codable().filter(|_| compress.covers(entry.body().len() as u64));
    let Some(codable) = codable else { return Form::Sole };
    let accepted = Accepted::of(&request.headers);
    if let Some(form) = held(request, entry.status(), &accepted, codable, entry.fields()) {
        return form;
    }
    match wanted(request, &accepted, compress) {
        None => Form::Plain(codable, None),
        Some(coding) => match entry.coded(coding) {
            Some(coded) => Form::Coded(coding, coded),
            None => Form::Plain(codable, Some(coding)),
        },
    }
}

/// The form of a response that is still arriving: as it comes, but who has a coded form of what the origin has just
/// confirmed need not get it again.
pub(super) fn arriving<'a>(request: &Parts, route: &Route, head: &Head) -> Form<'a> {
    let Some(compress) = route.compress() else { return Form::Sole };
    if let Some(announced) = &head.part {
        return part(route, &head.fields, announced.complete);
    }
    let covered = head.length.is_none_or(|length| compress.covers(length));
    let Some(codable) = coding::codable(head.status, &head.fields).filter(|_| covered) else { return Form::Sole };
    let accepted = Accepted::of(&request.headers);
    held(request, head.status, &accepted, codable, &head.fields).unwrap_or(Form::Plain(codable, None))
}

/// The form of a part that is not cut from a whole: there is one alone, but the whole may have others, and RFC 9110
/// section 15.3.7 has a 206 vary on what the 200 would vary on.
pub(super) fn part<'a>(route: &Route, fields: &Fields, complete: Option<u64>) -> Form<'a> {
    let covered = route.compress().is_some_and(|compress| complete.is_none_or(|length| compress.covers(length)));
    let codable = if covered { coding::codable(StatusCode::OK, fields) } else { None };
    codable.map_or(Form::Sole, |codable| Form::Plain(codable, None))
}

/// The form that the client says it has. The server chooses among the forms that a client takes, and there is no better
/// choice than one that need not be sent. Conditions are for what would be answered with a 2xx (section 13.2.1).
fn held<'a>(
    request: &Parts,
    status: StatusCode,
    accepted: &Accepted,
    codable: Codable,
    stored: &Fields,
) -> Option<Form<'a>> {
    if !status.is_success() {
        return None;
    }
    let (_, coding) = coding::held(&request.headers, stored.first(&ETAG)?, accepted)?;
    let Some(coding) = coding else { return Some(Form::Plain(codable, None)) };
    let fields = coding::coded_fields(stored.to_map(), coding, codable);
    Some(Form::Held(Box::new(Fields::from_map(&fields))))
}

/// The origin has answered the client's own condition with 304. If that named a coded form, the answer does as well.
pub(super) fn named_as_held(request: &Parts, route: &Route, status: StatusCode, fields: Lines) -> Lines {
    if route.compress().is_none() || status != StatusCode::NOT_MODIFIED {
        return fields;
    }
    let accepted = Accepted::of(&request.headers);
    let tag = fields.first(&ETAG).and_then(|tag| coding::held(&request.headers, tag, &accepted));
    let Some((tag, Some(_))) = tag else { return fields };
    let mut named = fields.to_map();
    named.insert(ETAG, tag);
    Lines::from_map(&named)
}

/// The coding that the request selects.
fn wanted(request: &Parts, accepted: &Accepted, compress: &Compress) -> Option<Coding> {
    // Parts are cut from what is stored, so that parts sent at different times always belong together. Whoever refuses
    // that form gets the whole of another (RFC 9110 section 14.2: Range may be ignored).
    let partial = request.method == Method::GET && request.headers.contains_key(RANGE) && accepted.takes_identity();
    if partial || coding::forbids_transformation(&request.headers) {
        return None;
    }
    accepted.best(&compress.order)
}

impl Form<'_> {
    /// Counts what a coding has saved.
    pub(super) fn count(&self, route: &Route, entry: &Entry, response: &Response<Body>) {
        if let Self::Coded(coding, coded) = self
            && let (Some(metrics), false) = (route.coding.get(*coding as usize), response.body().is_end_stream())
        {
            metrics.sent.inc();
            metrics.saved.inc_by((entry.body().len() - coded.body.len()) as u64);
        }
    }
}

impl Proxy {
    /// Has a form of a stored response made, unless it was begun already. With all coders at work it is left to a later
    /// request.
    pub(super) fn code(
        self: &Arc<Self>,
        route: &Arc<Route>,
        key: impl FnOnce() -> Key,
        entry: &Arc<Entry>,
        coding: Coding,
    ) {
        if !entry.begin_coding(coding) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.coders).try_acquire_owned() else { return entry.put_off_coding(coding) };
        let (proxy, route, key, entry) = (Arc::clone(self), Arc::clone(route), key(), Arc::clone(entry));
        tokio::task::spawn_blocking(move || {
            let coded = coder::encode(coding, entry.body());
            let Some(metrics) = route.coding.get(coding as usize) else { return };
            let kept = coded.map(|body| proxy.l1.attach(&key, &entry, coding, body));
            drop(permit);
            match kept {
                Some(true) => metrics.kept.inc(),
                // What was purged or replaced meanwhile is not in L1 any more, and the form is dropped with it.
                Some(false) => metrics.dropped.inc(),
                None => metrics.unshrunk.inc(),
            }
        });
    }

    /// Has those forms of a new response made that were asked for of the old one.
    pub(super) fn code_again(self: &Arc<Self>, route: &Arc<Route>, key: &Key, old: &Entry, new: &Arc<Entry>) {
        let length = new.body().len() as u64;
        if new.codable().is_some() && route.compress().is_some_and(|compress| compress.covers(length)) {
            for coding in Coding::ALL.into_iter().filter(|&coding| old.coded(coding).is_some()) {
                self.code(route, || key.clone(), new, coding);
            }
        }
    }
}
