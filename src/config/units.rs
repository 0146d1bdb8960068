//! Durations and sizes as people write them: `1h30m`, `8MiB`.

use std::fmt::Write as _;
use std::time::Duration;

/// Units of durations, largest first, in milliseconds. A month or a year has no fixed length.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of sizes, in bytes; the first that divides a size evenly is used to show it.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// The form of a duration as a regular expression, for the schema.
pub(super) const DURATION_PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
/// The form of a size as a regular expression, for the schema.
pub(super) const SIZE_PATTERN: &str = "^[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|KB|B)?$";

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// It has a number and nothing after it.
    NoUnit,
    /// It has this where a unit should be.
    UnknownUnit(String),
    /// It does not begin with a number, repeats a unit, or has units out of order.
    Malformed,
    /// It is larger than 64 bits can hold.
    TooLarge,
}

/// Reads a duration: whole numbers, each with a unit, larger units first.
pub(super) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut units = DURATION_UNITS.as_slice();
    loop {
        let (number, unit, after) = number_and_unit(rest)?;
        if unit.is_empty() {
            return Err(UnitError::NoUnit);
        }
        let Some(index) = units.iter().position(|(name, _)| *name == unit) else {
            let known = DURATION_UNITS.iter().any(|(name, _)| *name == unit);
            return Err(if known { UnitError::Malformed } else { UnitError::UnknownUnit(unit.to_owned()) });
        };
        let part = number.checked_mul(units[index].1).ok_or(UnitError::TooLarge)?;
        millis = millis.checked_add(part).ok_or(UnitError::TooLarge)?;
        if after.is_empty() {
            return Ok(Duration::from_millis(millis));
        }
        units = &units[index + 1..];
        rest = after;
    }
}

/// Shows a duration in the form that [`parse_duration`] reads; parts of a millisecond are dropped.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in DURATION_UNITS {
        if left >= millis {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{}{unit}", left / millis);
            left %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a size: one whole number and a unit; without a unit it counts bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit, after) = number_and_unit(text)?;
    if !after.is_empty() {
        return Err(UnitError::Malformed);
    }
    if unit.is_empty() {
        return Ok(number);
    }
    let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| UnitError::UnknownUnit(unit.to_owned()))?;
    number.checked_mul(factor).ok_or(UnitError::TooLarge)
}

/// Shows a size in the form that [`parse_size`] reads.
pub(super) fn show_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    SIZE_UNITS.iter().find(fits).map_or_else(|| "0B".to_owned(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// Splits `1h30m` into 1, `h` and `30m`.
fn number_and_unit(text: &str) -> Result<(u64, &str, &str), UnitError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Malformed);
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge)?;
    let (unit, after) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
    if !unit.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(UnitError::Malformed);
    }
    Ok((number, unit, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_numbers_with_units_larger_units_first() {
        for (text, millis) in [("60s", 60_000), ("1h30m", 5_400_000), ("250ms", 250), ("1m5ms", 60_005), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, error) in [
            ("60", UnitError::NoUnit),
            ("", UnitError::Malformed),
            ("s", UnitError::Malformed),
            ("-5s", UnitError::Malformed),
            ("5m1h", UnitError::Malformed),
            ("5s5s", UnitError::Malformed),
            ("1.5s", UnitError::Malformed),
            ("5 s", UnitError::Malformed),
            ("5M", UnitError::UnknownUnit("M".into())),
            ("99999999999999999d", UnitError::TooLarge),
            ("99999999999999999999s", UnitError::TooLarge),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_know_powers_of_two_and_of_ten() {
        for (text, bytes) in [("8MiB", 8 << 20), ("64KB", 64_000), ("512", 512), ("7B", 7), ("1TiB", 1 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("8mb", UnitError::UnknownUnit("mb".into())),
            ("1GiB1B", UnitError::Malformed),
            ("MiB", UnitError::Malformed),
            ("99999999999TiB", UnitError::TooLarge),
        ] {
            assert_eq!(parse_size(text), Err(error), "{text}");
        }
        assert_eq!(
            (show_size(256 << 20), show_size(1500), show_size(0)),
            ("256MiB".into(), "1500B".into(), "0B".into())
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back_unchanged(value in any::<u64>()) {
            prop_assert_eq!(parse_duration(&show_duration(Duration::from_millis(value))), Ok(Duration::from_millis(value)));
            prop_assert_eq!(parse_size(&show_size(value)), Ok(value));
        }
    }
}
