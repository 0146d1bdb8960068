//! What a JSON text says, as `serde_json` reads it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value. Numbers and words are their texts: `1` and `1.0` are two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`, `true`, `false` or a number.
    Bare(String),
    /// A text.
    Text(String),
    /// Items in order.
    List(Vec<Self>),
    /// Members, sorted by name.
    Object(Vec<(String, Self)>),
}

/// Reads a text; `None` if it is no JSON, names a member twice in one object, or nests deeper than `depth`.
pub fn read(text: &str, depth: usize) -> Option<Value> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let text = raw.get();
    match text.bytes().next()? {
        b'"' => serde_json::from_str(text).ok().map(Value::Text),
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|item| read(item.get(), depth)).collect::<Option<_>>().map(Value::List)
        }
        b'{' => {
            let depth = depth.checked_sub(1)?;
            let Members(members) = serde_json::from_str(text).ok()?;
            let read = members.into_iter().map(|(name, value)| Some((name, read(value.get(), depth)?)));
            let mut members = read.collect::<Option<Vec<_>>>()?;
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            let twice = members.windows(2).any(|pair| pair[0].0 == pair[1].0);
            (!twice).then_some(Value::Object(members))
        }
        _ => Some(Value::Bare(text.to_owned())),
    }
}

/// Members as they come, since a map would hide that one comes twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'a> Visitor<'a> for Each {
            type Value = Members<'a>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Value {
    /// The same in another spelling: members in the opposite order, white space wherever it may be, every character of a
    /// text escaped.
    pub fn respelled(&self) -> String {
        match self {
            Self::Bare(word) => format!("\t{word}\n"),
            Self::Text(text) => format!(" {} ", escaped(text)),
            Self::List(items) => format!("[ {} ]", joined(items.iter().map(Self::respelled))),
            Self::Object(members) => {
                let members = members.iter().rev();
                let written = members.map(|(name, value)| format!("\r{} :{}", escaped(name), value.respelled()));
                format!("{{ {} }}", joined(written))
            }
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

/// Outside of ASCII `\u` takes one escape or two (RFC 8259 section 7).
fn escaped(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
    format!("\"{units}\"")
}
