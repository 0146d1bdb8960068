//! `millpond demo`: a slow origin, the proxy in front of it, and the difference it makes, measured
//! while you watch.
//!
//! The demo does not know how a proxy is started: its caller passes a closure that turns a
//! configuration text into a [`DemoProxy`].

mod args;
mod catalogue;
mod client;
mod herd;
mod instance;
mod live;
mod load;
mod origin;
mod show;
mod text;

use std::future::Future;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;

use thiserror::Error;

pub use args::DemoArgs;
pub use instance::demo;
pub use live::Figures;
pub use origin::{DemoOrigin, OriginOptions};

use crate::clock::Clock;
use show::Show;

/// A running proxy, as the demo sees it.
pub trait DemoProxy {
    /// Where it listens.
    fn addr(&self) -> SocketAddr;

    /// Where its admin listener listens, if it has one.
    fn admin_addr(&self) -> Option<SocketAddr>;

    /// Its counters since it started.
    fn figures(&self) -> Figures;

    /// Stops it; returns when it has stopped.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Why a demo could not start or go on.
#[derive(Debug, Error)]
pub enum DemoError {
    /// Something else listens where the demo wants to.
    #[error("{address} is in use by another program; choose another with {flag}, for example {flag} {example}")]
    AddressInUse {
        /// The address that was asked for.
        address: SocketAddr,
        /// The argument that sets it.
        flag: &'static str,
        /// The same host with a port that was free a moment ago, or with port 0.
        example: SocketAddr,
    },
    /// An address cannot be listened on for another reason.
    #[error("cannot listen on {address}: {cause}; choose another with {flag}")]
    Address {
        /// The address that was asked for.
        address: SocketAddr,
        /// The argument that sets it.
        flag: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// The built-in origin found no free port, or no descriptors.
    #[error("the demo's origin cannot start on the loopback interface: {0}")]
    Origin(io::Error),
    /// The closure that starts the proxy failed.
    #[error("the proxy cannot start: {0}")]
    Proxy(io::Error),
    /// A client of the herd could not connect.
    #[error("the herd of {clients} clients cannot connect: {cause}; try fewer with --clients")]
    Herd {
        /// Clients asked for.
        clients: usize,
        /// What the system said.
        cause: io::Error,
    },
    /// Nobody can read what the demo prints.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Runs the demo on standard output until Ctrl-C or until its time is over.
///
/// `start_proxy` gets a configuration in TOML and returns the running proxy.
///
/// # Errors
///
/// See [`DemoError`]; each text says what to change.
pub async fn run<P: DemoProxy>(
    args: DemoArgs,
    start_proxy: impl AsyncFnOnce(String) -> io::Result<P>,
) -> Result<(), DemoError> {
    let mut out = io::stdout();
    let in_place = out.is_terminal();
    let ctrl_c = async {
        // Without a handler for Ctrl-C the signal ends the process by itself: nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    play(&args, start_proxy, &mut out, in_place, ctrl_c).await
}

/// The demo itself, with everything around it as an argument: where it writes, and what ends it.
async fn play<P: DemoProxy>(
    args: &DemoArgs,
    start_proxy: impl AsyncFnOnce(String) -> io::Result<P>,
    out: &mut dyn io::Write,
    in_place: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    check_free(args.listen, "--listen")?;
    check_free(args.admin, "--admin")?;
    let origin = DemoOrigin::start(args.origin()).await.map_err(DemoError::Origin)?;
    let proxy = start_proxy(configuration(args, &origin)).await.map_err(DemoError::Proxy)?;
    let clock = Clock::system();
    let show = Show { args, origin: &origin, proxy: &proxy, clock: &clock, in_place };
    let shown = show.run(out, pin!(stop)).await;
    proxy.stop().await;
    shown
}

/// Listens there for a moment. The proxy itself may share a port with another process
/// (`SO_REUSEPORT`), and a demo that gets half of the requests would be a riddle.
fn check_free(address: SocketAddr, flag: &'static str) -> Result<(), DemoError> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let free = TcpListener::bind((address.ip(), 0)).and_then(|listener| listener.local_addr());
            let example = free.unwrap_or_else(|_| SocketAddr::new(address.ip(), 0));
            Err(DemoError::AddressInUse { address, flag, example })
        }
        Err(cause) => Err(DemoError::Address { address, flag, cause }),
    }
}

/// The configuration of the demo's proxy: one tier, one cached route, and the rest passed.
fn configuration(args: &DemoArgs, origin: &DemoOrigin) -> String {
    let DemoArgs { listen, admin, .. } = args;
    let ttl = args.origin().max_age.as_secs();
    format!(
        r#"[listen]
http = "{listen}"

[admin]
listen = "{admin}"

[origins.catalogue]
url = "http://{}"

[[routes]]
path = "/api/*"
origin = "catalogue"
cache = {{ ttl = "{ttl}s", stale_while_revalidate = "30s", stale_if_error = "1h" }}

[[routes]]
path = "*"
origin = "catalogue"
cache = false
"#,
        origin.addr()
    )
}

#[cfg(test)]
mod tests;
