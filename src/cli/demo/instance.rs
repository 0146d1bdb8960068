//! The proxy of the demo: an ordinary instance in this process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::{DemoArgs, DemoProxy, Figures};
use crate::cli::Exit;
use crate::clock::Clock;
use crate::config;
use crate::reason::Outcome;
use crate::telemetry::metrics::Metrics;
use crate::{Options, Server};

/// Runs the demo with an instance of this very proxy.
pub async fn demo(args: DemoArgs) -> Exit {
    // Clients, proxy and origin share this process. If there are too few, the herd says so.
    let _ = crate::cli::raise_open_files();
    match super::run(args, start).await {
        Ok(()) => Exit::Done,
        Err(fault) => {
            eprintln!("millpond: {fault}");
            Exit::System
        }
    }
}

async fn start(text: String) -> io::Result<Instance> {
    let config = config::parse(&text, Path::new("demo.toml"), &|_| None).map_err(io::Error::other)?;
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let options = Options { clock: Clock::system(), metrics: Arc::clone(&metrics), log: None };
    let server = Server::start(config, options).await.map_err(io::Error::other)?;
    Ok(Instance { server, metrics })
}

/// The name that the demo's configuration gives its origin.
const ORIGIN: &str = "catalogue";
/// Outcomes that cost no request to the origin.
const SPARED: [Outcome; 6] = [
    Outcome::Hit,
    Outcome::HitL2,
    Outcome::StaleWhileRevalidate,
    Outcome::StaleAccepted,
    Outcome::StaleIfError,
    Outcome::Coalesced,
];

struct Instance {
    server: Server,
    metrics: Arc<Metrics>,
}

impl DemoProxy for Instance {
    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    fn admin_addr(&self) -> Option<SocketAddr> {
        self.server.admin_addr()
    }

    fn figures(&self) -> Figures {
        let answered = |outcome: &Outcome| self.metrics.latency[*outcome as usize].count();
        let origin = self.metrics.origin(ORIGIN);
        Figures {
            requests: Outcome::ALL.iter().map(answered).sum(),
            hits: SPARED.iter().map(answered).sum(),
            origin_requests: origin.requests.get(),
            origin_time: origin.latency.total(),
        }
    }

    async fn stop(self) {
        self.server.stop().await;
    }
}
