//! Threads, limits and drains.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::Duration;

use millpond::config::{Limits, Listen, RuntimeModel};
use millpond::listener::{Bound, Drained};

use super::server::{PATIENCE, Server, limits, read_all, read_to};
use super::with;

/// Until `/slow` is under way.
fn wait_for_start(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(server.recorder.started.notified());
}

#[test]
fn both_runtime_models_serve_on_their_own_threads() {
    for (model, at_most) in [(RuntimeModel::PerCore, 3), (RuntimeModel::WorkStealing, 3)] {
        let server = Server::start(model, limits());
        for _ in 0..60 {
            assert!(server.answer(with("Connection: close").as_bytes()).ends_with("ok"));
        }
        let mut threads = server.recorder.threads.lock().unwrap().clone();
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert!(threads.len() <= at_most, "{model:?}: {threads:?}");
        if model == RuntimeModel::PerCore {
            // The kernel spreads 60 connections over three sockets.
            assert!(threads.len() > 1, "{threads:?}");
        }
        assert_eq!(server.stop(), Drained { cut: 0 });
    }
}

#[test]
fn f12_the_connection_limit_holds_over_all_threads() {
    let server = Server::start(RuntimeModel::PerCore, Limits { connections: 2, ..limits() });
    let request = with("X: y");
    let mut places: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut places {
        client.write_all(request.as_bytes()).unwrap();
        read_to(client, "ok");
    }
    let mut waiting = server.connect();
    waiting.write_all(request.as_bytes()).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "served beyond the limit");
    places.pop();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    read_to(&mut waiting, "ok");
}

#[test]
fn g5_a_drain_finishes_what_is_under_way_and_closes_what_is_idle() {
    for model in [RuntimeModel::PerCore, RuntimeModel::WorkStealing] {
        let server = Server::start(model, limits());
        let mut idle = server.connect();
        idle.write_all(with("X: y").as_bytes()).unwrap();
        read_to(&mut idle, "ok");
        let mut busy = server.connect();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        wait_for_start(&server);
        server.shutdown.cancel();
        assert_eq!(read_all(&mut idle), "");
        assert!(TcpStream::connect(server.address).and_then(|mut late| late.read(&mut [0])).map_or(true, |n| n == 0));
        server.recorder.go.notify_one();
        let answer = read_all(&mut busy);
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("ok"), "{answer}");
        assert_eq!(server.stop(), Drained { cut: 0 });
    }
}

#[test]
fn background_tasks_of_a_drained_thread_run_until_all_threads_are_drained() {
    let server = Server::start(RuntimeModel::PerCore, limits());
    let mut busy = server.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for_start(&server);
    let mut spawned = 0;
    // Until the kernel has given a connection to another thread than that of `/slow`.
    loop {
        spawned += 1;
        server.answer(b"GET /spawn HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let threads = server.recorder.threads.lock().unwrap();
        if threads.first() != threads.last() {
            break;
        }
    }
    server.shutdown.cancel();
    // Once every socket is closed, threads without connections are drained.
    while TcpStream::connect(server.address).is_ok() {}
    server.recorder.may_finish.add_permits(spawned);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let finished = server.recorder.finished.acquire_many(u32::try_from(spawned).unwrap());
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, finished).await })
        .expect("all tasks end")
        .unwrap()
        .forget();
    server.recorder.go.notify_one();
    assert!(read_all(&mut busy).ends_with("ok"));
    assert_eq!(server.stop(), Drained { cut: 0 });
}

#[test]
fn g5_a_hung_client_is_cut_at_the_deadline() {
    let deadline = Duration::from_millis(100);
    let server = Server::start(RuntimeModel::PerCore, Limits { shutdown_deadline: deadline, ..limits() });
    let mut hung = server.connect();
    hung.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_for_start(&server);
    assert_eq!(server.stop(), Drained { cut: 1 });
    assert_eq!(read_all(&mut hung), "");
}

#[test]
fn an_address_in_use_is_named() {
    let listen = |http| Listen {
        http,
        runtime: RuntimeModel::WorkStealing,
        threads: NonZeroUsize::new(1).unwrap(),
        trusted_proxies: vec![],
    };
    let first = Bound::bind(&listen("127.0.0.1:0".parse().unwrap())).unwrap();
    let error = Bound::bind(&listen(first.local_addr())).unwrap_err().to_string();
    assert!(error.contains(&first.local_addr().to_string()) && error.contains("listen.http"), "{error}");
}
