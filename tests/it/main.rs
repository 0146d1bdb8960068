//! Integration tests: one binary, real sockets, and a rig that is tested itself (`rig`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test ends by a panic")]

mod architecture;
mod checker;
mod coalescing;
mod fleet;
mod forwarding;
mod herd;
mod http;
mod invalidation;
mod leaks;
mod malformed;
mod metrics;
mod process;
mod rig;
mod support;
mod time;
