//! `Accept-Encoding` (RFC 9110 section 12.5.3).

use http::header::{ACCEPT_ENCODING, HeaderMap};

use super::Coding;
use crate::policy::fields::weight;

/// What a request says of codings: weights in thousandths. Reading it allocates nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Whether the field is there; without it every coding is acceptable.
    stated: bool,
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    /// `*`: all that is not named.
    others: Option<u16>,
}

impl Accepted {
    /// Reads all `Accept-Encoding` fields of a request. A member that cannot be read is passed over; of one that is
    /// named twice the lower weight counts, because to send no coding is always understood.
    pub fn of(request: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for field in request.get_all(ACCEPT_ENCODING) {
            accepted.stated = true;
            for member in field.as_bytes().split(|&b| b == b',') {
                accepted.note(member);
            }
        }
        accepted
    }

    fn note(&mut self, member: &[u8]) {
        let (name, parameter) = match memchr::memchr(b';', member) {
            Some(at) => (&member[..at], Some(&member[at + 1..])),
            None => (member, None),
        };
        let Some(weight) = parameter.map_or(Some(1000), weight) else { return };
        let place = match name.trim_ascii() {
            b"*" => &mut self.others,
            name if name.eq_ignore_ascii_case(b"identity") => &mut self.identity,
            name => match Coding::named(name) {
                Some(coding) => &mut self.codings[coding as usize],
                None => return,
            },
        };
        *place = Some(place.map_or(weight, |known| known.min(weight)));
    }

    /// The coding to send, if one is to be preferred to none: the one with the highest weight, and of equals the first
    /// in `order`. A request without the field gets none: whoever understands codings says so.
    pub fn best(&self, order: &[Coding]) -> Option<Coding> {
        let mut best: Option<(Coding, u16)> = None;
        for &coding in order {
            let weight = self.weight(coding);
            if weight > best.map_or(0, |(_, most)| most) {
                best = Some((coding, weight));
            }
        }
        // No coding is acceptable unless it is excluded; what it is worth is known only if it is named.
        best.filter(|&(_, weight)| weight >= self.identity.unwrap_or(0)).map(|(coding, _)| coding)
    }

    /// Whether the client takes this coding.
    pub fn takes(&self, coding: Coding) -> bool {
        !self.stated || self.weight(coding) > 0
    }

    /// Whether the client takes a body without coding: "acceptable by default unless specifically excluded".
    pub fn takes_identity(&self) -> bool {
        self.identity.or(self.others).is_none_or(|weight| weight > 0)
    }

    /// Whether the client says that it takes this coding, and likes no other better, nor none.
    pub fn favours(&self, coding: Coding) -> bool {
        let weight = self.weight(coding);
        let most = Coding::ALL.into_iter().map(|other| self.weight(other)).fold(self.identity.unwrap_or(0), u16::max);
        weight > 0 && weight == most
    }

    fn weight(&self, coding: Coding) -> u16 {
        self.codings[coding as usize].or(self.others).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepted(fields: &[&'static str]) -> Accepted {
        let mut map = HeaderMap::new();
        for value in fields {
            map.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        Accepted::of(&map)
    }

    #[test]
    fn the_coding_is_the_one_that_the_client_likes_best_and_of_equals_the_first_of_the_route() {
        let (z, b, g) = (Some(Coding::Zstd), Some(Coding::Brotli), Some(Coding::Gzip));
        for (fields, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], g),
            (&["GZip"], g),
            (&["x-gzip"], g),
            (&["gzip, deflate, br, zstd"], z),
            (&["gzip, deflate, br"], b),
            (&["deflate"], None),
            (&["deflate, compress;q=0.5"], None),
            (&["gzip;q=1.0, br;q=0.9"], g),
            (&["gzip;q=0.8, br;q=0.9, zstd;q=0.1"], b),
            (&["gzip;q=0.801,br;q=0.8"], g),
            (&["gzip ; Q=0.5 , br\t;\tq=0.4"], g),
            (&["gzip", "br"], b),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["*"], z),
            (&["*;q=0"], None),
            (&["zstd;q=0, *"], b),
            (&["*;q=0.5, gzip;q=0.6"], g),
            (&["*;q=0.5, gzip;q=0.4"], z),
            (&["*;q=0, gzip"], g),
            (&["identity"], None),
            (&["identity, gzip"], g),
            (&["identity;q=0.5, gzip;q=0.4"], None),
            (&["identity;q=0.5, gzip;q=0.5"], g),
            (&["identity;q=0, gzip;q=0.001"], g),
            (&["gzip, gzip;q=0"], None),
            (&["gzip;q=x"], None),
            (&["gzip;q=1.5"], None),
            (&["gzip;q=1.001"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;q=-1, br;q="], None),
            (&["gzip;level=9"], None),
            (&["gzip;q=0.5;a=b"], None),
            (&[" , ,gzip,"], g),
            (&["gzipped, xgzip"], None),
        ] {
            assert_eq!(accepted(fields).best(&Coding::ALL), expected, "{fields:?}");
        }
        assert_eq!(accepted(&["gzip, br, zstd"]).best(&[Coding::Gzip, Coding::Zstd]), g, "the route's order counts");
        assert_eq!(accepted(&["br"]).best(&[Coding::Gzip, Coding::Zstd]), None, "the route does not make it");
    }

    #[test]
    fn no_coding_is_acceptable_unless_it_is_excluded() {
        for (fields, expected) in [
            (&[][..], true),
            (&[""], true),
            (&["gzip"], true),
            (&["identity;q=0"], false),
            (&["gzip, identity;q=0.0"], false),
            (&["*;q=0"], false),
            (&["gzip, *;q=0"], false),
            (&["identity;q=0.1, *;q=0"], true),
            (&["*;q=0.1"], true),
        ] {
            assert_eq!(accepted(fields).takes_identity(), expected, "{fields:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_read_and_what_is_chosen_is_taken(field in "[a-z*;=q.,0-9 \\t-]{0,60}") {
            let mut map = HeaderMap::new();
            map.insert(ACCEPT_ENCODING, HeaderValue::from_str(&field).unwrap());
            let accepted = Accepted::of(&map);
            if let Some(best) = accepted.best(&Coding::ALL) {
                assert!(accepted.takes(best) && accepted.favours(best), "{field}");
            }
        }
    }

    #[test]
    fn a_request_that_does_not_say_takes_what_it_has_but_is_sent_none() {
        let silent = accepted(&[]);
        assert!(silent.takes(Coding::Gzip) && silent.best(&Coding::ALL).is_none());
        assert!(!accepted(&["br"]).takes(Coding::Gzip));
    }
}
