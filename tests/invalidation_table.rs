//! The invalidation table against its traps, and against a model that forgets nothing.

use millpond::bus::{Pattern, Record, Seq, Subject, Table, Validity};
use millpond::clock::Moment;
use millpond::policy::tags::Tag;
use proptest::collection::vec;
use proptest::prelude::*;

const ROOMY: usize = 1000;

fn at(micros: u64) -> Moment {
    Moment::from_micros(micros)
}

fn hard(pattern: Pattern) -> Record {
    Record { pattern, soft: false }
}

fn soft(pattern: Pattern) -> Record {
    Record { pattern, soft: true }
}

fn url(text: &str) -> Pattern {
    Pattern::Url(text.into())
}

fn subject<'a>(url: &'a str, tags: &'a [Tag]) -> Subject<'a> {
    Subject { url, route: "api", tags, any_query: false }
}

#[test]
fn what_may_be_good_for_any_query_is_matched_by_every_url_of_its_path_and_no_other() {
    let entry = Subject { any_query: true, ..subject("http://h/s?q=1", &[]) };
    for (pattern, matches) in [
        (url("http://h/s?q=1"), true),
        (url("http://h/s?q=2"), true),
        (url("http://h/s?"), true),
        (url("http://h/s"), true),
        (url("http://h/s/"), false),
        (url("http://h/"), false),
        (url("https://h/s?q=1"), false),
        (url("http://h:81/s?q=1"), false),
        (Pattern::Prefix("http://h/s?r".into()), true),
        (Pattern::Prefix("/s?r".into()), true),
        (Pattern::Prefix("/sa?r".into()), false),
        (Pattern::Prefix("/s".into()), true),
        (Pattern::Prefix("/st".into()), false),
    ] {
        for later in [false, true] {
            let table = Table::new(if later { 4 } else { ROOMY });
            table.apply(5, &hard(pattern.clone()), at(0));
            // Others push it out of a small table, into the floor.
            for seq in 6..if later { 20 } else { 6 } {
                table.apply(seq, &hard(url(&format!("http://h/other?{seq}"))), at(0));
            }
            let expected = if matches || later { Validity::Purged } else { Validity::Valid };
            assert_eq!(table.check(4, || entry), expected, "{pattern:?}");
            assert_eq!(table.check(19, || entry), Validity::Valid, "{pattern:?}");
            assert_eq!(pattern.matches(&entry), matches, "{pattern:?}");
            assert!(table.len() <= 4);
        }
    }
}

#[test]
fn every_kind_of_pattern_matches_what_it_says_and_nothing_else() {
    let tags = [Tag::from("user:1"), Tag::from("all-users")];
    let entry = subject("http://h/users/1?x=2", &tags);
    for (pattern, matches) in [
        (url("http://h/users/1?x=2"), true),
        (url("http://h/users/1"), false),
        (Pattern::Prefix("http://h/users/".into()), true),
        (Pattern::Prefix("http://h/users/1?x=2".into()), true),
        (Pattern::Prefix("http://h/users/1?x=23".into()), false),
        (Pattern::Prefix("http://other/users/".into()), false),
        (Pattern::Prefix("https://h/users/".into()), false),
        (Pattern::Prefix("/users/".into()), true),
        (Pattern::Prefix("/".into()), true),
        (Pattern::Prefix("/h/users".into()), false),
        (Pattern::Prefix("/1".into()), false),
        (Pattern::Tag("user:1".into()), true),
        (Pattern::Tag("all-users".into()), true),
        (Pattern::Tag("user:2".into()), false),
        (Pattern::Tag("api".into()), false),
        (Pattern::Route("api".into()), true),
        (Pattern::Route("user:1".into()), false),
        (Pattern::All, true),
    ] {
        let table = Table::new(ROOMY);
        table.apply(5, &hard(pattern.clone()), at(0));
        let expected = if matches { Validity::Purged } else { Validity::Valid };
        assert_eq!(table.check(4, || entry), expected, "{pattern:?}");
        assert_eq!(table.check(5, || entry), Validity::Valid, "{pattern:?}");
        assert_eq!(table.matched_between(4, 5, &entry), matches, "{pattern:?}");
        assert!(!table.matched_between(5, 9, &entry), "{pattern:?}");
        assert!(!table.matched_between(0, 4, &entry), "{pattern:?}");
    }
}

