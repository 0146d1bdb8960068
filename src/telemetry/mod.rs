//! What the process says about itself: metrics, diagnostics, the access log, request identity.
//!
//! Nothing here may hold up a request. Counters are resolved handles, and both logs hand their
//! lines to a writer thread through a bounded queue: when the disk is full or the reader of the
//! log stalls, lines are dropped and counted, and requests go on.

pub mod access;
mod diagnostics;
mod escape;
mod level;
mod lines;
pub mod metrics;
mod place;
pub mod trace;

pub use diagnostics::{InitError, LogHandle, init, subscriber};
pub use level::{LevelError, check_level};
