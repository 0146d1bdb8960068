//! Diagnostics: `tracing` events as lines on standard error, with a level that can be changed
//! while the process runs.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use super::escape;
use super::level::{self, LevelError};
use super::lines::LineQueue;
use crate::clock::Clock;
use crate::config::{LogConfig, LogFormat};

/// Bytes of one event that are kept; more are cut.
const MAX_LINE: usize = 16 * 1024;

/// Why diagnostics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The configured level is wrong.
    #[error("log.level: {0}")]
    Level(#[from] LevelError),
    /// The writer thread did not start.
    #[error("the thread that writes the log could not be started: {0}")]
    Thread(#[from] io::Error),
    /// Something in this process has set up `tracing` before.
    #[error("diagnostics are already set up in this process: set them up once, at start")]
    Twice,
}

/// The running diagnostics. Clones share them.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    lines: Arc<LineQueue<()>>,
}

impl LogHandle {
    /// Changes the level, at once and for all threads. A wrong level changes nothing.
    pub fn set_level(&self, level: &str) -> Result<(), LevelError> {
        let filter = level::parse(level)?;
        self.filter.reload(filter).map_err(|fault| LevelError::Refused(fault.to_string()))
    }

    /// Waits until everything logged so far is written; `false` when that takes longer than
    /// `within`. Call it before the process exits.
    pub async fn flush(&self, within: Duration) -> bool {
        self.lines.flush(within).await
    }
}

/// Sets up diagnostics for the whole process, on standard error. `lost` counts dropped lines.
pub fn init(config: &LogConfig, lost: IntCounter) -> Result<LogHandle, InitError> {
    let (dispatch, handle) = subscriber(config, lost, io::stderr())?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| InitError::Twice)?;
    Ok(handle)
}

/// The same without touching the process, for `tracing::dispatcher::with_default` in tests.
pub fn subscriber(
    config: &LogConfig,
    lost: IntCounter,
    out: impl Write + Send + 'static,
) -> Result<(Dispatch, LogHandle), InitError> {
    let (filter, reload) = reload::Layer::new(level::parse(&config.level)?);
    let lines = Arc::new(LineQueue::start(
        "millpond-log",
        Clock::system(),
        lost,
        |_, (): &(), event: &[u8], line: &mut Vec<u8>| render(event, line),
        out,
    )?);
    let subscriber = Registry::default().with(filter).with(form(config.format, Lines(Arc::clone(&lines))));
    Ok((Dispatch::new(subscriber), LogHandle { filter: reload, lines }))
}

fn form<S>(format: LogFormat, lines: Lines) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_ansi(false).with_writer(lines);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.boxed(),
    }
}

/// Trap F19: an event is one line even if a value in it has line ends or terminal escapes.
fn render(event: &[u8], out: &mut Vec<u8>) {
    escape::line(out, event);
    out.push(b'\n');
}

/// Hands each formatted event to the queue. `tracing-subscriber` writes an event in one call.
struct Lines(Arc<LineQueue<()>>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(|text| escape::cut(text, event.strip_suffix(b"\n").unwrap_or(event), MAX_LINE));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::lines::tests::{PATIENCE, TestSink};

    fn config(level: &str, format: LogFormat) -> LogConfig {
        LogConfig { level: level.into(), format, access: None, access_sample: 1.0 }
    }

    fn lost() -> IntCounter {
        IntCounter::new("lost", "lost").unwrap()
    }

    #[tokio::test]
    async fn the_level_changes_while_running_and_a_wrong_one_changes_nothing() {
        let sink = TestSink::default();
        let (dispatch, handle) = subscriber(&config("info", LogFormat::Text), lost(), sink.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::debug!("hidden");
            tracing::info!(answer = 42, "first");
            handle.set_level("debug").unwrap();
            tracing::debug!("second");
            assert!(handle.set_level("loud").is_err());
            tracing::debug!("third");
        });
        assert!(handle.flush(PATIENCE).await);
        let text = sink.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains(" INFO ") && lines[0].ends_with("first answer=42"), "{text}");
        assert!(lines[1].ends_with("second") && lines[2].ends_with("third"), "{text}");
    }

    #[tokio::test]
    async fn f19_an_event_with_line_ends_and_escapes_stays_one_line_in_both_forms() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let sink = TestSink::default();
            let (dispatch, handle) = subscriber(&config("info", format), lost(), sink.clone()).unwrap();
            tracing::dispatcher::with_default(&dispatch, || {
                let path = "/a\r\nERROR forged\x1b[2J\u{9b}\u{2028}";
                tracing::info!(path, shown = %path, "asked for {path}");
            });
            assert!(handle.flush(PATIENCE).await);
            let text = sink.text();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
            assert!(!text.contains('\u{2028}'), "{text:?}");
            if format == LogFormat::Json {
                let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
                assert_eq!(value["level"], "INFO");
                assert!(value["path"].as_str().unwrap().contains("ERROR forged"));
            }
        }
    }

    #[test]
    fn a_second_set_up_in_one_process_is_an_error_and_no_panic() {
        // Whichever test of this binary comes first, the second call here cannot succeed.
        let first = init(&config("off", LogFormat::Text), lost());
        assert!(first.is_ok(), "nothing else in the tests sets up the process");
        assert!(matches!(init(&config("off", LogFormat::Text), lost()), Err(InitError::Twice)));
        assert!(matches!(init(&config("lound", LogFormat::Text), lost()), Err(InitError::Level(_))));
    }
}
