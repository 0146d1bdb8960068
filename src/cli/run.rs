//! `millpond run`: the proxy, until a signal ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::clock::Clock;
use crate::config::{self, FileWatch};
use crate::control::Controls;
use crate::telemetry;
use crate::telemetry::metrics::Metrics;
use crate::{Options, Server};

/// Arguments of `millpond run`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  millpond run --config /etc/millpond/millpond.toml\n\n\
    Signals:\n  SIGHUP           read the configuration again (a changed file is read by itself)\n  \
    SIGTERM, SIGINT  finish the requests in flight, then exit; a second one exits at once")]
pub struct RunArgs {
    /// The configuration file.
    #[arg(short, long, default_value = "millpond.toml")]
    pub config: PathBuf,
}

/// Runs the proxy.
pub async fn run(args: RunArgs) -> Exit {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return Exit::Config;
        }
    };
    let metrics = match Metrics::new() {
        Ok(metrics) => Arc::new(metrics),
        Err(fault) => return internal(&fault),
    };
    let log = match telemetry::init(&config.log, metrics.diagnostic_lines_lost.clone()) {
        Ok(log) => log,
        Err(fault) => return internal(&fault),
    };
    warn_of_few_files(&config, super::raise_open_files());
    let options = Options { clock: Clock::system(), metrics, log: Some(log.clone()) };
    let exit = serve(&args.config, config, options).await;
    log.flush(std::time::Duration::from_secs(2)).await;
    exit
}

async fn serve(path: &Path, config: config::Config, options: Options) -> Exit {
    let (mut stop, mut hangup) = match StopSignals::listen().and_then(|stop| Ok((stop, signal(SignalKind::hangup())?)))
    {
        Ok(signals) => signals,
        Err(fault) => return internal(&fault),
    };
    let mut server = match Server::start(config, options).await {
        Ok(server) => server,
        Err(fault) => {
            eprintln!("millpond: {fault}");
            return Exit::System;
        }
    };
    let admin = server.admin_addr().map(tracing::field::display);
    tracing::info!(address = %server.addr(), admin, "serving");
    let mut watch = FileWatch::new(path);
    loop {
        tokio::select! {
            () = stop.asked() => break,
            _ = hangup.recv() => {}
            () = watch.changed() => {}
            fault = server.ended() => return internal(&fault),
        }
        reload(server.controls(), path);
    }
    tracing::info!("stopping: finishing the requests in flight");
    tokio::select! {
        cut = server.stop() => {
            tracing::info!(cut, "stopped");
            Exit::Done
        }
        () = stop.asked() => {
            tracing::warn!("stopped at once by a second signal");
            Exit::Done
        }
    }
}

/// Descriptors beside those of connections: listeners, logs, event queues, the admin listener.
const OTHER_FILES: usize = 128;

/// Connections beyond the limit of open files wait or fail without a word, so say it before.
fn warn_of_few_files(config: &config::Config, allowed: Option<u64>) {
    let origins: usize = config.origins.iter().map(|origin| origin.max_connections).sum();
    let needed = config.limits.connections.saturating_add(origins).saturating_add(OTHER_FILES) as u64;
    if let Some(allowed) = allowed
        && allowed < needed
    {
        tracing::warn!(
            allowed,
            needed,
            "fewer open files are allowed than limits.connections and max_connections of the origins may need; \
             raise the hard limit (ulimit -Hn, LimitNOFILE) or lower these"
        );
    }
}

/// Puts a new configuration in force, or says why the old one stays.
fn reload(controls: &Controls, path: &Path) {
    match config::load(path) {
        Ok(config) => {
            controls.reload(config);
            tracing::info!(file = %path.display(), "the new configuration is in force");
        }
        Err(faults) => {
            controls.refuse_reload();
            tracing::error!(%faults, "the new configuration is wrong, the old one stays in force");
        }
    }
}

/// The signals that ask the process to end.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves at the next of them.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn internal(fault: &dyn std::error::Error) -> Exit {
    eprintln!("millpond: {fault}");
    Exit::Internal
}
