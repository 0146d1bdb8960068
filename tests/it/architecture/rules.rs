//! What may name what.

/// Who a rule is about.
#[derive(Clone, Copy)]
pub(super) enum Who {
    /// These modules.
    Only(&'static [&'static str]),
    /// Every module but these.
    AllBut(&'static [&'static str]),
}

/// Names that some modules must not use.
pub(super) struct Rule {
    pub(super) who: Who,
    /// Crates, by the name in a path.
    pub(super) crates: &'static [&'static str],
    /// Modules of this crate.
    pub(super) modules: &'static [&'static str],
    /// Functions, as `Type::name`.
    pub(super) calls: &'static [&'static str],
    pub(super) why: &'static str,
}

const NOTHING: Rule = Rule { who: Who::Only(&[]), crates: &[], modules: &[], calls: &[], why: "" };
/// Everything that may wait, read a clock, or be changed.
const IMPURE: &[&str] = &[
    "flow",
    "l1",
    "l2",
    "origin",
    "bus",
    "coalesce",
    "listener",
    "admin",
    "config",
    "telemetry",
    "clock",
    "entry",
    "server",
    "control",
    "cli",
];
const APART: &str = "these parts do not know one another; flow composes them";

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule {
        who: Who::Only(&["policy", "key", "route"]),
        crates: &["tokio", "hyper", "hyper_util", "moka", "fred", "tracing", "prometheus", "rand"],
        modules: IMPURE,
        why: "policy, key and route are pure: no I/O, no clock, no chance",
        ..NOTHING
    },
    Rule { who: Who::Only(&["l1"]), modules: &["l2", "origin", "bus", "coalesce"], why: APART, ..NOTHING },
    Rule { who: Who::Only(&["l2"]), modules: &["l1", "origin", "bus", "coalesce"], why: APART, ..NOTHING },
    Rule { who: Who::Only(&["origin"]), modules: &["l1", "l2", "bus", "coalesce", "listener"], why: APART, ..NOTHING },
    Rule { who: Who::Only(&["listener"]), modules: &["l1", "l2", "bus", "coalesce", "origin"], why: APART, ..NOTHING },
    Rule { who: Who::Only(&["bus"]), modules: &["l1", "l2", "origin", "coalesce"], why: APART, ..NOTHING },
    Rule { who: Who::Only(&["coalesce"]), modules: &["l1", "l2", "origin", "bus"], why: APART, ..NOTHING },
    Rule {
        who: Who::AllBut(&["l1"]),
        crates: &["moka"],
        why: "only l1 names moka, so that it stays replaceable",
        ..NOTHING
    },
    Rule {
        who: Who::AllBut(&["l2", "bus", "redis"]),
        crates: &["fred"],
        why: "only redis, l2 and bus name fred, so that it stays replaceable",
        ..NOTHING
    },
    Rule {
        who: Who::Only(&["coalesce"]),
        crates: &["http", "http_body", "http_body_util", "hyper", "hyper_util"],
        why: "coalesce is generic and knows no HTTP",
        ..NOTHING
    },
    Rule {
        who: Who::Only(&["flow"]),
        modules: &["admin", "cli", "server", "control"],
        why: "flow serves clients and does not know who operates it",
        ..NOTHING
    },
    Rule {
        who: Who::Only(&["l1", "l2", "origin", "bus", "coalesce", "entry", "listener", "telemetry", "config"]),
        modules: &["flow", "admin", "cli", "server", "control"],
        why: "a module uses only those below it",
        ..NOTHING
    },
    Rule {
        who: Who::Only(&["wire"]),
        modules: IMPURE,
        why: "both sides of the proxy speak through wire; it knows neither",
        ..NOTHING
    },
    Rule {
        who: Who::Only(&["wire"]),
        modules: &["policy", "key", "route"],
        why: "wire reads and writes HTTP/1.1, and judges nothing",
        ..NOTHING
    },
    Rule {
        who: Who::AllBut(&["cli", "main"]),
        modules: &["cli"],
        why: "the command line is the outermost part",
        ..NOTHING
    },
    Rule {
        who: Who::AllBut(&["clock"]),
        calls: &["SystemTime::now", "Instant::now"],
        why: "only clock.rs reads clocks",
        ..NOTHING
    },
];

/// Every module that a rule names as an exception or as its subject.
pub(super) fn named_modules() -> impl Iterator<Item = &'static str> {
    RULES.iter().flat_map(|rule| match rule.who {
        Who::Only(modules) | Who::AllBut(modules) => modules.iter().copied(),
    })
}
