//! The caching policy beside the crate `http-cache-semantics`, over generated exchanges.
//!
//! Both say whether a stored response may answer a later request without a word from the origin.
//! Where they differ, the cause must be one that was reviewed and is listed in [`differences`] with
//! its reason: with that cause taken out, or those that meet in one case, both must agree. And each listed
//! one must turn up, so that the list cannot outgrow the truth. The generator is seeded, so a run
//! that passed passes again; `DIFFERENTIAL_CASES` sets the number of cases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod case;
mod differences;

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::case::{Case, Verdicts};
use self::differences::{DIFFERENCES, Difference};

const CASES: usize = 100_000;

#[test]
fn the_policy_differs_from_http_cache_semantics_only_where_that_was_decided() {
    let cases = std::env::var("DIFFERENTIAL_CASES").map_or(CASES, |text| text.parse().expect("a number of cases"));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = Case::any();
    let (mut both_serve, mut seen) = (0, BTreeMap::<&str, usize>::new());
    for _ in 0..cases {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        match case.verdicts() {
            Verdicts::NeitherServes => {}
            Verdicts::BothServe => both_serve += 1,
            Verdicts::Differ(how) => {
                let reasons = causes(&case);
                let reasons = reasons.unwrap_or_else(|| panic!("{how}, for no reason that was decided: {case:#?}"));
                for Difference { name, .. } in reasons {
                    *seen.entry(name).or_default() += 1;
                }
            }
        }
    }
    println!("{cases} cases; in {both_serve} both served the stored response; where they differed:");
    for Difference { name, reason, .. } in DIFFERENCES {
        println!("{:6}  {name}: {reason}", seen.get(name).copied().unwrap_or_default());
    }
    // Few cases prove nothing about the list.
    if cases >= CASES {
        assert!(both_serve > cases / 50, "the generator hardly makes responses to store: {both_serve}");
        let unseen: Vec<_> = DIFFERENCES.iter().map(|d| d.name).filter(|name| !seen.contains_key(name)).collect();
        assert!(unseen.is_empty(), "listed, but never seen: {unseen:?}");
    }
}

/// Listed causes without which both agree, none of which can be spared; `None` if there are none.
fn causes(case: &Case) -> Option<Vec<&'static Difference>> {
    let explain = |causes: &[&Difference]| {
        let mut without = case.clone();
        for cause in causes {
            (cause.remove)(&mut without);
        }
        !matches!(without.verdicts(), Verdicts::Differ(_))
    };
    let mut causes: Vec<_> = DIFFERENCES.iter().collect();
    if !explain(&causes) {
        return None;
    }
    for at in (0..causes.len()).rev() {
        let spared = causes.remove(at);
        if !explain(&causes) {
            causes.insert(at, spared);
        }
    }
    Some(causes)
}
