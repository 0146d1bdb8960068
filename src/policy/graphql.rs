//! Whether a GraphQL request only asks. Whatever is not clear does not count as a query: it is
//! passed to the origin, which costs a miss; a mutation that is answered from memory is lost.

use crate::key::json::Json;

/// Whether a body (the GraphQL over HTTP form of a request) has nothing but queries and fragments in
/// its `query` member. A document that also has a mutation does not count, whatever `operationName`
/// chooses; nor does a batch, nor a stored query that is named by its hash.
pub fn is_query(body: Option<&Json<'_>>) -> bool {
    let Some(Json::Object(members)) = body else { return false };
    // A document may also be named by an id, in a member or an extension that nobody has agreed on.
    let known = members.iter().all(|(name, value)| match &**name {
        "query" | "variables" | "operationName" => true,
        "extensions" => !matches!(value, Json::Object(more) if more.iter().any(|(name, _)| name == "persistedQuery")),
        name => name.eq_ignore_ascii_case("query"),
    });
    if !known {
        return false;
    }
    // Some servers match names without case, so that `Query` would count for them.
    let mut named = members.iter().filter(|(name, _)| name.eq_ignore_ascii_case("query"));
    match (named.next(), named.next()) {
        (Some((name, Json::Text(document))), None) if name == "query" => only_queries(document),
        _ => false,
    }
}

/// Parameters of a URL by which a document is given or named.
const DOCUMENTS: [&str; 4] = ["query", "id", "documentId", "extensions"];

/// Whether a URL's query names a document: some servers look there before they look into the body. They read it as a
/// form, so a name may be written with escapes.
pub fn names_a_document(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| DOCUMENTS.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

/// Characters at which some readers, and early drafts of the language, end a line, and with it a comment.
const DOUBTFUL_BREAKS: [char; 5] = ['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Where a document is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// A definition is to begin.
    Start,
    /// Between the keyword of a definition and its selection.
    Head,
}

/// Whether a document (GraphQL section 2) holds queries and fragments alone, and at least one query.
fn only_queries(document: &str) -> bool {
    if document.contains(DOUBTFUL_BREAKS) {
        return false;
    }
    let (mut at, mut queries, mut open) = (At::Start, false, Vec::new());
    let mut rest = document;
    loop {
        let (token, behind) = match token(rest) {
            Next::Token(token, behind) => (token, behind),
            Next::End => return at == At::Start && open.is_empty() && queries,
            Next::Unclear => return false,
        };
        rest = behind;
        match (token, open.last(), at) {
            (Token::Open(b'{'), None, _) => {
                // Without a keyword it is a query.
                queries |= at == At::Start;
                at = At::Head;
                open.push(b'}');
            }
            (Token::Open(bracket), _, At::Head) => open.push(if bracket == b'(' { b')' } else { bracket + 2 }),
            (Token::Close(bracket), Some(expected), _) if bracket == *expected => {
                open.pop();
                if open.is_empty() && bracket == b'}' {
                    at = At::Start;
                }
            }
            (Token::Name("query"), None, At::Start) => (at, queries) = (At::Head, true),
            (Token::Name("fragment"), None, At::Start) => at = At::Head,
            // Nothing in front of a selection has to be called so, whatever a lenient reader makes of it.
            (Token::Name("mutation" | "subscription"), None, _) => return false,
            (Token::Name(_) | Token::Other, _, At::Head) => {}
            _ => return false,
        }
    }
}

enum Next<'a> {
    Token(Token<'a>, &'a str),
    End,
    /// Not a token of the language.
    Unclear,
}

enum Token<'a> {
    Name(&'a str),
    Open(u8),
    Close(u8),
    /// A number, a text or another sign.
    Other,
}

/// The first token, and what stands behind it.
fn token(text: &str) -> Next<'_> {
    let text = after_ignored(text);
    let Some(first) = text.bytes().next() else { return Next::End };
    let cut = |length: usize, token| Next::Token(token, &text[length..]);
    match first {
        b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
            let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            cut(length, Token::Name(&text[..length]))
        }
        b'{' | b'(' | b'[' => cut(1, Token::Open(first)),
        b'}' | b')' | b']' => cut(1, Token::Close(first)),
        b'"' => string(text).map_or(Next::Unclear, |length| cut(length, Token::Other)),
        b'!' | b'$' | b'&' | b'.' | b':' | b'=' | b'@' | b'|' | b'-' | b'+' | b'0'..=b'9' => cut(1, Token::Other),
        _ => Next::Unclear,
    }
}

/// Without white space, commas and comments at its start (section 2.1).
fn after_ignored(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches([' ', '\t', '\n', '\r', ',']);
        let Some(comment) = text.strip_prefix('#') else { return text };
        text = comment.trim_start_matches(|c| c != '\n' && c != '\r');
    }
}

