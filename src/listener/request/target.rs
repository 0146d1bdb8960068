//! Request targets and hosts: which resource a request names.
//!
//! The accepted set is narrower than the grammar of RFC 3986, so that the cache key, the route
//! and the origin see one and the same resource.

use std::net::Ipv6Addr;
use std::ops::Range;
use std::str::FromStr;

use crate::listener::Fault;

/// The longest host, port included: 253 bytes of name, colon, five digits.
const MAX_HOST: usize = 259;

const PATH: u8 = 1;
const QUERY: u8 = 2;
const HOST: u8 = 4;

/// Which bytes a path, a query and a host name may hold. Paths and queries take what the WHATWG
/// URL standard lets browsers send unescaped, ASCII alone; hosts take what names and IPv4
/// addresses are made of.
const BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        let path = matches!(byte, 0x21 | 0x22 | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7e);
        let query = matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e);
        let host = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        table[byte as usize] =
            (if path { PATH } else { 0 }) | (if query { QUERY } else { 0 }) | (if host { HOST } else { 0 });
        byte += 1;
    }
    table
};

/// How many bytes of a class a text begins with.
fn run(text: &[u8], class: u8) -> usize {
    text.iter().position(|&b| BYTES[usize::from(b)] & class == 0).unwrap_or(text.len())
}

/// Checks the target of a request with `method`. Answers where in `target` the authority of an
/// absolute-form target lies.
pub(super) fn check(method: &[u8], target: &[u8]) -> Result<Option<Range<usize>>, Fault> {
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    match target {
        [b'/', ..] => check_path(target).map(|()| None),
        b"*" if method == b"OPTIONS" => Ok(None),
        _ => absolute(target).map(Some),
    }
}

/// RFC 9112 section 3.2.2, with the one scheme that this listener serves.
fn absolute(target: &[u8]) -> Result<Range<usize>, Fault> {
    const SCHEME: &[u8] = b"http://";
    let scheme = target.get(..SCHEME.len()).ok_or(Fault::Target)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Fault::Target);
    }
    let rest = &target[SCHEME.len()..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    check_host(&rest[..end])?;
    check_path(&rest[end..])?;
    Ok(SCHEME.len()..SCHEME.len() + end)
}

/// Path and query. A fragment is never sent, and some parsers drop it silently.
fn check_path(text: &[u8]) -> Result<(), Fault> {
    let sound = match &text[run(text, PATH)..] {
        [] => true,
        [b'?', query @ ..] => run(query, QUERY) == query.len(),
        _ => false,
    };
    if sound { Ok(()) } else { Err(Fault::Target) }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, and a port if there is a colon.
///
/// Narrower than RFC 3986: no user information, no percent-encoding, no sub-delimiters, and a
/// port in its shortest form, so that one host has one spelling apart from case.
pub(super) fn check_host(host: &[u8]) -> Result<(), Fault> {
    if host.len() > MAX_HOST {
        return Err(Fault::HostInvalid);
    }
    let (name, port, valid) = if host.first() == Some(&b'[') {
        let end = memchr::memchr(b']', host).ok_or(Fault::HostInvalid)?;
        (&host[..=end], &host[end + 1..], is_ipv6(&host[1..end]))
    } else {
        // What does not begin with a colon behind it is no port.
        let end = run(host, HOST);
        (&host[..end], &host[end..], true)
    };
    if valid && !name.is_empty() && is_port(port) { Ok(()) } else { Err(Fault::HostInvalid) }
}

fn is_ipv6(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| Ipv6Addr::from_str(text).is_ok())
}

/// Nothing, or a colon and a number from 1 to 65535 without leading zeros.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] if matches!(digits.first(), Some(b'1'..=b'9')) => {
            let decimal =
                |number: u32, &digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'));
            digits.len() <= 5 && digits.iter().try_fold(0, decimal).is_some_and(|port| u16::try_from(port).is_ok())
        }
        _ => false,
    }
}

/// Whether two valid hosts are one (RFC 9110 section 4.2.3): case does not count, nor does the
/// default port.
pub(super) fn same_host(a: &[u8], b: &[u8]) -> bool {
    let [a, b] = [a, b].map(|host| host.strip_suffix(b":80").unwrap_or(host));
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f4_a_host_has_one_spelling() {
        for host in ["a", "A.test", "a-b_c.test.", "10.0.0.1", "[::1]", "[2001:db8::1]:8080", "a:1", "a:65535"] {
            assert_eq!(check_host(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:99999999999",
            "a:8x",
            "a:+8",
            "u@a",
            "a b",
            "a/b",
            "a,b",
            "a%41",
            "[::1",
            "::1",
            "[zz]",
            "[::1]x",
            "[]",
            "a\\b",
            "a?b",
            "a#b",
            "h\u{e9}",
        ] {
            assert_eq!(check_host(host.as_bytes()), Err(Fault::HostInvalid), "{host}");
        }
        assert_eq!(check_host(&[b'a'; 260]), Err(Fault::HostInvalid));
    }

    #[test]
    fn hosts_compare_without_case_and_default_port() {
        assert!(same_host(b"A.test:80", b"a.TEST"));
        assert!(!same_host(b"a.test:8080", b"a.test"));
        assert!(!same_host(b"a.test", b"b.test"));
    }

    #[test]
    fn targets_are_origin_form_or_http_urls() {
        for target in ["/", "/a/b?c=d&e", "//a", "/a\"{}|^[]~", "/?q=`<".trim_end_matches('<')] {
            assert_eq!(check(b"GET", target.as_bytes()), Ok(None), "{target}");
        }
        assert_eq!(check(b"OPTIONS", b"*"), Ok(None));
        assert_eq!(check(b"GET", b"http://a.test/x"), Ok(Some(7..13)));
        assert_eq!(check(b"GET", b"HTTP://a.test:8080"), Ok(Some(7..18)));
        assert_eq!(check(b"GET", b"http://a.test?x"), Ok(Some(7..13)));
    }

    #[test]
    fn f22_other_targets_are_refused() {
        for (method, target, fault) in [
            ("GET", "", Fault::Target),
            ("GET", "foo", Fault::Target),
            ("GET", "*", Fault::Target),
            ("GET", "?a", Fault::Target),
            ("GET", "#a", Fault::Target),
            ("GET", "/a#b", Fault::Target),
            ("GET", "/a?b#c", Fault::Target),
            ("GET", "/a\u{e9}", Fault::Target),
            ("GET", "/a\tb", Fault::Target),
            ("GET", "/<>", Fault::Target),
            ("GET", "a.test:80", Fault::Target),
            ("GET", "https://a.test/", Fault::Target),
            ("GET", "file:///etc/passwd", Fault::Target),
            ("GET", "http:/a", Fault::Target),
            ("GET", "http:///a", Fault::HostInvalid),
            ("GET", "http://u:p@a.test/", Fault::HostInvalid),
            ("GET", "http://a.test#x", Fault::Target),
            ("CONNECT", "a.test:443", Fault::Connect),
            ("CONNECT", "/", Fault::Connect),
        ] {
            assert_eq!(check(method.as_bytes(), target.as_bytes()), Err(fault), "{method} {target}");
        }
    }
}
