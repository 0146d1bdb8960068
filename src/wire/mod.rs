//! HTTP/1.1 on the wire, as both sides of the proxy read and write it: requests of clients, responses of origins.
//!
//! | file | subject |
//! | --- | --- |
//! | `field`, `chunked`, `trailers`, `flaw` | syntax, read in the one strict way; pure |
//! | `lines` | fields as the lines of a head |
//! | `scratch` | the buffer into which a thread reads |
//! | `tcp` | a connection |
//! | `alarm` | a timer that is cheap to postpone |
//! | `tunnel` | a connection that has left HTTP |

pub(crate) mod alarm;
pub(crate) mod chunked;
pub(crate) mod field;
mod flaw;
pub(crate) mod lines;
pub(crate) mod scratch;
mod tcp;
pub(crate) mod trailers;
mod tunnel;

pub(crate) use self::flaw::Flaw;
pub use self::lines::Lines;
pub(crate) use self::tcp::Tcp;
pub use self::tunnel::Tunnel;
