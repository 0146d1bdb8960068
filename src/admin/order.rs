//! The body of `POST /purge`, parsed into an order or refused with the fix.
//!
//! A purge that matches too much empties the cache in front of a slow origin, and one that
//! matches too little leaves old data: so anything ambiguous is refused, never guessed.

mod target;

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::control::{PurgeOrder, PurgeTarget};
use super::refusal::closest;

/// The longest wait for receipts.
pub const MAX_WAIT: Duration = Duration::from_mins(1);

/// Keys that name what to purge.
const TARGETS: &[&str] = &["url", "prefix", "tag", "tags", "route", "all"];

/// Keys that say how.
const OPTIONS: &[&str] = &["soft", "wait"];

/// What is wrong with the body of a purge. The fault is the sender's; [`fix`](Self::fix) says
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No body.
    #[error("the body is empty")]
    Empty,
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A key twice; parsers disagree about which one counts.
    #[error("the key {0:?} appears twice")]
    Repeated(String),
    /// A key that means nothing.
    #[error("the key {0:?} is not known")]
    UnknownKey(String),
    /// Nothing to purge.
    #[error("nothing to purge: none of url, prefix, tag, tags, route and all is given")]
    NoTarget,
    /// More than one thing to purge.
    #[error("more than one target: {}", .0.join(", "))]
    SeveralTargets(Vec<&'static str>),
    /// A value of another type.
    #[error("{key:?} is {found}, not {expected}")]
    Type {
        /// Whose value.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A text of no characters.
    #[error("{0:?} is empty")]
    EmptyText(&'static str),
    /// A text beyond any key or tag.
    #[error("{0:?} is longer than 8192 bytes")]
    TooLong(&'static str),
    /// White space or a control character, which no key or tag has.
    #[error("{0:?} contains white space or a control character")]
    Blank(&'static str),
    /// It would match everything, and nobody said so.
    #[error("{key} {value:?} would match everything")]
    Everything {
        /// Whose value.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// `"all": false`.
    #[error("\"all\" is false, which names nothing")]
    AllFalse,
    /// Not an absolute URL that this cache could hold.
    #[error("the url {0}")]
    Url(&'static str),
    /// Not a prefix of such a URL.
    #[error("the prefix {0}")]
    Prefix(&'static str),
    /// A pattern where a plain prefix belongs.
    #[error("the prefix {0:?} ends in a star, which would be taken literally")]
    Star(String),
    /// Several tags in one text.
    #[error("the tag {0:?} contains a comma, which separates tags")]
    Comma(String),
    /// An empty list, or one beyond the bound.
    #[error("\"tags\" has {0} elements")]
    TagCount(usize),
    /// Not a duration.
    #[error("\"wait\" is {0:?}, which is not a duration")]
    Wait(String),
    /// A duration out of range.
    #[error("\"wait\" is {0:?}, which is out of range")]
    WaitRange(String),
}

impl OrderError {
    /// What to send instead.
    pub fn fix(&self) -> String {
        let fixed = match self {
            Self::Empty | Self::Syntax(_) | Self::NotAnObject | Self::NoTarget => {
                "send one JSON object such as {\"tag\": \"user:42\"}"
            }
            Self::UnknownKey(key) => return key_fix(key),
            Self::Repeated(_) => "name each key once; for several tags use \"tags\": [\"a\", \"b\"]",
            Self::SeveralTargets(_) => "send one purge for each target; for several tags use \"tags\": [\"a\", \"b\"]",
            Self::Type { key, .. } => return format!("write it as in {}", example(key)),
            Self::EmptyText(key) => return format!("leave {key:?} out, or write it as in {}", example(key)),
            Self::TooLong(_) => "use a shorter prefix, or tag what belongs together",
            Self::Blank("tag" | "tags") | Self::Comma(_) => "give several tags as a list: \"tags\": [\"a\", \"b\"]",
            Self::Blank("route") => "write the name of the route as in the configuration",
            Self::Blank(_) => "percent-encode it as clients do in their requests",
            Self::Everything { .. } => "if that is what you mean, send {\"all\": true}",
            Self::AllFalse => "send {\"all\": true} to purge everything, or name another target",
            Self::Url(_) => "write it as clients request it, as in \"url\": \"http://api.test/users/42\"",
            Self::Prefix(_) => "write \"prefix\": \"/users/\" for every host, or \"http://api.test/users/\" for one",
            Self::Star(_) => "leave the star out: a prefix matches whatever begins with it",
            Self::TagCount(0) => "name at least one tag, as in \"tags\": [\"user:42\"]",
            Self::TagCount(_) => "send at most 256 tags in one order",
            Self::Wait(_) => "write it with its unit, as in \"wait\": \"2s\"",
            Self::WaitRange(_) => "wait for 1ms to 60s",
        };
        fixed.to_owned()
    }
}

fn key_fix(key: &str) -> String {
    let known = || TARGETS.iter().chain(OPTIONS).copied();
    match closest(key, known()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("the keys are: {}", known().collect::<Vec<_>>().join(", ")),
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "url" => "\"url\": \"http://api.test/users/42\"",
        "prefix" => "\"prefix\": \"/users/\"",
        "tags" => "\"tags\": [\"user:42\"]",
        "route" => "\"route\": \"api\"",
        "all" => "\"all\": true",
        "soft" => "\"soft\": true",
        "wait" => "\"wait\": \"2s\"",
        _ => "\"tag\": \"user:42\"",
    }
}

/// Reads an order.
pub(super) fn parse(body: &[u8]) -> Result<PurgeOrder, OrderError> {
    if body.trim_ascii().is_empty() {
        return Err(OrderError::Empty);
    }
    let fields = serde_json::from_slice::<Fields>(body).map_err(|fault| {
        if fault.is_data() { OrderError::NotAnObject } else { OrderError::Syntax(fault.to_string()) }
    })?;
    let mut order = Draft::default();
    for (index, (key, value)) in fields.0.iter().enumerate() {
        if fields.0[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(OrderError::Repeated(key.chars().take(64).collect()));
        }
        order.take(key, value)?;
    }
    order.finish()
}

/// The order as far as its keys were read.
#[derive(Default)]
struct Draft {
    targets: Vec<(&'static str, PurgeTarget)>,
    soft: bool,
    wait: Option<Duration>,
}

impl Draft {
    fn take(&mut self, key: &str, value: &Value) -> Result<(), OrderError> {
        if let Some(key) = TARGETS.iter().find(|known| **known == key) {
            self.targets.push((key, target::read(key, value)?));
            return Ok(());
        }
        match key {
            "soft" => self.soft = value.as_bool().ok_or_else(|| wrong_type("soft", "true or false", value))?,
            "wait" => self.wait = Some(read_wait(value)?),
            _ => return Err(OrderError::UnknownKey(key.chars().take(64).collect())),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<PurgeOrder, OrderError> {
        if self.targets.len() > 1 {
            return Err(OrderError::SeveralTargets(self.targets.iter().map(|(key, _)| *key).collect()));
        }
        let (_, target) = self.targets.pop().ok_or(OrderError::NoTarget)?;
        Ok(PurgeOrder { target, soft: self.soft, wait: self.wait })
    }
}

fn read_wait(value: &Value) -> Result<Duration, OrderError> {
    let text = value.as_str().ok_or_else(|| wrong_type("wait", "a text such as \"2s\"", value))?;
    let shown = || text.chars().take(32).collect();
    let wait = humantime::parse_duration(text).map_err(|_| OrderError::Wait(shown()))?;
    if wait < Duration::from_millis(1) || wait > MAX_WAIT {
        return Err(OrderError::WaitRange(shown()));
    }
    Ok(wait)
}

fn wrong_type(key: &'static str, expected: &'static str, value: &Value) -> OrderError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    OrderError::Type { key, expected, found }
}

/// The members of an object in the order of the text, repeated ones included: a map would keep
/// the last and purge less than was asked for.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
