//! What a reload replaces: the routes with their origins and metric handles.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::{CachePolicy, Config, OriginConfig, RouteConfig};
use crate::origin::Origin;
use crate::policy::coding::Compress;
use crate::route::Matcher;
use crate::telemetry::metrics::{CodingMetrics, Metrics, RouteMetrics};

/// One route, ready to serve.
pub struct Route {
    /// Its name in metrics, logs and purges.
    pub name: Arc<str>,
    matcher: Matcher,
    /// Where its requests go.
    pub origin: Arc<Origin>,
    /// How it caches; `None` passes everything.
    pub cache: Option<Arc<CachePolicy>>,
    /// Its metric handles.
    pub metrics: RouteMetrics,
    /// Those of its codings, indexed by `Coding as usize`; none unless it codes.
    pub coding: Vec<CodingMetrics>,
}

/// Everything that one version of the configuration says about requests.
pub struct Site {
    routes: Vec<Arc<Route>>,
    /// Handles for requests that no route takes.
    pub unrouted: RouteMetrics,
    trusted_proxies: Vec<IpNet>,
    origins: HashMap<String, (OriginConfig, Arc<Origin>)>,
}

impl Site {
    /// Sets a configuration up. Origins that did not change since `previous` keep their
    /// connections and limits.
    pub fn new(config: &Config, previous: Option<&Self>, metrics: &Metrics, clock: &Clock) -> Self {
        let origins: HashMap<_, _> = config
            .origins
            .iter()
            .map(|origin| {
                let kept = previous.and_then(|site| site.unchanged(origin));
                let running = kept.unwrap_or_else(|| {
                    Arc::new(Origin::new(Arc::clone(origin), metrics.origin(&origin.name), clock.clone()))
                });
                (origin.name.clone(), (OriginConfig::clone(origin), running))
            })
            .collect();
        let routes = config.routes.iter().filter_map(|route| Route::new(route, &origins, metrics)).map(Arc::new);
        Self {
            routes: routes.collect(),
            unrouted: metrics.route("-"),
            trusted_proxies: config.listen.trusted_proxies.clone(),
            origins,
        }
    }

    fn unchanged(&self, origin: &OriginConfig) -> Option<Arc<Origin>> {
        let (config, running) = self.origins.get(&origin.name)?;
        (config == origin).then(|| Arc::clone(running))
    }

    /// The first route that takes the request. `host` may carry a port.
    pub fn route(&self, method: &Method, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.matcher.matches(method, host, path))
    }

    /// A route by its name.
    pub fn route_named(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| &*route.name == name)
    }

    /// The names of all routes.
    pub fn route_names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| &*route.name)
    }

    /// The cache policies of all routes.
    pub fn policies(&self) -> impl Iterator<Item = &CachePolicy> {
        self.routes.iter().filter_map(|route| route.cache.as_deref())
    }

    /// Whether what `peer` says about the original client is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

impl Route {
    /// What it codes, if it does.
    pub fn compress(&self) -> Option<&Compress> {
        self.cache.as_ref()?.compress.as_ref()
    }

    /// `None` only if the configuration was not validated: an origin is missing.
    fn new(
        config: &RouteConfig,
        origins: &HashMap<String, (OriginConfig, Arc<Origin>)>,
        metrics: &Metrics,
    ) -> Option<Self> {
        let (_, origin) = origins.get(&config.origin.name)?;
        let codes = config.cache.as_ref().is_some_and(|policy| policy.compress.is_some());
        Some(Self {
            name: Arc::clone(&config.name),
            matcher: config.matcher.clone(),
            origin: Arc::clone(origin),
            cache: config.cache.clone(),
            metrics: metrics.route(&config.name),
            coding: if codes { metrics.coding(&config.name) } else { Vec::new() },
        })
    }
}
