//! Texts of HTTP: URLs, hosts, paths, methods and field names.

use http::Method;
use http::header::HeaderName;
use http::uri::{Authority, Uri};
use serde_json::json;

use super::{Refusal, Text, refuse};
use crate::route::HostPattern;

impl Text for HeaderName {
    const WHAT: &'static str = "the name of a header field";
    const EXAMPLE: &'static str = "accept-language";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::from_bytes(text.as_bytes())
            .or_else(|_| refuse("is not the name of a header field", format!("write for example {:?}", Self::EXAMPLE)))
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Text for Method {
    const WHAT: &'static str = "a method";
    const EXAMPLE: &'static str = "GET";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let upper = text.to_ascii_uppercase();
        match Self::from_bytes(text.as_bytes()) {
            // Methods are compared with case (RFC 9110 section 9.1): a lower-case one would never match.
            Ok(_) if upper != text => refuse("is not in upper case", format!("write {upper:?}")),
            Ok(method) => Ok(method),
            Err(_) => refuse("is not a method", "write for example \"GET\""),
        }
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// The address of an origin.
#[derive(Clone, Debug)]
pub(in crate::config) struct OriginUrl(pub(in crate::config) Authority);

impl Text for OriginUrl {
    const WHAT: &'static str = "the URL of an origin";
    const EXAMPLE: &'static str = "http://127.0.0.1:3000";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let example = format!("write for example {:?}", Self::EXAMPLE);
        let Ok(uri) = text.parse::<Uri>() else { return refuse("is not a URL", example) };
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                let hint = "TLS to origins is not supported yet; write http:// and keep the way to the origin private";
                return refuse("asks for TLS", hint);
            }
            Some(_) => return refuse("has a scheme other than http", example),
            None => return refuse("has no scheme", example),
        }
        let Some(authority) = uri.authority() else { return refuse("has no host", example) };
        if authority.as_str().contains('@') {
            return refuse("has a user name", format!("write \"http://{}\"", host_and_port(authority)));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            let hint = format!("write \"http://{authority}\"; the path comes from the request");
            return refuse("has a path or query", hint);
        }
        check_authority(authority)?;
        Ok(Self(authority.clone()))
    }

    fn text(&self) -> String {
        format!("http://{}", self.0)
    }

    fn text_schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^http://[^/?#@]+/?$" })
    }
}

fn host_and_port(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// Refuses an empty host and a port that is none.
fn check_authority(authority: &Authority) -> Result<(), Refusal> {
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if authority.host().is_empty() || !port_is_good {
        return refuse("has no host or no valid port", "ports are 1 to 65535");
    }
    Ok(())
}

/// What goes into the `Host` field towards an origin.
#[derive(Clone, Debug)]
pub(in crate::config) enum HostHeader {
    /// What the client sent.
    Preserve,
    /// Always this.
    Fixed(Authority),
}

impl Text for HostHeader {
    const WHAT: &'static str = "\"preserve\" or a host";
    const EXAMPLE: &'static str = "preserve";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "preserve" {
            return Ok(Self::Preserve);
        }
        let hint = "write \"preserve\" or a host such as \"api.internal\" or \"api.internal:8080\"";
        match text.parse::<Authority>() {
            Ok(host) if !text.contains('@') => check_authority(&host).map(|()| Self::Fixed(host)),
            _ => refuse("is not a host", hint),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Preserve => "preserve".to_owned(),
            Self::Fixed(host) => host.to_string(),
        }
    }
}

/// The host of a route: a name, or `*.` and a name.
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteHost(pub(in crate::config) HostPattern);

impl Text for RouteHost {
    const WHAT: &'static str = "a host";
    const EXAMPLE: &'static str = "api.example.com";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let example = "write for example \"api.example.com\" or \"*.example.com\"";
        if text == "*" {
            return refuse("is not a host", "leave the key out to take every host");
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.contains('*') {
            return refuse("has a star that is not in front", example);
        }
        let Ok(authority) = name.parse::<Authority>() else { return refuse("is not a host", example) };
        if authority.host() != name {
            return refuse(
                "has more than a host",
                format!("leave port and user name out, as in {:?}", authority.host()),
            );
        }
        let name = name.to_ascii_lowercase();
        Ok(Self(if text.starts_with("*.") {
            HostPattern::Suffix(format!(".{name}"))
        } else {
            HostPattern::Exact(name)
        }))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A path with stars.
#[derive(Clone, Debug)]
pub(in crate::config) struct RoutePath(pub(in crate::config) String);

impl Text for RoutePath {
    const WHAT: &'static str = "a path";
    const EXAMPLE: &'static str = "/api/*";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text != "*" && !text.starts_with('/') {
            return refuse("does not start with a slash", format!("write \"/{text}\", or \"*\" for every path"));
        }
        if let Some(odd) = text.chars().find(|c| matches!(c, '?' | '#') || !c.is_ascii_graphic()) {
            let hint = "a path has no query or fragment, and other characters are percent-encoded";
            return refuse(format!("has the character {odd:?}, which no request path has"), hint);
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn text_schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": r"^(\*|/[^?#\s]*)$" })
    }
}