/// The length of the text that begins here (section 2.9.4), if it ends.
fn string(text: &str) -> Option<usize> {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut at = 0;
        loop {
            let end = at + block[at..].find("\"\"\"")?;
            // An odd reader may count backslashes in another way; one alone is clear.
            match block[..end].bytes().rev().take_while(|b| *b == b'\\').count() {
                0 => return Some(end + 6),
                1 => at = end + 3,
                _ => return None,
            }
        }
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'\n' | b'\r' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks(document: &str) -> bool {
        let body = serde_json::json!({ "query": document }).to_string();
        is_query(Json::parse(body.as_bytes()).as_ref())
    }

    #[test]
    fn queries_and_fragments_only_ask() {
        for document in [
            "{a}",
            "query { a }",
            "query A { a } query B { b }",
            "\n# mutation\nquery A($x: [Int!]! = [1, -2.5e+3], $y: In = {a: {b: \"}\"}}) @d(x: \"\"\"mutation {\"\"\") { a(x: $x) { ...F } }\nfragment F on T { mutation }",
            "fragment F on T { a } { ...F ... on U @include(if: $b) { c } }",
            "query,A,{a}",
            "{ a(text: \"mutation { b }\", more: \"\\\"}\") }",
            "{ a(text: \"\"\"one \\\"\"\" } two\"\"\") }",
            "query{a}query{b}",
            "{ subscription mutation: query }",
            "{ a(e: \"é\") } # é",
        ] {
            assert!(asks(document), "{document}");
        }
    }

    #[test]
    fn whatever_may_change_something_or_is_unclear_does_not_count() {
        for document in [
            "",
            "# {a}",
            "mutation { a }",
            "mutation{a}",
            "subscription { a }",
            "Mutation { a }",
            "query A { a } mutation B { b }",
            "query A { a } subscription B { b }",
            "# \nmutation { a }",
            "# \rmutation { a }",
            "{ a } mutation { b }",
            "{ a(x: \"\") } mutation { b }",
            "{ a(x: \"\\\\\") } mutation { b } # \") }",
            "{ a(x: \"\"\"\"\"\") } mutation { b } # \"\"\") }",
            "{ a(x: \"\"\" \\\\\"\"\") } mutation { b } # \"\"\") }",
            "query mutation { a }",
            "query A mutation { a }",
            "fragment F on T { a }",
            "fragment mutation on T { a } { b }",
            "query A",
            "query A { a",
            "query A { a } }",
            "query A ( { a } mutation B { b }",
            "query A { a ) }",
            "{ a(x: \"\n\") }",
            "{ a(x: \"open) }",
            "{ a(x: \"\"\"open) }",
            "\"text\" query A { a }",
            "type T { a: Int }",
            "schema { mutation: M }",
            "{ a ; b }",
            "{ a } \u{0} { b }",
            "\u{feff}{ a }",
            "querys { a }",
            "é { a }",
            "1 { a }",
            "{ a }\u{a0}{ b }",
            "{ a } # \u{2028}mutation { b }",
            "a",
        ] {
            assert!(!asks(document), "{document}");
        }
    }

    /// The document without its texts and comments, by another way of reading; `None` if one does not end.
    fn bare(document: &str) -> Option<String> {
        let (mut bare, mut rest) = (String::new(), document);
        while let Some(at) = rest.find(['"', '#']) {
            bare.push_str(&rest[..at]);
            bare.push(' ');
            rest = &rest[at..];
            if rest.starts_with('#') {
                rest = rest.find(['\n', '\r']).map_or("", |end| &rest[end..]);
            } else if let Some(block) = rest.strip_prefix("\"\"\"") {
                let unescaped = block.replace("\\\"\"\"", "....");
                rest = &block[unescaped.find("\"\"\"")? + 3..];
            } else {
                let plain = rest[1..].replace("\\\\", "..").replace("\\\"", "..");
                let end = plain.find(['"', '\n', '\r']).filter(|end| plain[*end..].starts_with('"'))?;
                rest = &rest[end + 2..];
            }
        }
        Some(bare + rest)
    }

    proptest! {
        #[test]
        fn no_soup_of_tokens_hides_an_operation_that_changes_something(
            soup in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "{a}", "(", ")", "[", "]", "query", "mutation", "subscription", "fragment", "on", " a ", "\"",
                "\"\"\"", "\\", "#", "\n", "\r", " ", ":", "$", "@", ",", "...", "{ a(b: \"", "\") }",
            ]), 0..16),
        ) {
            let document = soup.concat();
            if asks(&document) {
                let bare = bare(&document).expect("every text ends");
                let mut depth = 0_usize;
                let mut outside = String::new();
                for character in bare.chars() {
                    match character {
                        '{' | '(' | '[' => depth += 1,
                        '}' | ')' | ']' => depth = depth.checked_sub(1).expect("brackets match"),
                        other if depth == 0 => outside.push(other),
                        _ => {}
                    }
                    if depth == 1 && "{([".contains(character) {
                        outside.push(' ');
                    }
                }
                let names = || outside.split(|c: char| !c.is_ascii_alphanumeric());
                prop_assert!(names().all(|name| name != "mutation" && name != "subscription"), "{}", document);
            }
        }
    }

    #[test]
    fn only_one_object_with_one_query_member_counts() {
        for (body, expected) in [
            (r#"{"query": "{a}", "variables": {"query": "mutation {a}"}, "operationName": null}"#, true),
            (r#"{"qu\u0065ry": "{a}"}"#, true),
            (r#"[{"query": "{a}"}]"#, false),
            (r#""{a}""#, false),
            (r#"{"query": null}"#, false),
            (r#"{"query": {"query": "{a}"}}"#, false),
            (r#"{"query": "{a}", "Query": "mutation {a}"}"#, false),
            (r#"{"Query": "{a}"}"#, false),
            (r#"{"query": "{a}", "query": "mutation {a}"}"#, false),
            (r#"{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab"}}}"#, false),
            (r#"{"id": "ab"}"#, false),
            ("{a}", false),
            ("", false),
        ] {
            assert_eq!(is_query(Json::parse(body.as_bytes()).as_ref()), expected, "{body}");
        }
    }
}
