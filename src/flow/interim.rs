//! Interim responses of the origin, relayed to the client that waits (RFC 9110 section 15.2).
//!
//! Only the client whose request was forwarded gets them, others who wait for the same fetch do not:
//! they come before anybody knows whether the response may be shared. None is stored, for the same
//! reason and because they would be out of date.

use http::header::{HeaderMap, SET_COOKIE, VIA};

use crate::origin::OnInterim;

use super::forward::OriginHead;
use super::respond::OUR_VIA;
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
        self.interim = visit
            .interim
            .clone()
            .map(|client| OnInterim::new(move |status, headers| client.send(status, &relayed(headers, audience))));
        self
    }
}

/// The fields to relay.
fn relayed(headers: &HeaderMap, audience: Audience) -> HeaderMap {
    let mut fields = headers.clone();
    if audience == Audience::First {
        // A cookie reaches its client with the response, once that is judged.
        fields.remove(SET_COOKIE);
    }
    fields.append(VIA, OUR_VIA);
    fields
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
    fn early_hints_pass_through_us_and_their_cookies_reach_one_client_alone() {
        let hints =
            fields(&[("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload"), ("set-cookie", "a=b")]);
        let sole = relayed(&hints, Audience::Sole);
        let expected = [
            ("link", "</a.css>; rel=preload"),
            ("link", "</b.js>; rel=preload"),
            ("set-cookie", "a=b"),
            ("via", "1.1 millpond"),
        ];
        assert_eq!(sole, fields(&expected));
        let first = relayed(&hints, Audience::First);
        assert_eq!(first.get(SET_COOKIE), None);
        assert_eq!(first.get_all("link").iter().count(), 2);
    }
}
