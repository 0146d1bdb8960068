//! Loads that wait for their answers: a list of requests, and connections that are only held.

use std::cell::RefCell;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::Failure;
use crate::client::Connection;
use crate::paced::micros;

/// The command line of a list of requests.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// A file with one path in each line.
    #[arg(long)]
    list: PathBuf,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    connections: usize,
}

/// The command line of idle connections.
#[derive(clap::Args)]
pub(crate) struct IdleArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// Connections.
    #[arg(long)]
    connections: usize,
    /// Path of the one request on each.
    #[arg(long)]
    path: String,
}

/// Requests each path of a list once, in order, and prints how many there were and how many microseconds that took.
pub(crate) async fn replay(args: ReplayArgs) -> Result<(), Failure> {
    let list = std::fs::read_to_string(&args.list)?;
    let paths: Vec<_> = list.lines().rev().map(str::to_owned).collect();
    let (count, began) = (paths.len(), Instant::now());
    let paths = Rc::new(RefCell::new(paths));
    let args = Rc::new(args);
    let local = LocalSet::new();
    let workers: Vec<_> = (0..args.connections)
        .map(|_| {
            let (paths, args) = (Rc::clone(&paths), Rc::clone(&args));
            local.spawn_local(async move {
                let mut connection = Connection::open(args.server).await?;
                loop {
                    let Some(path) = paths.borrow_mut().pop() else { return Ok::<_, Failure>(()) };
                    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", args.server);
                    connection.exchange(request.as_bytes(), false).await?;
                }
            })
        })
        .collect();
    local.await;
    for worker in workers {
        worker.await??;
    }
    println!("{count} {}", micros(began.elapsed()));
    Ok(())
}

/// Holds idle connections: prints a line when all have had their answer, and ends with standard input.
pub(crate) async fn hold(args: IdleArgs) -> Result<(), Failure> {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", args.path, args.server);
    let mut held = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        let mut connection = Connection::open(args.server).await?;
        connection.exchange(request.as_bytes(), false).await?;
        held.push(connection);
    }
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
