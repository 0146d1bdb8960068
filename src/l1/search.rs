//! Where a response stands that is good for more queries than its own (`No-Vary-Search`).
//!
//! Only hints: each leads to a key, and what stands there is judged like everything else.

use std::sync::Arc;

use moka::sync::Cache;
use smallvec::SmallVec;

use crate::key::{self, Key};
use crate::policy::search::Variance;

/// The part of the bytes of L1 that the hints may take in addition, half of it for each of the two.
const SHARE: u64 = 32;
/// What the responses of one path may say at a time; the latest counts. Each costs a miss a look-up.
const MAX_VARIANCES: usize = 4;
/// What a hint costs beyond its texts.
const OVERHEAD: usize = 256;

/// What the responses of paths have said, and where they stand.
pub(super) struct Searches {
    /// By key without query, the latest first.
    variances: Cache<Arc<[u8]>, Arc<[Variance]>, ahash::RandomState>,
    /// By key with the query in its normal form.
    places: Cache<(Box<[u8]>, Variance), Key, ahash::RandomState>,
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
}

impl Searches {
    pub(super) fn new(max_bytes: u64) -> Self {
        let variances = Cache::builder()
            .name("l1-variances")
            .max_capacity(max_bytes / SHARE / 2)
            .weigher(|key: &Arc<[u8]>, known: &Arc<[Variance]>| {
                weight(key.len() + known.iter().map(|variance| OVERHEAD + variance.weight()).sum::<usize>())
            })
            .build_with_hasher(ahash::RandomState::new());
        let places = Cache::builder()
            .name("l1-places")
            .max_capacity(max_bytes / SHARE / 2)
            .weigher(|(normal, variance): &(Box<[u8]>, Variance), key: &Key| {
                weight(normal.len() + variance.weight() + key.as_bytes().len())
            })
            .build_with_hasher(ahash::RandomState::new());
        Self { variances, places }
    }

    /// Notes that a response which says this stands under `key`.
    pub(super) fn learn(&self, key: &Key, variance: &Variance) {
        let Some(path) = key::with_query(key.as_bytes(), None) else { return };
        let known = self.variances.get(path.as_slice()).unwrap_or_default();
        if known.first() != Some(variance) {
            let others = known.iter().filter(|known| *known != variance).take(MAX_VARIANCES - 1);
            let latest = std::iter::once(variance).chain(others).cloned().collect();
            self.variances.insert(path.as_slice().into(), latest);
        }
        if let Some(normal) = normal(key.as_bytes(), variance) {
            self.places.insert((normal, variance.clone()), key.clone());
        }
    }

    /// Other keys under which a response may stand that is good for `key`, with what it has to say.
    pub(super) fn equivalents(&self, key: &[u8]) -> SmallVec<[(Key, Variance); MAX_VARIANCES]> {
        let known = key::with_query(key, None).and_then(|path| self.variances.get(path.as_slice())).unwrap_or_default();
        let places = known.iter().filter_map(|variance| {
            let place = self.places.get(&(normal(key, variance)?, variance.clone()))?;
            (place.as_bytes() != key).then(|| (place, variance.clone()))
        });
        places.collect()
    }
}

fn normal(key: &[u8], variance: &Variance) -> Option<Box<[u8]>> {
    let query = key::query_of(key).unwrap_or_default();
    Some(key::with_query(key, Some(&variance.normal(query)))?.as_slice().into())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::key::{KeyRules, MethodClass, Target};
    use crate::policy::search::NO_VARY_SEARCH;

    fn key(url: &str) -> Key {
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let target = Target { scheme: "http", host: "h", path, query };
        Key::new(&key::build(target, MethodClass::Get, &KeyRules::default(), &HeaderMap::new()))
    }

    fn variance(field: &str) -> Variance {
        Variance::of(&HeaderMap::from_iter([(NO_VARY_SEARCH, HeaderValue::from_str(field).unwrap())])).unwrap()
    }

    fn found(searches: &Searches, url: &str) -> Vec<String> {
        let equivalents = searches.equivalents(key(url).as_bytes());
        equivalents.into_iter().map(|(key, _)| key.path_and_query().to_owned()).collect()
    }

    #[test]
    fn a_hint_leads_from_any_query_of_the_same_meaning_on_the_same_path() {
        let searches = Searches::new(1 << 20);
        searches.learn(&key("/s?a=1&b=2"), &variance("params=(\"b\")"));
        assert_eq!(found(&searches, "/s?a=1"), ["/s?a=1&b=2"]);
        assert_eq!(found(&searches, "/s?b=3&a=1"), ["/s?a=1&b=2"]);
        for other in ["/s?a=1&b=2", "/s?a=2", "/s", "/t?a=1", "/s/?a=1"] {
            assert!(found(&searches, other).is_empty(), "{other}");
        }
    }

    #[test]
    fn a_path_remembers_the_latest_few_of_what_was_said() {
        let searches = Searches::new(1 << 20);
        for number in 0..10 {
            searches.learn(&key(&format!("/s?p{number}=1")), &variance(&format!("params=(\"p{number}\")")));
        }
        assert_eq!(found(&searches, "/s"), ["/s?p9=1", "/s?p8=1", "/s?p7=1", "/s?p6=1"]);
        searches.learn(&key("/s?p6=2"), &variance("params=(\"p6\")"));
        assert_eq!(found(&searches, "/s"), ["/s?p6=2", "/s?p9=1", "/s?p8=1", "/s?p7=1"]);
    }
}
