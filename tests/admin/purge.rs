//! `POST /purge`: right orders, wrong orders, outcomes, the audit line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Admin, report};
use millpond::admin::{Missing, PurgeFault, PurgeOrder, PurgeReport, PurgeTarget};
use millpond::config::{LogConfig, LogFormat};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// Body, what is wrong with it, and the beginning of what to do.
const WRONG: &[(&str, &str, &str)] = &[
    ("", "the body is empty", "send one JSON object such as {\"tag\": \"user:42\"}"),
    ("  \n", "the body is empty", "send one JSON object"),
    ("tag=x", "the body is not JSON: expected ident at line 1 column 2", "send one JSON object"),
    ("{\"tag\":\"x\"", "the body is not JSON: EOF while parsing an object at line 1 column 10", "send one JSON object"),
    ("{\"tag\":\"x\"} {}", "the body is not JSON: trailing characters at line 1 column 13", "send one JSON object"),
    ("[\"x\"]", "the body is not a JSON object", "send one JSON object"),
    ("null", "the body is not a JSON object", "send one JSON object"),
    ("{}", "nothing to purge: none of url, prefix, tag, tags, route and all is given", "send one JSON object"),
    ("{\"soft\":true}", "nothing to purge: none of url, prefix, tag, tags, route and all is given", "send one"),
    ("{\"tga\":\"x\"}", "the key \"tga\" is not known", "did you mean \"tag\"?"),
    ("{\"Tag\":\"x\"}", "the key \"Tag\" is not known", "did you mean \"tag\"?"),
    ("{\"all\":true,\"dry_run\":true}", "the key \"dry_run\" is not known", "the keys are: url, prefix, tag, tags,"),
    ("{\"tag\":\"a\",\"tag\":\"b\"}", "the key \"tag\" appears twice", "name each key once"),
    ("{\"tag\":\"a\",\"url\":\"http://h/\"}", "more than one target: tag, url", "send one purge for each target"),
    ("{\"tag\":\"a\",\"tags\":[\"b\"]}", "more than one target: tag, tags", "send one purge for each target"),
    ("{\"route\":\"a\",\"all\":true}", "more than one target: route, all", "send one purge for each target"),
    ("{\"all\":false}", "\"all\" is false, which names nothing", "send {\"all\": true} to purge everything"),
    ("{\"all\":\"true\"}", "\"all\" is a text, not true", "write it as in \"all\": true"),
    ("{\"all\":1}", "\"all\" is a number, not true", "write it as in \"all\": true"),
    ("{\"tag\":null}", "\"tag\" is null, not a text", "write it as in \"tag\": \"user:42\""),
    ("{\"tag\":[\"a\"]}", "\"tag\" is a list, not a text", "write it as in \"tag\": \"user:42\""),
    ("{\"tags\":\"a\"}", "\"tags\" is a text, not a list of texts", "write it as in \"tags\": [\"user:42\"]"),
    ("{\"tags\":[]}", "\"tags\" has 0 elements", "name at least one tag"),
    ("{\"tags\":[\"a\",7]}", "\"tags\" is a number, not a text", "write it as in \"tags\": [\"user:42\"]"),
    ("{\"tags\":[\"a\",\"\"]}", "\"tags\" is empty", "leave \"tags\" out, or write it as in"),
    ("{\"tags\":[\"a\",\"*\"]}", "tag \"*\" would match everything", "if that is what you mean, send {\"all\": true}"),
    ("{\"tag\":\"\"}", "\"tag\" is empty", "leave \"tag\" out, or write it as in \"tag\": \"user:42\""),
    ("{\"tag\":\"*\"}", "tag \"*\" would match everything", "if that is what you mean, send {\"all\": true}"),
    ("{\"tag\":\"a b\"}", "\"tag\" contains white space or a control character", "give several tags as a list"),
    ("{\"tag\":\"a,b\"}", "the tag \"a,b\" contains a comma, which separates tags", "give several tags as a list"),
    ("{\"tag\":\"a\\r\\nb\"}", "\"tag\" contains white space or a control character", "give several tags"),
    ("{\"prefix\":\"\"}", "\"prefix\" is empty", "leave \"prefix\" out, or write it as in \"prefix\": \"/users/\""),
    ("{\"prefix\":\"/\"}", "prefix \"/\" would match everything", "if that is what you mean, send {\"all\": true}"),
    ("{\"prefix\":\"/*\"}", "prefix \"/*\" would match everything", "if that is what you mean"),
    ("{\"prefix\":\"/a/*\"}", "the prefix \"/a/*\" ends in a star, which would be taken literally", "leave the star"),
    ("{\"prefix\":\"a/\"}", "the prefix is not absolute: it must begin with http:// or https://", "write \"prefix\""),
    ("{\"prefix\":\"http://\"}", "the prefix is not a URL", "write \"prefix\": \"/users/\" for every host"),
    ("{\"prefix\":\"http://h\"}", "the prefix ends inside the host: add the slash after it", "write \"prefix\""),
    ("{\"prefix\":\"ftp://h/a\"}", "the prefix is not absolute: it must begin with http:// or https://", "write"),
    ("{\"prefix\":\"/a#b\"}", "the prefix has a fragment, which never reaches a server", "write \"prefix\""),
    ("{\"url\":\"\"}", "\"url\" is empty", "leave \"url\" out"),
    (
        "{\"url\":\"/users/42\"}",
        "the url is not absolute: it must begin with http:// or https://",
        "write it as clients",
    ),
    ("{\"url\":\"http://h/a#b\"}", "the url has a fragment, which never reaches a server", "write it as clients"),
    ("{\"url\":\"http://u:p@h/\"}", "the url has user information, which no key contains", "write it as clients"),
    ("{\"url\":\"http://h/a b\"}", "\"url\" contains white space or a control character", "percent-encode it"),
    ("{\"url\":\"http:///a\"}", "the url is not a URL", "write it as clients request it"),
    ("{\"url\":\"http://h:99999/\"}", "the url has no valid host and port", "write it as clients request it"),
    ("{\"url\":\"http://:80/\"}", "the url has no valid host and port", "write it as clients request it"),
    ("{\"url\":\"*\"}", "url \"*\" would match everything", "if that is what you mean"),
    ("{\"route\":\"\"}", "\"route\" is empty", "leave \"route\" out"),
    ("{\"route\":\"*\"}", "route \"*\" would match everything", "if that is what you mean"),
    ("{\"route\":{}}", "\"route\" is an object, not a text", "write it as in \"route\": \"api\""),
    ("{\"tag\":\"a\",\"soft\":\"yes\"}", "\"soft\" is a text, not true or false", "write it as in \"soft\": true"),
    (
        "{\"tag\":\"a\",\"wait\":2}",
        "\"wait\" is a number, not a text such as \"2s\"",
        "write it as in \"wait\": \"2s\"",
    ),
    ("{\"tag\":\"a\",\"wait\":\"2\"}", "\"wait\" is \"2\", which is not a duration", "write it with its unit"),
    ("{\"tag\":\"a\",\"wait\":\"\"}", "\"wait\" is \"\", which is not a duration", "write it with its unit"),
    ("{\"tag\":\"a\",\"wait\":\"-1s\"}", "\"wait\" is \"-1s\", which is not a duration", "write it with its unit"),
    ("{\"tag\":\"a\",\"wait\":\"0s\"}", "\"wait\" is \"0s\", which is out of range", "wait for 1ms to 60s"),
    ("{\"tag\":\"a\",\"wait\":\"61s\"}", "\"wait\" is \"61s\", which is out of range", "wait for 1ms to 60s"),
];

