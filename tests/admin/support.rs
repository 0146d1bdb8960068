//! A listener under test, a client that speaks raw HTTP, and a proxy that remembers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use millpond::admin::{Check, Control, Member, PurgeFault, PurgeOrder, PurgeReport, Readiness, Receipt};
use millpond::config::{Secret, SecretSource};
use millpond::telemetry::metrics::Metrics;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

pub(crate) const TOKEN: &str = "correct horse battery staple";

/// Remembers what it was asked and answers as it was told.
pub(crate) struct Recorder {
    pub(crate) orders: Mutex<Vec<PurgeOrder>>,
    pub(crate) finished: Mutex<usize>,
    pub(crate) levels: Mutex<Vec<String>>,
    pub(crate) ready: Mutex<bool>,
    /// The outcome of purges.
    pub(crate) outcome: Mutex<Result<PurgeReport, PurgeFault>>,
    /// Makes purges and scrapes panic.
    pub(crate) broken: Mutex<bool>,
    /// When set, a purge says that it began and waits for its turn.
    pub(crate) gate: Mutex<Option<Arc<(Notify, Notify)>>>,
    metrics: Metrics,
}

impl Recorder {
    fn new() -> Self {
        let metrics = Metrics::new().unwrap();
        metrics.route("api");
        Self {
            orders: Mutex::default(),
            finished: Mutex::default(),
            levels: Mutex::default(),
            ready: Mutex::new(true),
            outcome: Mutex::new(Ok(report())),
            broken: Mutex::new(false),
            gate: Mutex::new(None),
            metrics,
        }
    }

    pub(crate) fn orders(&self) -> Vec<PurgeOrder> {
        self.orders.lock().unwrap().clone()
    }
}

pub(crate) fn report() -> PurgeReport {
    let receipts = vec![Receipt { instance: "a".into(), era: 0, applied: 7 }];
    PurgeReport { era: 0, seq: 7, entries: Some(3), receipts, missing: vec![] }
}

impl Control for Recorder {
    fn metrics(&self) -> String {
        assert!(!*self.broken.lock().unwrap(), "told to break");
        self.metrics.encode()
    }

    async fn fleet(&self) -> Result<Vec<Member>, String> {
        Ok(vec![Member {
            instance: "a".into(),
            this: true,
            version: "0.1.0".into(),
            era: 0,
            applied: 7,
            silent_ms: 0,
            lag: 0,
            requests: 10,
            hit_ratio: Some(0.5),
        }])
    }

    fn readiness(&self) -> Readiness {
        let ready = *self.ready.lock().unwrap();
        let detail = if ready { "listening" } else { "draining" };
        Readiness { ready, checks: vec![Check { name: "listener".into(), ok: ready, detail: detail.into() }] }
    }

    fn effective_config(&self) -> String {
        "[admin]\ntoken = \"(hidden)\"\n".into()
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        millpond::telemetry::check_level(level).map_err(|fault| fault.to_string())?;
        self.levels.lock().unwrap().push(level.to_owned());
        Ok(())
    }

    async fn purge(&self, order: PurgeOrder) -> Result<PurgeReport, PurgeFault> {
        self.orders.lock().unwrap().push(order);
        assert!(!*self.broken.lock().unwrap(), "told to break");
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.0.notify_one();
            gate.1.notified().await;
        }
        *self.finished.lock().unwrap() += 1;
        self.outcome.lock().unwrap().clone()
    }
}

/// A running admin listener.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    pub(crate) control: Arc<Recorder>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Admin {
    /// On loopback without a token.
    pub(crate) async fn open() -> Self {
        Self::start(None).await
    }

    /// With [`TOKEN`].
    pub(crate) async fn guarded() -> Self {
        Self::start(Some(Secret::new(TOKEN.into(), SecretSource::Environment("TOKEN".into())))).await
    }

    async fn start(token: Option<Secret>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, control) = (listener.local_addr().unwrap(), Arc::new(Recorder::new()));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(millpond::admin::serve(listener, token, Arc::clone(&control), shutdown));
        Self { address, control, stop, task }
    }

    /// Tells it to end; the handle resolves when it has.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `raw` as it is and reads the answer to its end.
    pub(crate) async fn raw(&self, raw: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect().await;
        stream.write_all(raw.as_ref()).await.unwrap();
        read_reply(stream).await
    }

    /// Sends a request for `localhost`; `fields` are header lines, each with its end.
    pub(crate) async fn request(&self, line: &str, fields: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{length}\r\n");
        self.raw([head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(&format!("GET {path}"), "", "").await
    }

    pub(crate) async fn purge(&self, body: impl AsRef<[u8]>) -> Reply {
        self.request("POST /purge", "", body).await
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The fields in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.body))
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    pub(crate) fn fix(&self) -> String {
        self.json()["fix"].as_str().unwrap().to_owned()
    }
}

/// Reads one answer: as much as its head says, or to the end of the connection.
pub(crate) async fn read_reply(mut stream: impl AsyncRead + Unpin) -> Reply {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if length == Some(body.len()) {
                return reply(&text);
            }
        }
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return reply(&text),
        }
    }
}

fn reply(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
