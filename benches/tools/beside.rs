//! What a closed load sends beside its own requests, at a steady rate and to another listener. One process for both, so
//! that waking a second one on the core of the load is no part of what is measured.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Poll;

use crate::closed::Times;
use crate::connection::{Connection, Received};
use crate::{Failure, now};

/// So many of them are under way at most; those that are due meanwhile wait, and the wait counts.
const CONNECTIONS: usize = 8;

/// The command line of what is sent beside a load.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Where something is posted beside the load.
    #[arg(id = "beside", long, value_name = "SERVER")]
    pub(crate) server: Option<SocketAddr>,
    /// To which path.
    #[arg(id = "beside-path", long, value_name = "PATH", default_value = "/")]
    path: String,
    /// What is posted, as JSON; `{}` in it stands for the number of the request.
    #[arg(id = "beside-body", long, value_name = "BODY", default_value = "")]
    body: String,
    /// How often a second.
    #[arg(id = "beside-rate", long, value_name = "RATE", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

pub(crate) struct Beside<'a> {
    args: &'a Args,
    server: SocketAddr,
    connections: Vec<Connection>,
    /// Those that wait for a request, the one that has waited longest first: all of them are used in turn.
    idle: VecDeque<usize>,
    /// By which number the list of events knows the first of them.
    first: usize,
    began: Instant,
    /// When the next request is due.
    due: Instant,
    sent: u64,
    answered: u64,
    failed: u64,
    times: Times,
}

impl<'a> Beside<'a> {
    /// Connections to the server that the command line names, if it names one.
    pub(crate) fn new(args: &'a Args, poll: &Poll, first: usize, now: Instant) -> Result<Option<Self>, Failure> {
        let Some(server) = args.server else { return Ok(None) };
        let connections = (0..CONNECTIONS).map(|number| Connection::open(server, poll, first + number));
        Ok(Some(Self {
            args,
            server,
            connections: connections.collect::<Result<_, _>>()?,
            idle: (0..CONNECTIONS).collect(),
            first,
            began: now,
            due: now,
            sent: 0,
            answered: 0,
            failed: 0,
            times: Times::default(),
        }))
    }

    /// Sends what is due.
    pub(crate) fn send(&mut self, now: Instant, poll: &Poll) -> Result<(), Failure> {
        while self.due <= now {
            let Some(&number) = self.idle.front() else { break };
            let request = self.request();
            // A server may end a connection that has nothing to do, whether or not that is known here yet.
            if !self.connections[number].send(request.as_bytes(), self.due)? {
                self.reopen(number, poll)?;
                continue;
            }
            self.idle.pop_front();
            self.sent += 1;
            self.due += self.interval();
        }
        Ok(())
    }

    /// Reads what is there for a connection. `closed` if the server has closed its side.
    pub(crate) fn receive(
        &mut self,
        token: usize,
        buffer: &mut [u8],
        closed: bool,
        poll: &Poll,
    ) -> Result<(), Failure> {
        let number = token - self.first;
        let is_idle = self.idle.contains(&number);
        let connection = &mut self.connections[number];
        match connection.receive(buffer, closed, false)? {
            Received::Part => return Ok(()),
            Received::End if is_idle => return self.reopen(number, poll),
            Received::Whole(_) if is_idle => return Err("an answer that nobody has asked for".into()),
            Received::Whole(200..=299) => {
                self.answered += 1;
                self.times.note(now() - connection.sent);
            }
            Received::Whole(_) | Received::End => self.failed += 1,
        }
        self.idle.push_back(number);
        if connection.closes { self.reopen(number, poll) } else { Ok(()) }
    }

    fn reopen(&mut self, number: usize, poll: &Poll) -> Result<(), Failure> {
        self.connections[number] = Connection::open(self.server, poll, self.first + number)?;
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.args.rate
    }

    fn request(&self) -> String {
        let (path, server) = (&self.args.path, self.server);
        let body = self.args.body.replace("{}", &self.sent.to_string());
        let head = format!("POST {path} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Prints in one line how many were answered well, how many failed or were forgotten, and two quantiles in microseconds,
    /// in which those that wait at the end count for as long as they have waited.
    pub(crate) fn finish(mut self, now: Instant) {
        let open = (0..CONNECTIONS).filter(|number| !self.idle.contains(number));
        let mut waits: Vec<_> = open.map(|number| now - self.connections[number].sent).collect();
        while self.due <= now {
            waits.push(now - self.due);
            self.due += self.interval();
        }
        for wait in waits {
            self.failed += u64::from(wait > (now - self.began) / 2);
            self.times.note(wait);
        }
        let [p50, p99] = [500, 990].map(|thousandths| self.times.quantile(thousandths));
        println!("BESIDE {} {} {p50} {p99}", self.answered, self.failed);
    }
}
