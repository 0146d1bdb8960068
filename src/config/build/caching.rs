//! The cache section of a route: what excludes what, and the rules it amounts to.

use http::Method;
use http::header::{self, HeaderName};

use super::body;
use crate::config::fault::Collector;
use crate::config::model::{BypassRule, CachePolicy};
use crate::config::raw;
use crate::config::reader::Found;
use crate::config::shapes::QueryChoice;
use crate::config::text::{NamePattern, Preset};
use crate::config::values::Switch;
use crate::key::{KeyRules, QueryRule};
use crate::policy::Rules;
use crate::policy::coding::{Coding, Compress};
use crate::route::PathPattern;

/// What the cache section of a route amounts to: nothing written means caching as RFC 9111 says,
/// `false` means no caching.
pub(super) fn policy(
    raw: Option<&Found<Switch<raw::Cache>>>,
    room: &Room,
    faults: &mut Collector<'_>,
) -> Option<CachePolicy> {
    let absent;
    let raw = match raw.map(|found| &found.value) {
        Some(Switch::Off) => return None,
        Some(Switch::On(raw)) => raw,
        None => {
            absent = raw::Cache::absent();
            &absent
        }
    };
    conflicts(raw, faults);
    Some(CachePolicy {
        rules: rules(raw),
        key: key(&raw.key.value, faults),
        jitter: raw.jitter.value.0,
        early_refresh: raw.early_refresh.value.0,
        bypass: bypass(&raw.bypass.value),
        coalesce: raw.coalesce.value,
        coalesce_wait: raw.coalesce_wait.value.0,
        max_object_size: max_object_size(raw, room, faults),
        ranges: raw.ranges.value,
        post_fills_get: raw.post_fills_get.value,
        compress: compress(raw, faults),
        tag_headers: raw.tag_headers.value.iter().map(|name| name.value.clone()).collect(),
    })
}

/// Notes keys that contradict one another, at the one that would be without effect.
fn conflicts(raw: &raw::Cache, faults: &mut Collector<'_>) {
    let section = &raw.place.path;
    let replaced = [raw.ttl.as_ref().map(|ttl| &ttl.place), raw.ttl_by_status.as_ref().map(|ttls| &ttls.place)];
    for place in replaced.into_iter().flatten().filter(|_| raw.force_ttl.is_some()) {
        let message = format!("{} has no effect beside {section}.force_ttl", place.path);
        faults.add(place.key, message, "force_ttl replaces every lifetime; keep one of them");
    }
    if let (false, Some(wait)) = (raw.coalesce.value, &raw.coalesce_wait.given) {
        let message = format!("{} has no effect beside {section}.coalesce = false", wait.path);
        faults.add(wait.key, message, "remove one of them");
    }
    let by_body = raw.key.value.body.as_ref().is_some_and(|body| body::methods(&body.value).any(|m| m == Method::POST));
    if let (true, true, Some(place)) = (raw.post_fills_get.value, by_body, &raw.post_fills_get.given) {
        let message = format!("{} has no effect where key.body.methods names \"POST\"", place.path);
        faults.add(
            place.key,
            message,
            "a POST that is looked up by its body is stored for that body; remove one of them",
        );
    }
}

fn rules(raw: &raw::Cache) -> Rules {
    let span = |found: &Option<Found<raw::Lifetime>>| found.as_ref().map(|found| found.value.0);
    let heuristic = match &raw.heuristic.value {
        Switch::On(heuristic) => Some(heuristic),
        Switch::Off => None,
    };
    Rules {
        ttl: span(&raw.ttl),
        force_ttl: span(&raw.force_ttl),
        ttl_by_status: raw.ttl_by_status.as_ref().map(|found| found.value.0.clone()).unwrap_or_default(),
        negative_ttl: span(&raw.negative_ttl),
        stale_while_revalidate: span(&raw.stale_while_revalidate),
        stale_if_error: span(&raw.stale_if_error),
        heuristic_fraction: heuristic.map(|heuristic| heuristic.fraction.value.0),
        heuristic_max: heuristic.map(|heuristic| heuristic.max.value.0).unwrap_or_default(),
        respect_client_cache_control: raw.respect_client_cache_control.value,
        store_set_cookie: raw.store_set_cookie.value,
        by_body: raw.key.value.body.as_ref().map(|body| body::methods(&body.value).collect()).unwrap_or_default(),
        graphql: raw.key.value.body.as_ref().is_some_and(|body| body.value.graphql.value),
    }
}

/// The largest body that there is room for, and the setting that says so.
pub(super) struct Room {
    bytes: u64,
    setting: &'static str,
}

impl Room {
    /// That of the tier that keeps what is fresh.
    pub(super) fn of(store: &raw::CacheStore, redis: Option<&raw::Redis>) -> Self {
        match redis {
            Some(redis) if store.max_entries.value.0 == 0 => {
                Self { bytes: redis.max_object_size.value.0, setting: "redis.max_object_size" }
            }
            _ => Self { bytes: store.max_bytes.value.0, setting: "cache.max_bytes" },
        }
    }
}

/// The largest body that is stored: what the file says, or the default as far as there is room for it.
fn max_object_size(raw: &raw::Cache, room: &Room, faults: &mut Collector<'_>) -> u64 {
    let (size, Room { bytes, setting }) = (raw.max_object_size.value.0, room);
    if let (Some(place), true) = (&raw.max_object_size.given, size > *bytes) {
        let message = format!("{} is larger than {setting}", place.path);
        let hint = format!("no larger object can be stored; lower it or raise {setting}");
        faults.add(place.value, message, hint);
    }
    size.min(*bytes)
}

