//! RFC 9110 section 14: parts of a body give the body.

use std::ops::Range;

use http::header::{HeaderMap, HeaderValue, RANGE};
use millpond::policy::ranges::{RangeRequest, ranges};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// The most ranges that one request is granted.
const MOST: usize = 16;

/// A body and ranges that cover it, in any order, some of them overlapping others.
fn covered() -> impl Strategy<Value = (Vec<u8>, Vec<Range<u64>>)> {
    let body = vec(any::<u8>(), 1..3000);
    (body, vec(any::<Index>(), 0..20), vec(any::<(Index, Index)>(), 0..5)).prop_flat_map(|(body, cuts, extra)| {
        let length = body.len();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(length)).chain([0, length]).collect();
        at.sort_unstable();
        at.dedup();
        let mut list: Vec<Range<u64>> = at.windows(2).map(|pair| pair[0] as u64..pair[1] as u64).collect();
        list.extend(extra.iter().map(|(a, b)| {
            let (a, b) = (a.index(length) as u64, b.index(length) as u64);
            a.min(b)..a.max(b) + 1
        }));
        (Just(body), Just(list).prop_shuffle())
    })
}

/// A range in one of the ways to ask for it.
fn spec(range: &Range<u64>, length: u64, way: u8) -> String {
    match way % 3 {
        1 if range.end == length => format!("{}-", range.start),
        2 if range.end == length => format!("-{}", length - range.start),
        _ => format!("{}-{}", range.start, range.end - 1),
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn ranges_that_cover_a_body_put_together_are_the_body((body, list) in covered(), way in any::<u8>()) {
        let length = body.len() as u64;
        let mut whole: Vec<Option<u8>> = vec![None; body.len()];
        for some in list.chunks(MOST) {
            let set: Vec<String> = some.iter().map(|range| spec(range, length, way)).collect();
            let field = HeaderValue::try_from(format!("bytes={}", set.join(", "))).unwrap();
            let parts = match ranges(&HeaderMap::from_iter([(RANGE, field)]), length) {
                RangeRequest::One(range) => vec![range],
                RangeRequest::Many(list) => list,
                other => return Err(TestCaseError::fail(format!("{other:?} for {set:?} of {length}"))),
            };
            let sent: u64 = parts.iter().map(|part| part.end - part.start).sum();
            prop_assert!(sent <= length, "no byte twice in one answer: {:?}", parts);
            for part in parts {
                let asked = part.clone().all(|at| some.iter().any(|range| range.contains(&at)));
                prop_assert!(asked, "{part:?} was not asked for in {set:?}");
                let part = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
                for at in part {
                    whole[at] = Some(body[at]);
                }
            }
        }
        prop_assert_eq!(whole.into_iter().collect::<Option<Vec<u8>>>(), Some(body));
    }
}
