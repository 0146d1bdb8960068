//! A GraphQL document read by the letter of its specification (October 2021, section 2.1), and what it would do.

/// The tokens of a document as they are spelled; `None` if it has something that is none.
pub fn tokens(document: &str) -> Option<Vec<&str>> {
    let mut tokens = Vec::new();
    let mut rest = document;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\n' | '\r' | ',' => {
                rest = &rest[1..];
                continue;
            }
            '#' => {
                rest = &rest[rest.find(['\n', '\r']).unwrap_or(rest.len())..];
                continue;
            }
            '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => 1,
            '.' => rest.starts_with("...").then_some(3)?,
            '"' if rest.starts_with("\"\"\"") => block(rest)?,
            '"' => text(rest)?,
            '-' | '0'..='9' => number(rest)?,
            'A'..='Z' | 'a'..='z' | '_' => rest.find(|c| !name(c)).unwrap_or(rest.len()),
            _ => return None,
        };
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
    Some(tokens)
}

fn name(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// `"""` inside is written with a backslash, which means nothing elsewhere.
fn block(rest: &str) -> Option<usize> {
    let mut at = 3;
    loop {
        match rest.get(at..)? {
            escaped if escaped.starts_with("\\\"\"\"") => at += 4,
            end if end.starts_with("\"\"\"") => return Some(at + 3),
            more => at += more.chars().next()?.len_utf8(),
        }
    }
}

fn text(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some(at + 1),
            '\n' | '\r' => return None,
            '\\' if matches!(characters.next()?.1, '\n' | '\r') => return None,
            _ => {}
        }
    }
    None
}

/// A number is followed by neither a letter, nor a digit, nor a point.
fn number(rest: &str) -> Option<usize> {
    let digits = |at: usize| rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| at + end);
    let some = |at: usize| Some(digits(at)).filter(|end| *end > at);
    let start = usize::from(rest.starts_with('-'));
    let mut at = if rest[start..].starts_with('0') { start + 1 } else { some(start)? };
    if rest[at..].starts_with('.') {
        at = some(at + 1)?;
    }
    if rest[at..].starts_with(['e', 'E']) {
        at += 1 + usize::from(rest[at + 1..].starts_with(['+', '-']));
        at = some(at)?;
    }
    (!rest[at..].starts_with(|c| name(c) || c == '.')).then_some(at)
}

/// Whether tokens are queries and fragments alone, at least one query, with every bracket closed. Whatever is called
/// `mutation` or `subscription` outside of brackets counts as one, even where it is only a name.
pub fn only_asks(tokens: &[&str]) -> bool {
    let mut open: Vec<&str> = Vec::new();
    let (mut begun, mut queries) = (false, 0);
    for &token in tokens {
        match token {
            "mutation" | "subscription" if open.is_empty() => return false,
            "{" | "(" | "[" => {
                if open.is_empty() && !begun {
                    if token != "{" {
                        return false;
                    }
                    (begun, queries) = (true, queries + 1);
                }
                open.push(token);
            }
            "}" | ")" | "]" => {
                if !matches!((open.pop(), token), (Some("{"), "}") | (Some("("), ")") | (Some("["), "]")) {
                    return false;
                }
                // A definition ends with its selection.
                begun &= !(open.is_empty() && token == "}");
            }
            "query" if !begun => (begun, queries) = (true, queries + 1),
            "fragment" if !begun => begun = true,
            _ if !begun => return false,
            _ => {}
        }
    }
    open.is_empty() && !begun && queries > 0
}
