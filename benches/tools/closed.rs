//! A closed load: connections that each send the next request when they have their answer, as fast as the server can.
//!
//! It shares a core with the origin, and must take less of it than the fastest server takes of its own, or the figures
//! would be about the load: one call to write and one to read for each request, one buffer for all connections, and of a
//! response no more is looked at than its status, its length and whether the connection goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memmem};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

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
}

/// Runs a closed load, and prints in one line requests, microseconds, three quantiles in microseconds, requests that broke
/// off or were never answered, and responses with another status than they should have.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut load = Load::new(args)?;
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(1024);
    let began = now();
    let end = began + Duration::from_secs(args.seconds);
    for number in 0..load.connections.len() {
        load.send(number, now())?;
    }
    let mut time = began;
    while time < end {
        load.poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err("the server has answered nobody for ten seconds".into());
        }
        for event in &events {
            load.receive(event.token().0, &mut buffer, event.is_read_closed())?;
        }
        time = now();
    }
    // Nobody waits for half of a run, unless the server has forgotten him.
    let forgotten = |connection: &&Connection| time - connection.sent > (time - began) / 2;
    load.broken += load.connections.iter().filter(forgotten).count() as u64;
    let [p50, p99, p999] = [500, 990, 999].map(|thousandths| load.times.quantile(thousandths));
    let count = load.times.count;
    println!("RESULT {count} {} {p50} {p99} {p999} {} {}", micros(time - began), load.broken, load.refused);
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

struct Connection {
    stream: TcpStream,
    /// When its request was sent.
    sent: Instant,
    /// Bytes of a head of which the end is not there yet.
    partial: Vec<u8>,
    /// What is left of the response, once its head is there.
    left: Option<u64>,
    /// Whether it ends with the response.
    closes: bool,
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
        let connection = &mut self.connections[number];
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        connection.sent = now;
        // A request is far shorter than what a socket takes at once.
        match connection.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            Ok(_) => Err("a socket took a part of a request".into()),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.broken += 1;
                self.reopen(number)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins again on a new connection.
    fn reopen(&mut self, number: usize) -> Result<(), Failure> {
        self.connections[number] = Connection::open(self.server, &self.poll, number)?;
        self.send(number, now())
    }

    /// Reads what is there for a connection, and sends its next request if that was all of the response. `closed` if the
    /// server has closed its side.
    fn receive(&mut self, number: usize, buffer: &mut [u8], closed: bool) -> Result<(), Failure> {
        loop {
            let connection = &mut self.connections[number];
            let read = match connection.stream.read(buffer) {
                Ok(0) => None,
                Ok(read) => Some(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
                Err(error) => return Err(error.into()),
            };
            let Some(read) = read else {
                self.broken += 1;
                return self.reopen(number);
            };
            let status = connection.take(&buffer[..read], self.head_only)?;
            self.refused += u64::from(status.is_some_and(|status| status != self.status));
            if connection.left == Some(0) {
                let time = now();
                self.times.note(time - connection.sent);
                connection.left = None;
                return if connection.closes { self.reopen(number) } else { self.send(number, time) };
            }
            if read < buffer.len() && !closed {
                // What comes later is a further event.
                return Ok(());
            }
        }
    }
}

impl Connection {
    fn open(server: SocketAddr, poll: &Poll, number: usize) -> Result<Self, Failure> {
        let stream = std::net::TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        Ok(Self { stream, sent: now(), partial: Vec::new(), left: None, closes: false })
    }

    /// Takes bytes of the response. Its status, if they complete its head.
    fn take(&mut self, bytes: &[u8], head_only: bool) -> Result<Option<u16>, Failure> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or("a response is longer than it says")?;
            return Ok(None);
        }
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            let whole = std::mem::take(&mut self.partial);
            return self.take(&whole, head_only);
        }
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            self.partial.extend_from_slice(bytes);
            return Ok(None);
        };
        let head = head(&bytes[..end + 2])?;
        let body = if head_only || head.status == 304 { 0 } else { head.length };
        self.closes = head.closes;
        let here = (bytes.len() - end - 4) as u64;
        self.left = Some(body.checked_sub(here).ok_or("a response is longer than it says")?);
        Ok(Some(head.status))
    }
}

/// What the head of a response says.
struct Head {
    status: u16,
    length: u64,
    closes: bool,
}

/// Reads a head, up to the end of its last line. Bodies have a `Content-Length` here.
fn head(text: &[u8]) -> Result<Head, Failure> {
    let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let mut head = Head { status: status.ok_or("no response of HTTP/1.1")?, length: 0, closes: false };
    let mut start = 0;
    for end in memchr_iter(b'\n', text) {
        let line = text[start..end].trim_ascii_end();
        start = end + 1;
        if let Some(value) = field(line, b"content-length:") {
            head.length = std::str::from_utf8(value)?.parse()?;
        } else if let Some(value) = field(line, b"connection:") {
            head.closes = value.eq_ignore_ascii_case(b"close");
        } else if field(line, b"transfer-encoding:").is_some() {
            return Err("a response without a length".into());
        }
    }
    Ok(head)
}

/// The value of a line, if it is a field of this name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// How long responses took.
struct Times {
    /// How many took so many microseconds.
    usual: Vec<u32>,
    /// Those that took longer than any of these.
    long: Vec<u64>,
    count: usize,
}

impl Default for Times {
    fn default() -> Self {
        Self { usual: vec![0; USUAL_MICROS], long: Vec::new(), count: 0 }
    }
}

impl Times {
    fn note(&mut self, time: Duration) {
        let micros = micros(time);
        self.count += 1;
        match usize::try_from(micros).ok().and_then(|micros| self.usual.get_mut(micros)) {
            Some(count) => *count += 1,
            None => self.long.push(micros),
        }
    }

    fn quantile(&mut self, thousandths: usize) -> u64 {
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
