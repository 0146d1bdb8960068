use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn canonical(text: &str) -> Option<Vec<u8>> {
    Json::parse(text.as_bytes()).map(|json| json.canonical())
}

#[test]
fn texts_that_say_the_same_have_one_form() {
    for (one, other) in [
        (r#"{"a":1,"b":[2,{"c":null,"d":true}]}"#, " { \"b\" : [ 2 ,\n{\"d\":true,\t\"c\":null}\r ], \"a\":1 } "),
        (r#"{"\u0061":"\u00e9\/\n"}"#, "{\"a\":\"é/\\u000A\"}"),
        (r#"["\ud83d\ude00"]"#, "[\"😀\"]"),
        ("[]", " [ ] "),
        ("{}", "\n{ }"),
    ] {
        assert!(canonical(one).is_some(), "{one}");
        assert_eq!(canonical(one), canonical(other), "{one}");
    }
}

#[test]
fn values_that_some_reader_may_tell_apart_have_forms_of_their_own() {
    let all = [
        "1",
        "1.0",
        "1e0",
        "10e-1",
        "-0",
        "0",
        "\"1\"",
        "null",
        "\"null\"",
        "[]",
        "{}",
        "\"\"",
        "[1]",
        "[[1]]",
        "[1,2]",
        "[2,1]",
        "[12]",
        "{\"a\":1}",
        "{\"A\":1}",
        "{\"a\":[1]}",
        "[\"a\",1]",
        "[\"a:1\"]",
        "[\"a\\\",\\\"b\"]",
        "[\"a\",\"b\"]",
        "\"\\u00e9\"",
        "\"e\\u0301\"",
        "9007199254740993",
        "9007199254740992",
        "[\"\\\\\"]",
        "\"[]\"",
    ];
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            assert_ne!(canonical(one).unwrap(), canonical(other).unwrap(), "{one} {other}");
        }
    }
}

#[test]
fn members_whose_names_differ_in_case_alone_keep_their_order() {
    for (one, other) in [
        (r#"{"id":1,"ID":2}"#, r#"{"ID":2,"id":1}"#),
        // The sign of kelvin, and the long s.
        (r#"{"k":1,"\u212a":2}"#, r#"{"\u212a":2,"k":1}"#),
        (r#"{"s":1,"a":0,"\u017f":2}"#, r#"{"a":0,"\u017f":2,"s":1}"#),
    ] {
        assert_ne!(canonical(one).unwrap(), canonical(other).unwrap(), "{one}");
    }
    assert_eq!(canonical(r#"{"B":1,"a":2,"C":3}"#), canonical(r#"{"C":3,"B":1,"a":2}"#));
    assert_eq!(canonical(r#"{"a":1,"A":2,"a":3}"#), None, "a name that is there twice");
}

#[test]
fn what_is_not_without_doubt_is_not_read() {
    for text in [
        "",
        " ",
        "{",
        "[1",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "0x1",
        "NaN",
        "tru",
        "truefalse",
        "1 2",
        "\"a",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"b\":{\"c\":1,\"c\":2}}]",
        "\u{feff}{}",
        "/**/{}",
        "[1]\0",
        "\"\\u+123\"",
        "[1\u{a0}]",
        "-",
        "--1",
        "{\"a\" 1}",
        "{\"a\":}",
        "{1:2}",
    ] {
        assert_eq!(canonical(text), None, "{text}");
    }
    assert_eq!(Json::parse(b"\"\xff\""), None);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(canonical(&nested(MAX_DEPTH)).is_some());
    assert_eq!(canonical(&nested(MAX_DEPTH + 1)), None);
    assert_eq!(canonical(&"[".repeat(100_000)), None);
}

/// JSON of any shape.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a value with the spaces, the order of members and the escapes that `choices` picks.
fn spell(value: &Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    let pick = |choices: &mut dyn Iterator<Item = u8>| choices.next().unwrap_or_default();
    let space = |choices: &mut dyn Iterator<Item = u8>, out: &mut String| {
        out.push_str(["", " ", "\n", "\t\r "][usize::from(pick(choices) % 4)]);
    };
    space(choices, out);
    match value {
        Value::String(text) => spell_text(text, choices, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                spell(item, choices, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let turn = usize::from(pick(choices)) % members.len().max(1);
            members.rotate_left(turn);
            if pick(choices) % 2 == 1 {
                members.reverse();
            }
            out.push('{');
            for (index, (name, item)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(choices, out);
                spell_text(name, choices, out);
                space(choices, out);
                out.push(':');
                spell(item, choices, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    space(choices, out);
}

fn spell_text(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if choices.next().unwrap_or_default().is_multiple_of(3) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            let quoted = Value::from(character.to_string()).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn any_order_spacing_and_escaping_of_a_value_has_the_same_form(
        value in value(),
        one in prop::collection::vec(any::<u8>(), 0..200),
        other in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let spelled = |choices: Vec<u8>| {
            let mut text = String::new();
            spell(&value, &mut choices.into_iter().cycle(), &mut text);
            text
        };
        let (one, other) = (spelled(one), spelled(other));
        prop_assert!(canonical(&one).is_some(), "{one}");
        prop_assert_eq!(canonical(&one), canonical(&other), "{} {}", one, other);
    }

    #[test]
    fn two_values_have_the_same_form_only_if_they_are_equal(one in value(), other in value()) {
        let form = |value: &Value| canonical(&value.to_string()).unwrap();
        prop_assert_eq!(form(&one) == form(&other), one == other);
    }

    #[test]
    fn whatever_is_read_another_strict_reader_reads_as_well(text in r#"[\[\]{}",:\\0-9eE.+\-a-z \n]{0,24}"#) {
        if canonical(&text).is_some() {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Json::parse(&bytes);
    }
}
