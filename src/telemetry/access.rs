//! The access log: one line per request on standard output.

mod common;
mod format;
mod texts;

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use prometheus::IntCounter;

use self::texts::Lengths;
pub use self::texts::Texts;
use super::lines::LineQueue;
use super::trace::TraceContext;
use crate::clock::{Clock, Moment};
use crate::config::LogConfig;
use crate::reason::{OriginFault, Outcome, Reason};

/// What one line says, copied from the request and from its answer so that it keeps neither. Nothing is formatted before the
/// writer thread takes it.
#[derive(Debug)]
pub struct AccessRecord {
    /// What is not text.
    pub facts: Facts,
    lengths: Lengths,
    text: Vec<u8>,
}

/// What a line says that is not text.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When the request's head was complete.
    pub started: Moment,
    /// The client, behind trusted proxies the one they name.
    pub peer: IpAddr,
    /// Status of the response.
    pub status: u16,
    /// How it was answered.
    pub outcome: Outcome,
    /// Why it was passed or not stored.
    pub reason: Option<Reason>,
    /// Why the request was refused unread.
    pub refusal: Option<&'static str>,
    /// Why the origin gave no usable response.
    pub origin_fault: Option<OriginFault>,
    /// Bytes of the response body that were sent.
    pub body_bytes: u64,
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// `Age` of the response in seconds, if it came from the cache.
    pub age: Option<u64>,
}

/// A request that has ended. Its texts wait beside it, and the moment at which the last byte of its response was written.
#[derive(Debug)]
struct Ended {
    facts: Facts,
    lengths: Lengths,
}

// Thousands of these may wait: keep them small.
const _: () = assert!(size_of::<Ended>() <= 192);

impl AccessRecord {
    /// The record of a request with these facts and texts.
    pub fn new(facts: Facts, texts: &Texts<'_>) -> Self {
        let (lengths, text) = texts.copy();
        Self { facts, lengths, text }
    }
}

/// The running access log.
pub struct AccessLog {
    /// `None` when the log is switched off.
    lines: Option<LineQueue<Ended>>,
    sample: Sample,
}

/// Which part of the requests is logged.
#[derive(Clone, Copy, Debug)]
enum Sample {
    All,
    None,
    /// Those for which a random number is below this one.
    Below(u32),
}

impl Sample {
    fn new(part: f64) -> Self {
        if part >= 1.0 {
            return Self::All;
        }
        if part <= 0.0 {
            return Self::None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the product is within 0..u32::MAX")]
        Self::Below((part * f64::from(u32::MAX)) as u32)
    }
}

impl AccessLog {
    /// Starts the writer thread, unless the log is switched off. `lost` counts lines that were
    /// dropped because the writer could not keep up or failed.
    pub fn new(
        config: &LogConfig,
        clock: Clock,
        lost: IntCounter,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let Some(form) = config.access else { return Ok(Self { lines: None, sample: Sample::None }) };
        let mut format = format::Format::new(form, clock.clone());
        let render = move |at, ended: &Ended, text: &[u8], line: &mut Vec<u8>| format.line(at, ended, text, line);
        let lines = LineQueue::start("millpond-access", clock, lost, render, out)?;
        Ok(Self { lines: Some(lines), sample: Sample::new(config.access_sample) })
    }

    /// Whether chance picks this request. Draws anew at each call.
    pub fn sampled(&self) -> bool {
        match self.sample {
            Sample::All => true,
            Sample::None => false,
            Sample::Below(bound) => rand::random::<u32>() < bound,
        }
    }

    /// Whether a request that ended like this is to be logged: faults always, others if sampled.
    /// Ask before making the record.
    pub fn wants(&self, status: u16, origin_fault: Option<OriginFault>) -> bool {
        self.lines.is_some() && (status >= 500 || origin_fault.is_some() || self.sampled())
    }

