//! The live line: what happened in the last interval and since the start.

use std::io::{self, Write};
use std::time::Duration;

use super::text;

/// Counters since the proxy started, as its owner reads them from its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests answered.
    pub requests: u64,
    /// Those answered without a request of their own to the origin: fresh, stale or coalesced.
    pub hits: u64,
    /// Requests sent to the origin, refreshes in the background included.
    pub origin_requests: u64,
    /// The time that those took together.
    pub origin_time: Duration,
}

impl Figures {
    fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            hits: self.hits.saturating_sub(earlier.hits),
            origin_requests: self.origin_requests.saturating_sub(earlier.origin_requests),
            origin_time: self.origin_time.saturating_sub(earlier.origin_time),
        }
    }

    /// What the clients would have waited for without the cache: each hit the mean time of the
    /// origin's own answers. An estimate, and a low one: without the cache the origin would queue.
    fn saved(self) -> Duration {
        let nanos = self.origin_time.as_nanos().checked_div(u128::from(self.origin_requests)).unwrap_or_default();
        Duration::from_nanos_u128(nanos.saturating_mul(u128::from(self.hits)))
    }
}

/// Writes one line per interval: in place on a terminal, one below the other elsewhere.
pub(super) struct LiveLine {
    start: Figures,
    last: Figures,
    elapsed: Duration,
    in_place: bool,
}

impl LiveLine {
    /// A line whose figures count from `start`; `in_place` where escape codes are understood.
    pub(super) const fn new(start: Figures, in_place: bool) -> Self {
        Self { start, last: start, elapsed: Duration::ZERO, in_place }
    }

    /// Writes the line for `now`, `interval` after the last one.
    pub(super) fn write(
        &mut self,
        out: &mut dyn Write,
        now: Figures,
        interval: Duration,
        failed: u64,
    ) -> io::Result<()> {
        self.elapsed += interval;
        let line = self.line(now, interval, failed);
        self.last = now;
        if self.in_place {
            // Back to the start of the line, and clear what a longer line left behind.
            write!(out, "\r{line}\x1b[K")?;
        } else {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    /// Ends the line and sums up.
    pub(super) fn finish(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.in_place {
            writeln!(out)?;
        }
        let total = self.last.since(self.start);
        writeln!(
            out,
            "{} requests in {}, {} of them hits; {} requests at the origin; about {} of waiting saved.",
            text::count(total.requests),
            text::span(self.elapsed),
            text::percent(total.hits, total.requests),
            text::count(total.origin_requests),
            text::span(total.saved()),
        )
    }

    fn line(&self, now: Figures, interval: Duration, failed: u64) -> String {
        let lately = now.since(self.last);
        let total = now.since(self.start);
        let millis = interval.as_millis().max(1);
        let rate = u64::try_from(u128::from(lately.requests) * 1_000 / millis).unwrap_or(u64::MAX);
        let failed = if failed > 0 { format!(" | failed {}", text::count(failed)) } else { String::new() };
        format!(
            "{:>4} s | {:>6} requests/s | hits {:>7} | origin {:>4} new, {:>5} in all | saved {}{failed}",
            self.elapsed.as_secs(),
            text::count(rate),
            text::percent(lately.hits, lately.requests),
            text::count(lately.origin_requests),
            text::count(total.origin_requests),
            text::span(total.saved()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn figures(requests: u64, hits: u64, origin_requests: u64) -> Figures {
        Figures { requests, hits, origin_requests, origin_time: Duration::from_millis(origin_requests * 500) }
    }

    fn written(in_place: bool, steps: &[(Figures, u64)]) -> String {
        let mut out = Vec::new();
        let mut line = LiveLine::new(figures(100, 50, 50), in_place);
        for (now, failed) in steps {
            line.write(&mut out, *now, SECOND, *failed).unwrap();
        }
        line.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rates_cover_the_last_interval_and_sums_everything_since_the_start() {
        let text = written(false, &[(figures(1_300, 1_230, 52), 0), (figures(3_300, 3_230, 52), 7)]);
        let expected = "   1 s |  1,200 requests/s | hits  98.3 % | origin    2 new,     2 in all | saved 9 min 50 s
   2 s |  2,000 requests/s | hits 100.0 % | origin    0 new,     2 in all | saved 26 min 30 s | failed 7
3,200 requests in 2 s, 99.3 % of them hits; 2 requests at the origin; about 26 min 30 s of waiting saved.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_measured_reads_as_nothing_and_not_as_a_division_by_zero() {
        let text = written(false, &[(figures(100, 50, 50), 0)]);
        assert!(text.contains("hits       - | origin    0 new,     0 in all | saved 0.0 ms\n"), "{text}");
    }

    #[test]
    fn a_terminal_gets_one_line_rewritten_in_place_and_a_pipe_gets_no_escape_codes() {
        let steps = [(figures(200, 150, 50), 0), (figures(300, 250, 50), 0)];
        let terminal = written(true, &steps);
        assert_eq!(terminal.matches('\r').count(), 2);
        assert_eq!(terminal.matches("\x1b[K").count(), 2);
        assert_eq!(terminal.matches('\n').count(), 2, "one to end the line, one after the sum");
        let pipe = written(false, &steps);
        assert!(!pipe.contains(['\r', '\x1b']), "{pipe}");
        assert_eq!(pipe.lines().count(), 3);
    }
}
