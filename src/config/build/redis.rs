//! The shared tier.

use super::{Surroundings, secret};
use crate::config::fault::Collector;
use crate::config::model::RedisConfig;
use crate::config::raw;

/// The shared tier; `None` if a fault was noted.
pub(super) fn redis(raw: raw::Redis, around: &Surroundings<'_>, faults: &mut Collector<'_>) -> Option<RedisConfig> {
    let password =
        secret::Origin { key: "redis.password", env: raw.password_env.as_ref(), file: raw.password_file.as_ref() };
    let password = password.read(around, faults);
    if let (Some(username), None) = (&raw.username, &password)
        && raw.password_env.is_none()
        && raw.password_file.is_none()
    {
        faults.add(
            username.place.key,
            "redis.username is set, but there is no password",
            "add password_env or password_file",
        );
    }
    Some(RedisConfig {
        url: raw.url?.value.0,
        username: raw.username.map(|username| username.value.0),
        password,
        prefix: raw.prefix.value.0,
        instance: raw.instance.map(|instance| instance.value.0),
        connections: raw.connections.value.count(),
        timeout: raw.timeout.value.0,
        lease: raw.lease.value.0,
        max_object_size: raw.max_object_size.value.0,
        compress_from: raw.compress_from.value.on().map(|size| size.0),
    })
}
