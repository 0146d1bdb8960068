//! What an operator does to a running proxy from the command line and the admin listener.

use super::exit_code;
use crate::support::binary::{Millpond, free_address, millpond};
use crate::support::config::ConfigText;
use crate::support::origin::Origin;

async fn tagged() -> (Origin, Millpond) {
    let origin = Origin::start().await;
    for (path, tag) in [("/a", "red"), ("/b", "blue")] {
        origin.on(path, |r| r.header("Cache-Control", "max-age=60").header("Cache-Tag", tag).body(path.to_owned()));
    }
    let millpond = Millpond::run(&ConfigText::for_origin(&origin)).await;
    (origin, millpond)
}

#[tokio::test]
async fn purge_removes_what_it_names_and_nothing_else() {
    let (origin, running) = tagged().await;
    let client = running.client();
    for path in ["/a", "/b", "/a", "/b"] {
        client.get(path).send().await;
    }
    assert_eq!((origin.hits("/a"), origin.hits("/b")), (1, 1));
    let mut purge = millpond(&["purge", "--tag", "red", "--admin", &running.admin_url()]);
    assert_eq!(exit_code(&mut purge).await, Some(0), "{}", purge.stderr.text());
    assert!(purge.stdout.text().starts_with("purged: 1 stored response on this instance"), "{}", purge.stdout.text());
    for path in ["/a", "/b"] {
        client.get(path).send().await;
    }
    assert_eq!((origin.hits("/a"), origin.hits("/b")), (2, 1));
    let audit = running.process.stderr.says("purged").await;
    assert!(audit.contains("millpond::audit") && audit.contains("red"), "{audit}");
}

#[tokio::test]
async fn purge_says_by_its_exit_code_what_went_wrong() {
    let (_origin, running) = tagged().await;
    let url = running.admin_url();
    let nobody = format!("http://{}", free_address());
    for (arguments, code) in [
        (["purge", "--route", "none", "--admin", &url], 64),
        (["purge", "--url", "/a", "--admin", &url], 64),
        (["purge", "--tag", "red", "--admin", &nobody], 69),
    ] {
        let mut purge = millpond(&arguments);
        assert_eq!(exit_code(&mut purge).await, Some(code), "{arguments:?}: {}", purge.stderr.text());
        assert!(!purge.stderr.text().is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let (_origin, running) = tagged().await;
    let admin = running.admin_client();
    let purge = async |tag: &str| {
        let answer = admin.ask("POST", "/purge").body(format!("{{\"tag\": \"{tag}\"}}")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let level = async |level: &'static str| admin.ask("PUT", "/log-level").body(level).send().await;
    purge("first").await;
    assert_eq!(level("warn").await.status, 200);
    purge("second").await;
    assert_eq!(level("info").await.status, 200);
    purge("third").await;
    running.process.stderr.says("third").await;
    let said = running.process.stderr.text();
    assert!(said.contains("first") && !said.contains("second"), "{said}");
    let wrong = level("loud").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("debug or warn,millpond=debug"), "{}", wrong.text());
}
