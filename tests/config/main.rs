//! Configuration files: what is refused and how, and that the files of the repository are right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test ends by a panic")]

mod table;

use std::path::Path;

use millpond::config::{self, Config, Faults};
use serde_json::Value;

/// A sound origin and route.
const SOUND: &str = "[origins.a]\nurl = \"http://h\"\n[[routes]]\npath = \"/x\"\norigin = \"a\"\n";

fn parse(text: &str) -> Result<Config, Faults> {
    config::parse(text, Path::new("millpond.toml"), &|_| None)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

fn effective(text: &str) -> Value {
    serde_json::from_str(&config::effective(&parse(text).unwrap())).unwrap()
}

#[test]
fn every_broken_file_gets_its_exact_message() {
    assert!(table::BROKEN.len() >= 40);
    for (text, expected) in table::BROKEN {
        let text = text.replace("$SOUND", SOUND);
        let faults = parse(&text).expect_err(&text);
        assert_eq!(faults.to_string(), *expected, "\n{text}");
    }
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[listen]\nhtp = 1\nthreads = 0\n[origins.a]\nurl = \"http://h\"\n[[routes]]\npath = \"/\"\norigin = \"b\"\n\
                cache = { ttl = 5, tll = 6 }\n";
    let places: Vec<_> =
        parse(text).unwrap_err().list().iter().map(|f| f.position.map(|p| (p.line, p.column))).collect();
    assert_eq!(places, [Some((2, 1)), Some((3, 11)), Some((8, 10)), Some((9, 17)), Some((9, 20))]);
}

#[test]
fn a_file_that_is_not_there_is_a_fault_with_a_hint() {
    let faults = config::load(Path::new("no/such/file.toml")).unwrap_err().to_string();
    assert!(faults.starts_with("no/such/file.toml: cannot read the file:"), "{faults}");
}

#[test]
fn both_files_of_the_repository_are_right() {
    parse(&file("millpond.toml")).unwrap();
    parse(&file("reference.toml")).unwrap();
}

#[test]
fn the_reference_shows_the_real_defaults() {
    let shortest = effective(SOUND);
    let reference = effective(&file("reference.toml"));
    for section in ["limits", "cache", "invalidation", "log"] {
        assert_eq!(reference[section], shortest[section], "[{section}]");
    }
    let without = |origin: &Value| {
        let mut origin = origin.clone();
        origin.as_object_mut().unwrap().remove("url");
        origin
    };
    assert_eq!(without(&reference["origins"]["api"]), without(&shortest["origins"]["a"]));
    let (listed, real) = (&reference["routes"][0]["cache"], &shortest["routes"][0]["cache"]);
    let defaults = [
        "heuristic",
        "jitter",
        "early_refresh",
        "respect_client_cache_control",
        "store_set_cookie",
        "coalesce",
        "coalesce_wait",
        "max_object_size",
        "ranges",
        "post_fills_get",
        "tag_headers",
    ];
    for key in defaults {
        assert_eq!(listed[key], real[key], "{key}");
    }
}

#[test]
fn the_reference_names_every_key_of_the_schema() {
    let reference = file("reference.toml");
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let mut keys = Vec::new();
    collect(&schema, &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        let named = reference.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} =")) || line.starts_with('[') && line.contains(&key)
        });
        assert!(
            named || reference.contains(&format!("{{ {key} = ")) || reference.contains(&format!(", {key} = ")),
            "{key}"
        );
    }
}

/// The names of all properties below a schema.
fn collect(schema: &Value, keys: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect(value, keys));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn a_secret_is_shown_by_its_source_alone() {
    let text = format!("{SOUND}[admin]\ntoken_env = \"TOKEN\"\n");
    let env = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
    let config = config::parse(&text, Path::new("millpond.toml"), &env).unwrap();
    let shown = format!("{}{config:?}", config::effective(&config));
    assert!(!shown.contains("hunter2") && shown.contains("environment variable TOKEN"), "{shown}");
}

#[tokio::test]
async fn a_watched_file_reports_a_change_of_content_and_survives_its_absence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("millpond.toml");
    std::fs::write(&path, "one").unwrap();
    let mut watch = config::FileWatch::new(&path);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "two").unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(10), watch.changed()).await.unwrap();
    let again = tokio::time::timeout(std::time::Duration::from_millis(1500), watch.changed()).await;
    assert!(again.is_err(), "nothing changed since");
}
