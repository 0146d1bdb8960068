//! Who may use the admin listener (trap F14).
//!
//! With a token: whoever shows it. Without one the listener is on loopback, and what remains are
//! web pages in a browser on this machine: they reach it by DNS rebinding, which a foreign
//! `Host` gives away, or by a cross-site request, which a foreign `Origin` gives away.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, request};
use subtle::{Choice, ConstantTimeEq};

use super::refusal::Refusal;
use crate::config::Secret;

pub(super) fn check(token: Option<&Secret>, head: &request::Parts) -> Result<(), Refusal> {
    match token {
        Some(secret) => check_token(secret, &head.headers),
        None => check_local(head),
    }
}

fn check_token(secret: &Secret, headers: &HeaderMap) -> Result<(), Refusal> {
    const CHALLENGE: &str = "Bearer realm=\"millpond admin\"";
    let shown = match only(headers, &AUTHORIZATION) {
        Field::None => return Err(Refusal::unauthorised("this listener needs a token", CHALLENGE)),
        Field::Several => return Err(Refusal::unauthorised("several Authorization fields", CHALLENGE)),
        Field::One(value) => value,
    };
    // RFC 9110 section 11.1: the scheme is compared without case.
    let Some((scheme, rest)) = shown.split_at_checked("bearer ".len()) else {
        return Err(Refusal::unauthorised("the Authorization field is not of the form Bearer TOKEN", CHALLENGE));
    };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::unauthorised("the Authorization field is not of the form Bearer TOKEN", CHALLENGE));
    }
    if !same(rest.trim_ascii(), secret.expose().as_bytes()) {
        const INVALID: &str = "Bearer realm=\"millpond admin\", error=\"invalid_token\"";
        return Err(Refusal::unauthorised("the token is wrong", INVALID));
    }
    Ok(())
}

/// Compares in a time that depends on the length of what the client sent and on nothing else:
/// neither the content nor the length of the secret shows. An empty secret matches nothing.
fn same(shown: &[u8], secret: &[u8]) -> bool {
    if secret.is_empty() {
        return false;
    }
    let same_length: Choice = (shown.len() as u64).ct_eq(&(secret.len() as u64));
    let same_bytes = shown.iter().zip(secret.iter().cycle()).fold(Choice::from(1), |all, (a, b)| all & a.ct_eq(b));
    (same_length & same_bytes).into()
}

fn check_local(head: &request::Parts) -> Result<(), Refusal> {
    let host = match only(&head.headers, &HOST) {
        Field::One(value) => value,
        Field::None | Field::Several => {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "not exactly one Host field", "send one Host field"));
        }
    };
    let target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    if !is_loopback(host) || target.is_some_and(|authority| !is_loopback(authority)) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "without a token, only requests for localhost, 127.0.0.1 or [::1] are taken",
            "use http://127.0.0.1 with the port of [admin], or set a token in [admin]",
        ));
    }
    let same_site = |origin: &[u8]| origin.strip_prefix(b"http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host));
    if head.headers.get_all(ORIGIN).iter().any(|origin| !same_site(origin.as_bytes())) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the request was made by a page of another site",
            "set a token in [admin] to let other sites use this listener",
        ));
    }
    Ok(())
}

fn is_loopback(authority: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(authority) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let local = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    local && !authority.as_str().contains('@')
}

enum Field<'a> {
    None,
    One(&'a [u8]),
    Several,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Field<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Field::None,
        (Some(value), None) => Field::One(value.as_bytes()),
        (Some(_), Some(_)) => Field::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_token_matches_whatever_its_length() {
        assert!(same(b"s3cret", b"s3cret"));
        for wrong in [&b""[..], b"s", b"s3cre", b"s3cret2", b"S3cret", b"s3crets3cret", b"\0"] {
            assert!(!same(wrong, b"s3cret"), "{wrong:?}");
        }
        assert!(!same(b"", b"") && !same(b"a", b""), "an empty secret opens nothing");
    }

    #[test]
    fn loopback_is_told_from_names_that_resemble_it() {
        for good in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.1.2.3", "[::1]:9090", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback(good.as_bytes()), "{good}");
        }
        for bad in ["", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "evil@127.0.0.1", "127.0.0.1@evil"] {
            assert!(!is_loopback(bad.as_bytes()), "{bad}");
        }
        assert!(!is_loopback(b"10.0.0.1") && !is_loopback(b"[::2]") && !is_loopback(b"0.0.0.0"));
    }
}
