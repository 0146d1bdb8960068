//! JSON bodies in the key: two of them.

#![no_main]

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use millpond::key::json::Json;
use millpond::key::{self, BodyRule, Content, KeyBuffer, json_of};
use millpond_fuzz::json::{Value, read};
use millpond_fuzz::sections;

/// As deep as the product reads.
const DEPTH: usize = 64;

fuzz_target!(|input: &[u8]| {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let (one, other) = (next(), next());
    let (a, b) = (meaning(one), meaning(other));
    for (body, meaning) in [(one, &a), (other, &b)] {
        has_one_form(body, meaning.as_ref());
    }
    let same = match (&a, &b) {
        (Some(a), Some(b)) => a == b,
        // What is not plainly JSON is compared byte by byte.
        _ => one == other,
    };
    assert_eq!(key(one, true) == key(other, true), same, "as JSON");
    assert_eq!(key(one, false) == key(other, false), one == other, "as bytes");
});

fn meaning(body: &[u8]) -> Option<Value> {
    read(std::str::from_utf8(body).ok()?, DEPTH)
}

/// The same text in another spelling has the same form, and says the same to a reader that knows nothing of forms.
fn has_one_form(body: &[u8], meaning: Option<&Value>) {
    let json = Json::parse(body);
    assert_eq!(json.is_some(), meaning.is_some(), "read by one and not by the other");
    let (Some(json), Some(meaning)) = (json, meaning) else { return };
    let respelled = meaning.respelled();
    assert_eq!(read(&respelled, DEPTH).as_ref(), Some(meaning));
    let again = Json::parse(respelled.as_bytes()).expect("still JSON");
    assert_eq!((&again, again.canonical()), (&json, json.canonical()));
    assert_eq!(key(body, true), key(respelled.as_bytes(), true));
}

fn key(body: &[u8], normalise_json: bool) -> Vec<u8> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let rule = BodyRule { methods: vec![Method::POST], max_size: usize::MAX, normalise_json, graphql: false };
    let bytes = Bytes::copy_from_slice(body);
    let content = Content::new(&Method::POST, bytes, json_of(&headers, body).as_ref(), &rule);
    assert_eq!(content.bytes(), body, "the origin gets what the client sent");
    let target = key::Target { scheme: "http", host: "h", path: "/", query: None };
    let mut key: KeyBuffer = key::build(target, content.class(), &key::KeyRules::default(), &headers);
    content.push(&mut key, &headers);
    key.to_vec()
}
