//! What a purge names: one reader per key.

use http::Uri;
use serde_json::Value;

use super::{OrderError, wrong_type};
use crate::admin::control::PurgeTarget;

/// Bytes of a URL, prefix, tag or name.
const MAX_TEXT: usize = 8192;

/// Tags in one order.
const MAX_TAGS: usize = 256;

pub(super) fn read(key: &'static str, value: &Value) -> Result<PurgeTarget, OrderError> {
    match key {
        "url" => url(text(key, value)?),
        "prefix" => prefix(text(key, value)?),
        "tag" => Ok(PurgeTarget::Tags(vec![tag(key, value)?])),
        "tags" => tags(value),
        "route" => route(text(key, value)?),
        _ => match value.as_bool() {
            Some(true) => Ok(PurgeTarget::All),
            Some(false) => Err(OrderError::AllFalse),
            None => Err(wrong_type("all", "true", value)),
        },
    }
}

fn text<'a>(key: &'static str, value: &'a Value) -> Result<&'a str, OrderError> {
    let text = value.as_str().ok_or_else(|| wrong_type(key, "a text", value))?;
    if text.is_empty() {
        return Err(OrderError::EmptyText(key));
    }
    if text.len() > MAX_TEXT {
        return Err(OrderError::TooLong(key));
    }
    // Names of routes are free text; nothing else may hold a blank.
    let blank = |c: char| c.is_control() || (c.is_whitespace() && key != "route");
    if text.chars().any(blank) { Err(OrderError::Blank(key)) } else { Ok(text) }
}

fn everything(key: &'static str, value: &str) -> OrderError {
    OrderError::Everything { key, value: value.to_owned() }
}

fn url(text: &str) -> Result<PurgeTarget, OrderError> {
    if matches!(text, "*" | "/*") {
        return Err(everything("url", text));
    }
    absolute(text).map_err(OrderError::Url)?;
    Ok(PurgeTarget::Url(text.to_owned()))
}

/// Whether `text` is an absolute URL as a key has it: scheme, host, nothing that requests to a
/// proxy do not carry.
fn absolute(text: &str) -> Result<(), &'static str> {
    // `Uri` would cut a fragment off silently.
    if text.contains('#') {
        return Err("has a fragment, which never reaches a server");
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err("is not absolute: it must begin with http:// or https://");
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    let Some(authority) = uri.authority() else { return Err("has no host") };
    if authority.as_str().contains('@') {
        return Err("has user information, which no key contains");
    }
    // `Authority` takes a port out of range for none.
    if authority.host().is_empty() || (authority.as_str() != authority.host() && authority.port_u16().is_none()) {
        return Err("has no valid host and port");
    }
    Ok(())
}

fn prefix(text: &str) -> Result<PurgeTarget, OrderError> {
    if matches!(text, "/" | "*" | "/*") {
        return Err(everything("prefix", text));
    }
    if text.ends_with('*') {
        return Err(OrderError::Star(text.to_owned()));
    }
    if text.contains('#') {
        return Err(OrderError::Prefix("has a fragment, which never reaches a server"));
    }
    if !text.starts_with('/') {
        absolute(text).map_err(OrderError::Prefix)?;
        // `http://api.test` would match `http://api.test.example/` too.
        if text.splitn(4, '/').count() < 4 {
            return Err(OrderError::Prefix("ends inside the host: add the slash after it"));
        }
    }
    Ok(PurgeTarget::Prefix(text.to_owned()))
}

fn tag(key: &'static str, value: &Value) -> Result<String, OrderError> {
    let tag = text(key, value)?;
    if tag == "*" {
        return Err(everything("tag", tag));
    }
    if tag.contains(',') { Err(OrderError::Comma(tag.to_owned())) } else { Ok(tag.to_owned()) }
}

fn tags(value: &Value) -> Result<PurgeTarget, OrderError> {
    let list = value.as_array().ok_or_else(|| wrong_type("tags", "a list of texts", value))?;
    if list.is_empty() || list.len() > MAX_TAGS {
        return Err(OrderError::TagCount(list.len()));
    }
    list.iter().map(|value| tag("tags", value)).collect::<Result<_, _>>().map(PurgeTarget::Tags)
}

fn route(text: &str) -> Result<PurgeTarget, OrderError> {
    if text == "*" { Err(everything("route", text)) } else { Ok(PurgeTarget::Route(text.to_owned())) }
}
