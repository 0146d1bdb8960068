//! Connections to Redis, made with what the library's defaults leave open: a reconnect policy
//! without an end, a limit on every wait and on every buffer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::{Client, Pool};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ReconnectPolicy, ServerConfig, TcpConfig, UnresponsiveConfig};
use fred::types::{Builder, FromValue, MultipleKeys, MultipleValues, scripts::Script};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::config::RedisConfig;

/// Until a connection is open, its handshake included.
pub const CONNECT: Duration = Duration::from_secs(2);
/// The first pause before a reconnect, and the longest, in milliseconds. The library makes the first before its first
/// connection as well, so an instance that starts waits for it.
pub const RECONNECT: (u32, u32) = (10, 1000);
/// What a pause may be longer by, in milliseconds, so that instances do not all come back at once.
const JITTER: u32 = 10;
/// Commands that may wait for a connection; more fail at once.
const BUFFERED: usize = 4096;
/// A frame that nobody answers for this long ends its connection.
pub const SILENCE: Duration = Duration::from_secs(2);
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
    direct: Option<Direct>,
}

impl Connections {
    /// Reads the configuration; connects to nothing yet.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisError> {
        let mut target = Config::from_url(&config.url).map_err(|error| RedisError(error.details().to_owned()))?;
        // A Redis that is down when this instance starts is a Redis to wait for.
        target.fail_fast = false;
        target.username.clone_from(&config.username);
        target.password = config.password.as_ref().map(|password| password.expose().to_owned());
        let direct = Direct::of(&target);
        let mut builder = Builder::from_config(target);
        let mut policy = ReconnectPolicy::new_exponential(0, RECONNECT.0, RECONNECT.1, 2);
        policy.set_jitter(JITTER);
        builder
            .set_policy(policy)
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
        Ok(Self { builder, direct })
    }

    /// So many connections for stored responses, which begin to connect now and never stop trying.
    pub fn pool(&self, size: usize) -> Result<Pool, RedisError> {
        let pool = self.builder.build_pool(size).map_err(|error| RedisError(error.details().to_owned()))?;
        drop(pool.connect_pool());
        Ok(pool)
    }

    /// How to do without the library: where there is one server at a time and no TLS.
    pub fn direct(&self) -> Option<Direct> {
        self.direct.clone()
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

/// Either end of a connection that is not the library's.
pub type Socket = Box<dyn Stream>;

/// What a connection can do.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How one server is reached without the library.
#[derive(Clone, Debug)]
pub struct Direct {
    server: Place,
    hello: Vec<Vec<String>>,
}

/// Where that server is.
#[derive(Clone, Debug)]
enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
    /// Where the library has found the primary.
    Found,
}

impl Direct {
    fn of(config: &Config) -> Option<Self> {
        let server = match &config.server {
            _ if config.tls.is_some() => return None,
            ServerConfig::Centralized { server } => Place::Tcp(server.host.to_string(), server.port),
            ServerConfig::Unix { path } => Place::Unix(path.clone()),
            ServerConfig::Sentinel { .. } => Place::Found,
            ServerConfig::Clustered { .. } => return None,
        };
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let auth = match (&config.username, &config.password) {
            (Some(user), Some(password)) => Some(own(&["AUTH", user, password])),
            (None, Some(password)) => Some(own(&["AUTH", password])),
            (_, None) => None,
        };
        let select = config.database.filter(|number| *number > 0).map(|number| own(&["SELECT", &number.to_string()]));
        Some(Self { server, hello: auth.into_iter().chain(select).collect() })
    }

    /// What is said on a connection before anything else.
    pub fn hello(&self) -> &[Vec<String>] {
        &self.hello
    }

    /// A connection; `library` is one of the library's to the same Redis.
    pub async fn connect(&self, library: &Client) -> io::Result<Socket> {
        let (host, port) = match &self.server {
            Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Tcp(host, port) => (host.clone(), *port),
            Place::Found => {
                library.wait_for_connect().await.map_err(io::Error::other)?;
                let found = library.active_connections().into_iter().next().ok_or(io::ErrorKind::NotConnected)?;
                (found.host.to_string(), found.port)
            }
        };
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        Ok(Box::new(socket))
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

/// Runs a script by a connection of the library's. Its future takes several KiB: not in a box, every future around it
/// would be as large, and so would the stack frame of whoever makes one of those.
#[inline(never)]
pub fn run<'a, T, K, V>(script: &'a Script, client: &'a Client, keys: K, args: V) -> BoxFuture<'a, Result<T, Error>>
where
    T: FromValue + Send + 'a,
    K: Into<MultipleKeys> + Send + 'a,
    V: TryInto<MultipleValues> + Send + 'a,
    V::Error: Into<Error> + Send,
{
    Box::pin(script.evalsha_with_reload(client, keys, args))
}

/// A script that runs in Redis as one step.
pub fn script(lua: impl Into<String>) -> Script {
    Script::from_lua(lua.into())
}
