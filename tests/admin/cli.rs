//! `millpond purge` and `millpond health` against a real listener.

use std::net::SocketAddr;

use crate::support::{Admin, TOKEN, report};
use clap::Parser;
use millpond::admin::{Missing, PurgeFault, PurgeReport, PurgeTarget};
use millpond::cli::health::HealthArgs;
use millpond::cli::purge::PurgeArgs;
use millpond::cli::{Exit, health, purge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Parser)]
enum Command {
    Purge(PurgeArgs),
    Health(HealthArgs),
}

/// Exit, standard output and standard error of a command line.
async fn millpond(address: SocketAddr, line: &str) -> (Exit, String, String) {
    let words = format!("millpond {line} --admin http://{address}");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = match Command::try_parse_from(words.split(' ')).unwrap() {
        Command::Purge(args) => purge::run(&args, &mut out, &mut err).await,
        Command::Health(args) => health::run(&args, &mut out).await,
    };
    (exit.unwrap(), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn token_file(token: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    file
}

#[tokio::test]
async fn a_purge_reports_what_it_did() {
    let admin = Admin::open().await;
    let (exit, out, err) = millpond(admin.address, "purge --tag a --tag b --soft --wait").await;
    assert_eq!((exit, err.as_str()), (Exit::Done, ""));
    assert_eq!(out, "marked stale: 3 stored responses on this instance, invalidation 7\n  a has applied up to 7\n");
    let orders = admin.control.orders();
    assert_eq!(orders[0].target, PurgeTarget::Tags(vec!["a".into(), "b".into()]));
    assert!(orders[0].soft && orders[0].wait.is_some());
    let (exit, out, _) = millpond(admin.address, "purge --all --json").await;
    assert_eq!((exit, serde_json::from_str::<PurgeReport>(&out).unwrap()), (Exit::Done, report()));
}

#[tokio::test]
async fn a_purge_that_not_all_confirmed_names_them_and_exits_with_75() {
    let admin = Admin::open().await;
    *admin.control.outcome.lock().unwrap() =
        Ok(PurgeReport { missing: vec![Missing { instance: "b".into(), silent_ms: 3200 }], entries: None, ..report() });
    let (exit, out, _) = millpond(admin.address, "purge --all --wait 1s").await;
    assert_eq!(exit, Exit::Incomplete);
    assert_eq!(out, "purged, invalidation 7\n  a has applied up to 7\n  b has NOT confirmed; last seen 3s 200ms ago\n");
    *admin.control.outcome.lock().unwrap() = Err(PurgeFault::NotLogged("time-out".into()));
    let (exit, out, err) = millpond(admin.address, "purge --all").await;
    assert_eq!((exit, out.as_str()), (Exit::Incomplete, ""));
    assert!(err.starts_with("purged on this instance only"), "{err}");
}

#[tokio::test]
async fn a_wrong_order_exits_with_64_and_the_fix() {
    let admin = Admin::open().await;
    let (exit, _, err) = millpond(admin.address, "purge --prefix /").await;
    assert_eq!(exit, Exit::Usage);
    assert_eq!(err, "prefix \"/\" would match everything: if that is what you mean, send {\"all\": true}\n");
    let (exit, out, _) = millpond(admin.address, "purge --prefix / --json").await;
    assert!(exit == Exit::Usage && out.contains("\"error\""), "{out}");
}

#[tokio::test]
async fn a_wrong_token_exits_with_77_and_the_right_one_is_read_from_its_file() {
    let admin = Admin::guarded().await;
    let (right, wrong) = (token_file(TOKEN), token_file("wrong"));
    let purge = async |file: &tempfile::NamedTempFile| {
        millpond(admin.address, &format!("purge --all --token-file {}", file.path().display())).await
    };
    let (exit, _, err) = purge(&wrong).await;
    assert!(exit == Exit::Refused && err.starts_with("the token is wrong"), "{err}");
    assert_eq!(millpond(admin.address, "purge --all").await.0, Exit::Refused);
    assert_eq!(purge(&right).await.0, Exit::Done);
    assert_eq!(admin.control.orders().len(), 1);
}

#[tokio::test]
async fn nobody_there_exits_with_69() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (exit, _, err) = millpond(address, "purge --all").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(err.contains(&format!("{address} cannot be reached")) && err.contains("Is the instance running"), "{err}");
    assert_eq!(millpond(address, "health").await.0, Exit::NotReady);
}

#[tokio::test]
async fn a_server_that_is_no_admin_listener_never_counts_as_done_or_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        }
    });
    let (exit, _, err) = millpond(address, "purge --all").await;
    assert!(exit == Exit::Unreachable && err.contains("Is this the admin listener of Millpond?"), "{err}");
    let (exit, out, _) = millpond(address, "health").await;
    assert_eq!((exit, out.as_str()), (Exit::NotReady, "not ready: the listener answered 200 OK without a verdict\n"));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_exits_with_69_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (exit, _, err) = millpond(listener.local_addr().unwrap(), "purge --all --wait 5s").await;
    assert!(exit == Exit::Unreachable && err.contains("did not answer in time"), "{err}");
}

#[tokio::test]
async fn health_follows_readiness() {
    let admin = Admin::open().await;
    let (exit, out, _) = millpond(admin.address, "health").await;
    assert_eq!((exit, out.as_str()), (Exit::Done, "ready\n"));
    *admin.control.ready.lock().unwrap() = false;
    let (exit, out, _) = millpond(admin.address, "health").await;
    assert_eq!((exit, out.as_str()), (Exit::NotReady, "not ready\n  listener: draining\n"));
}
