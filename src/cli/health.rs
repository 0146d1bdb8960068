//! `millpond health`: the HEALTHCHECK of a container.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};

use super::Exit;
use super::client::{AdminArgs, Client, ClientError, TOKEN_VARIABLE};
use crate::admin::Readiness;

/// Asks a running instance whether it is ready: exit code 0 if so, 1 if not
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  millpond health --admin http://127.0.0.1:9090\n\n\
    Exit codes:\n  0  ready\n  1  not ready, or no answer")]
pub struct HealthArgs {
    /// Which instance to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Runs the command. Not only a verdict of "not ready" but every fault is
/// [`Exit::NotReady`]: container runtimes know 0 and 1.
pub async fn run(args: &HealthArgs, out: &mut impl Write) -> io::Result<Exit> {
    match ask(args).await {
        Ok((_, Some(readiness))) if readiness.ready => {
            writeln!(out, "ready")?;
            return Ok(Exit::Done);
        }
        Ok((_, Some(readiness))) => {
            writeln!(out, "not ready")?;
            for check in readiness.checks.iter().filter(|check| !check.ok) {
                writeln!(out, "  {}: {}", check.name, check.detail)?;
            }
        }
        Ok((status, None)) => writeln!(out, "not ready: the listener answered {status} without a verdict")?,
        Err(fault) => writeln!(out, "not ready: {fault}")?,
    }
    Ok(Exit::NotReady)
}

async fn ask(args: &HealthArgs) -> Result<(StatusCode, Option<Readiness>), ClientError> {
    let client = Client::new(&args.admin, std::env::var(TOKEN_VARIABLE).ok())?;
    let (status, body) = client.send(Method::GET, "/readyz", String::new(), Duration::ZERO).await?;
    Ok((status, serde_json::from_slice(&body).ok()))
}
