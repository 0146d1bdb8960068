//! A body that is fetched in parts is the body: over generated bodies and lists of ranges, from a seed, so that a run
//! that passed passes again.

use std::ops::Range;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{for_a_minute, start};
use crate::support::client::Answer;

const BODIES: usize = 50;
/// The most ranges that one request is granted.
const MOST: usize = 16;

/// Any bytes, those that frame the parts of a multipart body included, and ranges that cover them in any order.
fn covered() -> impl Strategy<Value = (Vec<u8>, Vec<Range<usize>>)> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"\r\n-".to_vec())];
    (vec(byte, 1..2000), vec(any::<Index>(), 0..40), vec(any::<(Index, Index)>(), 0..4)).prop_flat_map(
        |(body, cuts, more)| {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).chain([0, body.len()]).collect();
            at.sort_unstable();
            at.dedup();
            let more = more.iter().map(|(a, b)| (a.index(body.len()), b.index(body.len())));
            let overlapping = more.map(|(a, b)| a.min(b)..a.max(b) + 1);
            let list: Vec<Range<usize>> = at.windows(2).map(|pair| pair[0]..pair[1]).chain(overlapping).collect();
            (Just(body), Just(list).prop_shuffle())
        },
    )
}

/// The parts of an answer with their places, and the length that each tells.
fn parts(answer: &Answer) -> Vec<(Range<usize>, usize, Bytes)> {
    assert_eq!(answer.status, 206);
    let mut rest = answer.body.clone().unwrap();
    if let Some(field) = answer.header("content-range") {
        let (range, length) = place(&field);
        return vec![(range, length, rest)];
    }
    let content_type = answer.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a multipart type");
    let (delimiter, mut found) = (format!("\r\n--{boundary}"), Vec::new());
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).map(Bytes::copy_from_slice).expect("a delimiter");
        if &*rest == b"--\r\n" {
            return found;
        }
        let end = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the head of a part");
        let head = String::from_utf8(rest.split_to(end + 4).to_vec()).unwrap();
        let (range, length) = place(head.split("Content-Range: ").nth(1).expect("a content range").trim());
        let body = rest.split_to(range.len());
        found.push((range, length, body));
    }
}

fn place(field: &str) -> (Range<usize>, usize) {
    let (range, length) = field.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).expect("bytes");
    let (first, last) = range.split_once('-').expect("first and last");
    (first.parse().unwrap()..last.parse::<usize>().unwrap() + 1, length.parse().unwrap())
}

#[tokio::test]
async fn any_ranges_that_cover_a_body_give_it_byte_for_byte() {
    let (origin, proxy) = start("").await;
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = covered();
    for number in 0..BODIES {
        let (body, list) = strategy.new_tree(&mut runner).unwrap().current();
        let (path, stored) = (format!("/{number}"), body.clone());
        origin.on(&path, |reply| for_a_minute(reply).header("content-type", "text/plain").body(stored));
        proxy.client().get(&path).send().await;
        let mut whole: Vec<Option<u8>> = vec![None; body.len()];
        for some in list.chunks(MOST) {
            let set: Vec<String> = some.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
            let answer = proxy.client().get(&path).header("range", &format!("bytes={}", set.join(","))).send().await;
            for (range, length, part) in parts(&answer) {
                assert_eq!((part.len(), length), (range.len(), body.len()), "{set:?}");
                for (at, byte) in range.zip(part) {
                    whole[at] = Some(byte);
                }
            }
        }
        assert_eq!(whole.into_iter().collect::<Option<Vec<u8>>>(), Some(body), "{list:?}");
        assert_eq!(origin.hits(&path), 1);
    }
}
