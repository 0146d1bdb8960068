//! Two values with a form of their own: the query rule of a key, and lifetimes by status.

use std::time::Duration;

use serde_json::json;
use toml::de::DeValue;

use super::fault::{Collector, nearest};
use super::raw::{Lifetime, QueryLists};
use super::reader::{Field, Node, child};

/// Which query parameters are part of the key.
#[derive(Clone, Debug)]
pub(super) enum QueryChoice {
    /// `"all"`.
    All,
    /// `"none"`.
    Ignore,
    /// A table with one list.
    Lists(QueryLists),
}

impl Field for QueryChoice {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let text = match node.value {
            DeValue::Table(_) => return QueryLists::read(node, faults).map(Self::Lists),
            DeValue::String(text) => text.as_ref(),
            _ => {
                node.expected("\"all\", \"none\" or a table", "{ deny = [\"session\"] }", faults);
                return None;
            }
        };
        match text {
            "all" => Some(Self::All),
            "none" => Some(Self::Ignore),
            _ => {
                let list = || "write \"all\", \"none\", { allow = [...] } or { deny = [...] }".to_owned();
                let hint = nearest(text, ["all", "none"]).unwrap_or_else(list);
                faults.add(node.place.value, format!("{}: {text:?} is unknown", node.place.path), hint);
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [{ "enum": ["all", "none"] }, QueryLists::schema()] })
    }

    fn show(&self) -> Option<toml::Value> {
        match self {
            Self::All => Some("all".into()),
            Self::Ignore => Some("none".into()),
            Self::Lists(_) => None,
        }
    }
}

/// Lifetimes by status, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct StatusLifetimes(pub(super) Vec<(u16, Duration)>);

impl Field for StatusLifetimes {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            node.expected("a table of lifetimes by status", "{ 404 = \"10s\" }", faults);
            return None;
        };
        let mut lifetimes = Vec::with_capacity(table.len());
        for (name, value) in table {
            let node = child(&node.place, name, value);
            let status = status(name.get_ref(), &node, faults);
            let lifetime = Lifetime::read(&node, faults);
            lifetimes.extend(status.zip(lifetime.map(|lifetime| lifetime.0)));
        }
        Some(Self(lifetimes))
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "object",
            "patternProperties": { "^[2-5][0-9][0-9]$": Lifetime::schema() },
            "additionalProperties": false,
        })
    }

    fn show(&self) -> Option<toml::Value> {
        None
    }
}

/// Reads a status that can be stored.
fn status(text: &str, node: &Node<'_>, faults: &mut Collector<'_>) -> Option<u16> {
    let found = text.parse().ok().filter(|status| text.len() == 3 && (200..=599).contains(status));
    let reason = match found {
        // Neither is a whole response: 206 is a part of one, and 304 says that a stored one is still good.
        Some(206 | 304) => "is never stored by itself",
        Some(status) => return Some(status),
        None => "is not a final status",
    };
    let hint = "write a status from 200 to 599 other than 206 and 304";
    faults.add(node.place.key, format!("{}: {text:?} {reason}", node.place.path), hint);
    None
}
