//! The body of a stored response.

use std::ops::{Deref, Range};

use bytes::Bytes;

use super::allocated;

/// Bytes up to which a body is kept by itself: so short a one is copied behind the head of a response in any case.
const SHORT: usize = 4 * 1024;

/// All bytes of a body, in two words.
#[derive(Clone, Debug)]
pub struct StoredBody(Held);

#[derive(Clone, Debug)]
enum Held {
    /// Without what it takes to be shared.
    Short(Box<[u8]>),
    /// Shared with those to whom it is sent.
    Long(Box<Bytes>),
}

impl StoredBody {
    /// The same bytes for somebody who may need them for longer: a copy of a short body, and a share in a long one.
    pub fn share(&self) -> Bytes {
        match &self.0 {
            Held::Short(bytes) => Bytes::copy_from_slice(bytes),
            Held::Long(bytes) => Bytes::clone(bytes),
        }
    }

    /// The same for a range of it.
    pub fn share_range(&self, range: Range<usize>) -> Bytes {
        match &self.0 {
            Held::Short(bytes) => Bytes::copy_from_slice(&bytes[range]),
            Held::Long(bytes) => bytes.slice(range),
        }
    }

    /// Bytes of memory.
    pub(super) fn weight(&self) -> usize {
        match &self.0 {
            Held::Short(bytes) => allocated(bytes.len()),
            Held::Long(bytes) => allocated(size_of::<Bytes>()) + shared_weight(bytes),
        }
    }
}

/// Bytes of memory of what is or will be shared: its own, and a header that is made when it is shared for the first time.
pub(super) fn shared_weight(bytes: &Bytes) -> usize {
    const HEADER: usize = 32;
    if bytes.is_empty() { 0 } else { allocated(bytes.len()) + HEADER }
}

impl From<Bytes> for StoredBody {
    fn from(bytes: Bytes) -> Self {
        Self(if bytes.len() <= SHORT { Held::Short(Vec::from(bytes).into()) } else { Held::Long(Box::new(bytes)) })
    }
}

impl Default for StoredBody {
    fn default() -> Self {
        Self(Held::Short(Box::default()))
    }
}

impl Deref for StoredBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Short(bytes) => bytes,
            Held::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_bytes_that_it_was_made_of_and_takes_two_words() {
        assert_eq!(size_of::<StoredBody>(), 16);
        for length in [1, SHORT, SHORT + 1] {
            let bytes = Bytes::from(vec![b'x'; length]);
            let body = StoredBody::from(bytes.clone());
            assert_eq!((&*body, body.share()), (&*bytes, bytes.clone()));
            let shares = std::ptr::eq(&raw const body[..], &raw const bytes[..]);
            assert_eq!(shares, length > SHORT, "{length}");
        }
        assert!(StoredBody::default().is_empty());
    }

    #[test]
    fn a_short_one_has_no_more_memory_than_its_class() {
        let mut buffer = bytes::BytesMut::with_capacity(1 << 16);
        buffer.extend_from_slice(&[b'x'; 100]);
        assert_eq!(StoredBody::from(buffer.freeze()).weight(), allocated(100));
        let long = Bytes::from(vec![b'x'; SHORT + 1]);
        assert_eq!(StoredBody::from(long.clone()).weight(), shared_weight(&long) + 32);
        assert_eq!(StoredBody::default().weight(), 0);
    }
}
