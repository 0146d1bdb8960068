//! `millpond fleet`: the instances and how far each is.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};

use super::Exit;
use super::client::{AdminArgs, Client, ClientError, TOKEN_VARIABLE};
use crate::admin::Member;

/// Lists the instances of a fleet
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  millpond fleet --admin http://127.0.0.1:9090")]
pub struct FleetArgs {
    /// Which instance to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Runs the command.
pub async fn run(args: &FleetArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    match ask(args).await {
        Ok((StatusCode::OK, body)) => {
            let members: Vec<Member> = serde_json::from_slice(&body).unwrap_or_default();
            print(&members, out)?;
            Ok(Exit::Done)
        }
        Ok((status, body)) => {
            writeln!(err, "millpond: {status}: {}", String::from_utf8_lossy(&body).trim())?;
            Ok(Exit::Refused)
        }
        Err(fault) => {
            writeln!(err, "millpond: {fault}")?;
            Ok(fault.exit())
        }
    }
}

fn print(members: &[Member], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<30} {:<8} {:>5} {:>10} {:>6} {:>10} {:>12} {:>9}",
        "INSTANCE", "VERSION", "ERA", "APPLIED", "LAG", "SILENT", "REQUESTS", "HIT RATIO"
    )?;
    for member in members {
        let id = format!("{}{}", member.instance, if member.this { " *" } else { "" });
        let ratio = member.hit_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0));
        let Member { version, era, applied, lag, silent_ms, requests, .. } = member;
        let silent = format!("{silent_ms} ms");
        writeln!(out, "{id:<30} {version:<8} {era:>5} {applied:>10} {lag:>6} {silent:>10} {requests:>12} {ratio:>9}")?;
    }
    Ok(())
}

async fn ask(args: &FleetArgs) -> Result<(StatusCode, bytes::Bytes), ClientError> {
    let client = Client::new(&args.admin, std::env::var(TOKEN_VARIABLE).ok())?;
    client.send(Method::GET, "/fleet", String::new(), Duration::ZERO).await
}
