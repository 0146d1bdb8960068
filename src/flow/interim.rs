//! Interim responses of the origin, relayed to the client that waits (RFC 9110 section 15.2).
//!
//! Only the client whose request was forwarded gets them, others who wait for the same fetch do not:
//! they come before anybody knows whether the response may be shared. None is stored, for the same
//! reason and because they would be out of date.

use http::header::{CONTENT_LENGTH, HeaderMap, SET_COOKIE, TRANSFER_ENCODING};

use crate::origin::OnInterim;
use crate::policy::fields;

use super::forward::OriginHead;
use super::respond;
use super::visit::Visit;

/// Who gets the response that an interim one precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// This client alone.
    Sole,
    /// This client first, and perhaps others.
    First,
}

impl OriginHead {
    /// The same request, with interim responses to it relayed to the client of `visit`.
    pub(super) fn telling(mut self, visit: &Visit, audience: Audience) -> Self {
        self.interim = visit.interim.clone().map(|client| {
            OnInterim::new(move |status, headers| {
                if let Some(fields) = relayed(headers, audience) {
                    client.send(status, &fields);
                }
            })
        });
        self
    }
}

/// The fields to relay. One that announces a body, which no interim response has (RFC 9112 section
/// 6.3), is dropped: what its sender meant is anybody's guess.
fn relayed(headers: &HeaderMap, audience: Audience) -> Option<HeaderMap> {
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let mut fields = headers.clone();
    fields::strip_hop_by_hop(&mut fields);
    if audience == Audience::First {
        // A cookie reaches its client with the response, once that is judged.
        fields.remove(SET_COOKIE);
    }
    respond::add_via(&mut fields);
    Some(fields)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(named: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn early_hints_lose_the_fields_of_their_connection_and_pass_through_us() {
        let hints = fields(&[
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.js>; rel=preload"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("set-cookie", "a=b"),
        ]);
        let sole = relayed(&hints, Audience::Sole).unwrap();
        let expected = [
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.js>; rel=preload"),
            ("set-cookie", "a=b"),
            ("via", "1.1 millpond"),
        ];
        assert_eq!(sole, fields(&expected));
        let first = relayed(&hints, Audience::First).unwrap();
        assert_eq!(first.get(SET_COOKIE), None);
        assert_eq!(first.get_all("link").iter().count(), 2);
    }

    #[test]
    fn an_interim_response_that_announces_a_body_is_dropped() {
        let framed = [fields(&[("content-length", "5")]), fields(&[("transfer-encoding", "chunked")])];
        for headers in &framed {
            assert_eq!(relayed(headers, Audience::Sole), None);
        }
    }
}
