//! Choices between fixed words.

use serde_json::json;

use super::{Refusal, Text, refuse};
use crate::config::fault::nearest;
use crate::config::model::{LogFormat, RangeFetch, RuntimeModel};
use crate::policy::coding::Coding;

/// Makes an enum a choice between fixed words.
macro_rules! choice {
    ($name:ty: $what:literal { $first:literal => $first_variant:path, $($word:literal => $variant:path,)* }) => {
        impl Text for $name {
            const WHAT: &'static str = $what;
            const EXAMPLE: &'static str = $first;

            fn parse(text: &str) -> Result<Self, Refusal> {
                match text {
                    $first => Ok($first_variant),
                    $($word => Ok($variant),)*
                    _ => {
                        let words = [$first, $($word),*];
                        let list = || format!("write {}", words.map(|word| format!("{word:?}")).join(" or "));
                        refuse("is unknown", nearest(text, words).unwrap_or_else(list))
                    }
                }
            }

            fn text(&self) -> String {
                match self {
                    $first_variant => $first.to_owned(),
                    $($variant => $word.to_owned(),)*
                }
            }

            fn text_schema() -> serde_json::Value {
                json!({ "enum": [$first, $($word),*] })
            }
        }
    };
}

choice!(RuntimeModel: "\"per-core\" or \"work-stealing\"" {
    "per-core" => RuntimeModel::PerCore,
    "work-stealing" => RuntimeModel::WorkStealing,
});

choice!(RangeFetch: "\"whole\" or \"as-asked\"" {
    "whole" => RangeFetch::Whole,
    "as-asked" => RangeFetch::AsAsked,
});

choice!(LogFormat: "\"text\" or \"json\"" {
    "text" => LogFormat::Text,
    "json" => LogFormat::Json,
});

choice!(Coding: "the name of a content coding" {
    "gzip" => Coding::Gzip,
    "br" => Coding::Brotli,
    "zstd" => Coding::Zstd,
});

/// The form of the access log.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum AccessLog {
    /// None.
    Off,
    /// Text lines.
    Text,
    /// JSON lines.
    Json,
}

choice!(AccessLog: "\"off\", \"text\" or \"json\"" {
    "off" => AccessLog::Off,
    "text" => AccessLog::Text,
    "json" => AccessLog::Json,
});

/// A method that may be looked up with its body in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum BodyMethod {
    /// Safe by its definition.
    Query,
    /// Safe where the operator says so.
    Post,
}

choice!(BodyMethod: "\"QUERY\" or \"POST\"" {
    "QUERY" => BodyMethod::Query,
    "POST" => BodyMethod::Post,
});

/// A ready-made list of query parameters that are not part of the key.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Preset {
    /// Parameters that advertising and mail campaigns add; origins do not read them.
    Tracking,
}

choice!(Preset: "the name of a preset" {
    "tracking" => Preset::Tracking,
});

impl Preset {
    /// The parameters of the preset.
    pub(in crate::config) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Tracking => &[
                "utm_*",
                "gclid",
                "gclsrc",
                "gbraid",
                "wbraid",
                "dclid",
                "fbclid",
                "msclkid",
                "ttclid",
                "twclid",
                "li_fat_id",
                "igshid",
                "yclid",
                "mc_cid",
                "mc_eid",
                "_ga",
                "_gl",
            ],
        }
    }
}
