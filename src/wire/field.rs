//! Lines and fields, read in the one strict way.
//!
//! Whatever two parsers could read differently is a flaw here: a proxy and an origin that
//! disagree about where a field or a line ends disagree about where a request ends.

use bytes::BufMut;
use memchr::memchr;

use super::flaw::Flaw;
use crate::words;

/// What stands between a name and its value where we write them.
pub(crate) const SEPARATOR: &[u8] = b": ";
/// What ends a line.
pub(crate) const LINE_END: &[u8] = b"\r\n";

/// Which bytes a token may hold (RFC 9110 section 5.6.2).
static TOKEN: [bool; 256] = token_bytes(true);
/// The same without capital letters.
static LOWER_TOKEN: [bool; 256] = token_bytes(false);

const fn token_bytes(capitals: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    let listed = b"!#$%&'*+-.^_`|~";
    while at < listed.len() {
        table[listed[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() && (capitals || !byte.is_ascii_uppercase()) {
            table[byte as usize] = true;
        }
        byte += 1;
    }
    table
}

/// One field line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// The name, as sent.
    pub(crate) name: &'a [u8],
    /// The value without the white space around it.
    pub(crate) value: &'a [u8],
    /// Where in the line the value begins.
    pub(crate) at: usize,
}

/// Fields that frame or route a message: naming them in `Connection` would have a hop remove them
/// (RFC 9110 section 7.6.1), and a trailer must not carry them (section 6.5.1).
const GUARDED: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"connection"];

/// Whether `name` is a field that frames or routes a message.
pub(crate) fn is_guarded(name: &[u8]) -> bool {
    GUARDED.iter().any(|guarded| name.eq_ignore_ascii_case(guarded))
}

/// Whether `text` is a token.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| TOKEN[usize::from(b)])
}

/// Where the token ends that `bytes` begin with.
fn token_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !TOKEN[usize::from(b)]).unwrap_or(bytes.len())
}

/// The same without capital letters, which names have where they are stored.
pub(crate) fn lower_token_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !LOWER_TOKEN[usize::from(b)]).unwrap_or(bytes.len())
}

/// Where the field value ends that `bytes` begin with: at the first byte that no value may hold. Hardly any value has one
/// before its line ends, so eight bytes are looked at at a time.
pub(crate) fn value_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        end += words::find(&bytes[end..], |word| word.below(b' ').or(word.equal(0x7f)));
        match bytes.get(end) {
            // A tab, or one of the last.
            Some(&byte) if !is_control(byte) => end += 1,
            _ => return end,
        }
    }
}

/// Whether no field value may hold this byte.
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// The line that starts at `from`, without its CR LF, and where the next one starts. `None` if its
/// end is not there yet.
pub(crate) fn line(bytes: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, Flaw> {
    let Some(length) = memchr(b'\n', &bytes[from..]) else { return Ok(None) };
    match bytes[from..from + length].split_last() {
        Some((b'\r', text)) => Ok(Some((text, from + length + 1))),
        _ => Err(Flaw::BareLineFeed),
    }
}

/// What comes next of the fields of a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    Field(Field<'a>),
    /// The empty line behind them.
    End,
}

/// The line that starts at `from`, taken apart, and where the next one starts. `None` if its end is not there yet.
pub(crate) fn next(bytes: &[u8], from: usize) -> Result<Option<(Next<'_>, usize)>, Flaw> {
    let rest = &bytes[from..];
    if rest.starts_with(LINE_END) {
        return Ok(Some((Next::End, from + LINE_END.len())));
    }
    if let Some((field, length)) = sound(rest) {
        return Ok(Some((Next::Field(field), from + length)));
    }
    let Some((line, after)) = line(bytes, from)? else { return Ok(None) };
    Ok(Some((Next::Field(parse(line)?), after)))
}

