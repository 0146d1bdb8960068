//! One running instance: listeners, proxy and admin side, from start to drained.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin;
use crate::bus::{Log, Membership, Shared};
use crate::clock::Clock;
use crate::config::{AdminConfig, Config};
use crate::control::Controls;
use crate::flow::{Parts, Proxy, Service};
use crate::l1::Expiry;
use crate::l2::envelope::Packing;
use crate::l2::{self, Absent, Remote};
use crate::listener::{Bound, Drained, ListenError, Shutdown};
use crate::redis::{Connections, LogId, RedisError};
use crate::telemetry::LogHandle;
use crate::telemetry::access::{self, AccessLog};
use crate::telemetry::metrics::Metrics;

/// What an instance is started with besides its configuration.
pub struct Options {
    /// Time; tests move it by hand.
    pub clock: Clock,
    /// Where every metric of the process is registered.
    pub metrics: Arc<Metrics>,
    /// Diagnostics, if this instance may change their level.
    pub log: Option<LogHandle>,
}

/// Why an instance could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address for clients can not be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address for operators can not be had.
    #[error("cannot listen on {address}: {fault}; choose another `admin.listen` or stop what uses it")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        fault: io::Error,
    },
    /// Redis can not be addressed as configured.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// There is no thread for what has to be done beside serving.
    #[error("cannot start a thread: {0}; the system is out of threads or memory")]
    Thread(io::Error),
    /// The access log could not be set up.
    #[error("cannot start the access log: {0}; the system is out of threads, memory or descriptors")]
    AccessLog(io::Error),
}

/// A running instance.
pub struct Server {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    controls: Arc<Controls>,
    access: Arc<AccessLog>,
    shutdown: Shutdown,
    serving: JoinHandle<Result<Drained, ListenError>>,
    admin: Option<JoinHandle<()>>,
    admin_end: Shutdown,
    follower: JoinHandle<()>,
    _expiry: Expiry,
}

