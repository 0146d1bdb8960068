//! Programs under test.

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::support::process::Process;

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn(command)
}

#[tokio::test]
async fn the_output_and_the_exit_code_of_a_program_are_kept() {
    let mut program = shell("echo out; echo err >&2; exit 3");
    let status = program.exited().await;
    assert_eq!(status.code(), Some(3));
    assert_eq!((program.stdout.text().as_str(), program.stderr.text().as_str()), ("out", "err"));
    assert_eq!(program.ended(), Some(status));
}

#[tokio::test]
async fn a_line_can_be_awaited_while_the_program_runs_and_a_signal_reaches_it() {
    let mut program = shell("trap 'echo stopping; exit 7' TERM; echo ready >&2; while :; do sleep 0.01; done");
    assert_eq!(program.stderr.says("ready").await, "ready");
    assert_eq!(program.ended(), None);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.stdout.says("stop").await, "stopping");
    assert_eq!(program.exited().await.code(), Some(7));
}
