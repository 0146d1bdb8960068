//! A closed load: connections that each send the next request when they have their answer, as fast as the server can.
//!
//! It shares a core with the origin, and must take less of it than the fastest server takes of its own, or the figures
//! would be about the load: one call to write and one to read for each request, one buffer for all connections, and of a
//! response no more is looked at than its status, its length and whether the connection goes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::beside::{self, Beside};
use crate::connection::{Connection, Received};
use crate::paced::micros;
use crate::{Failure, now};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
/// A server that answers nobody for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Times up to here are counted by the microsecond.
const USUAL_MICROS: usize = 1 << 16;

/// The command line of a closed load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds.
    #[arg(long)]
    seconds: u64,
    /// Path of every request.
    #[arg(long, default_value = "/")]
    path: String,
    /// A file with one path in each line, asked for in turn in place of the one path.
    #[arg(long)]
    list: Option<PathBuf>,
    /// Method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// Status that every response should have.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// A further field of each request, as "Name: value".
    #[arg(long)]
    field: Vec<String>,
    /// Never sleeps. To wake it costs the server an interrupt of the other core, which it would not pay if requests came over
    /// a network.
    #[arg(long)]
    awake: bool,
    #[command(flatten)]
    beside: beside::Args,
}

/// Runs a closed load, and prints in one line requests, microseconds, three quantiles in microseconds, requests that broke
/// off or were never answered, and responses with another status than they should have.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut load = Load::new(args)?;
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(1024);
    let began = now();
    let mut beside = Beside::new(&args.beside, &load.poll, args.connections, began)?;
    let end = began + Duration::from_secs(args.seconds);
    for number in 0..load.connections.len() {
        load.send(number, now())?;
    }
    let sleep = if args.awake { Duration::ZERO } else { PATIENCE };
    let (mut time, mut answered) = (began, began);
    while time < end {
        load.poll.poll(&mut events, Some(sleep))?;
        if !events.is_empty() {
            answered = time;
        } else if now() - answered > PATIENCE {
            return Err("the server has answered nobody for ten seconds".into());
        }
        for event in &events {
            let (token, closed) = (event.token().0, event.is_read_closed());
            match &mut beside {
                Some(beside) if token >= args.connections => beside.receive(token, &mut buffer, closed, &load.poll)?,
                _ => load.receive(token, &mut buffer, closed)?,
            }
        }
        time = now();
        if let Some(beside) = &mut beside {
            beside.send(time, &load.poll)?;
        }
    }
    // Nobody waits for half of a run, unless the server has forgotten him.
    let forgotten = |connection: &&Connection| time - connection.sent > (time - began) / 2;
    load.broken += load.connections.iter().filter(forgotten).count() as u64;
    let [p50, p99, p999] = [500, 990, 999].map(|thousandths| load.times.quantile(thousandths));
    let count = load.times.count;
    println!("RESULT {count} {} {p50} {p99} {p999} {} {}", micros(time - began), load.broken, load.refused);
    if let Some(beside) = beside {
        beside.finish(time);
    }
    Ok(())
}

struct Load {
    poll: Poll,
    server: SocketAddr,
    connections: Vec<Connection>,
    requests: Vec<Vec<u8>>,
    /// Which of them is sent next.
    next: usize,
    head_only: bool,
    status: u16,
    times: Times,
    broken: u64,
    refused: u64,
}

impl Load {
    fn new(args: &Args) -> Result<Self, Failure> {
        let paths = match &args.list {
            Some(list) => std::fs::read_to_string(list)?.lines().map(str::to_owned).collect(),
            None => vec![args.path.clone()],
        };
        let fields: String = args.field.iter().flat_map(|field| [field, "\r\n"]).collect();
        if paths.is_empty() {
            return Err("the list of paths is empty".into());
        }
        let request = |path| format!("{} {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", args.method, args.server);
        let poll = Poll::new()?;
        let connections = (0..args.connections).map(|number| Connection::open(args.server, &poll, number));
        Ok(Self {
            connections: connections.collect::<Result<_, _>>()?,
            server: args.server,
            requests: paths.iter().map(|path| request(path).into_bytes()).collect(),
            next: 0,
            head_only: args.method == "HEAD",
            status: args.status,
            times: Times::default(),
            broken: 0,
            refused: 0,
            poll,
        })
    }

    fn send(&mut self, number: usize, now: Instant) -> Result<(), Failure> {
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        if self.connections[number].send(request, now)? {
            return Ok(());
        }
        self.broken += 1;
        self.reopen(number)
    }

    /// Begins again on a new connection.
    fn reopen(&mut self, number: usize) -> Result<(), Failure> {
        self.connections[number] = Connection::open(self.server, &self.poll, number)?;
        self.send(number, now())
    }

    /// Reads what is there for a connection, and sends its next request if that was all of the response. `closed` if the
    /// server has closed its side.
    fn receive(&mut self, number: usize, buffer: &mut [u8], closed: bool) -> Result<(), Failure> {
        let connection = &mut self.connections[number];
        match connection.receive(buffer, closed, self.head_only)? {
            Received::Part => Ok(()),
            Received::End => {
                self.broken += 1;
                self.reopen(number)
            }
            Received::Whole(status) => {
                let time = now();
                self.refused += u64::from(status != self.status);
                self.times.note(time - connection.sent);
                if connection.closes { self.reopen(number) } else { self.send(number, time) }
            }
        }
    }
}

/// How long responses took.
pub(crate) struct Times {
    /// How many took so many microseconds.
    usual: Vec<u32>,
    /// Those that took longer than any of these.
    long: Vec<u64>,
    pub(crate) count: usize,
}

impl Default for Times {
    fn default() -> Self {
        Self { usual: vec![0; USUAL_MICROS], long: Vec::new(), count: 0 }
    }
}

impl Times {
    pub(crate) fn note(&mut self, time: Duration) {
        let micros = micros(time);
        self.count += 1;
        match usize::try_from(micros).ok().and_then(|micros| self.usual.get_mut(micros)) {
            Some(count) => *count += 1,
            None => self.long.push(micros),
        }
    }

    pub(crate) fn quantile(&mut self, thousandths: usize) -> u64 {
        let mut before = self.count * thousandths / 1000;
        for (micros, count) in self.usual.iter().enumerate() {
            let count = *count as usize;
            if before < count {
                return micros as u64;
            }
            before -= count;
        }
        self.long.sort_unstable();
        self.long.get(before).or(self.long.last()).copied().unwrap_or(0)
    }
}