impl Server {
    /// Binds all addresses, then serves. Nothing listens if any address can not be had.
    pub async fn start(config: Config, options: Options) -> Result<Self, StartError> {
        let Options { clock, metrics, log } = options;
        let bound = Bound::bind(&config.listen)?;
        let admin_socket = match &config.admin {
            Some(admin) => Some((bind_admin(admin).await?, admin.token.clone())),
            None => None,
        };
        let lost = metrics.log_lines_lost.clone();
        let access = access::stdout().and_then(|out| AccessLog::new(&config.log, clock.clone(), lost, out));
        let access = Arc::new(access.map_err(StartError::AccessLog)?);
        let log_id = LogId::default();
        let invalidations = Log::new(config.invalidation.max_records, fleet(&config, &metrics, log_id.clone())?);
        let parts = Parts {
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            access: Arc::clone(&access),
            log: invalidations,
            remote: remote(&config, &clock, &metrics, log_id)?,
        };
        let proxy = Arc::new(Proxy::new(&config, parts));
        let expiry = proxy.expire().map_err(StartError::Thread)?;
        let following = Arc::clone(&proxy);
        let follower = tokio::spawn(async move {
            if let Some(shared) = following.log().shared() {
                shared.follow(following.log(), &clock).await;
            }
        });
        let shutdown = Shutdown::new();
        let (address, limits) = (bound.local_addr(), config.limits.clone());
        let controls = Arc::new(Controls {
            proxy: Arc::clone(&proxy),
            metrics: Arc::clone(&metrics),
            log,
            config: ArcSwap::from_pointee(config),
            accepting: AtomicBool::new(true),
        });
        let admin_address = admin_socket.as_ref().and_then(|(socket, _)| socket.local_addr().ok());
        let admin_end = Shutdown::new();
        let admin = admin_socket.map(|(socket, token)| {
            let end = admin_end.clone().cancelled_owned();
            tokio::spawn(admin::serve(socket, token, Arc::clone(&controls), end))
        });
        let (listening, end) = (metrics.listener.clone(), shutdown.clone());
        let serving = tokio::spawn(async move {
            introduced(&proxy).await;
            bound.run(Service(proxy), limits, listening, end).await
        });
        Ok(Self {
            address,
            admin_address,
            controls,
            access,
            shutdown,
            serving,
            admin,
            admin_end,
            follower,
            _expiry: expiry,
        })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin listener is, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// What can be done with it from outside.
    pub fn controls(&self) -> &Arc<Controls> {
        &self.controls
    }

    /// Resolves if serving ends by itself, which is a fault.
    pub async fn ended(&mut self) -> ListenError {
        match (&mut self.serving).await {
            Ok(Err(fault)) => fault,
            Ok(Ok(_)) | Err(_) => ListenError::Lost,
        }
    }

    /// Readiness off, no new connections; requests in flight finish within the deadline. Returns
    /// how many connections had to be cut.
    pub async fn stop(self) -> usize {
        self.controls.accepting.store(false, Ordering::Release);
        self.shutdown.cancel();
        let cut = self.serving.await.ok().and_then(Result::ok).map_or(0, |drained| drained.cut);
        // The admin listener ends last, so that `/readyz` says what is going on.
        self.admin_end.cancel();
        if let Some(admin) = self.admin {
            // It ends within its own deadline; that it panicked would change nothing any more.
            let _ = admin.await;
        }
        self.follower.abort();
        let invalidations = self.controls.proxy.log();
        if let Some(shared) = invalidations.shared() {
            Box::pin(shared.close(invalidations)).await;
        }
        self.access.flush(FLUSH_DEADLINE).await;
        cut
    }
}

/// Waits until the fleet knows this instance, if there is one.
async fn introduced(proxy: &Proxy) {
    if let Some(shared) = proxy.log().shared() {
        // Clients wait in the backlog meanwhile: it is listened to already.
        shared.introduced(INTRODUCTION).await;
    }
}

async fn bind_admin(admin: &AdminConfig) -> Result<TcpListener, StartError> {
    let socket = TcpListener::bind(admin.listen).await;
    socket.map_err(|fault| StartError::Admin { address: admin.listen, fault })
}

/// The shared tier, if there is one.
fn remote(config: &Config, clock: &Clock, metrics: &Metrics, log_id: LogId) -> Result<Box<dyn Remote>, StartError> {
    let Some(redis) = &config.redis else { return Ok(Box::new(Absent)) };
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let settings = l2::Settings {
        prefix: redis.prefix.clone(),
        log_id,
        connections: redis.connections,
        timeout: redis.timeout,
        lease: redis.lease,
        packing: Packing { compress_from: redis.compress_from.map(bytes), max_body: bytes(redis.max_object_size) },
    };
    let connections = Connections::new(redis)?;
    Ok(Box::new(l2::Redis::new(&connections, settings, clock.clone(), metrics.l2.clone())?))
}

/// This instance's end of the fleet's log, if it is part of a fleet.
fn fleet(config: &Config, metrics: &Arc<Metrics>, log_id: LogId) -> Result<Option<Shared>, StartError> {
    let Some(redis) = &config.redis else { return Ok(None) };
    let connections = Connections::new(redis)?;
    let member = Membership {
        id: instance_id(redis.instance.as_deref()),
        prefix: redis.prefix.clone(),
        max_records: config.invalidation.max_records,
        patience: config.invalidation.heartbeat.max(redis.timeout),
        heartbeat: config.invalidation.heartbeat,
        max_unsynced: config.invalidation.max_unsynced,
        log_id,
        traffic: {
            let metrics = Arc::clone(metrics);
            Arc::new(move || metrics.traffic())
        },
        beats: metrics.invalidation_beats.clone(),
        missed_beats: metrics.invalidation_missed_beats.clone(),
        ignored: metrics.invalidation_ignored.clone(),
    };
    Ok(Some(Shared::new(&connections, member)?))
}

/// A name that no other instance has, whatever it is called: two that share one would pass for one
/// another in the receipts of a purge.
fn instance_id(configured: Option<&str>) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = configured.map(str::to_owned).or_else(host).unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(63).collect();
    format!("{name}-{:08x}", rand::random::<u32>()).trim_start_matches('-').to_owned()
}

/// How long the end waits for the reader of the access log.
const FLUSH_DEADLINE: std::time::Duration = std::time::Duration::from_secs(2);
/// How long an instance that starts waits for its first word from the log before it serves without.
const INTRODUCTION: std::time::Duration = std::time::Duration::from_millis(250);
