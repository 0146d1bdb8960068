//! Records as they stand in Redis: one line of text each, with a version, so that instances of two
//! versions of Millpond can share a log.
//!
//! ```text
//! 1 <nonce> <h or s> <u, p, t, r or a> <text>
//! ```

use std::fmt::Write;

use super::{Pattern, Record};
use crate::policy::tags::Tag;

const VERSION: &str = "1";
/// A longer line was not written by an instance: no URL, tag or name that it accepts is as long.
const MAX_BYTES: usize = 64 * 1024;

/// What tells two records with one number apart: Redis lost one of them and reused its number.
pub(super) type Nonce = u64;

/// Writes a record.
pub(super) fn write(record: &Record, nonce: Nonce) -> String {
    let (kind, text) = match &record.pattern {
        Pattern::Url(url) => ('u', url.as_str()),
        Pattern::Prefix(prefix) => ('p', prefix.as_str()),
        Pattern::Tag(tag) => ('t', tag.as_str()),
        Pattern::Route(route) => ('r', &**route),
        Pattern::All => ('a', ""),
    };
    let strength = if record.soft { 's' } else { 'h' };
    let mut line = String::with_capacity(text.len() + 32);
    // Writing to a string does not fail.
    let _ = write!(line, "{VERSION} {nonce:016x} {strength} {kind} {text}");
    line
}

/// Reads a record. What cannot be read, because another version or somebody else wrote it, counts as
/// one that invalidates everything: a purge that is not understood must not be ignored.
pub(super) fn read(line: &str) -> (Record, Nonce) {
    let all = Record { pattern: Pattern::All, soft: false };
    parse(line).unwrap_or((all, 0))
}

fn parse(line: &str) -> Option<(Record, Nonce)> {
    if line.len() > MAX_BYTES {
        return None;
    }
    let mut parts = line.splitn(5, ' ');
    let (version, nonce, strength, kind, text) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != VERSION {
        return None;
    }
    let nonce = Nonce::from_str_radix(nonce, 16).ok()?;
    let soft = match strength {
        "h" => false,
        "s" => true,
        _ => return None,
    };
    let pattern = match kind {
        "u" => Pattern::Url(text.to_owned()),
        "p" => Pattern::Prefix(text.to_owned()),
        "t" => Pattern::Tag(Tag::from(text)),
        "r" => Pattern::Route(text.into()),
        "a" => Pattern::All,
        _ => return None,
    };
    Some((Record { pattern, soft }, nonce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_every_record_reads_as_it_was_written_and_what_is_not_understood_counts_for_everything() {
        for pattern in [
            Pattern::Url("http://h/a b?x".into()),
            Pattern::Prefix("/a/".into()),
            Pattern::Tag("user:1".into()),
            Pattern::Route("api".into()),
            Pattern::All,
        ] {
            for soft in [false, true] {
                let record = Record { pattern: pattern.clone(), soft };
                assert_eq!(read(&write(&record, 7)), (record, 7));
            }
        }
        let huge = format!("1 0 h u {}", "x".repeat(MAX_BYTES));
        for foreign in ["", "2 0 h u x", "1 0 h z x", "1 0 x u x", "1 g h u x", "1 0 h u", &huge] {
            assert_eq!(read(foreign).0.pattern, Pattern::All, "{foreign:.20}");
        }
    }

    #[test]
    fn the_form_of_version_1_does_not_change() {
        let record = Record { pattern: Pattern::Url("http://h/".into()), soft: true };
        assert_eq!(write(&record, 0xab), "1 00000000000000ab s u http://h/");
    }
}
