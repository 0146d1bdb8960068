//! The admin listener: who may reach it, and its token.

use std::net::SocketAddr;

use super::{Surroundings, secret};
use crate::config::fault::Collector;
use crate::config::model::{AdminConfig, Listen};
use crate::config::raw;

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
    let origin = secret::Origin { key: "admin.token", env: raw.token_env.as_ref(), file: raw.token_file.as_ref() };
    AdminConfig { listen: address, token: origin.read(around, faults) }
}

/// Whether one of the addresses keeps the other from being bound. Port 0 is whatever is free.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && overlap
}
