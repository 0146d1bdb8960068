//! Memory for the heads of requests: each takes over that of one before it on the same thread.

use std::cell::RefCell;

use http::request::Parts;
use http::{Request, Uri};

/// Heads that a thread keeps, for requests that are answered one after another.
const KEPT: usize = 16;
/// Fields that one of them has room for; what had room for more gives it back.
const FIELDS: usize = 64;

thread_local! {
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")]
    static SPARE: RefCell<Vec<Box<Parts>>> = const { RefCell::new(Vec::new()) };
}

/// An empty head.
pub(super) fn take() -> Box<Parts> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(Request::new(()).into_parts().0))
}

/// Takes a head back that nobody needs any more.
pub(crate) fn give_back(mut parts: Box<Parts>) {
    if parts.headers.capacity() > FIELDS {
        return;
    }
    parts.headers.clear();
    parts.uri = Uri::default();
    parts.extensions.clear();
    // A thread that ends keeps nothing.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(parts);
        }
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn used(fields: usize) -> Box<Parts> {
        let mut parts = take();
        for number in 0..fields {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            parts.headers.append(name, HeaderValue::from_static("secret"));
        }
        parts.uri = Uri::from_static("/secret");
        parts.extensions.insert("secret");
        parts
    }

    #[test]
    fn nothing_of_a_request_is_left_for_the_next() {
        give_back(used(20));
        let parts = take();
        assert!(parts.headers.capacity() >= 20, "but its memory");
        assert!(parts.headers.is_empty() && parts.extensions.is_empty());
        assert_eq!(parts.uri, "/");
    }

    #[test]
    fn only_so_much_is_kept() {
        give_back(used(FIELDS * 2));
        assert_eq!(take().headers.capacity(), 0);
        let many: Vec<_> = (0..KEPT + 5).map(|_| used(1)).collect();
        many.into_iter().for_each(give_back);
        assert_eq!(SPARE.with_borrow(Vec::len), KEPT);
    }
}
