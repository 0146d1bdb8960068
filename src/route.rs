//! Host, path and method to a route: first match in the order of the file. Pure.

use http::Method;

/// What a host must look like for a route to match. Hosts are compared in lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host alone.
    Exact(String),
    /// Any host that ends with this text, which starts with a dot (`*.example.com`).
    Suffix(String),
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Suffix(end) => {
                host.len() > end.len()
                    && host.is_char_boundary(host.len() - end.len())
                    && host[host.len() - end.len()..].eq_ignore_ascii_case(end)
            }
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(end) => write!(f, "*{end}"),
        }
    }
}

/// What a path must look like: literal pieces with `*` (any run of characters) between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// The pieces around the stars; one piece means an exact path.
    pieces: Vec<String>,
}

impl PathPattern {
    /// Reads a pattern. A pattern without `*` is exact; `/api/*` is a prefix.
    pub fn parse(text: &str) -> Self {
        Self { pieces: text.split('*').map(str::to_owned).collect() }
    }

    /// Whether `path` (without query) matches.
    pub fn matches(&self, path: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        if !starts_with(path, first) {
            return false;
        }
        let mut left = &path[first.len()..];
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        for piece in middle {
            match left.find(piece.as_str()) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        // Most patterns end in a star, and every hit comes by here.
        last.is_empty() || left.ends_with(last.as_str())
    }
}

/// Byte by byte: the path has just been copied out of the read buffer, and the wide loads of a `memcmp` have to wait
/// until that is done.
fn starts_with(path: &str, start: &str) -> bool {
    path.len() >= start.len() && path.bytes().zip(start.bytes()).all(|(own, other)| own == other)
}

impl std::fmt::Display for PathPattern {
    /// The text that [`parse`](Self::parse) reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pieces.join("*"))
    }
}

/// The matching part of a route.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Hosts; empty means any.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Methods; empty means any.
    pub methods: Vec<Method>,
}

impl Matcher {
    /// Whether a request for `host` and `path` belongs to this route. The host may carry a port, which does not count.
    pub fn matches(&self, method: &Method, host: &str, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(without_port(host))))
            && self.path.matches(path)
    }
}

/// The colons of an IPv6 address stand in brackets.
fn without_port(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_run_and_no_star_is_exact() {
        for (pattern, path, expected) in [
            ("/api/*", "/api/", true),
            ("/api/*", "/api/a/b", true),
            ("/api/*", "/api", false),
            ("/api", "/api", true),
            ("/api", "/api/x", false),
            ("*", "/anything", true),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a//c", true),
            ("/a/*/c", "/a/c", false),
            ("/*.json", "/x/y.json", true),
            ("/*.json", "/x/y.jsonp", false),
            ("/a*b*b", "/ab", false),
            ("/a*b*b", "/abb", true),
        ] {
            assert_eq!(PathPattern::parse(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn hosts_compare_without_case_and_a_suffix_needs_a_label_before_it() {
        let matcher = |hosts| Matcher { hosts, path: PathPattern::parse("*"), methods: vec![] };
        let exact = matcher(vec![HostPattern::Exact("api.test".into())]);
        assert!(exact.matches(&Method::GET, "API.test", "/"));
        assert!(exact.matches(&Method::GET, "api.test:8080", "/"), "on any port");
        assert!(!exact.matches(&Method::GET, "api.test.evil", "/"));
        let address = matcher(vec![HostPattern::Exact("[2001:db8::1]".into())]);
        assert!(["[2001:db8::1]", "[2001:db8::1]:80"].iter().all(|host| address.matches(&Method::GET, host, "/")));
        let suffix = matcher(vec![HostPattern::Suffix(".test".into())]);
        assert!(suffix.matches(&Method::GET, "a.b.Test", "/"));
        assert!(!suffix.matches(&Method::GET, ".test", "/"));
        assert!(!suffix.matches(&Method::GET, "test", "/"));
    }
}
