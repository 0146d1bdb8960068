//! What many lines in a row have in common, and is made once for all of them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, Moment};
use crate::telemetry::escape::{quoted, write_to};

/// A value that somebody else has made up, and how the last one is shown behind its name: many lines in a row have the same.
pub(super) struct Repeated {
    name: &'static str,
    value: Vec<u8>,
    shown: Vec<u8>,
}

impl Repeated {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, value: Vec::new(), shown: Vec::new() }
    }

    /// Nothing where there is none.
    pub(super) fn show(&mut self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(value) = value else { return };
        if self.shown.is_empty() || self.value != value {
            self.value.clear();
            self.value.extend_from_slice(value);
            self.shown.clear();
            self.shown.extend_from_slice(self.name.as_bytes());
            quoted(&mut self.shown, value);
        }
        out.extend_from_slice(&self.shown);
    }
}

/// The client of the last line, and its address as text: many lines in a row have the same.
#[derive(Default)]
pub(super) struct Peer {
    address: Option<IpAddr>,
    text: Vec<u8>,
}

impl Peer {
    pub(super) fn address(&mut self, address: IpAddr, out: &mut Vec<u8>) {
        if self.address != Some(address) {
            self.text.clear();
            write_to(&mut self.text, format_args!("{address}"));
            self.address = Some(address);
        }
        out.extend_from_slice(&self.text);
    }
}

/// How long the wall clock is not looked at again: it is set by so much now and then.
const GLANCE: Duration = Duration::from_millis(50);

/// The wall clock as it was a moment ago: to read it for each line costs more than most of what the line says.
pub(super) struct Calendar {
    clock: Clock,
    /// When it was read, and what it showed.
    read: Moment,
    wall: SinceEpoch,
}

/// Microseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SinceEpoch(u64);

impl SinceEpoch {
    /// Zero for what lies before, or too far in the future.
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or_default())
    }
}

impl Calendar {
    pub(super) fn new(clock: Clock) -> Self {
        let (read, wall) = (clock.now(), SinceEpoch::of(clock.wall()));
        Self { clock, read, wall }
    }

    /// When the head of a request had come that has ended since.
    pub(super) fn begin(&mut self, began: Moment, ended: Moment) -> SinceEpoch {
        if ended > self.read.plus(GLANCE) {
            (self.read, self.wall) = (self.clock.now(), SinceEpoch::of(self.clock.wall()));
        }
        SinceEpoch(self.wall.0.saturating_add(began.as_micros()).saturating_sub(self.read.as_micros()))
    }
}

/// The second of the last line, and what its timestamp begins with: many lines have the same.
#[derive(Default)]
pub(super) struct Second {
    since_epoch: u64,
    text: Vec<u8>,
}

impl Second {
    /// RFC 3339 with milliseconds. A time after 9999 shows as 1970: the formatter fails on it.
    pub(super) fn timestamp(&mut self, time: SinceEpoch, out: &mut Vec<u8>) {
        const MICROS: u64 = 1_000_000;
        const YEAR_10000: u64 = 253_402_300_800 * MICROS;
        let known = if time.0 < YEAR_10000 { time.0 } else { 0 };
        let (second, micros) = (known / MICROS, known % MICROS);
        if self.text.is_empty() || self.since_epoch != second {
            self.since_epoch = second;
            self.text.clear();
            let second = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            write_to(&mut self.text, format_args!("{}", humantime::format_rfc3339_seconds(second)));
            // It ends in Z, which stands behind the milliseconds.
            self.text.pop();
        }
        out.extend_from_slice(&self.text);
        out.push(b'.');
        decimals(micros / 1_000, 1_000, out);
        out.push(b'Z');
    }
}

/// A number below a power of ten with as many digits as that has zeros.
pub(super) fn decimals(number: u64, below: u64, out: &mut Vec<u8>) {
    // Behind a one, which is left out.
    out.extend_from_slice(&itoa::Buffer::new().format(below + number).as_bytes()[1..]);
}

#[cfg(test)]
impl Calendar {
    /// As if the clocks had been read at that moment.
    pub(super) fn set(&mut self, read: Moment, wall: SystemTime) {
        (self.read, self.wall) = (read, SinceEpoch::of(wall));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_wall_clock_that_jumps_is_followed_by_the_lines_of_a_moment_later() {
        let clock = Clock::manual();
        let mut calendar = Calendar::new(clock.clone());
        let (start, wall) = (clock.now(), clock.wall());
        clock.jump_wall(3_600_000);
        assert_eq!(calendar.begin(start, start), SinceEpoch::of(wall), "read a moment ago");
        clock.advance(2 * GLANCE);
        let later = start.plus(2 * GLANCE);
        assert_eq!(calendar.begin(later, later), SinceEpoch::of(wall + Duration::from_hours(1) + 2 * GLANCE));
    }
}
