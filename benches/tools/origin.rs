//! An origin whose paths say what it answers.
//!
//! It shares a core with the load, and must take less of it than a proxy takes of its own, or the figures of what is
//! passed on would be about the origin: one call to read and one to write for each request, and of its head no more is
//! looked at than the method, the path and whether the connection goes on.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use memchr::{memchr, memmem};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::{Failure, listener, now};

/// The largest body.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;
/// How long a slow answer takes.
const SLOW: Duration = Duration::from_millis(100);
/// What waits for connections.
const LISTENER: Token = Token(usize::MAX);

/// The origin's command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

/// What a path asks for, segment by segment: a number is the size of the body, `slow` has the answer take
/// 100 ms, `pass` forbids to store it, `ttl-2` has it live for 2 s, `count` asks how many requests there were. Others
/// make a URL unique. It has no query, and the request no body.
struct Wanted {
    bytes: usize,
    ttl: u64,
    slow: bool,
    stored: bool,
    count: bool,
}

impl Wanted {
    fn of(path: &str) -> Self {
        let mut wanted = Self { bytes: 1024, ttl: 3600, slow: false, stored: true, count: false };
        for segment in path.split('/') {
            match segment {
                "slow" => wanted.slow = true,
                "pass" => wanted.stored = false,
                "count" => wanted.count = true,
                _ if segment.starts_with("ttl-") => wanted.ttl = segment[4..].parse().unwrap_or(wanted.ttl),
                _ => wanted.bytes = segment.parse().map_or(wanted.bytes, |bytes: usize| bytes.min(MOST_BYTES)),
            }
        }
        wanted
    }
}

/// Serves until it is killed.
pub(crate) fn serve(args: &Args) -> Result<(), Failure> {
    let mut listener = listener(args.listen)?;
    let mut origin = Origin::new()?;
    origin.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    loop {
        match origin.poll.poll(&mut events, origin.slow.front().map(|slow| slow.due.saturating_duration_since(now()))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => origin.accept(&listener)?,
                Token(token) => origin.attend(token, event.is_read_closed()),
            }
        }
        origin.answer_slow();
    }
}

struct Origin {
    poll: Poll,
    connections: Slab<Connection>,
    /// How many connections there were.
    opened: u64,
    /// Answers that are not due yet, in order.
    slow: VecDeque<Slow>,
    body: Vec<u8>,
    requests: u64,
    /// The text of `Date`, and until when it is right.
    date: (String, Instant),
    buffer: Vec<u8>,
}

struct Slow {
    due: Instant,
    token: usize,
    /// Which connection had the token then.
    number: u64,
    response: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    number: u64,
    /// What of a request has come.
    partial: Vec<u8>,
    /// What of a response the socket did not take.
    unsent: Vec<u8>,
    /// Whether its request is answered later.
    waits: bool,
    /// Whether it ends with the response.
    closes: bool,
}

