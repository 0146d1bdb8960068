//! Connections to Redis, made with what the library's defaults leave open: a reconnect policy
//! without an end, a limit on every wait and on every buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, Pool};
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ReconnectPolicy, TcpConfig, UnresponsiveConfig};
use fred::types::{Builder, scripts::Script};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::RedisConfig;

/// Until a connection is open, its handshake included.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause before a reconnect, and the longest, in milliseconds.
const RECONNECT: (u32, u32) = (20, 1000);
/// Commands that may wait for a connection; more fail at once.
const BUFFERED: usize = 4096;
/// A frame that nobody answers for this long ends its connection.
const SILENCE: Duration = Duration::from_secs(2);
/// Messages that a slow reader may be behind before it counts as a gap.
const MESSAGES: usize = 8192;

/// Why Redis can not be used at all, whatever its state.
#[derive(Debug, thiserror::Error)]
#[error("redis.url: {0}")]
pub struct RedisError(String);

/// How to reach one Redis, Sentinel or cluster.
#[derive(Clone)]
pub struct Connections {
    builder: Builder,
    size: usize,
}

impl Connections {
    /// Reads the configuration; connects to nothing yet.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisError> {
        let mut target = Config::from_url(&config.url).map_err(|error| RedisError(error.details().to_owned()))?;
        // A Redis that is down when this instance starts is a Redis to wait for.
        target.fail_fast = false;
        target.username.clone_from(&config.username);
        target.password = config.password.as_ref().map(|password| password.expose().to_owned());
        let mut builder = Builder::from_config(target);
        builder
            .set_policy(ReconnectPolicy::new_exponential(0, RECONNECT.0, RECONNECT.1, 2))
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECT;
                connection.internal_command_timeout = CONNECT;
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = BUFFERED;
                connection.reconnect_on_auth_error = true;
                connection.tcp = TcpConfig { nodelay: Some(true), user_timeout: Some(SILENCE), ..TcpConfig::default() };
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(SILENCE), interval: Duration::from_millis(500) };
            })
            .with_performance_config(|performance| {
                performance.default_command_timeout = config.timeout;
                performance.broadcast_channel_capacity = MESSAGES;
            });
        Ok(Self { builder, size: config.connections })
    }

    /// Connections for stored responses, which begin to connect now and never stop trying.
    pub fn pool(&self) -> Result<Pool, RedisError> {
        let pool = self.builder.build_pool(self.size).map_err(|error| RedisError(error.details().to_owned()))?;
        drop(pool.connect_pool());
        Ok(pool)
    }

    /// One connection of its own, such as for subscriptions, with this limit on each command.
    pub fn single(&self, timeout: Duration) -> Result<Client, RedisError> {
        let mut builder = self.builder.clone();
        builder.with_performance_config(|performance| performance.default_command_timeout = timeout);
        let client = builder.build().map_err(|error| RedisError(error.details().to_owned()))?;
        drop(client.connect());
        Ok(client)
    }
}

/// Makes connections anew whose peer has gone silent. The library takes a connection for alive while
/// it can write to it, and the commands that nobody answers keep it so.
#[derive(Default)]
pub struct Reviver(Mutex<Option<Instant>>);

impl Reviver {
    /// Call it when commands have gone unanswered. Waits for nothing.
    pub fn revive<'a>(&self, clients: impl IntoIterator<Item = &'a Client>) {
        let mut last = self.0.lock();
        if last.is_some_and(|last| last.elapsed() < SILENCE) {
            return;
        }
        *last = Some(Instant::now());
        // One that is being made already needs no second try after the first.
        for client in clients.into_iter().filter(|client| client.is_connected()) {
            let client = client.clone();
            tokio::spawn(async move { timeout(SILENCE, client.force_reconnection()).await });
        }
    }
}

/// Tells the fleet's log from every other that was ever kept under the same name. Numbers of two logs
/// cannot be compared, so what is stored in Redis is filed under the log that it was fetched under: if
/// that is lost, so is what it could make invalid. 0 as long as the log was not read.
#[derive(Clone, Debug, Default)]
pub struct LogId(Arc<AtomicU64>);

impl LogId {
    /// The log that is in use.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Notes which log is in use.
    pub fn set(&self, id: u64) {
        self.0.store(id, Ordering::Release);
    }
}

/// A script that runs in Redis as one step.
pub fn script(lua: impl Into<String>) -> Script {
    Script::from_lua(lua.into())
}
