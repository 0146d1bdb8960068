//! The real binary: commands and exit codes, signals, reloads, logs, secrets.

mod access_log;
mod commands;
mod operate;
mod reload;
mod secrets;
mod shutdown;

use crate::support::binary::Millpond;
use crate::support::process::Process;

/// The exit code of a program that ends by itself.
async fn exit_code(process: &mut Process) -> Option<i32> {
    process.exited().await.code()
}

/// Ends a proxy as a supervisor does, so that everything it logged is there to be read.
async fn stopped(millpond: &mut Millpond) {
    millpond.process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(exit_code(&mut millpond.process).await, Some(0), "{}", millpond.process.stderr.text());
}
