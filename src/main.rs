//! The `millpond` binary: arguments, then the command they name, then its exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millpond::cli::{self, Exit};

/// What a miss allocates on one thread is often freed on another, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A two-tier caching reverse proxy for slow HTTP APIs.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  millpond demo\n\n\
    Exit codes: 0 done, 1 not ready, 64 wrong command line, 69 admin listener out of reach, 70 fault of Millpond,\n\
    71 address or file can not be had, 75 a purge lacks receipts, 77 refused, 78 wrong configuration"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Run(cli::run::RunArgs),
    /// Check a configuration file.
    Check(cli::check::CheckArgs),
    /// Print the JSON schema of the configuration file, for editors.
    #[command(after_help = "Example:\n  millpond schema > millpond.schema.json")]
    Schema,
    /// Show what the proxy does, with a built-in slow origin and nothing to install.
    Demo(cli::demo::DemoArgs),
    /// Invalidate stored responses in a running instance.
    Purge(cli::purge::PurgeArgs),
    /// List the instances of a fleet.
    Fleet(cli::fleet::FleetArgs),
    /// Ask a running instance whether it is ready, for container health checks.
    Health(cli::health::HealthArgs),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(fault) => {
            // `--help` and `--version` come here as well, and are no faults.
            let exit = if fault.use_stderr() { Exit::Usage } else { Exit::Done };
            return if fault.print().is_ok() { exit.into() } else { Exit::Internal.into() };
        }
    };
    // Clients are served by the listener's own threads; this runtime has signals, admin and reloads.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            eprintln!("millpond: can not start the runtime: {fault}");
            return Exit::Internal.into();
        }
    };
    runtime.block_on(execute(arguments.command)).into()
}

async fn execute(command: Command) -> Exit {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let printed = match command {
        Command::Run(args) => Ok(cli::run::run(args).await),
        Command::Check(args) => cli::check::check(&args, &mut out, &mut err),
        Command::Schema => cli::check::schema(&mut out),
        Command::Demo(args) => Ok(cli::demo::demo(args).await),
        Command::Purge(args) => cli::purge::run(&args, &mut out, &mut err).await,
        Command::Fleet(args) => cli::fleet::run(&args, &mut out, &mut err).await,
        Command::Health(args) => cli::health::run(&args, &mut out).await,
    };
    // What can not be printed was asked for in vain.
    printed.unwrap_or(Exit::System)
}
