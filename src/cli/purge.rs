//! `millpond purge`: removes stored responses of a running fleet, and says what became of it.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};

use super::Exit;
use super::client::{AdminArgs, Client, ClientError, TOKEN_VARIABLE};
use crate::admin::{Missing, Problem, PurgeOrder, PurgeReport, PurgeTarget};

const EXAMPLES: &str = "\
Examples:
  millpond purge --url http://api.test/users/42
  millpond purge --tag user:42 --tag team:7 --wait
  millpond purge --prefix /users/ --soft
  millpond purge --all --admin http://10.0.0.5:9090 --token-file /run/secrets/admin

Exit codes:
  0 done, 64 wrong order, 69 admin listener not reachable, 70 internal fault,
  75 not confirmed by all instances, 77 refused";

/// Removes stored responses, on every instance
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PurgeArgs {
    /// What to remove.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Mark as stale instead of removing: stale-while-revalidate and stale-if-error still help
    #[arg(long)]
    pub soft: bool,
    /// Wait until all instances have confirmed, at most this long
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s",
          value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Print the answer of the instance as JSON
    #[arg(long)]
    pub json: bool,
    /// Which instance to tell.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Exactly one of these.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// All variants of this URL
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// All URLs that begin so: http://host/path for one host, /path for every host
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// All responses with this tag; several tags remove what has any of them
    #[arg(long, value_name = "TAG", num_args = 1..)]
    pub tag: Vec<String>,
    /// All responses of the route of this name
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Everything
    #[arg(long)]
    pub all: bool,
}

impl TargetArgs {
    /// `None` when nothing is named, which `clap` does not let through.
    fn target(&self) -> Option<PurgeTarget> {
        let named = [
            self.url.clone().map(PurgeTarget::Url),
            self.prefix.clone().map(PurgeTarget::Prefix),
            (!self.tag.is_empty()).then(|| PurgeTarget::Tags(self.tag.clone())),
            self.route.clone().map(PurgeTarget::Route),
            self.all.then_some(PurgeTarget::All),
        ];
        named.into_iter().flatten().next()
    }
}

/// Runs the command: the answer goes to `out`, faults go to `err`.
pub async fn run(args: &PurgeArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let Some(target) = args.target.target() else {
        writeln!(err, "nothing to purge: name one of --url, --prefix, --tag, --route, --all")?;
        return Ok(Exit::Usage);
    };
    let order = PurgeOrder { target, soft: args.soft, wait: args.wait };
    match send(args, &order).await {
        Ok(answer) if args.json => {
            out.write_all(&answer.body)?;
            Ok(answer.exit)
        }
        Ok(Answer { exit, verdict: Verdict::Report(report), .. }) => tell(&order, &report, out).map(|()| exit),
        Ok(Answer { exit, verdict: Verdict::Problem(problem), .. }) => {
            writeln!(err, "{}: {}", problem.error, problem.fix).map(|()| exit)
        }
        Err(fault) => writeln!(err, "{fault}").map(|()| fault.exit()),
    }
}

/// What the listener said.
struct Answer {
    exit: Exit,
    body: Bytes,
    verdict: Verdict,
}

enum Verdict {
    Report(PurgeReport),
    Problem(Problem),
}

async fn send(args: &PurgeArgs, order: &PurgeOrder) -> Result<Answer, ClientError> {
    let client = Client::new(&args.admin, std::env::var(TOKEN_VARIABLE).ok())?;
    let patience = order.wait.unwrap_or_default();
    let (status, body) = client.send(Method::POST, "/purge", order.to_json(), patience).await?;
    // Whatever else listens there may say 200 to anything: only a report counts as done.
    let verdict = if status.is_success() {
        serde_json::from_slice(&body).map(Verdict::Report)
    } else {
        serde_json::from_slice(&body).map(Verdict::Problem)
    };
    let verdict =
        verdict.map_err(|fault| client.bad_answer(format!("{status} with a body it would not send ({fault})")))?;
    Ok(Answer { exit: exit(status), body, verdict })
}

fn exit(status: StatusCode) -> Exit {
    match status {
        StatusCode::OK => Exit::Done,
        // Logged but not confirmed by all, or done on one instance and not logged.
        StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE => Exit::Incomplete,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn tell(order: &PurgeOrder, report: &PurgeReport, out: &mut impl Write) -> io::Result<()> {
    let verb = if order.soft { "marked stale" } else { "purged" };
    match report.entries {
        Some(1) => write!(out, "{verb}: 1 stored response on this instance")?,
        Some(count) => write!(out, "{verb}: {count} stored responses on this instance")?,
        None => write!(out, "{verb}")?,
    }
    match report.era {
        0 => writeln!(out, ", invalidation {}", report.seq)?,
        era => writeln!(out, ", invalidation {} of era {era}", report.seq)?,
    }
    for receipt in &report.receipts {
        writeln!(out, "  {} has applied up to {}", receipt.instance, receipt.applied)?;
    }
    for Missing { instance, silent_ms } in &report.missing {
        let silent = humantime::format_duration(Duration::from_millis(*silent_ms));
        writeln!(out, "  {instance} has NOT confirmed; last seen {silent} ago")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Command {
        #[command(flatten)]
        args: PurgeArgs,
    }

    fn parse(line: &str) -> Result<PurgeArgs, clap::Error> {
        Command::try_parse_from(line.split(' ')).map(|command| command.args)
    }

    #[test]
    fn the_command_line_names_exactly_one_target() {
        let target = |line| parse(line).unwrap().target.target().unwrap();
        assert_eq!(target("purge --url http://h/a"), PurgeTarget::Url("http://h/a".into()));
        assert_eq!(target("purge --tag a --tag b"), PurgeTarget::Tags(vec!["a".into(), "b".into()]));
        assert_eq!(target("purge --tag a b --soft"), PurgeTarget::Tags(vec!["a".into(), "b".into()]));
        assert_eq!(target("purge --all"), PurgeTarget::All);
        for wrong in ["purge", "purge --soft", "purge --all --route x", "purge --url a --prefix b", "purge --tag"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn wait_has_a_default_length() {
        assert_eq!(parse("purge --all").unwrap().wait, None);
        assert_eq!(parse("purge --all --wait").unwrap().wait, Some(Duration::from_secs(2)));
        assert_eq!(parse("purge --wait 500ms --all").unwrap().wait, Some(Duration::from_millis(500)));
        assert!(parse("purge --all --wait 2").is_err());
    }
}
