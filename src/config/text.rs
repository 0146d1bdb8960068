//! Values written as text: addresses, names, paths, hosts and choices from a list.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde_json::json;
use toml::de::DeValue;

use super::fault::Collector;
use super::reader::{Field, Node};

mod choices;
mod names;
mod redis;
mod web;

pub(super) use choices::{AccessLog, BodyMethod, Preset};
pub(super) use names::{CookieName, LogFilter, Name, NamePattern, Plain};
pub(super) use redis::RedisUrl;
pub(super) use web::{HostHeader, OriginUrl, RouteHost, RoutePath};

/// Why a text is refused: `what` follows the quoted text, `hint` says what to write.
#[derive(Debug)]
pub(in crate::config) struct Refusal {
    what: String,
    hint: String,
    /// The text may be a secret and is not shown.
    hidden: bool,
}

fn refuse<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { what: what.into(), hint: hint.into(), hidden: false })
}

/// A type that is written as text.
pub(in crate::config) trait Text: Sized {
    /// What such a text is, with its article.
    const WHAT: &'static str;
    /// A good text.
    const EXAMPLE: &'static str;
    /// Reads a text.
    fn parse(text: &str) -> Result<Self, Refusal>;
    /// Shows the value in the form that `parse` reads.
    fn text(&self) -> String;
    /// What editors should know.
    fn text_schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl<T: Text> Field for T {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let DeValue::String(text) = node.value else {
            node.expected(T::WHAT, &format!("{:?}", T::EXAMPLE), faults);
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(Refusal { what, hint, hidden }) => {
                let shown = if hidden { "the text".to_owned() } else { format!("{text:?}") };
                faults.add(node.place.value, format!("{}: {shown} {what}", node.place.path), hint);
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        T::text_schema()
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.text().into())
    }
}

impl Text for SocketAddr {
    const WHAT: &'static str = "an IP address with a port";
    const EXAMPLE: &'static str = "0.0.0.0:8080";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().or_else(|_| {
            let hint = "write for example \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"";
            refuse("is not an IP address with a port", hint)
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for IpNet {
    const WHAT: &'static str = "a network";
    const EXAMPLE: &'static str = "10.0.0.0/8";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let network: Result<Self, _> = text.parse();
        let network = network.or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
        let Ok(network) = network else {
            return refuse("is not a network", "write for example \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"");
        };
        if network.trunc() != network {
            return refuse("has bits set behind its prefix", format!("write {:?}", network.trunc().to_string()));
        }
        Ok(network)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}