/// The field line that `bytes` begin with and its length, if it is sound and all there: its value ends where the line does,
/// so that this takes one pass. Of every other [`line()`] it is left to [`parse`] to say what is wrong with it.
fn sound(bytes: &[u8]) -> Option<(Field<'_>, usize)> {
    let name = token_end(bytes);
    let text = bytes[name..].strip_prefix(b":").filter(|_| name > 0)?;
    let end = value_end(text);
    let ends = text[end..].starts_with(LINE_END);
    ends.then(|| (field(bytes, name, &text[..end]), name + 1 + end + LINE_END.len()))
}

/// The field whose name is the first so many bytes of its line, and that has this behind the colon.
fn field<'a>(line: &'a [u8], name: usize, text: &'a [u8]) -> Field<'a> {
    let lead = text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    Field { name: &line[..name], value: trim(&text[lead..]), at: name + 1 + lead }
}

/// Takes a field line apart.
pub(crate) fn parse(line: &[u8]) -> Result<Field<'_>, Flaw> {
    let name = token_end(line);
    if line.get(name) != Some(&b':') || name == 0 {
        return Err(name_flaw(line, name));
    }
    let text = &line[name + 1..];
    if has_control(text) { Err(value_flaw(text)) } else { Ok(field(line, name, text)) }
}

/// Whether a byte that no field value may hold is among these.
pub(crate) fn has_control(bytes: &[u8]) -> bool {
    value_end(bytes) < bytes.len()
}

/// Removes optional white space, which is SP and HTAB alone (RFC 9110 section 5.6.3).
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A number of digits alone, as lengths are written (RFC 9110 section 8.6).
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let number = value.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|_| !value.is_empty())
}

/// The elements of a comma-separated list; empty ones are skipped (RFC 9110 section 5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Writes a field line. Names and values are checked by their types: none contains a line end.
pub(crate) fn write(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write_bytes(out, name.as_bytes(), value);
}

/// The same for a name that is known to be one.
pub(crate) fn write_bytes(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(SEPARATOR);
    out.put_slice(value);
    out.put_slice(LINE_END);
}

/// The names and values of lines that [`write()`] wrote: no name has a colon and no value a CR.
pub(crate) fn lines(lines: &[u8]) -> impl Iterator<Item = (&str, &[u8])> + Clone {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let colon = memchr(b':', rest)?;
        let (name, value) = (&rest[..colon], &rest[colon + SEPARATOR.len()..]);
        let end = memchr(b'\r', value)?;
        rest = &value[end + LINE_END.len()..];
        Some((std::str::from_utf8(name).ok()?, &value[..end]))
    })
}

/// The values of those of them that have this name. No other line is taken apart.
pub(crate) fn all<'a>(lines: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> + Clone {
    let mut rest = lines;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (line, after) = rest.split_at(memchr(b'\n', rest)? + 1);
            rest = after;
            let value = line.strip_prefix(name.as_bytes()).and_then(|line| line.strip_prefix(SEPARATOR));
            if let Some(value) = value {
                return value.strip_suffix(LINE_END);
            }
        }
        None
    })
}

#[cold]
fn name_flaw(line: &[u8], end: usize) -> Flaw {
    match line.get(end) {
        Some(b' ' | b'\t') if end == 0 => Flaw::FoldedField,
        Some(b' ' | b'\t') if trim(&line[end..]).first() == Some(&b':') => Flaw::SpaceBeforeColon,
        Some(b'\r') => Flaw::BareCarriageReturn,
        Some(b) if b.is_ascii_control() => Flaw::ControlCharacter,
        _ => Flaw::FieldName,
    }
}

