//! Purges on request of an operator: the log record first, then the memory it frees.

use std::sync::Arc;

use http::{Method, Uri};
use smallvec::SmallVec;

use crate::bus::{Logged, Pattern, Record, Seq, Unreachable};
use crate::entry::Entry;
use crate::key::{self, Key, KeyRules, MethodClass, Target};

use super::Proxy;

/// Why a purge was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurgeFault {
    /// It names no resource.
    #[error("\"{0}\" is not an absolute URL; give scheme, host and path, as in \"http://api.example.com/users/42\"")]
    NotAbsolute(String),
    /// It names no route of the configuration.
    #[error("there is no route \"{name}\"")]
    UnknownRoute {
        /// The name that was given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
}

/// The records that invalidate what `patterns` match.
pub(super) fn records(patterns: &[Pattern], soft: bool) -> Vec<Record> {
    patterns.iter().map(|pattern| Record { pattern: pattern.clone(), soft }).collect()
}

impl Proxy {
    /// The patterns for everything stored under a URL, brought into the forms that keys have: one,
    /// unless methods have routes of their own.
    pub fn url_patterns(&self, url: &str) -> Result<Vec<Pattern>, PurgeFault> {
        let not_absolute = || PurgeFault::NotAbsolute(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| not_absolute())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(not_absolute()) };
        let target = Target { scheme, host: authority.as_str(), path: uri.path(), query: uri.query() };
        Ok(self.key_urls(target).into_iter().map(Pattern::Url).collect())
    }

    /// The URL part of the key that a GET of `target` has, and of those that methods with their body in
    /// the key have, where a route of their own writes it in another way.
    pub(super) fn key_urls(&self, target: Target<'_>) -> SmallVec<[String; 1]> {
        let site = self.site.load();
        let rules = |method: &Method| {
            let route = site.route(method, target.host, target.path)?;
            route.cache.as_deref().map(|policy| &policy.key)
        };
        let get = rules(&Method::GET);
        let mut urls = SmallVec::from_iter([
            get.map_or_else(|| key::url(target, &KeyRules::default()), |rules| key::url(target, rules))
        ]);
        for body in site.policies().filter_map(|policy| policy.key.body.as_ref()) {
            for rules in body.methods.iter().filter_map(rules) {
                let url = key::url(target, rules);
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    /// The pattern for everything stored through a route.
    pub fn route_pattern(&self, name: &str) -> Result<Pattern, PurgeFault> {
        let site = self.site.load();
        let known = || site.route_names().map(str::to_owned).collect();
        let route = site.route_named(name);
        let route = route.ok_or_else(|| PurgeFault::UnknownRoute { name: name.to_owned(), known: known() })?;
        Ok(Pattern::Route(Arc::clone(&route.name)))
    }

    /// Appends a record for each of `patterns` to the log. They count here before this first waits
    /// for anything, and the fleet is told even if the caller stops waiting. What they match is still
    /// to be reclaimed.
    ///
    /// # Errors
    ///
    /// The fleet's log is out of reach: the others will hear of it when it is back.
    pub async fn invalidate(self: &Arc<Self>, patterns: &[Pattern], soft: bool) -> Result<Logged, Unreachable> {
        let records = records(patterns, soft);
        let here = self.log.apply_here(&records, self.clock.now());
        self.tell(records, here).await
    }

    /// Appends records that were applied here, the last as number `here`, to the log of the fleet.
    pub(super) async fn tell(self: &Arc<Self>, records: Vec<Record>, here: Seq) -> Result<Logged, Unreachable> {
        if self.log.shared().is_none() {
            return Ok(Logged { seq: here, line: String::new() });
        }
        let proxy = Arc::clone(self);
        let telling = tokio::spawn(async move {
            let logged = proxy.log.append(&records).await?;
            let seq = logged.seq;
            tokio::spawn(async move { proxy.forget(&records, seq).await });
            Ok(logged)
        });
        telling.await.unwrap_or(Err(Unreachable::Panicked))
    }

    /// Deletes from the shared tier what a hard purge of a URL covers. Copies of other purges, and
    /// those for header fields, cookies or bodies in the key, are refused when they are read.
    async fn forget(&self, records: &[Record], seq: Seq) {
        for record in records {
            if let Record { pattern: Pattern::Url(url), soft: false } = record {
                self.remote.forget(&Key::of_url(url, MethodClass::Get), seq).await;
            }
        }
    }

    /// Counts what a purge matched, and drops it if the purge was hard. The purge does not depend
    /// on it: every reader compares entries with the log. `None` if only a [walk](Self::walk) can tell.
    pub fn reclaim(&self, patterns: &[Pattern], seq: Seq, soft: bool) -> Option<u64> {
        let hits = |key: &Key| self.l1.reclaim(key.as_bytes(), !soft, |entry| is_hit(patterns, seq, key.url(), entry));
        Some(self.plain_keys(patterns)?.iter().map(hits).sum())
    }

    /// The same by a walk through all of L1. `None` if another one is under way: a storm of purges must not
    /// become a storm of walks.
    pub fn walk(&self, patterns: &[Pattern], seq: Seq, soft: bool) -> Option<u64> {
        let _walking = self.sweeping.try_lock()?;
        Some(self.l1.sweep(!soft, |url, entry| is_hit(patterns, seq, url, entry)))
    }

    /// The keys of the patterns, if each names one URL whose key has no header, cookie or body part, and
    /// that no other URL stands for.
    fn plain_keys(&self, patterns: &[Pattern]) -> Option<Vec<Key>> {
        let site = self.site.load();
        let parts = |key: &KeyRules| {
            !key.headers.is_empty() || !key.cookies.is_empty() || key.body.is_some() || key.no_vary_search
        };
        let keyed = site.policies().any(|policy| parts(&policy.key));
        let key = |pattern: &Pattern| match pattern {
            Pattern::Url(url) if !keyed => Some(Key::of_url(url, MethodClass::Get)),
            _ => None,
        };
        patterns.iter().map(key).collect()
    }
}

/// Whether the purge `seq` of these patterns is about an entry.
fn is_hit(patterns: &[Pattern], seq: Seq, url: &str, entry: &Entry) -> bool {
    entry.born() < seq && patterns.iter().any(|pattern| pattern.matches(&entry.subject(url)))
}
