//! The command line without a running proxy.

use std::net::TcpListener;

use super::exit_code;
use crate::support::binary::{free_address, millpond};
use crate::support::client::Client;
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::process::Process;
use crate::support::scrape::Scrape;

const COMMANDS: [&str; 6] = ["run", "check", "schema", "demo", "purge", "health"];

/// A file with this text, and `millpond COMMAND -c` that file.
async fn with_file(text: &str, command: &str) -> (tempfile::TempDir, Process, Option<i32>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("millpond.toml");
    std::fs::write(&file, text).unwrap();
    let mut process = millpond(&[command, "-c", file.to_str().unwrap()]);
    let code = exit_code(&mut process).await;
    (directory, process, code)
}

async fn right_text() -> String {
    ConfigText::for_origin(&Origin::start().await).text(free_address(), free_address())
}

#[tokio::test]
async fn check_says_that_a_right_file_is_right_and_exits_with_0() {
    let (_directory, process, code) = with_file(&right_text().await, "check").await;
    assert_eq!((code, process.stderr.text().as_str()), (Some(0), ""));
    assert!(process.stdout.text().contains("millpond.toml: right; routes: 1, origins: 1"), "{}", process.stdout.text());
}

#[tokio::test]
async fn check_and_run_refuse_a_wrong_file_with_all_faults_and_exit_with_78() {
    let text = right_text().await.replace("[[routes]]", "[limits]\nconections = 5\nhead_timeout = '10'\n\n[[routes]]");
    for command in ["check", "run"] {
        let (_directory, process, code) = with_file(&text, command).await;
        let said = process.stderr.text();
        assert_eq!((code, process.stdout.text().as_str()), (Some(78), ""), "{command}: {said}");
        assert!(said.contains("conections") && said.contains("connections"), "the typo and the hint: {said}");
        assert!(said.contains("head_timeout"), "the second fault in the same run: {said}");
        let line = 1 + text.lines().position(|line| line.starts_with("conections")).unwrap();
        assert!(said.contains(&format!("millpond.toml:{line}:1")), "file, line and column: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_wrong_configuration() {
    let mut process = millpond(&["run", "-c", "/nowhere/millpond.toml"]);
    assert_eq!(exit_code(&mut process).await, Some(78));
    assert!(process.stderr.text().contains("/nowhere/millpond.toml"), "{}", process.stderr.text());
}

#[tokio::test]
async fn a_wrong_command_line_exits_with_64() {
    for wrong in [&[][..], &["rum"], &["run", "--port", "1"], &["purge"], &["purge", "--all", "--tag", "a"]] {
        let mut process = millpond(wrong);
        assert_eq!(exit_code(&mut process).await, Some(64), "{wrong:?}");
        assert!(process.stderr.text().contains("Usage:"), "{wrong:?}: {}", process.stderr.text());
    }
}

#[tokio::test]
async fn the_version_is_printed_with_exit_code_0() {
    let mut process = millpond(&["--version"]);
    assert_eq!(exit_code(&mut process).await, Some(0));
    assert_eq!(process.stdout.text(), format!("millpond {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn every_command_explains_itself_with_an_example_that_begins_with_its_name() {
    for command in std::iter::once(None).chain(COMMANDS.map(Some)) {
        let arguments: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        let mut process = millpond(&arguments);
        assert_eq!(exit_code(&mut process).await, Some(0), "{arguments:?}");
        let help = process.stdout.text();
        let example = format!("  millpond {}", command.unwrap_or_default());
        let (_, after) = help.split_once("Example").unwrap_or_else(|| panic!("{arguments:?} has no example:\n{help}"));
        assert!(after.contains(&example), "{arguments:?}:\n{help}");
    }
}

#[tokio::test]
async fn the_schema_is_json_and_knows_the_sections() {
    let mut process = millpond(&["schema"]);
    assert_eq!(exit_code(&mut process).await, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&process.stdout.text()).expect("JSON");
    for section in ["listen", "limits", "origins", "routes", "cache", "log", "admin"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_a_way_out_and_exits_with_71() {
    let origin = Origin::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap(), taken);
    for (http, admin, key) in [(taken.0, free_address(), "listen.http"), (free_address(), taken.0, "admin.listen")] {
        let (_directory, process, code) = with_file(&ConfigText::for_origin(&origin).text(http, admin), "run").await;
        let said = process.stderr.text();
        assert_eq!(code, Some(71), "{said}");
        assert!(said.contains(&format!("cannot listen on {}", taken.0)) && said.contains(key), "{said}");
    }
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_what_it_is_too_low_for_is_said() {
    let mut config = ConfigText::for_origin(&Origin::start().await);
    config.section("[limits]\nconnections = 900");
    let (directory, admin) = (tempfile::tempdir().unwrap(), free_address());
    let file = directory.path().join("millpond.toml");
    std::fs::write(&file, config.text(free_address(), admin)).unwrap();
    let mut command = tokio::process::Command::new("sh");
    let script = "ulimit -Sn 100 && ulimit -Hn 1000 && exec \"$0\" run -c \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_millpond")]).arg(&file);
    let process = Process::spawn(command);
    let said = process.stderr.says("fewer open files").await;
    assert!(said.contains("allowed=1000") && said.contains("needed=1284"), "{said}");
    process.stderr.says("serving").await;
    assert_eq!(Scrape::of(Client::to(admin)).await.value("process_max_fds"), 1_000);
}

#[tokio::test]
async fn a_second_proxy_on_the_same_address_is_refused_and_does_not_share_it() {
    let origin = Origin::start().await;
    let config = ConfigText::for_origin(&origin);
    let first = crate::support::binary::Millpond::run(&config).await;
    let (_directory, process, code) = with_file(&config.text(first.addr, free_address()), "run").await;
    assert_eq!(code, Some(71), "{}", process.stderr.text());
    assert!(process.stderr.text().contains(&format!("cannot listen on {}", first.addr)), "{}", process.stderr.text());
}
