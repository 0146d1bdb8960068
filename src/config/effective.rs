//! The configuration in force, defaults filled in and secrets left out, as JSON.

use serde_json::{Value, json};

use super::model::{
    AdminConfig, BypassRule, CachePolicy, Config, Limits, LogConfig, LogFormat, OriginConfig, RangeFetch, RedisConfig,
    RouteConfig, RuntimeModel, Secret, SecretSource,
};
use super::units::{show_duration, show_size};
use crate::key::{KeyRules, QueryRule};
use crate::policy::Rules;

/// The configuration in force, for people and for comparison. The names are those of the file.
pub fn effective(config: &Config) -> String {
    let origins: serde_json::Map<_, _> = config.origins.iter().map(|o| (o.name.clone(), origin(o))).collect();
    let value = json!({
        "listen": {
            "http": config.listen.http.to_string(),
            "runtime": match config.listen.runtime {
                RuntimeModel::PerCore => "per-core",
                RuntimeModel::WorkStealing => "work-stealing",
            },
            "threads": config.listen.threads,
            "trusted_proxies": texts(&config.listen.trusted_proxies),
        },
        "limits": limits(&config.limits),
        "origins": origins,
        "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
        "cache": {
            "max_bytes": show_size(config.cache.max_bytes),
            "max_entries": config.cache.max_entries,
            "max_variants": config.cache.max_variants,
            "hit_for_miss_ttl": show_duration(config.cache.hit_for_miss_ttl),
            "max_refreshes": config.cache.max_refreshes,
        },
        "redis": config.redis.as_ref().map(redis),
        "invalidation": {
            "max_records": config.invalidation.max_records,
            "heartbeat": show_duration(config.invalidation.heartbeat),
            "max_unsynced": show_duration(config.invalidation.max_unsynced),
        },
        "log": log(&config.log),
        "admin": config.admin.as_ref().map(admin),
    });
    format!("{value:#}\n")
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn limits(limits: &Limits) -> Value {
    json!({
        "connections": limits.connections,
        "head_bytes": show_size(limits.head_bytes as u64),
        "head_fields": limits.head_fields,
        "target_bytes": show_size(limits.target_bytes as u64),
        "head_timeout": show_duration(limits.head_timeout),
        "idle_timeout": show_duration(limits.idle_timeout),
        "body_timeout": show_duration(limits.body_timeout),
        "write_timeout": show_duration(limits.write_timeout),
        "request_body": limits.request_body.map_or(json!(false), |size| json!(show_size(size))),
        "shutdown_deadline": show_duration(limits.shutdown_deadline),
    })
}

fn origin(origin: &OriginConfig) -> Value {
    json!({
        "url": format!("http://{}", origin.authority),
        "host_header": origin.host_header.as_ref().map_or("preserve", |host| host.as_str()),
        "connect_timeout": show_duration(origin.connect_timeout),
        "first_byte_timeout": show_duration(origin.first_byte_timeout),
        "between_bytes_timeout": show_duration(origin.between_bytes_timeout),
        "total_timeout": origin.total_timeout.map_or(json!(false), |span| json!(show_duration(span))),
        "max_connections": origin.max_connections,
        "max_queue": origin.max_queue,
        "queue_timeout": show_duration(origin.queue_timeout),
        "idle_timeout": show_duration(origin.idle_timeout),
    })
}

fn route(route: &RouteConfig) -> Value {
    json!({
        "name": route.name.as_ref(),
        "hosts": texts(&route.matcher.hosts),
        "path": route.matcher.path.to_string(),
        "methods": texts(&route.matcher.methods),
        "origin": route.origin.name,
        "cache": route.cache.as_ref().map_or(json!(false), |policy| cache(policy)),
    })
}

fn cache(policy: &CachePolicy) -> Value {
    let mut value = rules(&policy.rules);
    let compress = policy.compress.as_ref();
    let rest = json!({
        "jitter": policy.jitter,
        "early_refresh": policy.early_refresh,
        "coalesce": policy.coalesce,
        "coalesce_wait": show_duration(policy.coalesce_wait),
        "max_object_size": show_size(policy.max_object_size),
        "ranges": match policy.ranges {
            RangeFetch::Whole => "whole",
            RangeFetch::AsAsked => "as-asked",
        },
        "post_fills_get": policy.post_fills_get,
        "compress": compress.map_or_else(Vec::new, |compress| compress.order.iter().map(|c| c.as_str()).collect()),
        "compress_from": compress.map(|compress| show_size(compress.least)),
        "tag_headers": texts(&policy.tag_headers),
        "key": key(&policy.key),
        "bypass": bypass(&policy.bypass),
    });
    if let (Value::Object(all), Value::Object(rest)) = (&mut value, rest) {
        all.extend(rest);
    }
    value
}

fn rules(rules: &Rules) -> Value {
    let lifetime = |ttl: Option<std::time::Duration>| ttl.map(show_duration);
    let by_status: serde_json::Map<_, _> =
        rules.ttl_by_status.iter().map(|(status, ttl)| (status.to_string(), json!(show_duration(*ttl)))).collect();
    let heuristic = |fraction| json!({ "fraction": fraction, "max": show_duration(rules.heuristic_max) });
    json!({
        "ttl": lifetime(rules.ttl),
        "force_ttl": lifetime(rules.force_ttl),
        "ttl_by_status": by_status,
        "negative_ttl": lifetime(rules.negative_ttl),
        "stale_while_revalidate": lifetime(rules.stale_while_revalidate),
        "stale_if_error": lifetime(rules.stale_if_error),
        "heuristic": rules.heuristic_fraction.map_or(json!(false), heuristic),
        "respect_client_cache_control": rules.respect_client_cache_control,
        "store_set_cookie": rules.store_set_cookie,
    })
}

fn key(key: &KeyRules) -> Value {
    json!({
        "query": match &key.query {
            QueryRule::All => json!("all"),
            QueryRule::Ignore => json!("none"),
            QueryRule::Allow(names) => json!({ "allow": names }),
            QueryRule::Deny(names) => json!({ "deny": names }),
        },
        "sort_query": key.sort_query,
        "headers": texts(&key.headers),
        "cookies": key.cookies,
        "show": key.show,
        "no_vary_search": key.no_vary_search,
        "body": key.body.as_ref().map(|body| json!({
            "methods": texts(&body.methods),
            "max_size": show_size(body.max_size as u64),
            "normalise_json": body.normalise_json,
            "graphql": body.graphql,
        })),
    })
}

fn bypass(rules: &[BypassRule]) -> Value {
    let (mut headers, mut cookies, mut query, mut paths) = (vec![], vec![], vec![], vec![]);
    for rule in rules {
        match rule {
            BypassRule::Header(name) => headers.push(name.to_string()),
            BypassRule::Cookie(name) => cookies.push(name.clone()),
            BypassRule::Query(name) => query.push(name.clone()),
            BypassRule::Path(pattern) => paths.push(pattern.to_string()),
        }
    }
    json!({ "headers": headers, "cookies": cookies, "query": query, "paths": paths })
}

fn log(log: &LogConfig) -> Value {
    let form = |format| match format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    json!({
        "level": log.level,
        "format": form(log.format),
        "access": log.access.map_or("off", form),
        "access_sample": log.access_sample,
    })
}

fn redis(redis: &RedisConfig) -> Value {
    json!({
        "url": redis.url,
        "username": redis.username,
        "password": redis.password.as_ref().map(secret),
        "prefix": redis.prefix,
        "instance": redis.instance,
        "connections": redis.connections,
        "timeout": show_duration(redis.timeout),
        "lease": show_duration(redis.lease),
        "max_object_size": show_size(redis.max_object_size),
        "compress_from": redis.compress_from.map_or(json!(false), |size| json!(show_size(size))),
    })
}

fn admin(admin: &AdminConfig) -> Value {
    json!({ "listen": admin.listen.to_string(), "token": admin.token.as_ref().map(secret) })
}

/// Where a secret comes from.
fn secret(secret: &Secret) -> String {
    match secret.source() {
        SecretSource::Environment(name) => format!("from the environment variable {name}"),
        SecretSource::File(path) => format!("from the file {}", path.display()),
    }
}
