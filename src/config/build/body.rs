//! The body as a part of the key: which methods, and whether the route takes them at all.

use http::Method;

use crate::config::fault::Collector;
use crate::config::raw;
use crate::config::text::{BodyMethod, Text};
use crate::config::values::Switch;
use crate::key::BodyRule;
use crate::route::Matcher;

/// The methods that are looked up by their body.
pub(super) fn methods(raw: &raw::KeyBody) -> impl Iterator<Item = Method> {
    let methods = raw.methods.iter().flat_map(|methods| &methods.value);
    methods.filter_map(|method| Method::from_bytes(method.value.text().as_bytes()).ok())
}

/// How bodies become part of the key.
pub(super) fn rule(raw: &raw::KeyBody, faults: &mut Collector<'_>) -> BodyRule {
    if let Some(methods) = raw.methods.as_ref().filter(|methods| methods.value.is_empty() && methods.sound) {
        let hint = "name \"QUERY\", \"POST\" or both, or remove the section";
        faults.add(methods.place.value, format!("{} is empty", methods.place.path), hint);
    }
    BodyRule {
        methods: methods(raw).collect(),
        max_size: raw.max_size.value.count(),
        normalise_json: raw.normalise_json.value,
        graphql: raw.graphql.value,
    }
}

/// Notes methods that the route does not take, so that naming them has no effect.
pub(super) fn check_methods(cache: Option<&Switch<raw::Cache>>, matcher: &Matcher, faults: &mut Collector<'_>) {
    let Some(Switch::On(cache)) = cache else { return };
    let Some(named) = cache.key.value.body.as_ref().and_then(|body| body.value.methods.as_ref()) else { return };
    for found in &named.value {
        let taken = matcher.methods.is_empty() || matcher.methods.iter().any(|m| m.as_str() == found.value.text());
        if !taken {
            let message = format!("{}: the route does not take {:?}", found.place.path, found.value.text());
            faults.add(found.place.value, message, "add it to the methods of the route, or remove it here");
        }
    }
    if let Some(again) =
        named.value.iter().enumerate().find_map(|(index, found)| repeated(&named.value[..index], found))
    {
        let message = format!("{}: {:?} is named twice", again.place.path, again.value.text());
        faults.add(again.place.value, message, "remove one of them");
    }
}

type Named = crate::config::reader::Found<BodyMethod>;

fn repeated<'a>(earlier: &[Named], found: &'a Named) -> Option<&'a Named> {
    earlier.iter().any(|one| one.value == found.value).then_some(found)
}
