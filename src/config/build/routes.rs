//! Routes: names, origins, and whether an earlier route leaves anything for a later one.

use std::collections::HashMap;
use std::sync::Arc;

use super::{OriginEntry, body, caching};
use crate::config::fault::{Collector, nearest};
use crate::config::model::{OriginConfig, RouteConfig};
use crate::config::raw;
use crate::config::reader::Found;
use crate::config::text::Name;
use crate::route::{HostPattern, Matcher, PathPattern};

/// Makes the routes. `origins` is `None` if the file's origins could not be read.
pub(super) fn routes(
    raw: &[Found<raw::Route>],
    origins: Option<&[OriginEntry]>,
    room: &caching::Room,
    faults: &mut Collector<'_>,
) -> Vec<RouteConfig> {
    let names = names(raw, faults);
    let mut routes = Vec::with_capacity(raw.len());
    let mut earlier: Vec<(&Found<raw::Route>, Matcher)> = Vec::with_capacity(raw.len());
    for (found, name) in raw.iter().zip(names) {
        let route = &found.value;
        let matcher = matcher(route, faults);
        let origin = origin(route, origins, faults);
        let cache = caching::policy(route.cache.as_ref(), room, faults);
        let Some(matcher) = matcher else { continue };
        body::check_methods(route.cache.as_ref().map(|cache| &cache.value), &matcher, faults);
        if found.sound {
            shadowed(found, &matcher, &earlier, faults);
            earlier.push((found, matcher.clone()));
        }
        let Some(origin) = origin else { continue };
        routes.push(RouteConfig { name, matcher, origin, cache: cache.map(Arc::new) });
    }
    routes
}

/// The name of each route: its own, or one made from its path that no other route has.
fn names(routes: &[Found<raw::Route>], faults: &mut Collector<'_>) -> Vec<Arc<str>> {
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for route in routes {
        let Some(Found { value: Name(name), place, .. }) = &route.value.name else { continue };
        if let Some(first) = taken.insert(name, &route.place.path) {
            let message = format!("{}: {first} is already called {name:?}", place.path);
            faults.add(place.value, message, "give each route a name of its own");
        }
    }
    let mut made: Vec<String> = Vec::with_capacity(routes.len());
    for route in routes {
        let name = route.value.name.as_ref().map(|name| name.value.0.clone());
        let name = name.unwrap_or_else(|| {
            let base = name_of_path(route.value.path.as_ref().map_or("", |path| path.value.0.as_str()));
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            let free = |name: &String| !taken.contains_key(name.as_str()) && !made.contains(name);
            std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or_default()
        });
        made.push(name);
    }
    made.into_iter().map(Arc::from).collect()
}

/// `/api/v1/*` is called `api-v1`; a path without words is called `all`.
fn name_of_path(path: &str) -> String {
    let words: Vec<_> = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    // Every character is ASCII, so any place is a boundary.
    if name.is_empty() { "all".to_owned() } else { name[..name.len().min(60)].to_owned() }
}

fn matcher(route: &raw::Route, faults: &mut Collector<'_>) -> Option<Matcher> {
    if let (Some(_), Some(hosts)) = (&route.host, &route.hosts) {
        let message = format!("{}.host and {} are both set", route.place.path, hosts.place.path);
        faults.add(hosts.place.key, message, "keep one of them");
    }
    let hosts = not_empty(route.hosts.as_ref(), "leave the key out to take every host", faults);
    let methods = not_empty(route.methods.as_ref(), "leave the key out to take every method", faults);
    let hosts = route.host.iter().chain(hosts).map(|host| host.value.0.clone()).collect();
    Some(Matcher {
        hosts,
        path: PathPattern::parse(&route.path.as_ref()?.value.0),
        methods: methods.iter().map(|method| method.value.clone()).collect(),
    })
}

/// The items of a list. An empty list would take no request at all.
fn not_empty<'a, T>(list: Option<&'a Found<Vec<Found<T>>>>, hint: &str, faults: &mut Collector<'_>) -> &'a [Found<T>] {
    let Some(list) = list else { return &[] };
    if list.value.is_empty() && list.sound {
        faults.add(list.place.value, format!("{} is empty", list.place.path), hint);
    }
    &list.value
}

/// The origin that a route names.
fn origin(
    route: &raw::Route,
    origins: Option<&[OriginEntry]>,
    faults: &mut Collector<'_>,
) -> Option<Arc<OriginConfig>> {
    let Found { value: Name(name), place, .. } = route.origin.as_ref()?;
    let origins = origins?;
    if let Some((_, origin)) = origins.iter().find(|(known, _)| known == name) {
        return origin.clone();
    }
    let known = || origins.iter().map(|(known, _)| known.as_str());
    let list = || format!("origins are {}", known().collect::<Vec<_>>().join(", "));
    let hint = nearest(name, known()).unwrap_or_else(list);
    faults.add(place.value, format!("{}: there is no origin {name:?}", place.path), hint);
    None
}

/// Notes a route whose requests an earlier one takes, all of them.
fn shadowed(
    route: &Found<raw::Route>,
    matcher: &Matcher,
    earlier: &[(&Found<raw::Route>, Matcher)],
    faults: &mut Collector<'_>,
) {
    let Some((first, _)) = earlier.iter().find(|(_, earlier)| covers(earlier, matcher)) else { return };
    let line = faults.position(first.place.value).line;
    let message =
        format!("{} can never match: {} on line {line} takes all its requests", route.place.path, first.place.path);
    faults.add(route.place.value, message, "put the narrower route first, or remove one");
}

/// Whether `a` takes every request that `b` would take.
fn covers(a: &Matcher, b: &Matcher) -> bool {
    let hosts =
        a.hosts.is_empty() || !b.hosts.is_empty() && b.hosts.iter().all(|b| a.hosts.iter().any(|a| covers_host(a, b)));
    let methods =
        a.methods.is_empty() || !b.methods.is_empty() && b.methods.iter().all(|method| a.methods.contains(method));
    // No pattern holds a NUL, so only a star of `a` can take the one that stands for a star of `b`;
    // and a star that takes it takes whatever else may stand there.
    hosts && methods && a.path.matches(&b.path.to_string().replace('*', "\0"))
}

fn covers_host(a: &HostPattern, b: &HostPattern) -> bool {
    match (a, b) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
        (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
        (HostPattern::Suffix(end), HostPattern::Exact(name)) => name.len() > end.len() && name.ends_with(end),
        (HostPattern::Suffix(a), HostPattern::Suffix(b)) => b.ends_with(a),
    }
}
