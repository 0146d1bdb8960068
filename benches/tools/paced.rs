//! A load of a steady rate: requests are due at given times, whether or not earlier ones are answered, and each is
//! timed from when it was due. A server that stalls is charged for everybody who would have come meanwhile, which a
//! load that waits for answers leaves out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::Failure;
use crate::client::Connection;

/// Requests become due in bursts, this far apart: the resolution of the timer.
const TICK: Duration = Duration::from_millis(1);

/// The command line of a steady load.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// What requests call it, if not by its address: instances of a fleet share a key only under one name.
    #[arg(long)]
    host: Option<String>,
    /// Requests per second.
    #[arg(long)]
    rate: u64,
    /// Seconds.
    #[arg(long)]
    seconds: u64,
    /// Seconds of the same load beforehand, which do not count.
    #[arg(long, default_value_t = 0)]
    warm: u64,
    /// Connections, opened before the first request; requests that are due while all are busy wait, and the wait counts.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Path of most requests; `{}` in it stands for the number of a key, drawn anew for each.
    #[arg(long)]
    path: String,
    /// Keys.
    #[arg(long, default_value_t = 1)]
    keys: u64,
    /// Which row of keys is drawn: loads of one seed ask for the same keys at the same moments.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Beginning of the paths of other requests, which all differ.
    #[arg(long)]
    other: Option<String>,
    /// How many of a hundred requests are others.
    #[arg(long, default_value_t = 10)]
    others: u64,
    /// Connections for the others alone, so that those who wait long for an answer do not scatter the rest over as many
    /// connections; by default they share.
    #[arg(long)]
    other_connections: Option<usize>,
    /// Method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A body for each request, in which `{}` stands for its number.
    #[arg(long)]
    body: Option<String>,
}

impl Args {
    /// Where the request of this number goes, if it is one of the others.
    fn other(&self, number: u64) -> Option<&str> {
        self.other.as_deref().filter(|_| number % 100 < self.others)
    }
}

/// Requests that are due and not sent yet.
#[derive(Default)]
struct Due {
    queue: RefCell<VecDeque<(u64, Instant)>>,
    ready: Notify,
    over: Cell<bool>,
}

impl Due {
    async fn next(&self) -> Option<(u64, Instant)> {
        loop {
            if let Some(next) = self.queue.borrow_mut().pop_front() {
                return Some(next);
            }
            if self.over.get() {
                return None;
            }
            self.ready.notified().await;
        }
    }

    /// Nothing becomes due any more.
    fn end(&self) {
        self.over.set(true);
        self.ready.notify_waiters();
    }
}

/// What came of them.
#[derive(Default)]
struct Results {
    /// Microseconds.
    main: RefCell<Vec<u64>>,
    other: RefCell<Vec<u64>>,
    failed: Cell<u64>,
    /// By how much the load itself was late to make requests due: if that is much, the figures are about the load.
    late: RefCell<Vec<u64>>,
}

/// Runs a steady load and prints what came of it.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (args, results) = (Rc::new(args), Rc::new(Results::default()));
    let local = LocalSet::new();
    let main = lane(&local, &args, &results, args.connections).await?;
    let other = match args.other_connections {
        Some(connections) => lane(&local, &args, &results, connections).await?,
        None => Rc::clone(&main),
    };
    local.spawn_local(pace(Rc::clone(&args), [main, other], Rc::clone(&results)));
    local.await;
    print(&results);
    Ok(())
}

/// Connections for the requests that become due here.
async fn lane(local: &LocalSet, args: &Rc<Args>, results: &Rc<Results>, count: usize) -> Result<Rc<Due>, Failure> {
    let due = Rc::new(Due::default());
    for _ in 0..count {
        let connection = Connection::open(args.server).await?;
        let (args, due, results) = (Rc::clone(args), Rc::clone(&due), Rc::clone(results));
        local.spawn_local(async move { work(&args, &due, &results, connection).await });
    }
    Ok(due)
}

/// Makes requests due, the main ones and the others.
async fn pace(args: Rc<Args>, [main, other]: [Rc<Due>; 2], results: Rc<Results>) {
    let start = Instant::now();
    let total = args.rate * (args.warm + args.seconds);
    let mut released = 0;
    let mut ticks = tokio::time::interval(TICK);
    while released < total {
        let planned = ticks.tick().await;
        let now = Instant::now();
        if released >= args.rate * args.warm {
            results.late.borrow_mut().push(micros(now - planned));
        }
        let until = micros(now - start).saturating_mul(args.rate) / 1_000_000;
        let until = until.clamp(released, total);
        for number in released..until {
            let due = if args.other(number).is_some() { &other } else { &main };
            due.queue.borrow_mut().push_back((number, now));
            due.ready.notify_one();
        }
        released = until;
    }
    main.end();
    other.end();
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// One connection, made anew after the server has ended it.
async fn work(args: &Args, due: &Due, results: &Results, connection: Connection) {
    let mut connection = Some(connection);
    while let Some((number, planned)) = due.next().await {
        let other = args.other(number);
        let outcome = exchange(args, &mut connection, &request(args, number, other)).await;
        if outcome.is_err() || connection.as_ref().is_some_and(|open| !open.is_open()) {
            connection = None;
        }
        if number < args.rate * args.warm {
            continue;
        }
        match outcome {
            Ok(200..=299) => {
                let taken = micros(planned.elapsed());
                if other.is_some() { &results.other } else { &results.main }.borrow_mut().push(taken);
            }
            Ok(_) | Err(_) => results.failed.set(results.failed.get() + 1),
        }
    }
}

async fn exchange(args: &Args, connection: &mut Option<Connection>, request: &[u8]) -> Result<u16, Failure> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(args.server).await?),
    };
    open.exchange(request, args.method == "HEAD").await
}

/// A number that looks random and is the same in each run (the finaliser of SplitMix64).
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn request(args: &Args, number: u64, other: Option<&str>) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let _ = match other {
        Some(path) => write!(text, "{} {path}{number} HTTP/1.1\r\n", args.method),
        None => {
            let key = scattered(number ^ scattered(args.seed)) % args.keys.max(1);
            write!(text, "{} {} HTTP/1.1\r\n", args.method, args.path.replace("{}", &key.to_string()))
        }
    };
    let _ = match &args.host {
        Some(host) => write!(text, "Host: {host}\r\n"),
        None => write!(text, "Host: {}\r\n", args.server),
    };
    match &args.body {
        Some(body) => {
            let body = body.replace("{}", &number.to_string());
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
        None => text.push_str("\r\n"),
    }
    text.into_bytes()
}

/// Three lines of a name, a count and three quantiles in microseconds, and how many failed.
fn print(results: &Results) {
    for (name, list) in [("main", &results.main), ("other", &results.other), ("late", &results.late)] {
        let mut list = list.borrow_mut();
        list.sort_unstable();
        let at = |thousandths| list.get(list.len() * thousandths / 1000).or(list.last()).copied().unwrap_or(0);
        println!("{name} {} {} {} {}", list.len(), at(500), at(990), at(999));
    }
    println!("failed {}", results.failed.get());
}
