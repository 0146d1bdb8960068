//! Log levels as an operator writes them, checked more strictly than `EnvFilter` does.
//!
//! `EnvFilter` takes a bare word that is no level for the name of a module and switches
//! everything else off, so that a slip such as `inof` silences the log. Here it is an error.

use tracing_subscriber::filter::EnvFilter;

/// What a level may be.
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Directives in one level text.
const MAX_DIRECTIVES: usize = 32;

/// Why a level text was refused. The fault is with whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Nothing was given.
    #[error("the log level is empty: use one of off, error, warn, info, debug, trace")]
    Empty,
    /// Not a level.
    #[error("{given:?} is not a log level{}: use one of off, error, warn, info, debug, trace, \
             or module=level pairs such as millpond=debug", hint(*.closest))]
    Unknown {
        /// What was written.
        given: String,
        /// The level it resembles.
        closest: Option<&'static str>,
    },
    /// The part before `=` is not the name of a module.
    #[error("{given:?} does not name a module: write it as in millpond::admin=debug")]
    Module {
        /// What was written.
        given: String,
    },
    /// More than a sensible number of parts.
    #[error("a log level may have at most 32 parts")]
    TooMany,
    /// `tracing` did not take it.
    #[error("the log level was refused: {0}")]
    Refused(String),
}

fn hint(closest: Option<&'static str>) -> String {
    closest.map(|level| format!(", did you mean {level:?}?")).unwrap_or_default()
}

/// Checks a level text such as `info` or `warn,millpond::origin=debug`.
pub fn check_level(text: &str) -> Result<(), LevelError> {
    parse(text).map(drop)
}

pub(super) fn parse(text: &str) -> Result<EnvFilter, LevelError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(LevelError::Empty);
    }
    if text.split(',').count() > MAX_DIRECTIVES {
        return Err(LevelError::TooMany);
    }
    for part in text.split(',').map(str::trim) {
        let level = match part.split_once('=') {
            Some((module, level)) if is_module(module) => level,
            Some((module, _)) => return Err(LevelError::Module { given: cut(module) }),
            None => part,
        };
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(unknown(level));
        }
    }
    EnvFilter::try_new(text).map_err(|fault| LevelError::Refused(fault.to_string()))
}

fn is_module(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
}

fn unknown(given: &str) -> LevelError {
    let distance = |level: &&&str| strsim::damerau_levenshtein(level, &given.to_ascii_lowercase());
    let closest = if given.len() > 16 { None } else { LEVELS.iter().min_by_key(distance) };
    LevelError::Unknown { given: cut(given), closest: closest.filter(|level| distance(level) <= 2).copied() }
}

/// Enough of a wrong text to recognise it.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_module_levels_are_taken() {
        for text in ["info", "OFF", " debug ", "warn,millpond=debug", "millpond::admin=trace, error"] {
            assert_eq!(check_level(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_slip_is_an_error_and_never_silences_the_log() {
        for (text, message) in [
            ("", "the log level is empty"),
            ("inof", "\"inof\" is not a log level, did you mean \"info\"?"),
            ("millpond=debgu", "\"debgu\" is not a log level, did you mean \"debug\"?"),
            ("warn,,info", "\"\" is not a log level"),
            ("millpond", "\"millpond\" is not a log level: use one of"),
            ("=debug", "\"\" does not name a module"),
            ("a[b{c=1}]=debug", "\"a[b{c\" does not name a module"),
            ("x\n=info", "\"x\\n\" does not name a module"),
        ] {
            let fault = check_level(text).unwrap_err().to_string();
            assert!(fault.starts_with(message), "{text:?}: {fault}");
        }
        assert_eq!(check_level(&"info,".repeat(40)), Err(LevelError::TooMany));
    }
}
