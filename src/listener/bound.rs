//! Sockets and threads of a listener.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::try_join_all;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, oneshot};

use super::accept::AcceptLoop;
use super::connection::Shared;
use super::{Handler, Shutdown};
use crate::config::{Limits, Listen, RuntimeModel};
use crate::telemetry::metrics::ListenerMetrics;

/// Connections that the kernel keeps ready; it caps this by its own bound (`somaxconn`).
const BACKLOG: i32 = 4096;
/// How long a runtime's threads may take to end once all connections have.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Why a listener cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is in use, not ours, or may not be bound.
    #[error("cannot listen on {address}: {source}; choose another `listen.http` or stop what uses it")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system gave no thread or no event queue.
    #[error("cannot start a listener thread: {0}; the system is out of threads, memory or descriptors")]
    Start(#[from] io::Error),
    /// A listener thread panicked.
    #[error("a listener thread ended unasked; this is a fault of millpond, and its log says where")]
    Lost,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections, upgraded ones included, that were cut at the deadline.
    pub cut: usize,
}

/// A listener whose sockets are bound: clients can connect, and wait until it [runs](Self::run).
#[derive(Debug)]
pub struct Bound {
    /// One per thread, or a single one.
    sockets: Vec<StdListener>,
    address: SocketAddr,
    model: RuntimeModel,
    threads: usize,
}

impl Bound {
    /// Binds `listen.http`. With port 0 the system chooses a port; see [`local_addr`](Self::local_addr).
    ///
    /// One socket per thread needs `SO_REUSEPORT`, which would also let a second process of the same
    /// user take half of the connections unnoticed. So the address is first bound without it.
    pub fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { address: listen.http, source };
        let threads = listen.threads.get();
        let (count, shared) = match listen.runtime {
            RuntimeModel::PerCore => (threads, true),
            RuntimeModel::WorkStealing => (1, false),
        };
        if shared {
            bind(listen.http, false).map_err(failed)?;
        }
        let first = socket(listen.http, shared).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(socket(address, shared).map_err(failed)?);
        }
        Ok(Self { sockets, address, model: listen.runtime, threads })
    }

    /// The address that clients connect to.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled and the requests under way are answered, or
    /// `limits.shutdown_deadline` has passed.
    ///
    /// The connections run on threads of their own, whatever runtime this is awaited on. Tasks
    /// that a handler spawned run on until the connections of all threads have ended, and are then
    /// dropped. Dropping the future cuts everything.
    pub async fn run<H: Handler>(
        self,
        handler: H,
        limits: Limits,
        metrics: ListenerMetrics,
        shutdown: Shutdown,
    ) -> Result<Drained, ListenError> {
        let seats = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let release = Shutdown::new();
        let _release_on_drop = release.clone().drop_guard();
        let (mut reports, mut ends) = (Vec::new(), Vec::new());
        for (index, socket) in self.sockets.into_iter().enumerate() {
            let (report, reported) = oneshot::channel();
            let (end, ended) = oneshot::channel();
            let worker = Worker {
                model: self.model,
                threads: self.threads,
                socket,
                accept: AcceptLoop {
                    shared: Arc::new(Shared::new(handler.clone(), limits.clone(), &metrics)),
                    seats: seats.clone(),
                    metrics: metrics.clone(),
                    drain_deadline: limits.shutdown_deadline,
                },
                shutdown: shutdown.clone(),
                release: release.clone(),
            };
            thread::Builder::new().name(format!("listener-{index}")).spawn(move || {
                worker.run(report);
                let _ = end.send(());
            })?;
            reports.push(reported);
            ends.push(ended);
        }
        let cut = try_join_all(reports).await.map_err(|_| ListenError::Lost)?;
        let cut = cut.into_iter().sum::<io::Result<usize>>()?;
        // Only now may a runtime end: until here its tasks may have fed connections of others.
        release.cancel();
        try_join_all(ends).await.map_err(|_| ListenError::Lost)?;
        Ok(Drained { cut })
    }
}

/// One thread that accepts, with the runtime it drives.
struct Worker<H> {
    model: RuntimeModel,
    threads: usize,
    socket: StdListener,
    accept: AcceptLoop<H>,
    shutdown: Shutdown,
    release: Shutdown,
}

impl<H: Handler> Worker<H> {
    /// Runs until drained and released. Reports how many connections did not end by themselves.
    fn run(self, report: oneshot::Sender<io::Result<usize>>) {
        let runtime = match build_runtime(self.model, self.threads) {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = report.send(Err(error));
                return;
            }
        };
        let served = async {
            let cut = match TcpListener::from_std(self.socket) {
                Ok(listener) => Ok(self.accept.run(listener, self.shutdown).await),
                Err(error) => Err(error),
            };
            let _ = report.send(cut);
        };
        runtime.block_on(async {
            tokio::select! {
                () = served => self.release.cancelled().await,
                () = self.release.cancelled() => {}
            }
        });
        // A task stuck in blocking work must not keep the process from ending.
        runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    }
}

fn build_runtime(model: RuntimeModel, threads: usize) -> io::Result<Runtime> {
    match model {
        RuntimeModel::PerCore => runtime::Builder::new_current_thread().enable_all().build(),
        RuntimeModel::WorkStealing => {
            runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("worker").enable_all().build()
        }
    }
}

/// A listening socket. `shared` lets more sockets listen on the same address; the kernel spreads
/// connections over them.
fn socket(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = bind(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A bound socket. Unless it is `shared`, this fails if another socket listens on the address.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without this a restart fails while connections of the previous run linger in the kernel.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    #[cfg(target_os = "linux")]
    if address.ip().to_canonical().is_loopback() {
        send_at_once(&socket);
    }
    Ok(socket)
}

/// Where the system's congestion control is BBR, timers spread a body over time, to spare the buffers of a network. On
/// loopback there is none: each of them would interrupt this thread and wake the client once more. Connections inherit this;
/// chosen for each of them, it might come after the first timer. Every Linux has Reno, and whoever may not choose it
/// keeps what there is.
#[cfg(target_os = "linux")]
fn send_at_once(socket: &Socket) {
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, "reno");
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::TcpStream;

    use rustix::net::sockopt::tcp_congestion;

    use super::*;

    /// The congestion control of a connection from this host to a listener on this address.
    fn of_a_connection_to(address: &str) -> String {
        let listener = socket(address.parse().unwrap(), false).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(false).unwrap();
        tcp_congestion(listener.accept().unwrap().0).unwrap()
    }

    #[test]
    fn a_listener_on_loopback_sends_without_pauses_and_any_other_as_the_system_says() {
        assert_eq!(of_a_connection_to("127.0.0.1:0"), "reno");
        let system = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(of_a_connection_to("0.0.0.0:0"), tcp_congestion(&system).unwrap());
    }
}
