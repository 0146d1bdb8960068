//! RFC 9111 sections 3, 4 and 5 and RFC 9213, clause by clause: a table with a row for each thing that a shared cache
//! must, should or may do, and for each row situations that are decided differently.
//!
//! Most rows ask the policy, which is pure; where a clause is about what only a running proxy shows, a row runs one
//! with the rig of the integration tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test ends by a panic")]

mod confirming;
mod exchange;
mod fields;
mod freshness;
mod live;
mod partial;
mod pending;
mod requests;
mod responses;
mod reusing;
mod row;
mod storing;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use the rest of the rig")]
mod support;
mod targeted;
mod validation;

use std::collections::BTreeMap;

use row::Row;

/// The sections with clauses for a shared cache.
const SECTIONS: &[&str] = &[
    "9111 3",
    "9111 3.1",
    "9111 3.2",
    "9111 3.3",
    "9111 3.4",
    "9111 3.5",
    "9111 4",
    "9111 4.1",
    "9111 4.2",
    "9111 4.2.1",
    "9111 4.2.2",
    "9111 4.2.3",
    "9111 4.2.4",
    "9111 4.3",
    "9111 4.3.1",
    "9111 4.3.2",
    "9111 4.3.3",
    "9111 4.3.4",
    "9111 4.3.5",
    "9111 4.4",
    "9111 5.1",
    "9111 5.2",
    "9111 5.2.1.1",
    "9111 5.2.1.2",
    "9111 5.2.1.3",
    "9111 5.2.1.4",
    "9111 5.2.1.5",
    "9111 5.2.1.6",
    "9111 5.2.1.7",
    "9111 5.2.2.1",
    "9111 5.2.2.2",
    "9111 5.2.2.3",
    "9111 5.2.2.4",
    "9111 5.2.2.5",
    "9111 5.2.2.6",
    "9111 5.2.2.7",
    "9111 5.2.2.8",
    "9111 5.2.2.9",
    "9111 5.2.2.10",
    "9111 5.2.3",
    "9111 5.3",
    "9111 5.4",
    "9111 5.5",
    "9213 2",
    "9213 2.1",
    "9213 2.2",
    "9213 3",
];

/// The rows that hold, by subject.
const TABLES: &[&[Row]] = &[
    storing::ROWS,
    partial::ROWS,
    partial::PARTS,
    reusing::ROWS,
    freshness::ROWS,
    validation::ROWS,
    confirming::ROWS,
    requests::ROWS,
    responses::ROWS,
    fields::ROWS,
    targeted::ROWS,
];

fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().copied().flatten().chain(pending::PENDING.iter().map(|pending| &pending.row))
}

#[test]
fn what_may_be_stored() {
    row::all_hold(storing::ROWS);
}

#[test]
fn how_stored_responses_are_updated_and_parts_handled() {
    row::all_hold(partial::ROWS);
    row::all_hold(partial::PARTS);
}

#[test]
fn what_a_stored_response_may_answer_and_what_ends_it() {
    row::all_hold(reusing::ROWS);
}

#[test]
fn how_long_a_response_is_fresh_and_when_it_may_be_stale() {
    row::all_hold(freshness::ROWS);
}

#[test]
fn how_a_stored_response_is_validated() {
    row::all_hold(validation::ROWS);
}

#[test]
fn what_a_304_says_of_stored_responses() {
    row::all_hold(confirming::ROWS);
}

#[test]
fn what_clients_may_demand() {
    row::all_hold(requests::ROWS);
}

#[test]
fn what_origins_direct() {
    row::all_hold(responses::ROWS);
}

#[test]
fn what_the_other_fields_mean() {
    row::all_hold(fields::ROWS);
}

#[test]
fn what_is_directed_at_caches_of_one_kind() {
    row::all_hold(targeted::ROWS);
}

#[test]
fn what_is_pending_does_not_hold_yet() {
    row::none_holds(pending::PENDING);
}

#[test]
fn no_row_would_pass_whatever_was_decided() {
    row::all_are_decisive(rows());
}

#[test]
fn every_section_has_a_row() {
    let mut counts: BTreeMap<&str, usize> = SECTIONS.iter().map(|section| (*section, 0)).collect();
    for row in rows() {
        let count = counts.get_mut(row.section);
        *count.unwrap_or_else(|| panic!("RFC {} is not on the list of sections", row.section)) += 1;
    }
    for section in SECTIONS {
        println!("RFC {section}: {} rows", counts[section]);
    }
    println!("{} rows, of which {} are pending", rows().count(), pending::PENDING.len());
    let without: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
    assert!(without.is_empty(), "no row: {without:?}");
}
