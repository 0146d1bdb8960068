//! Redis's protocol (RESP2), as far as look-ups need it.

use memchr::memchr;

/// Longer than any line that is no value: a kind, a number, an error.
const LONGEST_LINE: usize = 1024;

/// One element of what Redis says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// So many elements follow.
    Array(usize),
    Number(i64),
    /// A value; empty if there is none.
    Bulk(&'a [u8]),
    Status,
    /// Why the command was not carried out.
    Error(&'a [u8]),
}

/// What came is no RESP2, or no reply to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first element of `bytes` and its length; none as long as it is not there to its end. No value is
/// longer than `longest`.
pub(super) fn word(bytes: &[u8], longest: usize) -> Result<Option<(Word<'_>, usize)>, Malformed> {
    let Some(end) = memchr(b'\n', &bytes[..bytes.len().min(LONGEST_LINE)]) else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed) };
    };
    let (after, line) = (end + 1, bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?);
    let (kind, text) = line.split_first().ok_or(Malformed)?;
    let word = match kind {
        b':' => Word::Number(number(text)?),
        b'*' => Word::Array(usize::try_from(number(text)?).map_err(|_| Malformed)?),
        b'+' => Word::Status,
        b'-' => Word::Error(text),
        b'$' => {
            let Ok(length) = usize::try_from(number(text)?) else { return Ok(Some((Word::Bulk(&[]), after))) };
            if length > longest {
                return Err(Malformed);
            }
            let Some(value) = bytes.get(after..after + length + 2) else { return Ok(None) };
            let value = value.strip_suffix(b"\r\n").ok_or(Malformed)?;
            return Ok(Some((Word::Bulk(value), after + length + 2)));
        }
        _ => return Err(Malformed),
    };
    Ok(Some((word, after)))
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let number = digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !digits.is_empty()).map(|number| if negative { -number } else { number }).ok_or(Malformed)
}

/// Begins a command of so many words.
pub(super) fn begin(out: &mut Vec<u8>, words: usize) {
    push_length(out, b'*', words);
}

/// Adds a word to the command that was begun.
pub(super) fn push(out: &mut Vec<u8>, word: &[u8]) {
    push_length(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Adds a number as a word.
pub(super) fn push_number(out: &mut Vec<u8>, number: usize) {
    push(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Adds a whole command.
pub(super) fn command(out: &mut Vec<u8>, words: &[&str]) {
    begin(out, words.len());
    for word in words {
        push(out, word.as_bytes());
    }
}

fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: usize = 64;

    #[test]
    fn what_redis_says_is_read_word_by_word() {
        let said = b"*3\r\n:1\r\n$5\r\na\r\nb\n\r\n:-2\r\n-NOSCRIPT none\r\n+OK\r\n$-1\r\n$0\r\n\r\n";
        let words = [
            Word::Array(3),
            Word::Number(1),
            Word::Bulk(b"a\r\nb\n"),
            Word::Number(-2),
            Word::Error(b"NOSCRIPT none"),
            Word::Status,
            Word::Bulk(b""),
            Word::Bulk(b""),
        ];
        let mut rest = &said[..];
        for expected in words {
            let (word, length) = word(rest, LONGEST).unwrap().unwrap();
            assert_eq!(word, expected);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_no_reply_is_told_at_once_however_long_it_is() {
        for said in [&b"?\r\n"[..], b"\r\n", b":1\n", b":x\r\n", b"*-1\r\n", b"$65\r\n", b"$1\r\nab\r\n", &[b':'; 1024]]
        {
            assert_eq!(word(said, LONGEST), Err(Malformed), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_read_when_it_is_there_to_its_end_and_not_before(value: Vec<u8>, more: Vec<u8>) {
            let mut said = Vec::new();
            push(&mut said, &value);
            let length = said.len();
            for end in 0..length {
                prop_assert_eq!(word(&said[..end], value.len()), Ok(None));
            }
            said.extend_from_slice(&more);
            prop_assert_eq!(word(&said, value.len()), Ok(Some((Word::Bulk(&value), length))));
        }

        #[test]
        fn nothing_that_a_peer_sends_is_a_reason_to_panic(said: Vec<u8>) {
            if let Ok(Some((_, length))) = word(&said, LONGEST) {
                prop_assert!(length <= said.len());
            }
        }
    }
}