/// What is coded, if anything is.
fn compress(raw: &raw::Cache, faults: &mut Collector<'_>) -> Option<Compress> {
    let mut order: Vec<Coding> = Vec::new();
    for found in raw.compress.iter().flat_map(|list| &list.value) {
        if order.contains(&found.value) {
            let message = format!("{}: {:?} is listed twice", found.place.path, found.value.as_str());
            faults.add(found.place.value, message, "remove one of them; the first is the preferred one");
        } else {
            order.push(found.value);
        }
    }
    if order.is_empty() {
        let sound = raw.compress.as_ref().is_none_or(|list| list.sound);
        if let (Some(place), true) = (&raw.compress_from.given, sound) {
            let message = format!("{} has no effect without {}.compress", place.path, raw.place.path);
            faults.add(place.key, message, "add for example compress = [\"gzip\"]");
        }
        return None;
    }
    let coding_keyed = |name: &&Found<HeaderName>| name.value == header::ACCEPT_ENCODING;
    if let Some(name) = raw.key.value.headers.value.iter().find(coding_keyed) {
        let message = format!("{}: \"accept-encoding\" stores each response once per coding", name.place.path);
        faults.add(name.place.value, message, "remove it; with compress one stored response serves every client");
    }
    Some(Compress { order, least: raw.compress_from.value.0 })
}

fn key(raw: &raw::Key, faults: &mut Collector<'_>) -> KeyRules {
    for found in &raw.headers.value {
        if let Some((reason, hint)) = unfit(&found.value) {
            faults.add(found.place.value, format!("{}: {:?} {reason}", found.place.path, found.value.as_str()), hint);
        }
    }
    KeyRules {
        query: query(raw, faults),
        sort_query: raw.sort_query.value,
        headers: raw.headers.value.iter().map(|name| name.value.clone()).collect(),
        cookies: raw.cookies.value.iter().map(|name| name.value.0.clone()).collect(),
        show: raw.show.value,
        no_vary_search: raw.no_vary_search.value,
        body: raw.body.as_ref().map(|body| body::rule(&body.value, faults)),
    }
}

/// Why a request field cannot be part of a key, and what to do instead.
fn unfit(name: &HeaderName) -> Option<(&'static str, &'static str)> {
    const HOP_BY_HOP: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if *name == header::AUTHORIZATION {
        return Some(("holds credentials", "name it in bypass.headers to pass such requests; they are not shared"));
    }
    if *name == header::HOST {
        return Some(("is part of every key", "remove it"));
    }
    if *name == header::COOKIE {
        return Some(("would make a key for each client", "name single cookies in key.cookies"));
    }
    // RFC 9110 section 7.6.1: these describe one connection and never reach the origin.
    HOP_BY_HOP.contains(&name.as_str()).then_some(("belongs to the connection, not to the request", "remove it"))
}

fn query(raw: &raw::Key, faults: &mut Collector<'_>) -> QueryRule {
    let presets = raw.presets.value.iter().flat_map(|preset| Preset::parameters(preset.value));
    let presets: Vec<String> = presets.map(|&name| name.to_owned()).collect();
    let names = |list: &[Found<NamePattern>]| list.iter().map(|name| name.value.0.clone()).collect();
    let rule = match &raw.query.value {
        QueryChoice::All if presets.is_empty() => return QueryRule::All,
        QueryChoice::All => return QueryRule::Deny(presets),
        QueryChoice::Ignore => QueryRule::Ignore,
        QueryChoice::Lists(lists) => match (&lists.allow, &lists.deny) {
            (None, Some(deny)) => {
                let deny: Vec<String> = names(&deny.value);
                return QueryRule::Deny(deny.into_iter().chain(presets).collect());
            }
            (Some(allow), deny) => {
                if let Some(deny) = deny {
                    let message = format!("{} and {} are both set", allow.place.path, deny.place.path);
                    faults.add(deny.place.key, message, "keep one of them; what is not allowed is left out already");
                }
                if allow.value.is_empty() && allow.sound {
                    faults.add(allow.place.value, format!("{} is empty", allow.place.path), "write query = \"none\"");
                }
                QueryRule::Allow(names(&allow.value))
            }
            (None, None) => {
                let hint = "write { allow = [...] } or { deny = [...] }";
                faults.add(lists.place.value, format!("{} names no parameters", lists.place.path), hint);
                QueryRule::All
            }
        },
    };
    if let (Some(place), false) = (&raw.presets.given, presets.is_empty()) {
        let message = format!("{} has no effect: the query rule leaves these parameters out already", place.path);
        faults.add(place.key, message, "remove it");
    }
    rule
}

fn bypass(raw: &raw::Bypass) -> Vec<BypassRule> {
    let headers = raw.headers.value.iter().map(|name| BypassRule::Header(name.value.clone()));
    let cookies = raw.cookies.value.iter().map(|name| BypassRule::Cookie(name.value.0.clone()));
    let query = raw.query.value.iter().map(|name| BypassRule::Query(name.value.0.clone()));
    let paths = raw.paths.value.iter().map(|path| BypassRule::Path(PathPattern::parse(&path.value.0)));
    headers.chain(cookies).chain(query).chain(paths).collect()
}
