//! The access log on standard output.

use serde_json::Value;

use super::stopped;
use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::scrape::Scrape;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn logging(keys: &str) -> (Origin, Millpond) {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").body("12345"));
    origin.on("/own", |r| r.header("Cache-Control", "private").body("own"));
    let mut config = ConfigText::for_origin(&origin);
    config.section(&format!("[log]\n{keys}"));
    config.route("name = 'main'");
    let millpond = Millpond::run(&config).await;
    (origin, millpond)
}

#[tokio::test]
async fn each_request_is_one_json_line_with_its_ids_outcome_and_reason() {
    let (origin, mut millpond) = logging("access = 'json'").await;
    let client = millpond.client();
    let mut connection = client.connect().await;
    let ask = client.get("/a?x=1").header("x-request-id", "mine-1").header("traceparent", &traceparent());
    connection.send(ask).await.unwrap();
    connection.get("/a?x=1").await;
    connection.send(client.ask("HEAD", "/a?x=1")).await.unwrap();
    connection.get("/own").await;
    connection.send(client.ask("DELETE", "/a?x=1")).await.unwrap();
    drop(connection);
    origin.refuse().await;
    assert_eq!(client.get("/gone").send().await.status, 502);
    stopped(&mut millpond).await;
    let text = millpond.process.stdout.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    // A line is logged when its answer has gone, so that those of two connections may change places.
    let (gone, mut lines): (Vec<_>, Vec<_>) = lines.partition(|line| line["target"] == "/gone");
    lines.extend(gone);
    let told = |line: &Value| {
        let word = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {} {}", word("method"), word("target"), line["status"], word("outcome"), word("reason"))
    };
    assert_eq!(
        lines.iter().map(told).collect::<Vec<_>>(),
        [
            "GET /a?x=1 200 miss -",
            "GET /a?x=1 200 hit -",
            "HEAD /a?x=1 200 hit -",
            "GET /own 200 uncacheable private",
            "DELETE /a?x=1 200 pass unsafe-method",
            "GET /gone 502 failed -",
        ]
    );
    assert_eq!((lines[0]["request_id"].as_str(), lines[0]["trace_id"].as_str()), (Some("mine-1"), Some(TRACE)));
    assert_eq!(
        (&lines[0]["body_bytes"], &lines[1]["body_bytes"], &lines[2]["body_bytes"]),
        (&5.into(), &5.into(), &0.into())
    );
    assert_eq!(lines[5]["origin_fault"].as_str(), Some("connect"));
    let ids: std::collections::HashSet<&str> = lines.iter().filter_map(|line| line["request_id"].as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "every request has an id of its own");
    assert!(lines.iter().all(|line| line["route"] == "main" && line["peer"] == "127.0.0.1"));
}

#[tokio::test]
async fn each_request_is_one_line_of_text_whatever_it_asks_for() {
    let (_origin, mut millpond) = logging("access = 'text'").await;
    let client = millpond.client();
    client.get("/a").header("traceparent", &traceparent()).header("x-request-id", "mine-2").send().await;
    client.get("/a?%0d%0aGET").header("host", "api.test").send().await;
    stopped(&mut millpond).await;
    let text = millpond.process.stdout.text();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    // A line is logged when its answer has gone, so that those of two connections may change places.
    lines.sort_by_key(|line| line.contains("host=\"api.test\""));
    for part in ["127.0.0.1 GET \"/a\" 200 miss", &format!("trace_id={TRACE}"), "request_id=\"mine-2\"", "body_bytes=5"]
    {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    assert!(lines[1].contains("host=\"api.test\""), "{}", lines[1]);
}

#[tokio::test]
async fn a_request_id_is_made_for_the_origin_and_the_log_alike() {
    let (origin, mut millpond) = logging("access = 'json'").await;
    millpond.client().get("/a").send().await;
    stopped(&mut millpond).await;
    let line: Value = serde_json::from_str(&millpond.process.stdout.text()).unwrap();
    assert_eq!(line["request_id"].as_str(), origin.last("/a").header("x-request-id").as_deref());
}

#[tokio::test]
async fn a_request_refused_unread_is_logged_too() {
    let (_origin, mut millpond) = logging("access = 'json'").await;
    let answer = millpond.client().raw("GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 400"));
    stopped(&mut millpond).await;
    let line: Value = serde_json::from_str(&millpond.process.stdout.text()).expect("one line");
    assert_eq!((&line["status"], line["outcome"].as_str()), (&400.into(), Some("rejected")));
    assert_eq!(line["refusal"].as_str(), Some("host-repeated"));
}

#[tokio::test]
async fn a_sampled_log_has_a_part_of_the_requests_and_all_faults() {
    const REQUESTS: usize = 400;
    let (origin, mut millpond) = logging("access = 'json'\naccess_sample = 0.25").await;
    let mut connection = millpond.client().connect().await;
    for _ in 0..REQUESTS {
        assert_eq!(connection.get("/a").await.status, 200);
    }
    origin.on("/bad", |r| r.status(503));
    for _ in 0..20 {
        assert_eq!(connection.get("/bad").await.status, 503);
    }
    drop(connection);
    stopped(&mut millpond).await;
    let text = millpond.process.stdout.text();
    let (faults, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("\"status\":503"));
    assert_eq!(faults.len(), 20);
    // A hundred are expected; the bounds are eight standard deviations away.
    assert!((30..170).contains(&rest.len()), "{}", rest.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_stalled_reader_of_standard_output_stops_no_request_and_lost_lines_are_counted() {
    let (_origin, mut millpond) = logging("access = 'json'").await;
    let (client, admin) = (millpond.client(), millpond.admin_client());
    millpond.process.stdout.stall(true);
    let mut connection = client.connect().await;
    let mut answered = 0_u64;
    // The pipe and the queue take what they can hold; from then on lines are lost.
    while Scrape::of(admin).await.value("access_log_lines_lost_total") == 0 {
        for _ in 0..500 {
            assert_eq!(connection.get("/a").await.status, 200);
            answered += 1;
        }
        assert!(answered < 50_000, "a stalled reader takes no more than the pipe and the queue");
    }
    drop(connection);
    millpond.process.stdout.stall(false);
    let lost = Scrape::of(admin).await.value("access_log_lines_lost_total");
    stopped(&mut millpond).await;
    let text = millpond.process.stdout.text();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "no line is torn");
    assert_eq!(text.lines().count() as u64 + lost, answered, "every request has a line or is counted as lost");
}

fn traceparent() -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-01")
}
