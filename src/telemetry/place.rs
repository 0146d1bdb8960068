//! Places for threads: what belongs to a place is written by one thread alone, without atomic operations or behind a lock that
//! nobody else wants.

use std::cell::Cell;
use std::marker::PhantomData;

use parking_lot::Mutex;

/// Threads that can have a place at a time; those beyond share what belongs to none.
pub(super) const PLACES: usize = 64;

static TAKEN: Mutex<[bool; PLACES]> = Mutex::new([false; PLACES]);

thread_local! {
    /// The place of this thread; none by itself.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The place of this thread, below [`PLACES`].
pub(super) fn here() -> Option<usize> {
    PLACE.get()
}

/// For as long as this is held, its thread has a place for itself: it counts and logs beside the others.
pub struct Place {
    /// It stays on the thread that has taken it.
    _of_this_thread: PhantomData<*const ()>,
}

impl Place {
    /// Takes a place for this thread, if one is free and it has none.
    pub fn take() -> Option<Self> {
        if PLACE.get().is_some() {
            return None;
        }
        let mut taken = TAKEN.lock();
        let free = taken.iter().position(|taken| !taken)?;
        taken[free] = true;
        PLACE.set(Some(free));
        Some(Self { _of_this_thread: PhantomData })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(place) = PLACE.take() {
            // Whoever takes it next goes on from what was counted there: the lock orders the two.
            TAKEN.lock()[place] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_thread_s_alone_and_free_again_when_it_is_given_back() {
        let place = Place::take().unwrap();
        assert!(Place::take().is_none(), "it has one");
        let mine = here();
        assert!(mine.is_some_and(|place| place < PLACES));
        let other = std::thread::spawn(|| {
            let _place = Place::take().unwrap();
            here()
        });
        assert_ne!(other.join().unwrap(), mine);
        drop(place);
        assert_eq!(here(), None);
    }
}
