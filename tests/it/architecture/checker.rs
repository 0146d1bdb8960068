//! Applies the rules to sources.

use super::names::{paths, tokens};
use super::rules::{RULES, Rule, Who};

/// A source file, reduced to the paths it names.
pub(super) struct Source {
    file: String,
    /// Where it stands in the module tree.
    module: Vec<String>,
    paths: Vec<Vec<String>>,
}

impl Source {
    /// `file` is relative to `src`.
    pub(super) fn new(file: &str, text: &str) -> Self {
        let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        if module == ["lib"] {
            module.clear();
        }
        let paths = paths(&tokens(text));
        Self { file: file.to_owned(), module, paths }
    }

    /// Whether it belongs to this top-level module.
    pub(super) fn is_in(&self, module: &str) -> bool {
        self.module.first().is_some_and(|own| own == module)
    }

    /// The module of this crate that a path leads to, seen from the root.
    fn target(&self, path: &[String]) -> Option<String> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let rest = match path.first()?.as_str() {
            "crate" | "millpond" => path.get(1),
            "super" if supers == self.module.len() => path.get(supers),
            // It stays within its own top-level module, or names another crate.
            _ => None,
        };
        rest.cloned()
    }

    fn names_crate(&self, name: &str) -> bool {
        // A module of ours may have the name of a crate; its paths begin elsewhere.
        self.paths.iter().any(|path| path.len() > 1 && path[0] == name)
    }

    fn names_module(&self, name: &str) -> bool {
        self.paths.iter().any(|path| self.target(path).is_some_and(|target| target == name))
    }

    fn calls(&self, call: &str) -> bool {
        let (kind, function) = call.split_once("::").unwrap();
        let tokio = |path: &[String]| path[0] == "tokio" || self.imports_from_tokio(kind);
        self.paths.iter().any(|path| path.ends_with(&[kind.to_owned(), function.to_owned()]) && !tokio(path))
    }

    /// Timers use tokio's own `Instant`, which a test can pause.
    fn imports_from_tokio(&self, kind: &str) -> bool {
        self.paths.iter().any(|path| path.len() > 1 && path[0] == "tokio" && path.last().is_some_and(|l| l == kind))
    }

    fn breaches(&self, rule: &Rule) -> Vec<String> {
        let concerned = match rule.who {
            Who::Only(modules) => modules.iter().any(|module| self.is_in(module)),
            Who::AllBut(modules) => !modules.iter().any(|module| self.is_in(module)),
        };
        if !concerned {
            return Vec::new();
        }
        let crates = rule.crates.iter().filter(|name| self.names_crate(name)).map(|name| format!("the crate {name}"));
        let modules = rule.modules.iter().filter(|name| self.names_module(name)).map(|name| format!("crate::{name}"));
        let calls = rule.calls.iter().filter(|call| self.calls(call)).map(|call| (*call).to_owned());
        let names = crates.chain(modules).chain(calls);
        names.map(|name| format!("src/{} names {name}: {}", self.file, rule.why)).collect()
    }
}

/// Every forbidden edge in the sources.
pub(super) fn violations(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| source.breaches(rule))).collect()
}

/// What the checker finds in one planted file.
fn planted(file: &str, text: &str) -> Vec<String> {
    violations(&[Source::new(file, text)])
}

