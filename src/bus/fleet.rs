//! Who takes part in a fleet, and how far each has come.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Seq;

/// What an instance that has left has applied: it serves nothing any more.
pub(super) const LEFT: Seq = Seq::MAX;

/// What is known of an instance from its last heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// When that was, in milliseconds by the clock of Redis.
    pub seen: u64,
    /// The number up to which it had applied all invalidations.
    pub applied: Seq,
    /// Its version of Millpond.
    pub version: String,
    /// Requests that it had answered.
    pub requests: u64,
    /// Those of them that it had answered from memory.
    pub hits: u64,
}

impl Instance {
    /// Reads what an instance of any version wrote: what is missing counts as nothing.
    fn read(text: &str) -> Self {
        let mut parts = text.split(' ');
        let number = |part: Option<&str>| part.and_then(|part| part.parse().ok()).unwrap_or(0);
        Self {
            seen: number(parts.next()),
            applied: number(parts.next()),
            version: parts.next().unwrap_or_default().to_owned(),
            requests: number(parts.next()),
            hits: number(parts.next()),
        }
    }
}

/// The instances as this one knows them. A registry that Redis has lost is no proof that nobody is
/// there: who was seen a moment ago is waited for.
#[derive(Default)]
pub(super) struct Fleet {
    known: HashMap<String, Known>,
    /// Since when there is a registry, or one that has not been lost.
    listed_since: Option<Instant>,
    /// The roll of the registry that was read last; empty if it must be read again, whatever its roll.
    roll: String,
}

/// An instance, when it was seen last, and whether the registry that was read last has it.
struct Known {
    instance: Instance,
    seen: Instant,
    listed: bool,
}

impl Fleet {
    /// Takes note of the registry, which was asked for at `asked` and is so old. Whoever is missing there
    /// because it was lost is waited for, but what they had applied is no longer known: the records may be
    /// others by now.
    pub(super) fn meet(&mut self, registry: HashMap<String, String>, roll: String, asked: Instant, age: Duration) {
        let began = Instant::now().checked_sub(age);
        self.listed_since = began;
        self.roll = roll;
        self.known.retain(|id, known| {
            known.listed = registry.contains_key(id);
            if !known.listed && known.instance.applied != LEFT {
                known.instance.applied = 0;
            }
            // Else it was listed there, and silent for long enough.
            known.listed || known.instance.applied == LEFT || began.is_none_or(|began| known.seen < began)
        });
        for (id, report) in registry {
            self.known.insert(id, Known { instance: Instance::read(&report), seen: asked, listed: true });
        }
    }

    /// Takes note that the registry still had the same instances at `asked`. How far they have come is asked
    /// for when somebody wants to know.
    pub(super) fn stay(&mut self, roll: &str, asked: Instant) {
        // Else another look has brought another registry meanwhile.
        if self.roll == roll {
            for known in self.known.values_mut().filter(|known| known.listed) {
                known.seen = known.seen.max(asked);
            }
        }
    }

    /// What the registry that is known here is called.
    pub(super) fn roll(&self) -> &str {
        &self.roll
    }

    /// Whether the registry is younger than this: not everybody who lives may be in it yet.
    pub(super) fn is_young(&self, span: Duration) -> bool {
        self.listed_since.is_some_and(|since| since.elapsed() < span)
    }

    /// Who was seen within `span` and has not left, in the order of their names.
    pub(super) fn present(&mut self, span: Duration) -> Vec<(String, Instance)> {
        let roll = &mut self.roll;
        self.known.retain(|_, known| {
            let recent = known.seen.elapsed() < span;
            if !recent && known.listed {
                // The registry may have it all the same: this instance has not heard of it for so long.
                roll.clear();
            }
            recent
        });
        let here = self.known.iter().filter(|(_, known)| known.instance.applied != LEFT);
        let mut here: Vec<_> = here.map(|(id, known)| (id.clone(), known.instance.clone())).collect();
        here.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_of_itself_is_read_as_far_as_it_goes() {
        let all = Instance { seen: 1, applied: 2, version: "0.1.0".into(), requests: 3, hits: 4 };
        assert_eq!(Instance::read("1 2 0.1.0 3 4"), all);
        assert_eq!(Instance::read("1 2 0.1.0 3 4 and more"), all);
        assert_eq!(Instance::read("1 2"), Instance { seen: 1, applied: 2, ..Instance::default() });
        assert_eq!(Instance::read("what is this"), Instance { version: "this".into(), ..Instance::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_seen_a_moment_ago_is_there_although_the_registry_is_lost_and_who_left_is_not() {
        let span = Duration::from_secs(10);
        let mut fleet = Fleet::default();
        let line = |applied: Seq| format!("1 {applied} 0.1.0 0 0");
        fleet.meet(
            [("a".to_owned(), line(1)), ("b".to_owned(), line(2)), ("c".to_owned(), line(LEFT))].into(),
            "one".into(),
            Instant::now(),
            span,
        );
        tokio::time::advance(span / 2).await;
        // Redis has lost it, and began another.
        fleet.meet(HashMap::from([("b".to_owned(), line(3))]), "two".into(), Instant::now(), Duration::ZERO);
        let names = |fleet: &mut Fleet| fleet.present(span).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(names(&mut fleet), ["a", "b"]);
        assert_eq!(fleet.present(span)[0].1.applied, 0, "what it has applied is not known");
        tokio::time::advance(span / 2).await;
        assert_eq!(names(&mut fleet), ["b"]);
        fleet.meet(HashMap::new(), "three".into(), Instant::now(), span / 2);
        assert!(names(&mut fleet).is_empty(), "it was in this registry, and is there no more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_still_on_the_roll_was_seen_and_whoever_was_forgotten_is_asked_for_again() {
        let span = Duration::from_secs(10);
        let mut fleet = Fleet::default();
        let registry = HashMap::from([("a".to_owned(), "1 1 0.1.0 0 0".to_owned())]);
        fleet.meet(registry, "one".into(), Instant::now(), span);
        tokio::time::advance(span / 2).await;
        fleet.stay("another", Instant::now());
        fleet.stay("one", Instant::now());
        tokio::time::advance(span / 2).await;
        assert_eq!(fleet.present(span).len(), 1, "it was on the roll half a span ago");
        assert_eq!(fleet.roll(), "one");
        tokio::time::advance(span / 2).await;
        fleet.stay("another", Instant::now());
        assert!(fleet.present(span).is_empty(), "the roll that it is on was not seen for so long");
        assert_eq!(fleet.roll(), "", "the registry may have it, so it is read again");
    }
}
