//! Compares the values of a file with one another and makes the validated configuration.

mod admin;
mod body;
mod caching;
mod redis;
mod routes;
mod secret;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use super::fault::Collector;
use super::model::{CacheConfig, Config, InvalidationConfig, Limits, Listen, LogConfig, LogFormat, OriginConfig};
use super::raw;
use super::reader::Place;
use super::text::{AccessLog, HostHeader, Name, Text};
use super::values::{Entry, Named};

/// What a file refers to outside itself.
pub(super) struct Surroundings<'a> {
    /// The file: relative paths start at its folder.
    pub(super) file: &'a Path,
    /// Looks up environment variables.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Makes the configuration; `None` if a fault was noted on the way.
pub(super) fn config(raw: raw::File, around: &Surroundings<'_>, faults: &mut Collector<'_>) -> Option<Config> {
    let listen = listen(raw.listen.value);
    let cache = cache(&raw.cache.value, raw.redis.is_some(), faults);
    // Without a readable [origins] nothing can be said about the names that routes use.
    let origins = raw.origins.map(|origins| self::origins(origins.value, &origins.place, faults));
    let room = caching::Room::of(&raw.cache.value, raw.redis.as_ref().map(|redis| &redis.value));
    let routes = raw.routes.map(|routes| {
        if routes.value.is_empty() && routes.sound {
            faults.add(routes.place.key, "there is no route", "add [[routes]] with a path and an origin");
        }
        routes::routes(&routes.value, origins.as_deref(), &room, faults)
    });
    let admin = raw.admin.map(|admin| admin::admin(&admin.value, &listen, around, faults));
    let invalidation = invalidation(&raw.invalidation.value, raw.redis.is_some(), faults);
    let redis = raw.redis.and_then(|redis| redis::redis(redis.value, around, faults));
    Some(Config {
        limits: limits(raw.limits.value),
        origins: origins?.into_iter().filter_map(|(_, origin)| origin).collect(),
        routes: routes?,
        cache,
        redis,
        invalidation,
        log: log(raw.log.value),
        admin,
        listen,
    })
}

fn listen(raw: raw::Listen) -> Listen {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = raw.threads.and_then(|threads| NonZeroUsize::new(threads.value.count()));
    Listen {
        http: raw.http.value,
        runtime: raw.runtime.value,
        threads: threads.unwrap_or_else(cores),
        trusted_proxies: raw.trusted_proxies.value.into_iter().map(|network| network.value).collect(),
    }
}

fn limits(raw: raw::Limits) -> Limits {
    Limits {
        connections: raw.connections.value.count(),
        head_bytes: raw.head_bytes.value.count(),
        head_fields: raw.head_fields.value.count(),
        target_bytes: raw.target_bytes.value.count(),
        head_timeout: raw.head_timeout.value.0,
        idle_timeout: raw.idle_timeout.value.0,
        body_timeout: raw.body_timeout.value.0,
        write_timeout: raw.write_timeout.value.0,
        request_body: raw.request_body.value.on().map(|size| size.0),
        shutdown_deadline: raw.shutdown_deadline.value.0,
    }
}

fn cache(raw: &raw::CacheStore, fleet: bool, faults: &mut Collector<'_>) -> CacheConfig {
    if let (0, false, Some(place)) = (raw.max_entries.value.0, fleet, &raw.max_entries.given) {
        let message = "cache.max_entries is 0 and there is no [redis], so that nothing would be stored";
        faults.add(place.value, message, "raise it, add [redis], or say cache = false in the routes");
    }
    CacheConfig {
        max_bytes: raw.max_bytes.value.0,
        max_entries: raw.max_entries.value.0,
        max_variants: raw.max_variants.value.count(),
        hit_for_miss_ttl: raw.hit_for_miss_ttl.value.0,
        max_refreshes: raw.max_refreshes.value.count(),
    }
}

fn invalidation(raw: &raw::Invalidation, fleet: bool, faults: &mut Collector<'_>) -> InvalidationConfig {
    let (heartbeat, max_unsynced) = (&raw.heartbeat, &raw.max_unsynced);
    if max_unsynced.value.0 < heartbeat.value.0 * 2 {
        let message = "invalidation.max_unsynced is less than two heartbeats, so one that is late stops the cache";
        let place = max_unsynced.given.as_ref().or(heartbeat.given.as_ref());
        faults.add(place.map_or(0, |place| place.value), message, "make it longer, or invalidation.heartbeat shorter");
    }
    for (key, given) in [("heartbeat", &heartbeat.given), ("max_unsynced", &max_unsynced.given)] {
        if let (false, Some(place)) = (fleet, given) {
            let message = format!("invalidation.{key} means nothing without [redis]");
            faults.add(place.key, message, "remove it, or add [redis]");
        }
    }
    InvalidationConfig {
        max_records: raw.max_records.value.count(),
        heartbeat: heartbeat.value.0,
        max_unsynced: max_unsynced.value.0,
    }
}

fn log(raw: raw::Log) -> LogConfig {
    LogConfig {
        level: raw.level.value.0,
        format: raw.format.value,
        access: match raw.access.value {
            AccessLog::Off => None,
            AccessLog::Text => Some(LogFormat::Text),
            AccessLog::Json => Some(LogFormat::Json),
        },
        access_sample: raw.access_sample.value.0,
    }
}

/// An origin and its name; `None` stands for one with a fault.
type OriginEntry = (String, Option<Arc<OriginConfig>>);

fn origins(raw: Named<raw::Origin>, place: &Place, faults: &mut Collector<'_>) -> Vec<OriginEntry> {
    if raw.0.is_empty() {
        faults.add(place.key, "there is no origin", "add [origins.api] with url = \"http://127.0.0.1:3000\"");
    }
    let mut origins = Vec::with_capacity(raw.0.len());
    for Entry { name, place, value } in raw.0 {
        if Name::parse(&name).is_err() {
            let hint = "use 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
            faults.add(place.key, format!("{name:?} is not a name for an origin"), hint);
        }
        let origin = value.and_then(|raw| origin(&name, raw));
        origins.push((name, origin.map(Arc::new)));
    }
    origins
}

fn origin(name: &str, raw: raw::Origin) -> Option<OriginConfig> {
    Some(OriginConfig {
        name: name.to_owned(),
        authority: raw.url?.value.0,
        host_header: match raw.host_header.value {
            HostHeader::Preserve => None,
            HostHeader::Fixed(host) => Some(host),
        },
        connect_timeout: raw.connect_timeout.value.0,
        first_byte_timeout: raw.first_byte_timeout.value.0,
        between_bytes_timeout: raw.between_bytes_timeout.value.0,
        total_timeout: raw.total_timeout.value.on().map(|timeout| timeout.0),
        max_connections: raw.max_connections.value.count(),
        max_queue: raw.max_queue.value.count(),
        queue_timeout: raw.queue_timeout.value.0,
        idle_timeout: raw.idle_timeout.value.0,
    })
}
