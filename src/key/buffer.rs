//! Memory for keys under construction.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// What is kept for the next key; a longer one is the exception, and gives its memory back.
const KEPT: usize = 4096;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A key under construction. It takes over the memory of the one before it on the same thread, so that a look-up
/// allocates nothing.
#[derive(Debug)]
pub struct KeyBuffer(Vec<u8>);

impl KeyBuffer {
    /// An empty key.
    pub(super) fn new() -> Self {
        // A thread that ends has no memory to lend.
        Self(SPARE.try_with(Cell::take).unwrap_or_default())
    }
}

impl From<&[u8]> for KeyBuffer {
    fn from(bytes: &[u8]) -> Self {
        let mut key = Self::new();
        key.extend_from_slice(bytes);
        key
    }
}

impl Deref for KeyBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for KeyBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for KeyBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= KEPT {
            bytes.clear();
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }
}
