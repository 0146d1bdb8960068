//! The form of the table, and what makes a row pass.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::catch_unwind;

/// How strongly the clause speaks (RFC 2119). `Fact` is for definitions that a decision must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    Must,
    MustNot,
    Should,
    ShouldNot,
    May,
    Fact,
}

/// A situation, what Millpond decides in it, and what it has to decide.
pub(crate) type Case = (&'static str, fn() -> String, &'static str);

/// One clause, and the situations that show it. They must not all be decided alike: a row whose every
/// case is accepted, or refused, would also pass if the clause were ignored.
pub(crate) struct Row {
    /// Number of the RFC and of its section, as in `9111 4.2.1`.
    pub(crate) section: &'static str,
    pub(crate) force: Force,
    /// The clause in our own words.
    pub(crate) says: &'static str,
    pub(crate) cases: &'static [Case],
}

impl Row {
    fn name(&self) -> String {
        format!("RFC {}, {:?}: {}", self.section, self.force, self.says)
    }

    /// The cases that are decided otherwise than the clause wants, one per line.
    fn faults(&self) -> Vec<String> {
        let judge = |(given, decide, expected): &Case| {
            let decided = catch_unwind(decide).unwrap_or_else(|_| PANICKED.to_owned());
            (decided != *expected).then(|| format!("{given}: expected `{expected}`, and it is `{decided}`"))
        };
        self.cases.iter().filter_map(judge).collect()
    }

    /// Whether no single decision, made in every case, would pass it.
    fn is_decisive(&self) -> bool {
        let expected: BTreeSet<_> = self.cases.iter().map(|(_, _, expected)| expected).collect();
        expected.len() >= 2
    }
}

/// What is reported of a case that did not come to a decision.
const PANICKED: &str = "a panic; see above";

/// A clause that Millpond does not follow, and why.
pub(crate) struct Pending {
    pub(crate) why: &'static str,
    pub(crate) row: Row,
}

/// Fails with the name of every row that does not hold.
pub(crate) fn all_hold(rows: &[Row]) {
    let mut report = String::new();
    for row in rows {
        for fault in row.faults() {
            let _ = writeln!(report, "{}\n    {fault}", row.name());
        }
    }
    assert!(report.is_empty(), "clauses that do not hold:\n{report}");
}

/// Fails with the name of every row that holds by now.
pub(crate) fn none_holds(pending: &[Pending]) {
    for Pending { row, why } in pending {
        let faults = row.faults();
        assert!(!faults.is_empty(), "this holds by now; take it off the list: {} ({why})", row.name());
        assert!(faults.len() < row.cases.len(), "not even the contrast holds: {}: {faults:#?}", row.name());
        let ended_early = faults.iter().any(|fault| fault.contains(PANICKED));
        assert!(!ended_early, "a row that breaks down says nothing: {}", row.name());
    }
}

/// Fails with the name of every row that proves nothing.
pub(crate) fn all_are_decisive<'a>(rows: impl Iterator<Item = &'a Row>) {
    let mut names = BTreeSet::new();
    for row in rows {
        assert!(row.is_decisive(), "all cases are decided alike: {}", row.name());
        assert!(names.insert(row.name()), "twice: {}", row.name());
        let situations: BTreeSet<_> = row.cases.iter().map(|(given, ..)| given).collect();
        assert_eq!(situations.len(), row.cases.len(), "two cases have one name: {}", row.name());
    }
}
