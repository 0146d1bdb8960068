//! Text from outside, made fit for a log: printable, valid UTF-8, on one line, of bounded length.
//!
//! Requests carry CR, LF, terminal escapes and direction marks into logs to forge lines or to
//! hide what a line says. Whatever could do that is written as a JSON escape, which reads the
//! same in the text form.

use std::io::Write;

use crate::words::{self, Marks, Word};

/// Appends `value` as a JSON string.
pub(super) fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        escaped(out, value, |c| is_unsafe(c) || matches!(c, '"' | '\\'));
    }
    out.push(b'"');
}

/// Appends a finished line. Quotes and backslashes stay, since they are the syntax of whoever formatted it.
pub(super) fn line(out: &mut Vec<u8>, text: &[u8]) {
    if is_printable(text) {
        out.extend_from_slice(text);
    } else {
        escaped(out, text, is_unsafe);
    }
}

/// Appends `value` as it is. Of one longer than `limit` bytes the first `limit` are kept, then a mark tells its full length.
#[inline]
pub(super) fn cut(out: &mut Vec<u8>, value: &[u8], limit: usize) {
    if value.len() <= limit {
        out.extend_from_slice(value);
    } else {
        out.extend_from_slice(&value[..cut_at(value, limit)]);
        write_to(out, format_args!("...[cut, {} bytes]", value.len()));
    }
}

fn escaped(out: &mut Vec<u8>, value: &[u8], escape: impl Fn(char) -> bool) {
    for chunk in value.utf8_chunks() {
        let text = chunk.valid();
        let mut plain_from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| escape(*c)) {
            out.extend_from_slice(&text.as_bytes()[plain_from..at]);
            push_escape(out, c);
            plain_from = at + c.len_utf8();
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Where to cut what is longer so that no character is split: at `limit`, or up to three bytes before it.
#[cold]
fn cut_at(value: &[u8], limit: usize) -> usize {
    let continues = |at: &usize| value[*at] & 0b1100_0000 == 0b1000_0000;
    (limit.saturating_sub(3)..=limit).rev().find(|at| !continues(at)).unwrap_or(limit)
}

fn push_escape(out: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // All others that `is_unsafe` names lie in the basic plane: one escape is enough.
        c => write_to(out, format_args!("\\u{:04x}", c as u32)),
    }
}

/// Whether all of it stands for itself between quotes, as nearly everything does that is ever logged. Eight bytes at a time
/// are looked at, and those behind them.
fn is_plain(value: &[u8]) -> bool {
    let quoting = |word: Word| word.equal(b'"').or(word.equal(b'\\'));
    let rest = &value[words::find(value, |word| unprintable(word).or(quoting(word)))..];
    rest.iter().all(|&b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
}

/// The same without regard to quotes and backslashes.
fn is_printable(text: &[u8]) -> bool {
    text[words::find(text, unprintable)..].iter().all(|b| matches!(b, b' '..=b'~'))
}

/// Bytes that are no printable ASCII.
const fn unprintable(word: Word) -> Marks {
    word.beyond_ascii().or(word.below(b' ')).or(word.equal(0x7f))
}

/// Controls (C0, DEL, C1), line separators, direction marks and the byte order mark.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `write!` into memory, which cannot fail.
pub(super) fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quote(value: &[u8], limit: usize) -> String {
        let mut out = Vec::new();
        let mut kept = Vec::new();
        cut(&mut kept, value, limit);
        quoted(&mut out, &kept);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn what_could_forge_or_hide_a_line_is_escaped() {
        for (raw, shown) in [
            (&b"/a?b=1"[..], r#""/a?b=1""#),
            (b"a\r\nb\tc", r#""a\r\nb\tc""#),
            (b"\x1b[31m\x00\x7f", r#""\u001b[31m\u0000\u007f""#),
            (br#"say "hi" \ bye"#, r#""say \"hi\" \\ bye""#),
            ("\u{9b}2J\u{2028}\u{202e}".as_bytes(), r#""\u009b2J\u2028\u202e""#),
            ("caf\u{e9}".as_bytes(), "\"caf\u{e9}\""),
            (b"\xff\xfea", "\"\u{fffd}\u{fffd}a\""),
        ] {
            assert_eq!(quote(raw, 100), shown);
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters_and_marked() {
        assert_eq!(quote(b"abcdef", 6), r#""abcdef""#);
        assert_eq!(quote(b"abcdefg", 6), r#""abcdef...[cut, 7 bytes]""#);
        assert_eq!(quote("abcd\u{20ac}fg".as_bytes(), 6), r#""abcd...[cut, 9 bytes]""#);
    }

    proptest! {
        #[test]
        fn a_line_is_escaped_where_one_of_its_characters_is(text in "[ -~]{0,20}(.|\\n|\\t|\\x1b|\\x7f|\\u{2028})?[ -~]{0,20}") {
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            line(&mut out, text.as_bytes());
            escaped(&mut expected, text.as_bytes(), is_unsafe);
            prop_assert_eq!(&out, &expected);
            prop_assert!(!String::from_utf8_lossy(&out).chars().any(char::is_control));
        }

        #[test]
        fn any_bytes_give_one_line_of_valid_json(value: Vec<u8>, limit in 0usize..40) {
            let shown = quote(&value, limit);
            prop_assert!(!shown.chars().any(char::is_control));
            let read: String = serde_json::from_str(&shown).expect("valid JSON");
            if value.len() <= limit {
                prop_assert_eq!(read, String::from_utf8_lossy(&value));
            }
        }
    }
}