#[test]
fn a_planted_edge_is_found_however_it_is_spelled() {
    for (file, text, edge) in [
        ("policy/age.rs", "use tokio::time::sleep;", "the crate tokio"),
        ("policy/age.rs", "fn f() { let x = ::rand::random(); }", "the crate rand"),
        ("policy/age.rs", "use crate::clock::Clock;", "crate::clock"),
        ("policy/age.rs", "use crate::{reason::Reason, clock::{Clock, Moment}};", "crate::clock"),
        ("policy/age.rs", "use super::super::clock;", "crate::clock"),
        ("policy/mod.rs", "use super::l1::L1;", "crate::l1"),
        ("policy/age.rs", "fn f(c: &crate::config::Config) {}", "crate::config"),
        ("key.rs", "pub use super::entry::Entry;", "crate::entry"),
        ("route.rs", "fn f() { tracing::info!(\"x\"); }", "the crate tracing"),
        ("l1/slot.rs", "use crate::bus::Seq;", "crate::bus"),
        ("origin/pool.rs", "use crate::coalesce;", "crate::coalesce"),
        ("bus/table.rs", "use super::super::l1::L1;", "crate::l1"),
        ("l2/mod.rs", "use crate::l1::L1;", "crate::l1"),
        ("coalesce/body.rs", "use crate::bus::Seq;", "crate::bus"),
        ("coalesce/body.rs", "use http::StatusCode;", "the crate http"),
        ("coalesce/body.rs", "fn f(b: hyper::body::Incoming) {}", "the crate hyper"),
        ("flow/hit.rs", "use moka::sync::Cache;", "the crate moka"),
        ("flow/hit.rs", "use fred::prelude::*;", "the crate fred"),
        ("flow/mod.rs", "use crate::admin::Control;", "crate::admin"),
        ("flow/site.rs", "use crate::server;", "crate::server"),
        ("entry/mod.rs", "use crate::flow::Proxy;", "crate::flow"),
        ("server.rs", "use crate::cli::Run;", "crate::cli"),
        ("flow/hit.rs", "let t = std::time::Instant::now();", "Instant::now"),
        ("flow/hit.rs", "use std::time::SystemTime; fn f() { SystemTime::now(); }", "SystemTime::now"),
        // A lifetime, a character and a raw text before it do not hide an edge.
        ("key.rs", "fn f<'a>(x: &'a str) { let q = '\"'; } use crate::bus::Seq; const X: &str = \"x\";", "crate::bus"),
        ("key.rs", "const X: &str = r#\"\" // \"#; use crate::bus::Seq;", "crate::bus"),
        ("key.rs", "#[cfg(test)] mod tests { fn f() {} } use crate::bus::Seq;", "crate::bus"),
    ] {
        let found = planted(file, text);
        assert!(found.iter().any(|line| line.contains(&format!("src/{file} names {edge}: "))), "{text}: {found:?}");
    }
}

#[test]
fn what_is_allowed_or_only_looks_like_an_edge_is_not_reported() {
    for (file, text) in [
        ("policy/age.rs", "use crate::reason::Reason; use super::Rules; use http::HeaderMap;"),
        ("policy/age.rs", "// use tokio::time::sleep;\n/* use crate::clock; /* nested */ crate::l1 */ fn f() {}"),
        ("policy/age.rs", "const X: &str = \"\\\" tokio::time crate::clock\"; const Y: &str = r#\"hyper::\"x\"#;"),
        ("policy/age.rs", "#[cfg(test)] mod tests { use crate::clock::Clock; use tokio::test; fn f() { {} } }"),
        ("policy/age.rs", "#[cfg(test)] use crate::clock::Clock;"),
        ("policy/age.rs", "fn f(rand: f64) -> f64 { rand }"),
        ("policy/storability.rs", "use super::age; use super::freshness::{self, Facts};"),
        ("flow/hit.rs", "use super::super::l1::L1; use crate::bus::Log; use crate::coalesce::Flights;"),
        ("flow/hit.rs", "use super::admin;"),
        ("l1/mod.rs", "use moka::sync::Cache; use crate::entry::Entry;"),
        ("l2/redis.rs", "use fred::prelude::*;"),
        ("bus/mod.rs", "use fred::prelude::*;"),
        ("clock.rs", "let now = Instant::now();"),
        ("cli/demo/load.rs", "use tokio::time::Instant; fn f() { Instant::now(); }"),
        ("origin/pool.rs", "let now = tokio::time::Instant::now();"),
        ("main.rs", "use millpond::cli; fn main() { cli::run(); }"),
        ("lib.rs", "pub mod cli; pub mod flow;"),
    ] {
        assert_eq!(planted(file, text), Vec::<String>::new(), "{text}");
    }
}
