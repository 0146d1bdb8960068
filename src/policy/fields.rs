//! Fields that belong to one connection, fields that do not belong into the store, and lists and weights in fields.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, ETAG, FORWARDED, HOST,
    HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY, VIA,
};

use super::directives::Directives;
use super::storability::Storable;
use crate::wire::Lines;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// RFC 9110 section 7.6.1: for one connection, named in `Connection` or not. Statics, since a constant would be made anew
/// wherever it is looked at.
static HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, TRAILER];

/// Fields that naming them in `Connection` does not remove: they say who the client is, what it
/// may do and how the message is to be understood, so removing them on a client's word would let
/// it change what the origin sees of others (section 7.6.1 forbids to list such fields).
static END_TO_END: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    ETAG,
    FORWARDED,
    HOST,
    SET_COOKIE,
    VARY,
    VIA,
];

/// RFC 9111 section 3.1: for the proxy that they were addressed to.
static FOR_A_PROXY: [HeaderName; 3] = [PROXY_AUTHENTICATE, PROXY_AUTHENTICATION_INFO, PROXY_AUTHORIZATION];

/// What can be asked for a field by its name: a map, or the lines that are stored of a response.
pub trait ByName {
    /// The values of all fields of this name, in order.
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]>;

    /// The first of them.
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Whether there is a field of this name.
    fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }
}

impl ByName for HeaderMap {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

impl ByName for Lines {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        Self::all(self, name)
    }
}

/// The fields of the connection that a message came by.
pub struct HopByHop(Vec<HeaderName>);

impl HopByHop {
    /// Those of a message with these fields.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(if headers.contains_key(CONNECTION) { connection_options(headers) } else { Vec::new() })
    }

    /// Whether a field is one of them.
    pub fn contains(&self, name: &HeaderName) -> bool {
        is_hop_by_hop(name.as_str().as_bytes()) || self.0.contains(name)
    }
}

/// Whether a field is for one connection, named in `Connection` or not. Case does not count.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    // Told apart by length first: almost every field is none of these.
    matches!(name.len(), 2 | 7 | 10 | 16 | 17)
        && HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_str().as_bytes()))
}

/// Removes the fields of the connection that a message came by, and what announces trailers, which nothing stored has.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most responses have none of them, which one look at all names tells.
    if !headers.keys().any(|name| is_hop_by_hop(name.as_str().as_bytes())) {
        return;
    }
    for name in HopByHop::of(headers).0.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    let members = headers.get_all(CONNECTION).iter().flat_map(|field| field.as_bytes().split(|&b| b == b','));
    members.filter_map(nominated).collect()
}

/// The field that a member of `Connection` has removed, if it is one.
pub fn nominated(option: &[u8]) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(option.trim_ascii()).ok()?;
    (!END_TO_END.contains(&name) && !name.as_str().starts_with("x-forwarded-")).then_some(name)
}

/// Removes what is not stored: fields of the connection, framing, which the body in the store gives
/// anew, `Age`, which is computed for each answer, and what the policy withholds. Returns the cookies, which
/// are for the client whose request was sent.
pub fn prepare_stored(headers: &mut HeaderMap, storable: &Storable) -> Vec<HeaderValue> {
    let cookies = take_cookies(headers);
    strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    headers.remove(AGE);
    for name in FOR_A_PROXY.iter().chain(&storable.withheld) {
        headers.remove(name);
    }
    cookies
}

/// Takes out what no client but the one whose request was sent may get.
fn take_cookies(headers: &mut HeaderMap) -> Vec<HeaderValue> {
    let cookies = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    cookies
}

/// Removes what one client may be told and not the next: cookies, and the fields that the response itself
/// withholds from shared caches (RFC 9111 sections 5.2.2.4 and 5.2.2.7). Also what each answer says anew, and
/// what announces trailers, which none has. For a response that is shown to all who wait although it is not
/// stored. Returns the cookies, which are for the client whose request was sent.
pub fn prepare_shared(headers: &mut HeaderMap) -> Vec<HeaderValue> {
    let (directives, _) = Directives::of_response(headers);
    let cookies = take_cookies(headers);
    let withheld = directives.no_cache_fields.iter().chain(&directives.private_fields);
    for name in withheld.chain(&[AGE, CONTENT_LENGTH, TRAILER]) {
        headers.remove(name);
    }
    cookies
}

/// The members of a comma-separated list in which quoted strings may contain commas.
pub(super) fn members(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    field
        .split(move |&b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        })
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// How much a client likes what this parameter of a list member stands behind (RFC 9110 section 12.4.2), in thousandths:
/// 0 or 1 with up to three digits behind the point. `None` if it is no weight.
pub(super) fn weight(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.trim_ascii().split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        weight = 10 * weight + u16::from(digit - b'0');
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn connection_names_fields_to_remove_but_not_those_that_protect_others() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop, Authorization"),
            ("connection", "x-forwarded-for, host, te"),
            ("x-hop", "1"),
            ("authorization", "2"),
            ("x-forwarded-for", "3"),
            ("host", "h"),
            ("te", "trailers"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "x"),
            ("x-kept", "4"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "host", "x-forwarded-for", "x-kept"]);
    }

    #[test]
    fn every_field_of_a_connection_is_known_as_one() {
        let none = HopByHop::of(&HeaderMap::new());
        assert!(HOP_BY_HOP.iter().all(|name| none.contains(name)));
        assert!(END_TO_END.iter().all(|name| !none.contains(name)));
    }

    #[test]
    fn what_is_stored_loses_the_fields_of_its_connection_and_what_announces_trailers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "trailer, x-hop"), ("trailer", "x-sum"), ("x-hop", "1"), ("date", "now")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["date"]);
    }

    #[test]
    fn a_weight_is_zero_or_one_with_up_to_three_digits_behind_the_point() {
        for (parameter, thousandths) in [
            ("q=1", 1000),
            ("Q=0.5", 500),
            (" q=0.05\t", 50),
            ("q=0.001", 1),
            ("q=1.", 1000),
            ("q=0.", 0),
            ("q=1.000", 1000),
        ] {
            assert_eq!(weight(parameter.as_bytes()), Some(thousandths), "{parameter}");
        }
        for parameter in [
            "", "q", "q=", "q =1", "q= 1", "q=2", "q=01", "q=1.001", "q=0.0000", "q=.5", "q=-1", "q=0.5;x", "q=1e0",
            "level=1",
        ] {
            assert_eq!(weight(parameter.as_bytes()), None, "{parameter}");
        }
    }
}
