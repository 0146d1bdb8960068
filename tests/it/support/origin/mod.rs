//! A scripted HTTP/1.1 origin over a real socket. Its parser and its writer are its own, so that a
//! test sees a request as it was sent, and can answer with bytes that no library would write.

mod gate;
mod raw;
mod reply;
mod serve;
mod stream;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use gate::Gate;
pub(crate) use raw::RawScript;
pub(crate) use reply::Reply;
pub(crate) use stream::StreamHandle;
pub(crate) use wire::Received;

use serve::accept;

/// Enough for a herd that connects at once.
const BACKLOG: u32 = 4096;

/// A running origin. Dropping it closes its listener and its connections.
pub(crate) struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    /// Bound but not listening: keeps the port ours while the listener is closed.
    _reserved: TcpSocket,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What connections share with the test.
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    received: Mutex<Vec<Received>>,
    counts: watch::Sender<Counts>,
}

/// What the origin has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: usize,
    malformed: usize,
    connections: usize,
    open_connections: usize,
    at_once: usize,
    peak: usize,
}

/// What a path answers.
#[derive(Clone)]
struct Script {
    gate: Option<Gate>,
    action: Action,
}

/// How a path answers.
#[derive(Clone)]
enum Action {
    /// With this reply.
    Reply(Reply),
    /// With what this function makes of the request.
    Compute(Arc<dyn Fn(&Received) -> Reply + Send + Sync>),
    /// With a body that the test feeds.
    Stream(StreamHandle),
    /// With these bytes and events.
    Raw(RawScript),
}

impl Origin {
    /// Starts an origin on a free port. Paths without a script get a 404.
    #[allow(clippy::unused_async, reason = "it needs a runtime, and reads like the start of a proxy")]
    pub(crate) async fn start() -> Self {
        let reserved = socket((Ipv4Addr::LOCALHOST, 0).into());
        let addr = reserved.local_addr().unwrap();
        let shared = Arc::new(Shared {
            scripts: Mutex::default(),
            received: Mutex::default(),
            counts: watch::Sender::default(),
        });
        let origin = Self { addr, shared, _reserved: reserved, accepting: Mutex::default() };
        origin.accept_again();
        origin
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and its address, as a configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Scripts the answer to `path` (with its query, or without to mean any query):
    /// `origin.on("/a", |r| r.header("cache-control", "max-age=60").body("v1"))`.
    pub(crate) fn on(&self, path: &str, make: impl FnOnce(Reply) -> Reply) {
        self.set(path, make(Reply::ok()));
    }

    /// Replaces the answer to `path`; a gate that holds it stays.
    pub(crate) fn set(&self, path: &str, reply: Reply) {
        self.script(path, Action::Reply(reply));
    }

    /// Answers `path` with what `compute` makes of each request.
    pub(crate) fn on_request(&self, path: &str, compute: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.script(path, Action::Compute(Arc::new(compute)));
    }

    /// Answers `path` with `status` from now on.
    pub(crate) fn fail(&self, path: &str, status: u16) {
        self.set(path, Reply::ok().status(status).body("failed on purpose"));
    }

    /// Answers `path` with a body that the test feeds chunk by chunk, to each request from its start.
    pub(crate) fn stream(&self, path: &str, make: impl FnOnce(Reply) -> Reply) -> StreamHandle {
        let handle = StreamHandle::new(make(Reply::ok()));
        self.script(path, Action::Stream(handle.clone()));
        handle
    }

    /// Answers `path` with exactly these bytes and events.
    pub(crate) fn raw(&self, path: &str, make: impl FnOnce(RawScript) -> RawScript) {
        self.script(path, Action::Raw(make(RawScript::default())));
    }

    /// Holds requests for `path` from now on, until the gate is released.
    pub(crate) fn hold(&self, path: &str) -> Gate {
        let gate = Gate::default();
        let mut scripts = self.shared.scripts.lock().unwrap();
        let script = scripts
            .entry(path.to_owned())
            .or_insert_with(|| Script { gate: None, action: Action::Reply(Reply::unscripted(path)) });
        script.gate = Some(gate.clone());
        gate
    }

    /// Closes the listener and every connection: new ones are refused.
    pub(crate) async fn refuse(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(task) = accepting {
            task.abort();
            let _ = task.await;
            // Connections end with the task that owned them.
            self.abandoned().await;
        }
    }

    /// Listens again on the same port.
    pub(crate) fn accept_again(&self) {
        let listener = socket(self.addr).listen(BACKLOG).unwrap();
        self.listen(listener);
    }

    fn listen(&self, listener: TcpListener) {
        let task = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
        if let Some(old) = self.accepting.lock().unwrap().replace(task) {
            old.abort();
        }
    }

    /// Requests for `path` (with its query, or without to mean any query) so far.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.shared.received.lock().unwrap().iter().filter(|request| request.is_for(path)).count()
    }

    /// Every request so far, as received, in order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The latest request for `path`.
    pub(crate) fn last(&self, path: &str) -> Received {
        let received = self.shared.received.lock().unwrap();
        received.iter().rfind(|request| request.is_for(path)).unwrap_or_else(|| panic!("no request for {path}")).clone()
    }

    /// The most requests at once so far, from their last byte to the end of their answer.
    pub(crate) fn peak_concurrency(&self) -> usize {
        self.shared.counts.borrow().peak
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.counts.borrow().connections
    }

    /// Heads or bodies that are not HTTP/1.1; the connection was closed after each.
    pub(crate) fn malformed(&self) -> usize {
        self.shared.counts.borrow().malformed
    }

    /// Waits until `count` requests have arrived in all.
    pub(crate) async fn received(&self, count: usize) {
        let mut counts = self.shared.counts.subscribe();
        let arrived = counts.wait_for(|now| now.requests >= count);
        super::soon(&format!("{count} requests at the origin"), arrived).await.unwrap();
    }

    /// Waits until no connection is open.
    pub(crate) async fn abandoned(&self) {
        let mut counts = self.shared.counts.subscribe();
        let closed = counts.wait_for(|now| now.open_connections == 0);
        super::soon("every connection to the origin to be closed", closed).await.unwrap();
    }

    fn script(&self, path: &str, action: Action) {
        let mut scripts = self.shared.scripts.lock().unwrap();
        let gate = scripts.get(path).and_then(|script| script.gate.clone());
        scripts.insert(path.to_owned(), Script { gate, action });
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
    }
}

impl Shared {
    /// The script for a target: with its query if there is one for that, else without.
    fn script_for(&self, target: &str) -> Script {
        let scripts = self.scripts.lock().unwrap();
        let path = target.split('?').next().unwrap_or_default();
        let found = scripts.get(target).or_else(|| scripts.get(path));
        found.cloned().unwrap_or_else(|| Script { gate: None, action: Action::Reply(Reply::unscripted(target)) })
    }
}

/// A socket bound to `addr`, which others of ours may share.
fn socket(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}