#[test]
fn a_prefix_that_ends_inside_a_character_of_the_url_does_not_match() {
    let table = Table::new(ROOMY);
    table.apply(1, &hard(Pattern::Prefix("/abc".into())), at(0));
    assert_eq!(table.check(0, || subject("http://h/ab\u{e9}", &[])), Validity::Valid);
}

#[test]
fn a7_a_delayed_record_does_not_kill_what_was_stored_after_a_later_one() {
    let table = Table::new(ROOMY);
    let entry = subject("http://h/a", &[]);
    table.apply(9, &hard(url("http://h/a")), at(0));
    table.apply(8, &hard(url("http://h/a")), at(1));
    assert_eq!(table.check(9, || entry), Validity::Valid);
    assert_eq!(table.check(8, || entry), Validity::Purged);
}

#[test]
fn a7_a_record_seen_twice_changes_nothing() {
    let table = Table::new(ROOMY);
    let entry = subject("http://h/a", &[]);
    table.apply(1, &soft(url("http://h/a")), at(10));
    let version = table.version();
    table.apply(1, &soft(url("http://h/a")), at(99));
    assert_eq!(table.version(), version);
    assert_eq!(table.check(0, || entry), Validity::SoftPurged { since: at(10) });
}

#[test]
fn a7_the_mark_on_everything_never_moves_backwards() {
    let table = Table::new(ROOMY);
    let entry = subject("http://h/a", &[]);
    table.apply(2, &hard(url("http://h/a")), at(0));
    table.apply(9, &hard(Pattern::All), at(0));
    table.apply(3, &hard(Pattern::All), at(1));
    table.apply(4, &hard(url("http://h/a")), at(1));
    assert_eq!(table.check(8, || entry), Validity::Purged);
    assert_eq!(table.check(9, || entry), Validity::Valid);
    assert!(table.is_empty(), "a record that the mark covers takes up room");
}

#[test]
fn a9_a_record_that_outgrows_the_table_still_counts() {
    let table = Table::new(2);
    for seq in 1..=4 {
        table.apply(seq, &hard(url(&format!("http://h/{seq}"))), at(0));
    }
    assert_eq!(table.len(), 2);
    assert_eq!(table.check(0, || subject("http://h/1", &[])), Validity::Purged);
    assert_eq!(table.check(1, || subject("http://h/2", &[])), Validity::Purged);
    // Others that old go with it; younger ones do not.
    assert_eq!(table.check(1, || subject("http://h/other", &[])), Validity::Purged);
    assert_eq!(table.check(2, || subject("http://h/other", &[])), Validity::Valid);
}

#[test]
fn a14_a_flood_of_records_leaves_the_table_within_its_bound() {
    let table = Table::new(100);
    for seq in 1..=20_000 {
        table.apply(seq, &hard(Pattern::Prefix(format!("/{seq}"))), at(0));
        assert!(table.len() <= 100);
    }
    assert_eq!(table.check(19_999, || subject("http://h/20000", &[])), Validity::Purged);
    assert_eq!(table.check(19_999, || subject("http://h/other", &[])), Validity::Valid);
}

#[test]
fn a_soft_record_leaves_a_stale_entry_and_a_hard_one_none() {
    let table = Table::new(ROOMY);
    let tags = [Tag::from("t")];
    let entry = subject("http://h/a", &tags);
    table.apply(1, &soft(Pattern::Tag("t".into())), at(10));
    table.apply(2, &soft(url("http://h/a")), at(20));
    assert_eq!(table.check(0, || entry), Validity::SoftPurged { since: at(10) });
    assert_eq!(table.check(1, || entry), Validity::SoftPurged { since: at(20) });
    assert_eq!(table.check(2, || entry), Validity::Valid);
    table.apply(3, &hard(Pattern::Route("api".into())), at(30));
    assert_eq!(table.check(2, || entry), Validity::Purged);
}

