//! Connections: each request is recorded, held if the test says so, and answered as scripted.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::raw::After;
use super::wire::{End, Received, Wire};
use super::{Action, Counts, Shared};

/// Accepts until aborted; connections end with the set that owns them.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("the origin accepts");
                shared.counts.send_modify(|counts| counts.connections += 1);
                let number = shared.counts.borrow().connections;
                connections.spawn(serve(stream, number, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let _open = Counted::enter(&shared.counts, |counts, by| counts.open_connections = by(counts.open_connections));
    stream.set_nodelay(true).expect("an open socket takes options");
    let mut wire = Wire::new(stream, number);
    loop {
        let request = match wire.request().await {
            Ok(request) => request,
            Err(End::Closed) => return,
            Err(End::Malformed) => {
                shared.counts.send_modify(|counts| counts.malformed += 1);
                let _ = wire.write(b"HTTP/1.1 400 Malformed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                return;
            }
        };
        shared.received.lock().unwrap().push(request.clone());
        let _present = Counted::enter(&shared.counts, |counts, by| {
            counts.at_once = by(counts.at_once);
            counts.peak = counts.peak.max(counts.at_once);
        });
        shared.counts.send_modify(|counts| counts.requests += 1);
        if answer(&mut wire, &request, &shared).await == After::Close {
            return;
        }
    }
}

async fn answer(wire: &mut Wire, request: &Received, shared: &Shared) -> After {
    if let Some(gate) = shared.script_for(&request.target).gate {
        tokio::select! {
            () = gate.pass() => {}
            () = wire.closed() => {
                gate.leave();
                return After::Close;
            }
        }
    }
    // Looked up after the wait: a held request gets what the path answers when it is let through.
    let reply = match shared.script_for(&request.target).action {
        Action::Stream(stream) => return stream.serve(wire).await,
        Action::Raw(script) => return script.play(wire).await,
        Action::Reply(reply) => reply,
        Action::Compute(compute) => compute(request),
    };
    let reply = reply.to(request);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    match wire.reply(&reply, &request.method).await {
        Ok(()) if !reply.close => After::GoOn,
        _ => After::Close,
    }
}

/// Counts something as present while it lives.
struct Counted<'a, F: Fn(&mut Counts, fn(usize) -> usize)> {
    counts: &'a watch::Sender<Counts>,
    change: F,
}

impl<'a, F: Fn(&mut Counts, fn(usize) -> usize)> Counted<'a, F> {
    fn enter(counts: &'a watch::Sender<Counts>, change: F) -> Self {
        counts.send_modify(|counts| change(counts, |number| number + 1));
        Self { counts, change }
    }
}

impl<F: Fn(&mut Counts, fn(usize) -> usize)> Drop for Counted<'_, F> {
    fn drop(&mut self) {
        self.counts.send_modify(|counts| (self.change)(counts, |number| number - 1));
    }
}
