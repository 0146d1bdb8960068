//! A listener to send bytes to, with a handler that records what reaches it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use millpond::config::{Limits, Listen, RuntimeModel};
use millpond::listener::{Bound, Client, Drained, Fault, Handler, ListenError, RequestBody, Shutdown};
use millpond::telemetry::metrics::Metrics;
use tokio::sync::{Notify, Semaphore};

/// No test waits for this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Records what reaches it.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    pub(crate) threads: Arc<Mutex<Vec<thread::ThreadId>>>,
    pub(crate) started: Arc<Notify>,
    pub(crate) go: Arc<Notify>,
    /// Ends one background task per permit; each then gives a permit to `finished`.
    pub(crate) may_finish: Arc<Semaphore>,
    pub(crate) finished: Arc<Semaphore>,
}

impl Recorder {
    fn new() -> Self {
        Self {
            seen: Arc::default(),
            threads: Arc::default(),
            started: Arc::default(),
            go: Arc::default(),
            may_finish: Arc::new(Semaphore::new(0)),
            finished: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Handler for Recorder {
    type Body = Full<Bytes>;

    async fn handle(&self, head: Box<Parts>, body: RequestBody, _: Client) -> Response<Self::Body> {
        let request = Request::from_parts(*head, body);
        self.seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        self.threads.lock().unwrap().push(thread::current().id());
        if request.uri().path() == "/slow" {
            self.started.notify_one();
            self.go.notified().await;
        }
        if request.uri().path() == "/spawn" {
            let recorder = self.clone();
            // Work that outlives its request.
            tokio::spawn(async move {
                recorder.may_finish.acquire().await.unwrap().forget();
                recorder.finished.add_permits(1);
            });
        }
        if request.method() != Method::POST {
            return Response::new(Full::from("ok"));
        }
        let (status, text) = match request.into_body().collect().await {
            Ok(body) => (StatusCode::OK, format!("{} bytes", body.to_bytes().len())),
            Err(error) => {
                let fault = Fault::behind(&error).expect("the client's fault");
                (fault.status(), fault.as_str().to_owned())
            }
        };
        Response::builder().status(status).body(Full::from(text)).unwrap()
    }

    fn reject(&self, fault: Fault, _: SocketAddr) -> Response<Self::Body> {
        Response::builder().status(fault.status()).body(Full::from(fault.as_str())).unwrap()
    }
}

/// A listener on a thread of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Recorder,
    pub(crate) shutdown: Shutdown,
    thread: Option<thread::JoinHandle<Result<Drained, ListenError>>>,
}

pub(crate) fn limits() -> Limits {
    Limits {
        connections: 100,
        head_bytes: 2048,
        head_fields: 20,
        target_bytes: 1000,
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        body_timeout: PATIENCE,
        write_timeout: PATIENCE,
        request_body: Some(1000),
        shutdown_deadline: PATIENCE,
    }
}

impl Server {
    pub(crate) fn start(runtime: RuntimeModel, limits: Limits) -> Self {
        let listen = Listen {
            http: "127.0.0.1:0".parse().unwrap(),
            runtime,
            threads: NonZeroUsize::new(3).unwrap(),
            trusted_proxies: vec![],
        };
        let bound = Bound::bind(&listen).unwrap();
        let (address, recorder, shutdown) = (bound.local_addr(), Recorder::new(), Shutdown::new());
        let run = bound.run(recorder.clone(), limits, Metrics::new().unwrap().listener, shutdown.clone());
        let thread = thread::spawn(|| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run));
        Self { address, recorder, shutdown, thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Everything that answers `request` until the listener closes the connection.
    pub(crate) fn answer(&self, request: &[u8]) -> String {
        let mut client = self.connect();
        client.write_all(request).unwrap();
        read_all(&mut client)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.recorder.seen.lock().unwrap())
    }

    pub(crate) fn stop(mut self) -> Drained {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Reads to the end of the stream: an error here means that the connection was not closed, or
/// that it was reset before the answer could be read.
pub(crate) fn read_all(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn read_to(client: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(end.as_bytes()) {
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}
