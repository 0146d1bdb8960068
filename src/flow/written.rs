//! What a successful unsafe request invalidates.

use std::sync::Arc;

use http::header::HeaderMap;
use http::uri::PathAndQuery;

use crate::bus::{Pattern, Record, Seq};
use crate::key::Target;
use crate::policy::invalidation;

use super::Proxy;
use super::purge;
use super::visit::Visit;

/// The target of an unsafe request, which may outlive its client.
#[derive(Clone, Debug)]
pub(super) struct Written {
    scheme: &'static str,
    host: String,
    path_and_query: String,
    /// `scheme://host`, the scope of cache groups.
    site: String,
}

impl Written {
    pub(super) fn by(visit: &Visit) -> Self {
        Self {
            scheme: visit.scheme(),
            host: visit.host().to_owned(),
            path_and_query: visit.parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
            site: visit.site_name(),
        }
    }
}

impl Proxy {
    /// Returns the position of the log after this if nothing else, here or in the fleet, was invalidated
    /// since `before`.
    pub(super) async fn invalidate_after(
        self: &Arc<Self>,
        written: &Written,
        headers: &HeaderMap,
        before: Option<Seq>,
    ) -> Option<Seq> {
        let records = self.records_of(written, headers);
        let here = self.log.apply_here(&records, self.clock.now());
        let count = records.len() as u64;
        // The client's write has succeeded. That the others could not be told is the log's to mend,
        // and it goes on trying when the client waits no longer.
        let Ok(Ok(logged)) = tokio::time::timeout(self.invalidation_wait, self.tell(records, here)).await else {
            tracing::warn!("the others will hear later of what a write has invalidated");
            return None;
        };
        before.filter(|before| self.log.is_all_since(*before, count, here, logged.seq)).map(|_| logged.seq)
    }

    /// Invalidates the target of a request whose answer nobody will hear: here at once, and in the fleet before
    /// this instance leaves it.
    pub(super) fn owe(&self, written: &Written) {
        let records = self.records_of(written, &HeaderMap::new());
        self.log.apply_here(&records, self.clock.now());
        self.log.owe(&records);
    }

    fn records_of(&self, written: &Written, headers: &HeaderMap) -> Vec<Record> {
        let Written { scheme, host, path_and_query, site } = written;
        let affected = invalidation::invalidated_targets(scheme, host, path_and_query, headers);
        let urls = affected.iter().flat_map(|affected| {
            let (path, query) = match affected.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (affected.as_str(), None),
            };
            self.key_urls(Target { scheme, host, path, query }).into_iter().map(Pattern::Url)
        });
        let groups = invalidation::invalidated_groups(headers, site).into_iter().map(Pattern::Tag);
        let patterns: Vec<Pattern> = urls.chain(groups).collect();
        purge::records(&patterns, false)
    }
}
