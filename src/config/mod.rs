//! Configuration: a TOML file becomes a [`Config`] in which every value is in range and every
//! name resolves, or a list of everything that is wrong with it.
//!
//! Reading has two steps with a type each. `raw` holds the sections as written, read from a
//! document that remembers where each value stands; `build` compares the values with one another
//! and makes the [`Config`]. Neither stops at a fault, so one run shows them all; a file
//! that is no TOML stops before both.

mod build;
mod effective;
mod fault;
pub mod model;
mod raw;
mod reader;
mod shapes;
mod text;
mod units;
mod values;
mod watch;

use std::path::Path;

use toml::de::{DeTable, DeValue};

pub use effective::effective;
pub use fault::{Fault, Faults, Position};
pub use model::*;
pub use watch::FileWatch;

use fault::Collector;
use reader::{Field, Node, Place};

/// Reads and checks the file at `path`, with the environment of this process.
pub fn load(path: &Path) -> Result<Config, Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| Faults::unreadable(path, &error))?;
    parse(&text, path, &|name| std::env::var(name).ok())
}

/// Reads and checks `text`. `file` is named in faults, and relative paths start at its folder; `env`
/// looks up environment variables.
pub fn parse(text: &str, file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    let mut faults = Collector::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            faults.add(error.span().map_or(0, |span| span.start), error.message(), "");
        }
        return faults.finish(file, None);
    }
    let root = DeValue::Table(document.into_inner());
    let raw = raw::File::read(&Node { place: Place::default(), value: &root }, &mut faults);
    let surroundings = build::Surroundings { file, env };
    let config = raw.and_then(|raw| build::config(raw, &surroundings, &mut faults));
    faults.finish(file, config)
}

/// The JSON schema of the file, for editors.
pub fn schema() -> String {
    let mut schema = raw::File::schema();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Millpond".into();
    format!("{schema:#}\n")
}
