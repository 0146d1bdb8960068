//! GraphQL documents: the input is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::key::json::Json;
use millpond::policy::graphql::is_query;
use millpond_fuzz::graphql::{only_asks, tokens};

fuzz_target!(|input: &[u8]| {
    let document = String::from_utf8_lossy(input);
    let asks = asks(&document);
    let Some(tokens) = tokens(&document) else { return };
    // The safe side of whatever is not clear: some readers end a line, and with it a comment, in other places too, and
    // count backslashes in another way.
    let unclear =
        document.contains(['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) || document.contains("\\\\\"\"\"");
    assert!(!asks || only_asks(&tokens), "{document:?} might do more than ask");
    assert!(asks || unclear || !only_asks(&tokens), "{document:?} only asks");
    if !unclear {
        says_the_same_in_another_spelling(&tokens, asks);
    }
});

/// White space, commas and comments between tokens mean nothing (section 2.1.7), whatever the comment says.
fn says_the_same_in_another_spelling(spelled: &[&str], expected: bool) {
    for between in [" ", ",", "\n", "\r\n\t", "# } mutation { \"\n", "#\"\"\"\r"] {
        let respelled = spelled.join(between);
        assert_eq!(tokens(&respelled).as_deref(), Some(spelled), "{respelled:?}");
        assert_eq!(asks(&respelled), expected, "{respelled:?}");
    }
}

fn asks(document: &str) -> bool {
    let text = serde_json::to_string(document).expect("a text");
    let body = format!("{{\"query\": {text}, \"variables\": {{\"a\": \"mutation {{b}}\"}}}}");
    let asks = is_query(Json::parse(body.as_bytes()).as_ref());
    // What is not a request of the agreed form asks for nothing, whatever its document says.
    for other in [format!("[{body}]"), text.clone(), format!("{{\"Query\": {text}}}"), format!("{{\"id\": {text}}}")] {
        assert!(!is_query(Json::parse(other.as_bytes()).as_ref()), "{other}");
    }
    asks
}
