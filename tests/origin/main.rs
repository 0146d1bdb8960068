//! The origin side against scripted origins on real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a helper of a test fails by panicking"
)]

mod bodies;
mod connections;
mod faults;
mod harness;
mod hostile;
mod interim;
mod limits;
mod retry;
mod runtimes;
mod upgrade;