#[test]
fn the_version_rises_with_every_change() {
    let table = Table::new(ROOMY);
    let before = table.version();
    table.apply(1, &hard(Pattern::All), at(0));
    let after = table.version();
    assert!(after > before);
    table.apply(2, &hard(url("http://h/a")), at(0));
    assert!(table.version() > after);
}

/// Names few enough for records and entries to meet often.
const URLS: [&str; 5] = ["http://h/", "http://h/a", "http://h/a/b", "http://g/a/b", "http://g/c"];
const PREFIXES: [&str; 5] = ["http://h/a", "http://g", "/a", "/a/", "/c"];
const TAGS: [&str; 3] = ["x", "y", "z"];

fn records() -> impl Strategy<Value = Vec<Record>> {
    let pattern = prop_oneof![
        4 => (0..URLS.len()).prop_map(|i| url(URLS[i])),
        3 => (0..PREFIXES.len()).prop_map(|i| Pattern::Prefix(PREFIXES[i].into())),
        3 => (0..TAGS.len()).prop_map(|i| Pattern::Tag(TAGS[i].into())),
        1 => prop_oneof![Just("api"), Just("web")].prop_map(|name| Pattern::Route(name.into())),
        1 => Just(Pattern::All),
    ];
    vec((pattern, any::<bool>()).prop_map(|(pattern, soft)| Record { pattern, soft }), 0..24)
}

fn matches(pattern: &Pattern, subject: &Subject<'_>) -> bool {
    match pattern {
        Pattern::Url(url) => url == subject.url,
        Pattern::Prefix(prefix) if prefix.starts_with('/') => subject.url["http://h".len()..].starts_with(prefix),
        Pattern::Prefix(prefix) => subject.url.starts_with(prefix),
        Pattern::Tag(tag) => subject.tags.contains(tag),
        Pattern::Route(route) => &**route == subject.route,
        Pattern::All => true,
    }
}

fn rank(validity: Validity) -> u8 {
    match validity {
        Validity::Valid => 0,
        Validity::SoftPurged { .. } => 1,
        Validity::Purged => 2,
    }
}

/// The worst that a matching record in the span does: 0 nothing, 1 soft, 2 hard.
fn model(log: &[Record], span: std::ops::Range<Seq>, subject: &Subject<'_>) -> u8 {
    let hits = (1..).zip(log).filter(|(seq, record)| span.contains(seq) && matches(&record.pattern, subject));
    hits.map(|(_, record)| if record.soft { 1 } else { 2 }).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn a7_in_any_order_and_repeated_the_table_agrees_with_the_whole_log(
        log in records(),
        order in vec(any::<prop::sample::Index>(), 0..24),
        max_records in prop_oneof![Just(ROOMY), 0..8_usize],
        which in (0..URLS.len(), vec(0..TAGS.len(), 0..3)),
    ) {
        let table = Table::new(max_records);
        // Some records early and out of order, then all of them, newest first.
        let early = order.iter().filter(|_| !log.is_empty()).map(|index| index.index(log.len()));
        for index in early.chain((0..log.len()).rev()) {
            table.apply(index as Seq + 1, &log[index], at(0));
        }
        prop_assert!(table.len() <= max_records);
        let tags: Vec<Tag> = which.1.iter().map(|i| Tag::from(TAGS[*i])).collect();
        let subject = subject(URLS[which.0], &tags);
        let end = log.len() as Seq + 1;
        for born in 0..=end {
            let (found, expected) = (rank(table.check(born, || subject)), model(&log, born + 1..end, &subject));
            if max_records == ROOMY {
                prop_assert_eq!(found, expected, "born {}", born);
            } else {
                prop_assert!(found >= expected, "born {}: {} is weaker than {}", born, found, expected);
            }
            for up_to in born..end {
                let hit = model(&log, born + 1..up_to + 1, &subject) > 0;
                prop_assert!(!hit || table.matched_between(born, up_to, &subject), "{}..={}", born, up_to);
            }
        }
        prop_assert_eq!(rank(table.check(end - 1, || subject)), 0, "the newest entry is always valid");
    }
}
