//! The proxy inside the test process, with a clock that the test moves.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millpond::clock::Clock;
use millpond::config::parse;
use millpond::telemetry::metrics::Metrics;
use millpond::{Options, Server};

use super::client::Client;
use super::config::ConfigText;
use super::origin::Origin;
use super::soon;

/// A running proxy.
pub(crate) struct Proxy {
    server: Server,
    /// Its clock; timers of the runtime are not affected by it.
    pub(crate) clock: Clock,
}

/// A proxy to be started: `Proxy::start(&origin).cache("ttl = '60s'").await`.
pub(crate) struct Starting {
    config: ConfigText,
    clock: Clock,
}

impl Proxy {
    /// A proxy in front of `origin`, which caches by the rules of RFC 9111 until told otherwise.
    pub(crate) fn start(origin: &Origin) -> Starting {
        Starting { config: ConfigText::for_origin(origin), clock: Clock::manual() }
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// A client of the proxy.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.server.addr())
    }

    /// A client of its admin listener.
    pub(crate) fn admin(&self) -> Client {
        Client::to(self.server.admin_addr().expect("an admin listener"))
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

impl Proxy {
    /// Stops it; returns when it has stopped.
    pub(crate) async fn stop(self) {
        soon("the proxy to stop", self.server.stop()).await;
    }
}

impl Starting {
    /// The route's cache rules, as in `ttl = '60s', jitter = 0.0`.
    pub(crate) fn cache(mut self, rules: &str) -> Self {
        self.config.cache(rules);
        self
    }

    /// A route that passes everything.
    pub(crate) fn no_cache(mut self) -> Self {
        self.config.no_cache();
        self
    }

    /// Further keys of the listener, one per line.
    pub(crate) fn listen(mut self, keys: &str) -> Self {
        self.config.listen(keys);
        self
    }

    /// Further keys of the origin, one per line.
    pub(crate) fn origin(mut self, keys: &str) -> Self {
        self.config.origin(keys);
        self
    }

    /// Further keys of the route, one per line.
    pub(crate) fn route(mut self, keys: &str) -> Self {
        self.config.route(keys);
        self
    }

    /// Further sections, with their heads.
    pub(crate) fn section(mut self, text: &str) -> Self {
        self.config.section(text);
        self
    }
}

impl IntoFuture for Starting {
    type Output = Proxy;
    type IntoFuture = Pin<Box<dyn Future<Output = Proxy> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let text = self.config.text(any, any);
            let config = parse(&text, Path::new("test.toml"), &|name| std::env::var(name).ok());
            let config = config.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
            let metrics = Arc::new(Metrics::new().unwrap());
            let options = Options { clock: self.clock.clone(), metrics, log: None };
            let server = soon("the proxy to start", Server::start(config, options)).await;
            Proxy { server: server.unwrap_or_else(|error| panic!("{error}\n{text}")), clock: self.clock }
        })
    }
}
