//! What `scripts/bench` needs besides the servers it compares: an origin and loads.

mod client;
mod closed;
mod origin;
mod paced;
mod replay;

use std::error::Error;
use std::time::Instant;

use clap::Parser;

type Failure = Box<dyn Error + Send + Sync>;

/// Tools of `scripts/bench`.
#[derive(Parser)]
enum Tool {
    /// An origin whose paths say what it answers; see `origin::Wanted`.
    Origin(origin::Args),
    /// Requests as fast as the server answers.
    Closed(closed::Args),
    /// Requests at a steady rate, whatever the server makes of it.
    Paced(paced::Args),
    /// Each path of a list once, in order.
    Replay(replay::ReplayArgs),
    /// Connections that have had one answer each, until standard input ends.
    Idle(replay::IdleArgs),
}

/// The system's clock, and not that of a runtime which tests can stop.
#[allow(clippy::disallowed_methods, reason = "a tool beside the product, which reads its clocks in one place")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn main() -> Result<(), Failure> {
    let tool = Tool::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match tool {
        Tool::Closed(args) => closed::run(&args),
        Tool::Origin(args) => origin::serve(&args),
        Tool::Paced(args) => runtime.block_on(paced::run(args)),
        Tool::Replay(args) => runtime.block_on(replay::replay(args)),
        Tool::Idle(args) => runtime.block_on(replay::hold(args)),
    }
}
