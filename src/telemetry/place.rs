//! Places for threads: what belongs to a place is written by one thread alone, which needs no atomic operation for it, or a
//! lock that hardly anybody else ever holds.

use std::cell::Cell;

use parking_lot::Mutex;

/// Threads that can have a place at a time; those beyond share what belongs to none.
pub(super) const PLACES: usize = 64;

static TAKEN: Mutex<[bool; PLACES]> = Mutex::new([false; PLACES]);

/// What a thread knows of its place.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// It has not needed one yet.
    Unasked,
    /// There was none for it, or it ends.
    Shared,
    Own(usize),
}

thread_local! {
    static STANDING: Cell<Standing> = const { Cell::new(Standing::Unasked) };
    /// Dropped when the thread ends.
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// The place of this thread, below [`PLACES`], which it takes when it first needs one and has until it ends.
pub(super) fn here() -> Option<usize> {
    match STANDING.get() {
        Standing::Own(place) => Some(place),
        Standing::Shared => None,
        Standing::Unasked => take(),
    }
}

#[cold]
fn take() -> Option<usize> {
    let lease = Lease::new();
    let place = lease.as_ref().map(|lease| lease.0);
    STANDING.set(place.map_or(Standing::Shared, Standing::Own));
    // A thread that is about to end gives it back at once.
    if LEASE.try_with(|held| held.set(lease)).is_err() {
        return None;
    }
    place
}

/// A place for as long as this is held.
struct Lease(usize);

impl Lease {
    fn new() -> Option<Self> {
        let mut taken = TAKEN.lock();
        let free = taken.iter().position(|taken| !taken)?;
        taken[free] = true;
        Some(Self(free))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        STANDING.set(Standing::Shared);
        // Whoever takes it next goes on from what was counted there: the lock orders the two.
        TAKEN.lock()[self.0] = false;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Has this thread go without a place.
    pub(in crate::telemetry) fn share() {
        LEASE.set(None);
        STANDING.set(Standing::Shared);
    }

    #[test]
    fn a_place_is_one_thread_s_alone_and_free_again_when_that_ends() {
        std::thread::spawn(|| {
            let mine = here().unwrap();
            assert_eq!(here(), Some(mine), "it keeps it");
            assert!(mine < PLACES);
            let other = std::thread::spawn(here).join().unwrap();
            assert_ne!(other, Some(mine));
            share();
            assert_eq!(here(), None);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn there_are_places_again_however_many_threads_have_ended() {
        for _ in 0..10 * PLACES {
            std::thread::spawn(|| assert!(here().is_some())).join().unwrap();
        }
    }
}