impl Origin {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            poll: Poll::new()?,
            connections: Slab::new(),
            opened: 0,
            slow: VecDeque::new(),
            body: vec![b'm'; MOST_BYTES],
            requests: 0,
            date: (String::new(), now()),
            buffer: vec![0; BUFFER],
        })
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<(), Failure> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A client that has left.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => return Err(error.into()),
            };
            let place = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            self.poll.registry().register(&mut stream, Token(place.key()), both)?;
            self.opened += 1;
            let (number, partial, unsent) = (self.opened, Vec::new(), Vec::new());
            place.insert(Connection { stream, number, partial, unsent, waits: false, closes: false });
        }
    }

    /// Reads and writes what can be on a connection, which ends if it cannot go on: a proxy that is stopped cuts it, which
    /// is not a failure. `closed` if the client has closed its side.
    fn attend(&mut self, token: usize, closed: bool) {
        if self.connections.contains(token) && !self.go_on(token, closed).unwrap_or(false) {
            self.connections.remove(token);
        }
    }

    /// Whether the connection goes on.
    fn go_on(&mut self, token: usize, closed: bool) -> Result<bool, Failure> {
        let mut drained = false;
        loop {
            let connection = &mut self.connections[token];
            if !connection.flush()? || connection.waits {
                return Ok(true);
            }
            if connection.closes {
                return Ok(false);
            }
            if let Some(end) = memmem::find(&connection.partial, b"\r\n\r\n") {
                let request: Vec<u8> = connection.partial.drain(..end + 4).collect();
                self.answer(token, &request)?;
                continue;
            }
            if drained {
                // What comes later is a further event.
                return Ok(true);
            }
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    connection.partial.extend_from_slice(&self.buffer[..read]);
                    drained = read < self.buffer.len() && !closed;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn answer(&mut self, token: usize, request: &[u8]) -> Result<(), Failure> {
        let line = &request[..memchr(b'\r', request).unwrap_or(request.len())];
        let mut words = std::str::from_utf8(line)?.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let wanted = Wanted::of(path);
        let response = self.response(&wanted, method == "HEAD");
        let connection = &mut self.connections[token];
        connection.closes = asks_to_close(request);
        if wanted.slow {
            connection.waits = true;
            self.slow.push_back(Slow { due: now() + SLOW, token, number: connection.number, response });
        } else {
            connection.unsent = response;
        }
        Ok(())
    }

    fn response(&mut self, wanted: &Wanted, head_only: bool) -> Vec<u8> {
        let count = self.requests.to_string();
        let body = if wanted.count { count.as_bytes() } else { &self.body[..wanted.bytes] };
        self.requests += u64::from(!wanted.count);
        let mut response = Vec::with_capacity(256 + body.len());
        response.extend_from_slice(b"HTTP/1.1 200 OK\r\ncache-control: ");
        match (wanted.stored, wanted.ttl) {
            (false, _) => response.extend_from_slice(b"no-store"),
            (true, ttl) => response.extend_from_slice(format!("max-age={ttl}").as_bytes()),
        }
        response.extend_from_slice(b"\r\ncontent-type: application/json\r\netag: \"v1\"\r\n");
        response.extend_from_slice(b"last-modified: Wed, 01 Jan 2020 00:00:00 GMT\r\ncontent-length: ");
        response.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        response.extend_from_slice(b"\r\ndate: ");
        response.extend_from_slice(date(&mut self.date).as_bytes());
        response.extend_from_slice(b"\r\n\r\n");
        if !head_only {
            response.extend_from_slice(body);
        }
        response
    }

    /// Sends the slow answers that are due, unless their clients have left.
    fn answer_slow(&mut self) {
        while self.slow.front().is_some_and(|slow| slow.due <= now())
            && let Some(Slow { token, number, response, .. }) = self.slow.pop_front()
        {
            let asked = self.connections.get_mut(token).filter(|connection| connection.number == number);
            if let Some(connection) = asked {
                (connection.waits, connection.unsent) = (false, response);
                self.attend(token, false);
            }
        }
    }
}

impl Connection {
    /// Writes what is left of a response. Whether that was all.
    fn flush(&mut self) -> Result<bool, Failure> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) if written == self.unsent.len() => self.unsent.clear(),
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

/// Whether the connection is to end with the answer to this request.
fn asks_to_close(request: &[u8]) -> bool {
    let has = |text| memmem::find(request, text).is_some();
    has(b" HTTP/1.0\r\n") || has(b"onnection: close\r\n")
}

/// The text of `Date`, made once in a second.
fn date((text, until): &mut (String, Instant)) -> &str {
    let now = now();
    if text.is_empty() || now >= *until {
        #[allow(clippy::disallowed_methods, reason = "a tool beside the product, which keeps its clocks apart")]
        let time = SystemTime::now();
        (*text, *until) = (httpdate::fmt_http_date(time), now + Duration::from_secs(1));
    }
    text
}
