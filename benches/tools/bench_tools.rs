//! What `scripts/bench` needs besides the servers it compares: an origin and loads.

mod beside;
mod client;
mod closed;
mod connection;
mod floor;
mod origin;
mod paced;
mod replay;
mod spin;

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use clap::Parser;
use mio::net::TcpListener;
use socket2::{Domain, Socket, Type};

type Failure = Box<dyn Error + Send + Sync>;

/// Tools of `scripts/bench`.
#[derive(Parser)]
enum Tool {
    /// An origin whose paths say what it answers; see `origin::Wanted`.
    Origin(origin::Args),
    /// A server that does nothing but read and write.
    Floor(floor::Args),
    /// Requests as fast as the server answers.
    Closed(closed::Args),
    /// Requests at a steady rate, whatever the server makes of it.
    Paced(paced::Args),
    /// Each path of a list once, in order.
    Replay(replay::ReplayArgs),
    /// How fast the machine is at this moment.
    Spin,
    /// Connections that have had one answer each, until standard input ends.
    Idle(replay::IdleArgs),
}

/// The system's clock, and not that of a runtime which tests can stop.
#[allow(clippy::disallowed_methods, reason = "a tool beside the product, which reads its clocks in one place")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// As many connections may wait to be accepted as Linux allows by default.
const BACKLOG: i32 = 4096;

/// A socket that connections come to.
pub(crate) fn listener(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn main() -> Result<(), Failure> {
    let tool = Tool::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match tool {
        Tool::Closed(args) => closed::run(&args),
        Tool::Origin(args) => origin::serve(&args),
        Tool::Floor(args) => floor::serve(&args),
        Tool::Paced(args) => runtime.block_on(paced::run(args)),
        Tool::Spin => {
            spin::run();
            Ok(())
        }
        Tool::Replay(args) => runtime.block_on(replay::replay(args)),
        Tool::Idle(args) => runtime.block_on(replay::hold(args)),
    }
}