    /// Logs a request that ends now. Never blocks: a line that finds no room is dropped and counted.
    pub fn record(&self, record: &AccessRecord) {
        if let Some(lines) = &self.lines {
            lines.push(|text| {
                text.extend_from_slice(&record.text);
                Ended { facts: record.facts, lengths: record.lengths }
            });
        }
    }

    /// Waits until every line recorded so far is written; `false` when that takes longer than
    /// `within`. Call it before the process exits.
    pub async fn flush(&self, within: Duration) -> bool {
        match &self.lines {
            Some(lines) => lines.flush(within).await,
            None => true,
        }
    }
}

/// Standard output without a buffer, so that the log knows which bytes were really written.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::telemetry::lines::tests::{PATIENCE, TestSink};
    use crate::telemetry::lines::waiting::QUEUE_LINES;

    fn config(access: Option<LogFormat>, access_sample: f64) -> LogConfig {
        LogConfig { level: "info".into(), format: LogFormat::Text, access, access_sample }
    }

    fn log(access: Option<LogFormat>, sample: f64) -> (AccessLog, IntCounter, TestSink) {
        let (lost, sink) = (IntCounter::new("lost", "lost").unwrap(), TestSink::default());
        let log = AccessLog::new(&config(access, sample), Clock::manual(), lost.clone(), sink.clone()).unwrap();
        (log, lost, sink)
    }

    #[test]
    fn faults_are_logged_whatever_the_sample() {
        let (none, ..) = log(Some(LogFormat::Json), 0.0);
        assert!(!none.wants(200, None) && !none.wants(499, None) && !none.sampled());
        assert!(none.wants(500, None) && none.wants(504, None));
        assert!(none.wants(200, Some(OriginFault::Reset)), "broken off after the head");
        let (all, ..) = log(Some(LogFormat::Json), 1.0);
        assert!(all.wants(200, None) && all.sampled());
        let (off, ..) = log(None, 1.0);
        assert!(!off.wants(500, None) && !off.sampled());
    }

    #[test]
    fn a_tenth_sampled_is_about_a_tenth() {
        let (log, ..) = log(Some(LogFormat::Json), 0.1);
        let picked = (0..20_000).filter(|_| log.sampled()).count();
        // Ten standard deviations either way.
        assert!((1_576..=2_424).contains(&picked), "{picked}");
    }

    #[tokio::test]
    async fn what_was_recorded_is_written_before_the_exit() {
        let (log, lost, sink) = log(Some(LogFormat::Text), 1.0);
        for _ in 0..50 {
            log.record(&format::tests::record());
        }
        assert!(log.flush(PATIENCE).await);
        assert_eq!((sink.text().lines().count(), lost.get()), (50, 0));
    }

    #[tokio::test]
    async fn a_line_tells_when_the_head_had_come_and_how_long_the_answer_took() {
        let (clock, sink) = (Clock::manual(), TestSink::default());
        let lost = IntCounter::new("lost", "lost").unwrap();
        let log = AccessLog::new(&config(Some(LogFormat::Text), 1.0), clock.clone(), lost, sink.clone()).unwrap();
        let head = humantime::format_rfc3339_millis(clock.wall()).to_string();
        let mut record = format::tests::record();
        record.facts.started = clock.now();
        clock.advance(Duration::from_millis(2_500));
        log.record(&record);
        assert!(log.flush(PATIENCE).await);
        let line = sink.text();
        assert!(line.starts_with(&head) && line.contains("duration_seconds=2.500000"), "{head} {line}");
    }

    #[tokio::test]
    async fn g8_a_stalled_log_reader_costs_lines_not_requests() {
        let (log, lost, sink) = log(Some(LogFormat::Json), 1.0);
        sink.stall(true);
        log.record(&format::tests::record());
        sink.wait_until_blocked();
        for _ in 0..QUEUE_LINES + 7 {
            log.record(&format::tests::record());
        }
        assert_eq!(lost.get(), 7);
        sink.stall(false);
        assert!(log.flush(PATIENCE).await);
        assert_eq!(sink.text().lines().count(), 1 + QUEUE_LINES);
    }
}
