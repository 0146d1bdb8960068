//! The admin listener: who may reach it, and its token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Surroundings;
use crate::config::fault::Collector;
use crate::config::model::{AdminConfig, Listen, Secret, SecretSource};
use crate::config::raw;
use crate::config::reader::Place;

pub(super) fn admin(
    raw: &raw::Admin,
    listen: &Listen,
    around: &Surroundings<'_>,
    faults: &mut Collector<'_>,
) -> AdminConfig {
    let address = raw.listen.value;
    let place = raw.listen.given.as_ref().unwrap_or(&raw.place);
    if collide(address, listen.http) {
        let message = format!("admin.listen {address} and listen.http {} are the same port", listen.http);
        faults.add(place.value, message, "give the admin listener a port of its own");
    }
    let named = raw.token_env.is_some() || raw.token_file.is_some();
    if !named && !address.ip().is_loopback() {
        let message = format!("admin.listen {address} can be reached from other machines, but there is no token");
        faults.add(place.value, message, "add token_env or token_file, or listen on 127.0.0.1");
    }
    AdminConfig { listen: address, token: token(raw, around, faults) }
}

/// Whether one of the addresses keeps the other from being bound. Port 0 is whatever is free.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}

fn token(raw: &raw::Admin, around: &Surroundings<'_>, faults: &mut Collector<'_>) -> Option<Secret> {
    match (&raw.token_env, &raw.token_file) {
        (Some(_), Some(file)) => {
            faults.add(file.place.key, "admin.token_env and admin.token_file are both set", "keep one of them");
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
                    let message = format!("admin.token_file: cannot read {:?}: {error}", file.value.0);
                    faults.add(file.place.value, message, "the path is relative to the folder of this file");
                    None
                }
            }
        }
        (None, None) => None,
    }
}

/// A path that is relative to the folder of `file`.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// Takes the first line of `text` as the secret, if a client can send it as a bearer token.
fn checked(text: &str, source: SecretSource, what: &str, place: &Place, faults: &mut Collector<'_>) -> Option<Secret> {
    let value = text.lines().next().unwrap_or_default().trim();
    let (problem, hint) = if value.is_empty() {
        ("is not set or empty", "put the token there")
    } else if value.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(Secret::new(value.to_owned(), source));
    } else {
        ("holds characters that a token cannot have", "use letters, digits and punctuation, without spaces")
    };
    faults.add(place.value, format!("{}: {what} {problem}", place.path), hint);
    None
}
