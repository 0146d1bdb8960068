//! Errors of libraries to the closed list of [`OriginFault`]s.

use std::error::Error;
use std::io;

use crate::reason::OriginFault;
use crate::wire::Flaw;

impl Error for OriginFault {}

/// What is not HTTP, in whatever way.
impl From<Flaw> for OriginFault {
    fn from(_: Flaw) -> Self {
        Self::Protocol
    }
}

/// Why no connection was made.
pub(super) fn of_connect(error: &(dyn Error + 'static)) -> OriginFault {
    // The connector names the step that failed by this text alone.
    if error.to_string() == "dns error" {
        return OriginFault::Resolve;
    }
    match io_kind(error) {
        Some(io::ErrorKind::TimedOut) => OriginFault::ConnectTimeout,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => OriginFault::Unreachable,
        _ => OriginFault::Connect,
    }
}

/// The kind of the first I/O error among `error` and its causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        error = cause.source();
    }
    None
}
