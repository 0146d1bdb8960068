//! The command line: one file per command.

pub mod check;
pub mod client;
pub mod demo;
pub mod fleet;
pub mod health;
pub mod purge;
pub mod run;

use std::process::ExitCode;

/// How a command ended, with the codes of `sysexits.h` where one fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// `health` alone: the instance runs and is not ready, or does not answer.
    NotReady = 1,
    /// The command line is wrong, or the order it makes.
    Usage = 64,
    /// The admin listener could not be reached or did not answer.
    Unreachable = 69,
    /// A fault inside Millpond, or an answer that it would not give.
    Internal = 70,
    /// A purge is logged, but not every instance has confirmed it; or it could not be logged.
    /// Trying again is right.
    Incomplete = 75,
    /// An address can not be listened on, or the system refuses what it takes to run.
    System = 71,
    /// The configuration is wrong.
    Config = 78,
    /// The token is missing or wrong, or the listener takes no requests from here.
    Refused = 77,
}

/// Raises the soft limit of open files to the hard one and returns it; `None` if the system does
/// not tell. The soft limit is 1024 nearly everywhere, for the sake of programs that use `select`.
fn raise_open_files() -> Option<u64> {
    rlimit::increase_nofile_limit(u64::MAX).ok()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
