//! Dates in fields (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime};

use http::header::HeaderName;

use super::fields::ByName;

/// Days as the old form begins with them, in front of `day, `.
const DAYS: [&str; 7] = ["Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From 1970 to the last second of the year 9999: the last date of all.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A date field that is no HTTP date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidDate;

/// A date field: `None` if absent, an error if it is no HTTP date. Of several the first counts. `now` tells the century
/// of a year that has two digits.
pub fn date(headers: &impl ByName, name: &HeaderName, now: SystemTime) -> Option<Result<SystemTime, InvalidDate>> {
    let field = headers.first(name)?;
    // RFC 9111 section 4.2: the words of a date are read without regard to case.
    let read = |text: &str| parsed(text, now).or_else(|| parsed(&as_generated(text), now));
    let text = std::str::from_utf8(field).ok().filter(|text| text.is_ascii());
    Some(text.and_then(read).ok_or(InvalidDate))
}

/// A valid date that means the same whenever it is read: one whose year has four digits.
pub fn timeless_date(headers: &impl ByName, name: &HeaderName) -> Option<SystemTime> {
    // Only the form with two digits has hyphens.
    let timeless = headers.first(name)?.iter().all(|&b| b != b'-');
    if timeless { date(headers, name, SystemTime::UNIX_EPOCH)?.ok() } else { None }
}

fn parsed(text: &str, now: SystemTime) -> Option<SystemTime> {
    // Only the old form has the name of a day in full.
    match text.trim().split_once("day, ") {
        Some((day, rest)) => httpdate::parse_http_date(&with_century(day, rest, now)?).ok(),
        None => httpdate::parse_http_date(text).ok(),
    }
}

/// The old form, as in `Sunday, 06-Nov-94 08:49:37 GMT`, in the form that has four digits for the year. What would be
/// more than 50 years ahead is the latest year in the past with the same two digits. The rest is for the parser to judge.
fn with_century(day: &str, rest: &str, now: SystemTime) -> Option<String> {
    let (date, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (digits, time) = rest.split_once(' ')?;
    if !DAYS.contains(&day) || digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let now = httpdate::fmt_http_date(now.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST));
    let latest: u32 = 50 + now[12..16].parse::<u32>().ok()?;
    let mut year = latest - (latest - digits.parse::<u32>().ok()?) % 100;
    // Within that year the day and the time decide.
    let limit = (number(&now[8..11])?, &now[5..7], &now[17..]);
    if year == latest && (number(month)?, date, time) > limit {
        year -= 100;
    }
    Some(format!("{}, {date} {month} {year} {time}", &day[..3]))
}

fn number(month: &str) -> Option<usize> {
    MONTHS.iter().position(|known| *known == month)
}

/// Days and months with a capital, and the zone in capitals: the only spelling that the parser knows.
fn as_generated(text: &str) -> String {
    let mut after_letter = false;
    let capitalised = text.chars().map(|c| {
        let inner = std::mem::replace(&mut after_letter, c.is_ascii_alphabetic());
        if inner { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() }
    });
    capitalised.collect::<String>().replace("Gmt", "GMT")
}

#[cfg(test)]
mod tests {
    use http::header::{DATE, HeaderMap, HeaderValue};

    use super::*;

    /// Seconds since 1970.
    type Seconds = u64;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOV_1994: Seconds = 784_111_777;
    /// Sat, 21 Nov 2026 10:00:00 GMT.
    const NOV_2026: Seconds = 1_795_255_200;
    /// Sat, 01 Jan 2050 00:00:00 GMT.
    const JAN_2050: Seconds = 2_524_608_000;

    fn headers(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(DATE, HeaderValue::from_str(text).unwrap())])
    }

    fn read(text: &str, now: SystemTime) -> Option<Seconds> {
        let date = date(&headers(text), &DATE, now).expect("it is there").ok()?;
        Some(date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    fn at(seconds: Seconds) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_year_of_two_digits_lies_at_most_fifty_years_ahead() {
        for (now, text, expected) in [
            (NOV_1994, "Sunday, 06-Nov-94 08:49:37 GMT", Some(NOV_1994)),
            (NOV_1994, "Sunday, 06-Nov-44 08:49:37 GMT", Some(2_362_034_977)),
            (NOV_1994, "Monday, 06-Nov-44 08:49:38 GMT", None),
            (NOV_1994, "Sunday, 01-Jan-45 00:00:00 GMT", None),
            (NOV_2026, "Tuesday, 01-Jan-75 00:00:00 GMT", Some(3_313_526_400)),
            (NOV_2026, "tuesday, 01-JAN-75 00:00:00 gmt", Some(3_313_526_400)),
            (NOV_2026, "Saturday, 21-Nov-76 10:00:00 GMT", Some(3_373_178_400)),
            (NOV_2026, "Sunday, 21-Nov-76 10:00:01 GMT", Some(217_418_401)),
            (NOV_2026, "Wednesday, 01-Dec-76 00:00:00 GMT", Some(218_246_400)),
            (NOV_2026, "Friday, 31-Dec-99 00:00:00 GMT", Some(946_598_400)),
            (JAN_2050, "Thursday, 31-Dec-99 00:00:00 GMT", Some(4_102_358_400)),
            (JAN_2050, "Friday, 01-Jan-00 00:00:00 GMT", Some(4_102_444_800)),
            (JAN_2050, "Tuesday, 29-Feb-00 00:00:00 GMT", Some(951_782_400)),
        ] {
            assert_eq!(read(text, at(now)), expected, "{text}");
        }
    }

    #[test]
    fn a_weekday_that_contradicts_its_date_makes_it_invalid_in_every_form() {
        for text in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Mon Nov  6 08:49:37 1994",
            // 1975 began on this day, but 2075 is meant.
            "Wednesday, 01-Jan-75 00:00:00 GMT",
        ] {
            assert_eq!(read(text, at(NOV_2026)), None, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_the_old_form_is_no_date() {
        for text in [
            "Sunday, ",
            "day, 06-Nov-94 08:49:37 GMT",
            "Noday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Sunday, 6-Nov-94 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nox-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 UTC",
            "Sunday, 06-Nov-94 08:49 GMT",
            "Sunday, 06-Nov-94  8:49:37 GMT",
            "Sunday, 06-Nov-94-08:49:37 GMT",
            "Sunday, 31-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(read(text, at(NOV_1994)), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_shows_no_date_does_no_harm() {
        let late = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX.unsigned_abs())).unwrap();
        for now in [SystemTime::UNIX_EPOCH - Duration::from_hours(1), late] {
            assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(NOV_1994));
            let _ = read("Sunday, 06-Nov-94 08:49:37 GMT", now);
        }
    }

    #[test]
    fn only_a_date_of_four_digits_is_timeless() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(at(NOV_1994))),
            ("Sun Nov  6 08:49:37 1994", Some(at(NOV_1994))),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("yesterday", None),
        ] {
            assert_eq!(timeless_date(&headers(text), &DATE), expected, "{text}");
        }
        assert_eq!(timeless_date(&HeaderMap::new(), &DATE), None);
    }
}
