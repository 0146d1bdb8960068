//! The arguments of `millpond demo`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::origin::OriginOptions;

/// Shows Millpond at work with a built-in slow origin; nothing else is needed.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  millpond demo --latency 1s --error-rate 0.2\n\n\
    Prints three commands to try, lets the same herd loose on the origin with and without Millpond, and then \
    shows a live line under load until Ctrl-C.")]
pub struct DemoArgs {
    /// Where the proxy listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the proxy's admin listener listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Time that the origin takes for one answer [default: 500ms; with --quick 100ms].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub latency: Option<Duration>,
    /// Answers that the origin works on at once, as a database pool would; others wait.
    #[arg(long, value_name = "COUNT", default_value_t = 25, value_parser = at_least_one)]
    pub workers: usize,
    /// The part of the origin's answers that fail, 0.0 to 1.0.
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part)]
    pub error_rate: f64,
    /// Bytes of an answer's body.
    #[arg(long, value_name = "BYTES", default_value_t = 2_000, value_parser = body_size)]
    pub size: usize,
    /// Clients of the herd [default: 200; with --quick 50].
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub clients: Option<usize>,
    /// Connections of the load that follows.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = at_least_one)]
    pub connections: usize,
    /// How long the live line runs [default: until Ctrl-C; with --quick 3s].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// No load: leave the proxy to your own requests.
    #[arg(long)]
    pub no_load: bool,
    /// A short show of about ten seconds.
    #[arg(long)]
    pub quick: bool,
}

impl DemoArgs {
    /// The origin to start.
    pub(super) fn origin(&self) -> OriginOptions {
        OriginOptions {
            latency: self.latency.unwrap_or(Duration::from_millis(if self.quick { 100 } else { 500 })),
            workers: self.workers,
            error_rate: self.error_rate,
            body_bytes: self.size,
            max_age: Duration::from_secs(if self.quick { 1 } else { 5 }),
        }
    }

    /// Clients of the herd.
    pub(super) fn herd(&self) -> usize {
        self.clients.unwrap_or(if self.quick { 50 } else { 200 })
    }

    /// How long the live line runs; `None` means until it is stopped.
    pub(super) fn live(&self) -> Option<Duration> {
        self.duration.or(self.quick.then_some(Duration::from_secs(3)))
    }
}

/// A count of which there must be one.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("give a whole number".to_owned()),
    }
}

/// A part of a whole.
fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("give a number from 0.0 to 1.0, such as 0.2 for one in five".to_owned()),
    }
}

/// A body that fits into memory many times over.
fn body_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number <= 10_000_000 => Ok(number),
        _ => Err("give a number of bytes, at most 10000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn parse(arguments: &[&str]) -> Result<DemoArgs, String> {
        let line = std::iter::once("demo").chain(arguments.iter().copied());
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn quick_shortens_everything_that_was_not_asked_for() {
        let full = parse(&[]).unwrap();
        assert_eq!((full.origin().latency, full.herd(), full.live()), (Duration::from_millis(500), 200, None));
        let quick = parse(&["--quick"]).unwrap();
        assert_eq!(quick.origin().latency, Duration::from_millis(100));
        assert_eq!((quick.herd(), quick.live()), (50, Some(Duration::from_secs(3))));
        let asked = parse(&["--quick", "--latency", "1s", "--clients", "7", "--duration", "1m"]).unwrap();
        assert_eq!(asked.origin().latency, Duration::from_secs(1));
        assert_eq!((asked.herd(), asked.live()), (7, Some(Duration::from_mins(1))));
    }

    #[test]
    fn values_out_of_range_are_refused_with_what_would_be_right() {
        for (arguments, hint) in [
            (["--error-rate", "1.5"], "from 0.0 to 1.0"),
            (["--clients", "0"], "at least 1"),
            (["--size", "99999999999"], "at most 10000000"),
            (["--latency", "5"], "time unit needed"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(hint), "{arguments:?}: {error}");
        }
    }
}
