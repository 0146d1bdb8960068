//! Errors of libraries to the closed list of [`OriginFault`]s.

use std::error::Error;
use std::io;

use super::upload::Upload;
use crate::reason::OriginFault;

impl Error for OriginFault {}

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

/// Why no response head came over an open connection.
pub(super) fn of_head(error: &hyper::Error, upload: Option<&Upload>) -> OriginFault {
    if upload.is_some_and(Upload::is_broken) {
        OriginFault::RequestBody
    } else if error.is_parse() {
        OriginFault::Protocol
    } else {
        // The remainder is one event seen at different points: the connection went away, at the
        // read, at the write, or together with the runtime that drove it.
        OriginFault::Reset
    }
}

/// Why a response body ended early.
pub(super) fn of_body(error: &hyper::Error, upload: Option<&Upload>) -> OriginFault {
    if upload.is_some_and(Upload::is_broken) {
        return OriginFault::RequestBody;
    }
    match io_kind(error) {
        // A bad chunk size, chunk end or trailer field.
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => OriginFault::Protocol,
        _ => OriginFault::Reset,
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
