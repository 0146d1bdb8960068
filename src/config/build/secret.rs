//! Secrets: from an environment variable or from the first line of a file.

use std::path::{Path, PathBuf};

use super::Surroundings;
use crate::config::fault::Collector;
use crate::config::model::{Secret, SecretSource};
use crate::config::reader::{Found, Place};
use crate::config::text::Plain;

/// Where a secret is said to be.
pub(super) struct Origin<'a> {
    /// The key that it belongs to, without `_env` and `_file`.
    pub(super) key: &'static str,
    pub(super) env: Option<&'a Found<Plain>>,
    pub(super) file: Option<&'a Found<Plain>>,
}

impl Origin<'_> {
    /// The secret; `None` if there is none, or a fault was noted.
    pub(super) fn read(&self, around: &Surroundings<'_>, faults: &mut Collector<'_>) -> Option<Secret> {
        let key = self.key;
        match (self.env, self.file) {
            (Some(_), Some(file)) => {
                faults.add(file.place.key, format!("{key}_env and {key}_file are both set"), "keep one of them");
                None
            }
            (Some(name), None) => {
                let variable = &name.value.0;
                let value = (around.env)(variable).unwrap_or_default();
                let what = format!("the environment variable {variable:?}");
                checked(&value, SecretSource::Environment(variable.clone()), &what, &name.place, faults)
            }
            (None, Some(file)) => {
                let path = beside(around.file, &file.value.0);
                match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        let what = format!("the file {:?}", file.value.0);
                        checked(&text, SecretSource::File(path), &what, &file.place, faults)
                    }
                    Err(error) => {
                        let message = format!("{key}_file: cannot read {:?}: {error}", file.value.0);
                        faults.add(file.place.value, message, "the path is relative to the folder of this file");
                        None
                    }
                }
            }
            (None, None) => None,
        }
    }
}

/// A path that is relative to the folder of `file`.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// Takes the first line of `text` as the secret, if it can be sent as one word.
fn checked(text: &str, source: SecretSource, what: &str, place: &Place, faults: &mut Collector<'_>) -> Option<Secret> {
    let value = text.lines().next().unwrap_or_default().trim();
    let (problem, hint) = if value.is_empty() {
        ("is not set or empty", "put the secret there")
    } else if value.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(Secret::new(value.to_owned(), source));
    } else {
        ("holds characters that a secret cannot have", "use letters, digits and punctuation, without spaces")
    };
    faults.add(place.value, format!("{}: {what} {problem}", place.path), hint);
    None
}
