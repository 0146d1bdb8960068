//! Reads tables of a TOML document into typed sections and notes every fault on the way.
//!
//! The `section!` macro declares a section once; what it accepts, its defaults and its part of
//! the schema all come from that declaration, so that they cannot drift apart.

use std::collections::HashSet;

use serde_json::json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Collector, nearest};

/// Where a value stands: its path as a user would say it, and byte offsets of its key and itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) key: usize,
    pub(super) value: usize,
}

impl Place {
    /// The path of `key` in this section.
    pub(super) fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// This section as a user would say it.
    pub(super) fn section(&self) -> String {
        if self.path.is_empty() { "at the top level".to_owned() } else { format!("in {}", self.path) }
    }
}

/// A value that the file gives.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
    /// Whether nothing in it was at fault: only then may conclusions be drawn from what it lacks.
    pub(super) sound: bool,
}

impl<T: Field> Found<T> {
    /// Reads the value of a node.
    pub(super) fn read(node: Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let before = faults.count();
        let value = T::read(&node, faults)?;
        Some(Self { value, place: node.place, sound: faults.count() == before })
    }
}

/// A value that the file gives, or its default.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    /// `None` for the default.
    pub(super) given: Option<Place>,
}

impl<T> Setting<T> {
    /// What was found, or else the default.
    pub(super) fn new(found: Option<Found<T>>, default: T) -> Self {
        match found {
            Some(Found { value, place, .. }) => Self { value, given: Some(place) },
            None => Self { value: default, given: None },
        }
    }
}

/// A value of the document and its place.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) place: Place,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    /// An item of the list at `list`.
    pub(super) fn item(list: &Place, index: usize, value: &'a Spanned<DeValue<'a>>) -> Self {
        let at = value.span().start;
        Self { place: Place { path: format!("{}[{index}]", list.path), key: at, value: at }, value: value.get_ref() }
    }

    /// Notes that this value is of the wrong kind.
    pub(super) fn expected(&self, what: &str, example: &str, faults: &mut Collector<'_>) {
        let message = format!("{}: expected {what}, found {}", self.place.path, kind(self.value));
        let hint = if example.is_empty() { String::new() } else { format!("for example {example}") };
        faults.add(self.place.value, message, hint);
    }
}

/// A value as a user would name it.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A type that can be read from a value of the document.
pub(super) trait Field: Sized {
    /// Reads a value; `None` if it is unusable, in which case a fault was noted.
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self>;
    /// The JSON schema of such values.
    fn schema() -> serde_json::Value;
    /// A value as the file would write it; `None` for sections, which consist of their keys.
    fn show(&self) -> Option<toml::Value>;
}

/// A table while its keys are taken out one by one.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    place: Place,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// Opens a table.
    pub(super) fn open(node: &Node<'a>, faults: &mut Collector<'_>) -> Option<Self> {
        if let DeValue::Table(table) = node.value {
            return Some(Self { place: node.place.clone(), table, known: Vec::new() });
        }
        node.expected("a table", "", faults);
        None
    }

    /// Reads one key if it is there.
    pub(super) fn take<T: Field>(&mut self, key: &'static str, faults: &mut Collector<'_>) -> Option<Found<T>> {
        self.known.push(key);
        let (name, value) = self.table.get_key_value(key)?;
        Found::read(child(&self.place, name, value), faults)
    }

    /// Reads one key that must be there.
    pub(super) fn take_required<T: Field>(
        &mut self,
        key: &'static str,
        example: &str,
        faults: &mut Collector<'_>,
    ) -> Option<Found<T>> {
        if !self.table.contains_key(key) {
            let message = format!("missing {key:?} {}", self.place.section());
            faults.add(self.place.value, message, format!("add for example {example}"));
        }
        self.take(key, faults)
    }

    /// Notes every key that nobody took.
    pub(super) fn finish(self, faults: &mut Collector<'_>) {
        let known: HashSet<_> = self.known.iter().copied().collect();
        for (name, _) in self.table {
            let key = name.get_ref().as_ref();
            if known.contains(key) {
                continue;
            }
            let message = format!("unknown key {key:?} {}", self.place.section());
            let list = || format!("known keys are {}", self.known.join(", "));
            let hint = nearest(key, self.known.iter().copied()).unwrap_or_else(list);
            faults.add(name.span().start, message, hint);
        }
    }
}

/// The node of a key and its value.
pub(super) fn child<'a>(
    section: &Place,
    name: &Spanned<toml::de::DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
) -> Node<'a> {
    let place = Place { path: section.child(name.get_ref()), key: name.span().start, value: value.span().start };
    Node { place, value: value.get_ref() }
}

/// The schema of a section: its text, its keys with their texts and defaults, and the required ones.
pub(super) fn section_schema(
    about: &str,
    keys: Vec<(&'static str, serde_json::Value, String, Option<toml::Value>)>,
    required: &[&str],
) -> serde_json::Value {
    let mut properties = serde_json::Map::new();
    for (key, mut schema, text, default) in keys {
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), json!(text));
            if let Some(default) = default {
                object.insert("default".to_owned(), json!(default));
            }
        }
        properties.insert(key.to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Declares a section: `key: Type` is optional, `key: Type = default` has a default, and
/// `key: Type => "example"` must be given. Doc comments become the schema's descriptions.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $key:ident : $type:ty $(= $default:expr)? $(=> $example:literal)?, )+
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            /// Where the section stands.
            #[allow(dead_code, reason = "only sections whose faults concern the section as a whole need it")]
            pub(super) place: Place,
            $( $(#[doc = $doc])* pub(super) $key: section!(@slot $type $(= $default)?), )+
        }

        impl $name {
            /// The section when the file does not have it.
            #[allow(dead_code, reason = "some sections are always required")]
            pub(super) fn absent() -> Self {
                Self { place: Place::default(), $( $key: section!(@none $($default)?), )+ }
            }
        }

        impl Field for $name {
            fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
                let mut keys = Keys::open(node, faults)?;
                let section = Self {
                    place: node.place.clone(),
                    $( $key: section!(@take keys faults $key $(= $default)? $(=> $example)?), )+
                };
                keys.finish(faults);
                Some(section)
            }

            fn schema() -> serde_json::Value {
                let about = concat!($($about),*).trim();
                let keys = vec![$((
                    stringify!($key),
                    <$type as Field>::schema(),
                    concat!($($doc),*).trim().to_owned(),
                    section!(@default $type $(= $default)?),
                )),+];
                let required: &[&str] = &[$($(section!(@first (stringify!($key)) $example),)?)+];
                section_schema(about, keys, required)
            }

            fn show(&self) -> Option<toml::Value> {
                None
            }
        }
    };
    (@slot $type:ty) => { Option<Found<$type>> };
    (@slot $type:ty = $default:expr) => { Setting<$type> };
    (@none) => { None };
    (@none $default:expr) => { Setting::new(None, $default) };
    (@take $keys:ident $faults:ident $key:ident) => { $keys.take(stringify!($key), $faults) };
    (@take $keys:ident $faults:ident $key:ident = $default:expr) => {
        Setting::new($keys.take(stringify!($key), $faults), $default)
    };
    (@take $keys:ident $faults:ident $key:ident => $example:literal) => {
        $keys.take_required(stringify!($key), $example, $faults)
    };
    (@default $type:ty) => { None };
    (@default $type:ty = $default:expr) => { { let default: $type = $default; default.show() } };
    (@first ($first:expr) $second:expr) => { $first };
}
pub(super) use section;
