//! The admin listener over real sockets, with a recording stand-in for the proxy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "admin/access.rs"]
mod access;
#[path = "admin/cli.rs"]
mod cli;
#[path = "admin/endpoints.rs"]
mod endpoints;
#[path = "admin/limits.rs"]
mod limits;
#[path = "admin/purge.rs"]
mod purge;
#[path = "admin/support.rs"]
mod support;
