//! `millpond check` and `millpond schema`: the configuration without the proxy.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::Exit;
use crate::config;

/// Arguments of `millpond check`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  millpond check --config millpond.toml --dump\n\n\
    Exit codes:\n  0   the file is right\n  78  it is not; every fault is listed with line, column and a hint")]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(short, long, default_value = "millpond.toml")]
    pub config: PathBuf,
    /// Print the configuration in force, defaults filled in and secrets hidden.
    #[arg(long)]
    pub dump: bool,
}

/// Checks a configuration file.
pub fn check(args: &CheckArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(faults) => {
            writeln!(err, "{faults}")?;
            return Ok(Exit::Config);
        }
    };
    if args.dump {
        writeln!(out, "{}", config::effective(&config))?;
    } else {
        let (routes, origins) = (config.routes.len(), config.origins.len());
        writeln!(out, "{}: right; routes: {routes}, origins: {origins}", args.config.display())?;
    }
    Ok(Exit::Done)
}

/// Prints the JSON schema of the configuration file.
pub fn schema(out: &mut impl Write) -> io::Result<Exit> {
    write!(out, "{}", config::schema())?;
    Ok(Exit::Done)
}