#[tokio::test]
async fn f14_a_wrong_purge_says_what_is_wrong_and_the_fix_and_purges_nothing() {
    let admin = Admin::open().await;
    for (body, error, fix) in WRONG {
        let reply = admin.purge(body).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, *error), "{body}");
        assert!(reply.fix().starts_with(fix), "{body}: {}", reply.fix());
        assert!(reply.head.contains("content-type: application/json"), "{}", reply.head);
    }
    assert_eq!(admin.control.orders(), []);
}

#[tokio::test]
async fn f14_texts_and_lists_beyond_their_bounds_are_refused() {
    let admin = Admin::open().await;
    let long = admin.purge(format!("{{\"prefix\":\"/{}\"}}", "a".repeat(8192))).await;
    assert_eq!((long.status, long.error().as_str()), (400, "\"prefix\" is longer than 8192 bytes"));
    let many = admin.purge(format!("{{\"tags\":[{}\"a\"]}}", "\"a\",".repeat(256))).await;
    assert_eq!((many.status, many.error().as_str()), (400, "\"tags\" has 257 elements"));
    let not_utf8 = admin.purge(b"{\"tag\":\"\xff\"}").await;
    assert_eq!(not_utf8.status, 400);
    assert!(not_utf8.error().starts_with("the body is not JSON"), "{}", not_utf8.error());
    assert_eq!(admin.control.orders(), []);
}

