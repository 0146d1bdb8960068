//! What a request looks like on the wire, read in the one strict way. Pure.
//!
//! Whatever two parsers could read differently is a [`Fault`](super::Fault): a proxy and an origin that
//! disagree about where a request ends are the door to request smuggling.

mod bounds;
mod head;
mod target;
#[cfg(test)]
mod tests;

pub(super) use bounds::Bounds;
pub(super) use head::{Framing, Head, HeadParser};
