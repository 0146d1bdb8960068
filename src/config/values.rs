//! Values that any section may hold: switches, numbers, durations, sizes, lists and named tables.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;
use toml::de::DeValue;

use super::fault::Collector;
use super::reader::{Field, Found, Node, Place, child};
use super::units::{DURATION_PATTERN, SIZE_PATTERN, UnitError, parse_duration, parse_size, show_duration, show_size};

impl Field for bool {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        if let DeValue::Boolean(truth) = node.value {
            return Some(*truth);
        }
        node.expected("true or false", "", faults);
        None
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }

    fn show(&self) -> Option<toml::Value> {
        Some((*self).into())
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number as a count of things in memory.
    pub(super) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Field for Whole<MIN, MAX> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let found = match node.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = found.filter(|number| (MIN..=MAX).contains(number));
        if number.is_none() {
            node.expected(&format!("a whole number from {MIN} to {MAX}"), "", faults);
        }
        number.map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

/// A number from zero to `TENTHS` tenths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio<const TENTHS: u32>(pub(super) f64);

impl<const TENTHS: u32> Ratio<TENTHS> {
    fn range() -> RangeInclusive<f64> {
        0.0..=f64::from(TENTHS) / 10.0
    }
}

impl<const TENTHS: u32> Field for Ratio<TENTHS> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let found: Option<f64> = match node.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let number = found.filter(|number| Self::range().contains(number));
        if number.is_none() {
            node.expected(&format!("a number from 0.0 to {:?}", Self::range().end()), "", faults);
        }
        number.map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "number", "minimum": 0.0, "maximum": Self::range().end() })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.0.into())
    }
}

/// A duration from `MIN` to `MAX` milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    /// So many seconds.
    pub(super) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(super) const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<const MIN: u64, const MAX: u64> Field for Span<MIN, MAX> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let text = match node.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => {
                node.expected("a duration", "\"60s\"", faults);
                return None;
            }
        };
        let limit = |millis| show_duration(Duration::from_millis(millis));
        let range = format!("from {:?} to {:?}", limit(MIN), limit(MAX));
        match parse_duration(text) {
            Ok(span) if span < Duration::from_millis(MIN) || span > Duration::from_millis(MAX) => {
                out_of_range(node, text, &range, faults);
            }
            Ok(span) => return Some(Self(span)),
            Err(UnitError::TooLarge) => out_of_range(node, text, &range, faults),
            Err(UnitError::NoUnit) => {
                let message = format!("{}: {text} has no unit", node.place.path);
                faults.add(
                    node.place.value,
                    message,
                    format!("write \"{text}s\" for seconds; units are ms, s, m, h, d"),
                );
            }
            Err(UnitError::UnknownUnit(unit)) => {
                let message = format!("{}: {text:?} has the unknown unit {unit:?}", node.place.path);
                faults.add(node.place.value, message, "units are ms, s, m, h, d");
            }
            Err(UnitError::Malformed) => {
                let message = format!("{}: {text:?} is not a duration", node.place.path);
                faults.add(
                    node.place.value,
                    message,
                    "write whole numbers with units, larger units first, such as \"1h30m\"",
                );
            }
        }
        None
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": DURATION_PATTERN })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(show_duration(self.0).into())
    }
}

/// A size from `MIN` to `MAX` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Bytes<MIN, MAX> {
    /// The size of something in memory.
    pub(super) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Field for Bytes<MIN, MAX> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let text = match node.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => {
                node.expected("a size", "\"8MiB\"", faults);
                return None;
            }
        };
        let units = "units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB";
        match parse_size(text) {
            Ok(size) if (MIN..=MAX).contains(&size) => return Some(Self(size)),
            Ok(_) | Err(UnitError::TooLarge) => {
                let range = format!("from {:?} to {:?}", show_size(MIN), show_size(MAX));
                out_of_range(node, text, &range, faults);
            }
            Err(UnitError::UnknownUnit(unit)) => {
                let message = format!("{}: {text:?} has the unknown unit {unit:?}", node.place.path);
                faults.add(node.place.value, message, units);
            }
            Err(UnitError::NoUnit | UnitError::Malformed) => {
                let message = format!("{}: {text:?} is not a size", node.place.path);
                faults.add(
                    node.place.value,
                    message,
                    format!("write a whole number and a unit such as \"8MiB\"; {units}"),
                );
            }
        }
        None
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string", "pattern": SIZE_PATTERN }, { "type": "integer", "minimum": MIN }] })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(show_size(self.0).into())
    }
}

fn out_of_range(node: &Node<'_>, text: &str, range: &str, faults: &mut Collector<'_>) {
    faults.add(
        node.place.value,
        format!("{}: {text:?} is out of range", node.place.path),
        format!("write a value {range}"),
    );
}

/// A value, or `false` to do without.
#[derive(Clone, Debug)]
pub(super) enum Switch<T> {
    /// `false`.
    Off,
    /// Anything else.
    On(T),
}

impl<T> Switch<T> {
    /// The value, if there is one.
    pub(super) fn on(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

impl<T: Field> Field for Switch<T> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        match node.value {
            DeValue::Boolean(false) => Some(Self::Off),
            DeValue::Boolean(true) => {
                let message = format!("{}: true says nothing here", node.place.path);
                faults.add(
                    node.place.value,
                    message,
                    "write a value, false to switch it off, or nothing for the default",
                );
                None
            }
            _ => T::read(node, faults).map(Self::On),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [{ "const": false }, T::schema()] })
    }

    fn show(&self) -> Option<toml::Value> {
        match self {
            Self::Off => Some(false.into()),
            Self::On(value) => value.show(),
        }
    }
}

impl<T: Field> Field for Vec<Found<T>> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let DeValue::Array(array) = node.value else {
            let example = match node.value {
                DeValue::String(text) => format!("[{text:?}]"),
                DeValue::Table(_) if T::schema()["type"] == "object" => format!("[[{}]]", node.place.path),
                _ => String::new(),
            };
            node.expected("a list", &example, faults);
            return None;
        };
        let mut list = Self::with_capacity(array.len());
        for (index, value) in array.iter().enumerate() {
            let item = Node::item(&node.place, index, value);
            list.extend(Found::read(item, faults));
        }
        Some(list)
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.iter().filter_map(|item| item.value.show()).collect()))
    }
}

/// A list of default values, which stand nowhere in the file.
pub(super) fn defaults<T>(values: impl IntoIterator<Item = T>) -> Vec<Found<T>> {
    values.into_iter().map(|value| Found { value, place: Place::default(), sound: true }).collect()
}

/// A table whose keys the user chooses, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Named<T>(pub(super) Vec<Entry<T>>);

/// One key of such a table.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) name: String,
    pub(super) place: Place,
    /// `None` if it is unusable; the name still counts as known, so that one fault makes no second one.
    pub(super) value: Option<T>,
}

impl<T: Field> Field for Named<T> {
    fn read(node: &Node<'_>, faults: &mut Collector<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            node.expected("a table", "", faults);
            return None;
        };
        let mut entries = Vec::with_capacity(table.len());
        for (name, value) in table {
            let node = child(&node.place, name, value);
            let value = T::read(&node, faults);
            entries.push(Entry { name: name.get_ref().clone().into_owned(), place: node.place, value });
        }
        // Tables can be opened before or after their parts; the place of the key is what users see.
        entries.sort_by_key(|entry| entry.place.key);
        Some(Self(entries))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn show(&self) -> Option<toml::Value> {
        None
    }
}
