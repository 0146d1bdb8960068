//! A wire between a client and a server that a test can delay, cut, and silence.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes under way in one direction, in chunks.
const UNDER_WAY: usize = 256;

/// What the wire does to bytes.
#[derive(Clone, Copy, Default)]
struct State {
    /// Where new connections lead.
    port: u16,
    /// How long they take, each way.
    delay: Duration,
    /// Whether they are lost, and connections with them, without anybody being told.
    silent: bool,
    /// How often all connections were cut, and made silent for good.
    cuts: u64,
    silenced: u64,
    /// What is not let through, nor anything behind it on its connection.
    held: Option<&'static str>,
}

/// A TCP proxy in front of one port of this host.
pub(crate) struct Wire {
    addr: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// A wire to `port` that does nothing yet.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State { port, ..State::default() });
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, watched.clone()));
            }
        });
        Self { addr, state, accepting }
    }

    /// The other end, as Redis is addressed.
    pub(crate) fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// From now on bytes take so long, each way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Lets nothing through from this text on, wherever it stands, until it is told `None`.
    pub(crate) fn hold(&self, text: Option<&'static str>) {
        self.state.send_modify(|state| state.held = text);
    }

    /// Ends all connections with a reset.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends all connections; new ones lead to another port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.state.send_modify(|state| state.port = port);
        self.cut();
    }

    /// All connections stay open and carry nothing any more; new ones work. What a peer sees whose
    /// packets are dropped, and to whom nobody says so.
    pub(crate) fn half_open(&self) {
        self.state.send_modify(|state| state.silenced += 1);
    }

    /// Nothing gets through: what is sent is lost, and new connections carry nothing either. Ended by
    /// `false`, after which only new connections work.
    pub(crate) fn silence(&self, silent: bool) {
        self.state.send_modify(|state| {
            state.silent = silent;
            state.silenced += 1;
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(client: TcpStream, mut state: watch::Receiver<State>) {
    let born = *state.borrow_and_update();
    let Ok(server) = TcpStream::connect(("127.0.0.1", born.port)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        // Closing is a reset.
        let _ = stream.set_zero_linger();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::select! {
            () = one_way(from_client, to_server, born, state.clone()) => {}
            () = one_way(from_server, to_client, born, state.clone()) => {}
        }
    };
    let mut watched = state.clone();
    tokio::select! {
        () = both => {}
        _ = watched.wait_for(|now| now.cuts != born.cuts) => {}
    }
}

/// Carries bytes until either end is gone. What was read while the wire was silent is lost.
async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, born: State, state: watch::Receiver<State>) {
    let mut released = state.clone();
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count) = from.read(&mut buffer).await {
            let now = *state.borrow();
            let lost = now.silent || born.silent || now.silenced != born.silenced;
            if count == 0 && lost {
                // The other side has given up, and nobody hears of it.
                std::future::pending::<()>().await;
            }
            let sent = lost || sender.send((Instant::now() + now.delay, buffer[..count].to_vec())).await.is_ok();
            if count == 0 || !sent {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            let now = *state.borrow();
            if now.silent || now.silenced != born.silenced {
                continue;
            }
            let found =
                now.held.and_then(|text| chunk.windows(text.len()).position(|window| window == text.as_bytes()));
            let (first, rest) = chunk.split_at(found.unwrap_or(chunk.len()));
            if chunk.is_empty() || to.write_all(first).await.is_err() {
                return;
            }
            if !rest.is_empty() {
                let _ = released.wait_for(|now| now.held.is_none()).await;
                if to.write_all(rest).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        // What is under way still arrives.
        () = async { read.await; std::future::pending().await } => {}
        () = write => {}
    }
}