#[tokio::test]
async fn a_right_purge_reaches_the_proxy_as_it_was_meant() {
    let order = |target| PurgeOrder { target, soft: false, wait: None };
    let tags = |tags: &[&str]| PurgeTarget::Tags(tags.iter().map(|&tag| tag.to_owned()).collect());
    let url = PurgeTarget::Url("http://api.test/a?b=c".into());
    let right = [
        (r#"{"url":"http://api.test/a?b=c"}"#, order(url)),
        (r#"{"url":"https://h"}"#, order(PurgeTarget::Url("https://h".into()))),
        (r#"{"prefix":"/users/"}"#, order(PurgeTarget::Prefix("/users/".into()))),
        (r#"{"prefix":"http://h/"}"#, order(PurgeTarget::Prefix("http://h/".into()))),
        (r#"{"tag":"user:42"}"#, order(tags(&["user:42"]))),
        (r#"{"tags":["a","b*"]}"#, order(tags(&["a", "b*"]))),
        (r#" {"route":"my route", "soft": false} "#, order(PurgeTarget::Route("my route".into()))),
        (r#"{"all":true}"#, order(PurgeTarget::All)),
        (
            r#"{"soft":true,"wait":"1500ms","tag":"a"}"#,
            PurgeOrder { target: tags(&["a"]), soft: true, wait: Some(Duration::from_millis(1500)) },
        ),
        (
            r#"{"wait":"60s","all":true}"#,
            PurgeOrder { target: PurgeTarget::All, soft: false, wait: Some(Duration::from_mins(1)) },
        ),
    ];
    let admin = Admin::open().await;
    for (body, expected) in right {
        let reply = admin.purge(body).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.body);
        assert_eq!(serde_json::from_value::<PurgeReport>(reply.json()).unwrap(), report());
        assert_eq!(admin.control.orders().last(), Some(&expected), "{body}");
        let again = admin.purge(expected.to_json()).await;
        assert_eq!((again.status, admin.control.orders().last()), (200, Some(&expected)), "{}", expected.to_json());
    }
}

#[tokio::test]
async fn each_outcome_of_a_purge_has_its_status() {
    let known = vec!["api".to_owned(), "static".to_owned()];
    let unknown = |name: &str| PurgeFault::UnknownRoute { name: name.into(), known: known.clone() };
    let faults = [
        (unknown("apo"), 400, "there is no route \"apo\"", "did you mean \"api\"?"),
        (unknown("zzz"), 400, "there is no route \"zzz\"", "the routes are: api, static"),
        (PurgeFault::BadUrl("no such host".into()), 400, "the URL cannot be purged: no such host", "write it as"),
        (
            PurgeFault::NotLogged("time-out".into()),
            503,
            "purged on this instance only, the others were not told: time-out",
            "send the purge again when Redis is back",
        ),
        (
            PurgeFault::Unconfirmed("time-out".into()),
            503,
            "everybody will be told, but who was cannot be learnt: time-out",
            "send the purge again when Redis is back",
        ),
    ];
    let admin = Admin::open().await;
    for (fault, status, error, fix) in faults {
        *admin.control.outcome.lock().unwrap() = Err(fault);
        let reply = admin.purge(r#"{"route":"apo"}"#).await;
        assert_eq!((reply.status, reply.error().as_str()), (status, error));
        assert!(reply.fix().starts_with(fix), "{}", reply.fix());
    }
    *admin.control.outcome.lock().unwrap() =
        Ok(PurgeReport { missing: vec![Missing { instance: "b".into(), silent_ms: 3200 }], ..report() });
    let reply = admin.purge(r#"{"all":true,"wait":"1s"}"#).await;
    assert_eq!(reply.status, 202, "not confirmed by all is not done");
    assert_eq!(reply.json()["missing"][0]["instance"], "b");
    *admin.control.outcome.lock().unwrap() = Ok(PurgeReport { entries: None, ..report() });
    assert!(admin.purge(r#"{"all":true}"#).await.json()["entries"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_purge_goes_on_when_its_client_leaves() {
    let admin = Admin::open().await;
    let gate = Arc::new((Notify::new(), Notify::new()));
    *admin.control.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let mut stream = admin.connect().await;
    let body = r#"{"all":true}"#;
    let head = format!("POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    gate.0.notified().await;
    drop(stream);
    // The paused clock moves only when no task can: the listener has seen the client go.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.1.notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*admin.control.finished.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_panic_behind_one_request_is_a_500_and_the_next_is_answered() {
    let admin = Admin::open().await;
    *admin.control.broken.lock().unwrap() = true;
    let reply = admin.purge(r#"{"all":true}"#).await;
    assert_eq!((reply.status, reply.error().as_str()), (500, "the purge failed inside Millpond"));
    assert_eq!(admin.get("/metrics").await.status, 500);
    *admin.control.broken.lock().unwrap() = false;
    assert_eq!(admin.purge(r#"{"all":true}"#).await.status, 200);
    assert_eq!(admin.get("/metrics").await.status, 200);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn f14_every_purge_and_every_refusal_leaves_one_audit_line() {
    let config = LogConfig { level: "info".into(), format: LogFormat::Text, access: None, access_sample: 0.0 };
    let (lines, lost) = (Lines::default(), prometheus::IntCounter::new("lost", "lost").unwrap());
    let (dispatch, handle) = millpond::telemetry::subscriber(&config, lost, lines.clone()).unwrap();
    // Tests run on one thread each, so this default holds for the listener's tasks too.
    let _scope = tracing::dispatcher::set_default(&dispatch);
    let admin = Admin::open().await;
    assert_eq!(admin.purge(r#"{"tag":"user:42","soft":true}"#).await.status, 200);
    *admin.control.outcome.lock().unwrap() = Err(PurgeFault::NotLogged("time-out".into()));
    assert_eq!(admin.purge(r#"{"all":true}"#).await.status, 503);
    assert_eq!(admin.raw("POST /purge HTTP/1.1\r\nHost: evil.test\r\n\r\n").await.status, 403);
    assert!(handle.flush(Duration::from_secs(20)).await);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let audit: Vec<&str> = text.lines().filter(|line| line.contains("millpond::audit")).collect();
    assert_eq!(audit.len(), 3, "{text}");
    assert!(audit[0].contains("peer=127.0.0.1:") && audit[0].contains(" INFO "), "{text}");
    assert!(audit[0].contains("what=Tags([\"user:42\"]) soft=true era=0 seq=7 matched=3 missing=0"), "{text}");
    assert!(audit[1].contains("what=All soft=false fault=purged on this instance only"), "{text}");
    assert!(audit[2].contains("refused") && audit[2].contains("path=\"/purge\""), "{text}");
}
