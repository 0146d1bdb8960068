//! Names of routes, parameters, cookies, variables and files, and the log filter.

use serde_json::json;

use super::{Refusal, Text, refuse};
use crate::config::fault::nearest;

/// A name that is safe in metric labels, logs and purges.
#[derive(Clone, Debug)]
pub(in crate::config) struct Name(pub(in crate::config) String);

impl Text for Name {
    const WHAT: &'static str = "a name";
    const EXAMPLE: &'static str = "users-api";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 64 || !text.chars().all(good) {
            return refuse("is not a name", "use 1 to 64 letters, digits, \"-\", \"_\" and \".\"");
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn text_schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" })
    }
}

/// The name of a query parameter or cookie; it may end in a star.
#[derive(Clone, Debug)]
pub(in crate::config) struct NamePattern(pub(in crate::config) String);

impl Text for NamePattern {
    const WHAT: &'static str = "a name";
    const EXAMPLE: &'static str = "utm_*";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if text.is_empty() {
            return refuse("is empty", format!("write for example {:?}", Self::EXAMPLE));
        }
        if name.contains('*') {
            return refuse("has a star that is not at its end", format!("write for example {:?}", Self::EXAMPLE));
        }
        if let Some(odd) =
            name.chars().find(|c| matches!(c, '&' | '=' | ';' | '?' | '#' | ',') || !c.is_ascii_graphic())
        {
            return refuse(
                format!("has the character {odd:?}, which no name has"),
                "write the name alone, as it is sent",
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The name of a cookie, without stars.
#[derive(Clone, Debug)]
pub(in crate::config) struct CookieName(pub(in crate::config) String);

impl Text for CookieName {
    const WHAT: &'static str = "the name of a cookie";
    const EXAMPLE: &'static str = "tenant";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains('*') {
            return refuse("has a star", "a key needs whole names; list each cookie");
        }
        NamePattern::parse(text).map(|name| Self(name.0))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A filter for diagnostics.
#[derive(Clone, Debug)]
pub(in crate::config) struct LogFilter(pub(in crate::config) String);

impl Text for LogFilter {
    const WHAT: &'static str = "a log filter";
    const EXAMPLE: &'static str = "info";

    fn parse(text: &str) -> Result<Self, Refusal> {
        for part in text.split(',') {
            // A lone word that is no level would be taken for a module and switch everything else off.
            let (module, level) = part.split_once('=').unwrap_or(("any", part));
            let module_is_good = module
                .split("::")
                .all(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            if !LEVELS.contains(&level) || !module_is_good {
                let list =
                    || format!("levels are {}; a module has its own as in \"info,millpond=debug\"", LEVELS.join(", "));
                return refuse("is not a log filter", nearest(level, LEVELS).unwrap_or_else(list));
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Any text that is not empty: the name of an environment variable, a file.
#[derive(Clone, Debug)]
pub(in crate::config) struct Plain(pub(in crate::config) String);

impl Text for Plain {
    const WHAT: &'static str = "a text";
    const EXAMPLE: &'static str = "MILLPOND_ADMIN_TOKEN";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            refuse("is empty", "name something or leave the key out")
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}