#[cold]
fn value_flaw(value: &[u8]) -> Flaw {
    if value.contains(&b'\r') { Flaw::BareCarriageReturn } else { Flaw::ControlCharacter }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_is_a_token_a_colon_and_a_clean_value() {
        assert_eq!(parse(b"Host:a"), Ok(Field { name: b"Host", value: b"a", at: 5 }));
        assert_eq!(parse(b"X: \t a b\t "), Ok(Field { name: b"X", value: b"a b", at: 5 }));
        assert_eq!(parse(b"X:"), Ok(Field { name: b"X", value: b"", at: 2 }));
        assert_eq!(parse(b"X: \xc3\xa9"), Ok(Field { name: b"X", value: b"\xc3\xa9", at: 3 }));
        for (line, flaw) in [
            (&b" folded"[..], Flaw::FoldedField),
            (b"\tfolded", Flaw::FoldedField),
            (b"X : a", Flaw::SpaceBeforeColon),
            (b"X\t: a", Flaw::SpaceBeforeColon),
            (b"X y: a", Flaw::FieldName),
            (b": a", Flaw::FieldName),
            (b"no colon", Flaw::FieldName),
            (b"nothing", Flaw::FieldName),
            (b"X(y): a", Flaw::FieldName),
            (b"X\xc3: a", Flaw::FieldName),
            (b"X\0: a", Flaw::ControlCharacter),
            (b"X\r: a", Flaw::BareCarriageReturn),
            (b"X: a\0", Flaw::ControlCharacter),
            (b"X: \x7f", Flaw::ControlCharacter),
            (b"X: a\rb", Flaw::BareCarriageReturn),
        ] {
            assert_eq!(parse(line), Err(flaw), "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_line_ends_with_cr_lf_and_nothing_else() {
        assert_eq!(line(b"a\r\nb\r\n", 0), Ok(Some((&b"a"[..], 3))));
        assert_eq!(line(b"a\r\nb\r\n", 3), Ok(Some((&b"b"[..], 6))));
        assert_eq!(line(b"a\r\nb\r\n", 6), Ok(None));
        assert_eq!(line(b"a\r", 0), Ok(None));
        assert_eq!(line(b"a\n", 0), Err(Flaw::BareLineFeed));
        assert_eq!(line(b"\n", 0), Err(Flaw::BareLineFeed));
    }

    proptest! {
        #[test]
        fn a_line_is_the_same_whether_or_not_it_is_sound_at_the_first_look(
            head in vec(prop_oneof![
                8 => "[a-c]{0,2}(:| :|)[ \t]{0,2}[x\u{e9}]{0,12}[ \t]{0,2}".prop_map(String::into_bytes),
                1 => Just(vec![0]), 1 => Just(vec![0x7f]), 1 => Just(b"\r".to_vec()), 1 => Just(b"\n".to_vec()),
            ], 1..4),
            before in "[a:\r\n]{0,3}", rest in prop::sample::select(vec!["\r\n", "\r\n", "\r\na: b\r\n", "\r", ""]),
        ) {
            let bytes = [before.as_bytes(), &head.concat(), rest.as_bytes()].concat();
            let slow = line(&bytes, before.len()).and_then(|line| match line {
                None => Ok(None),
                Some((b"", next)) => Ok(Some((Next::End, next))),
                Some((line, next)) => parse(line).map(|field| Some((Next::Field(field), next))),
            });
            prop_assert_eq!(next(&bytes, before.len()), slow);
        }

        #[test]
        fn a_control_character_is_found_wherever_it_is(
            value in vec(prop_oneof![9 => b' '..=b'~', 2 => 0x7f_u8..=255, 1 => Just(b'\t'), 1 => 0_u8..0x20], 0..40),
        ) {
            let found = value.iter().position(|&b| b != b'\t' && b.is_ascii_control());
            prop_assert_eq!(has_control(&value), found.is_some());
            prop_assert_eq!(value_end(&value), found.unwrap_or(value.len()));
        }
    }

    #[test]
    fn a_number_has_digits_alone_and_fits() {
        for (text, number) in [("0", 0), ("007", 7), ("1024", 1024), ("18446744073709551615", u64::MAX)] {
            assert_eq!(number_of(text), Some(number), "{text}");
        }
        for text in ["", "+1", "-1", "1,1", " 1", "1x", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(number_of(text), None, "{text}");
        }
    }

    fn number_of(text: &str) -> Option<u64> {
        number(text.as_bytes())
    }

    #[test]
    fn lists_skip_empty_elements() {
        let elements: Vec<_> = list(b" a ,, b\t,").collect();
        assert_eq!(elements, [b"a", b"b"]);
    }
}
