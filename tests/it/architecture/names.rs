//! The paths that a source file names, read from its tokens: comments, texts and tests do not count.

/// A word, a pair of colons, or a single character of punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Colons,
    Mark(char),
}

/// The tokens of a source file without its comments, texts and `#[cfg(test)]` items.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        at = match (chars[at], chars.get(at + 1).copied().unwrap_or(' ')) {
            ('/', '/') => end_of_line(&chars, at),
            ('/', '*') => end_of_comment(&chars, at),
            ('"', _) => end_of_text(&chars, at + 1),
            ('r', '"' | '#') if raw_text(&chars, at).is_some() => raw_text(&chars, at).unwrap(),
            ('\'', _) => end_of_char(&chars, at),
            (':', ':') => {
                tokens.push(Token::Colons);
                at + 2
            }
            (first, _) if first.is_alphanumeric() || first == '_' => {
                let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                tokens.push(Token::Word(chars[at..at + length].iter().collect()));
                at + length
            }
            (mark, _) => {
                if !mark.is_whitespace() {
                    tokens.push(Token::Mark(mark));
                }
                at + 1
            }
        };
    }
    without_tests(&tokens)
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| from + length)
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_text(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of `r"..."` or `r#"..."#`, if that is what begins here.
fn raw_text(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let start = from + 1 + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = chars[start + 1..].windows(end.len()).position(|window| window == end)?;
    Some(start + 1 + length + end.len())
}

/// The end of a character, or of the quote of a lifetime.
fn end_of_char(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            chars[from + 3..].iter().position(|c| *c == '\'').map_or(chars.len(), |length| from + 4 + length)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

/// Leaves out what follows `#[cfg(test)]`, up to the end of its block or statement.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let word = |text: &str| Token::Word(text.to_owned());
    let mark = Token::Mark;
    let attribute = [mark('#'), mark('['), word("cfg"), mark('('), word("test"), mark(')'), mark(']')];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at..].starts_with(&attribute) {
            at = end_of_item(tokens, at + attribute.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_item(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') if depth == 1 => return at + 1,
            Token::Mark('}') => depth -= 1,
            Token::Mark(';') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Every path in the tokens, with the branches of a `use a::{b, c::d}` written out.
pub(super) fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Token::Word(_) = tokens[at] {
            at = path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path that begins with a word; returns where it ends.
fn path(tokens: &[Token], from: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let (mut names, mut at) = (prefix.to_vec(), from);
    while let Some(Token::Word(name)) = tokens.get(at) {
        names.push(name.clone());
        at += 1;
        if tokens.get(at) != Some(&Token::Colons) {
            break;
        }
        at += 1;
    }
    let open = tokens.get(at) == Some(&Token::Mark('{')) && tokens.get(at - 1) == Some(&Token::Colons);
    if !open {
        found.push(names);
        return at;
    }
    at += 1;
    while let Some(token) = tokens.get(at) {
        at = match token {
            Token::Mark('}') => return at + 1,
            Token::Word(_) => path(tokens, at, &names, found),
            _ => at + 1,
        };
    }
    at
}
