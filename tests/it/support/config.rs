//! Configuration texts: one origin, one route, and what a test adds.

use std::fmt::Write;
use std::net::SocketAddr;

use super::origin::Origin;

/// A configuration in the making.
#[derive(Clone, Debug)]
pub(crate) struct ConfigText {
    admin_keys: String,
    listen: String,
    origin: String,
    origin_keys: String,
    route_keys: String,
    cache: String,
    sections: String,
}

impl ConfigText {
    /// Everything goes to `origin`, cached by the rules of RFC 9111 alone.
    pub(crate) fn for_origin(origin: &Origin) -> Self {
        Self {
            admin_keys: String::new(),
            listen: String::new(),
            origin: origin.url(),
            origin_keys: String::new(),
            route_keys: String::new(),
            cache: "{}".to_owned(),
            sections: String::new(),
        }
    }

    /// The route's cache rules, as in `ttl = '60s', jitter = 0.0`.
    pub(crate) fn cache(&mut self, rules: &str) {
        self.cache = format!("{{ {rules} }}");
    }

    /// A route that passes everything.
    pub(crate) fn no_cache(&mut self) {
        "false".clone_into(&mut self.cache);
    }

    /// Further keys of the admin listener, one per line.
    pub(crate) fn admin(&mut self, keys: &str) {
        self.admin_keys.push_str(keys);
        self.admin_keys.push('\n');
    }

    /// Further keys of the listener, one per line.
    pub(crate) fn listen(&mut self, keys: &str) {
        self.listen.push_str(keys);
        self.listen.push('\n');
    }

    /// Further keys of the origin, one per line.
    pub(crate) fn origin(&mut self, keys: &str) {
        self.origin_keys.push_str(keys);
        self.origin_keys.push('\n');
    }

    /// Further keys of the route, one per line.
    pub(crate) fn route(&mut self, keys: &str) {
        self.route_keys.push_str(keys);
        self.route_keys.push('\n');
    }

    /// Further sections, with their heads.
    pub(crate) fn section(&mut self, text: &str) {
        self.sections.push_str(text);
        self.sections.push('\n');
    }

    /// The text, for a proxy that listens at these addresses.
    pub(crate) fn text(&self, http: SocketAddr, admin: SocketAddr) -> String {
        let Self { admin_keys, listen, origin, origin_keys, route_keys, cache, sections } = self;
        let mut text = format!("[listen]\nhttp = \"{http}\"\n{listen}\n[admin]\nlisten = \"{admin}\"\n{admin_keys}\n");
        let _ = write!(text, "[origins.scripted]\nurl = \"{origin}\"\n{origin_keys}\n{sections}\n");
        let _ = write!(text, "[[routes]]\npath = \"*\"\norigin = \"scripted\"\ncache = {cache}\n{route_keys}");
        text
    }
}
