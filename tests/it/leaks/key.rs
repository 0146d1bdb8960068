//! What shares a stored response, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{for_a_minute, start, with};
use crate::support::origin::{Origin, Received, Reply};
use crate::support::proxy::Proxy;

/// Requests that no two of may share a response, though their parts run together.
const DISTINCT: [(&str, &[(&str, &str)]); 14] = [
    ("/a", &[]),
    ("/a", &[("x-a", "")]),
    ("/a", &[("x-b", "")]),
    ("/a", &[("x-a", "12")]),
    ("/a", &[("x-a", "1"), ("x-a", "2")]),
    ("/a", &[("x-a", "1"), ("x-b", "2")]),
    ("/a", &[("x-b", "12")]),
    ("/a", &[("cookie", "one=12")]),
    ("/a", &[("cookie", "one=1; two=2")]),
    ("/a", &[("cookie", "two=12")]),
    ("/a", &[("host", "api.testa"), ("x-a", "1")]),
    ("/a?x", &[]),
    ("/a?", &[]),
    ("/aG", &[]),
];

#[tokio::test]
async fn f15_requests_whose_key_parts_run_together_never_share_a_response() {
    let (origin, proxy) = start(", key = { headers = ['x-a', 'x-b'], cookies = ['one', 'two'] }").await;
    let number = Arc::new(AtomicUsize::new(0));
    for path in ["/a", "/aG"] {
        let number = Arc::clone(&number);
        origin.on_request(path, move |_: &Received| {
            let number = number.fetch_add(1, Ordering::SeqCst);
            for_a_minute(Reply::ok()).body(number.to_string())
        });
    }
    for round in 0..2 {
        for (index, (path, fields)) in DISTINCT.iter().enumerate() {
            let ask = with(&proxy, path, "host", "api.test");
            let answer = fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await;
            assert_eq!(answer.text(), index.to_string(), "{path} {fields:?} got another's response");
            assert_eq!(answer.cache_status().hit, round == 1, "{path} {fields:?}");
        }
    }
}

#[tokio::test]
async fn tenants_that_a_key_field_or_cookie_tells_apart_share_nothing_even_in_flight() {
    for (rule, field, one, two) in [
        ("headers = ['x-tenant']", "x-tenant", "one", "two"),
        ("cookies = ['tenant']", "cookie", "tenant=one", "a=b; tenant=two"),
    ] {
        let (origin, proxy) = start(&format!(", key = {{ {rule} }}")).await;
        let reflecting = move |request: &Received| for_a_minute(Reply::ok()).body(request.header(field).unwrap());
        origin.on_request("/a", reflecting);
        let gate = origin.hold("/a");
        let first = with(&proxy, "/a", field, one).start().await;
        gate.arrived(1).await;
        let second = with(&proxy, "/a", field, two).start().await;
        gate.arrived(2).await;
        gate.release();
        assert_eq!((first.rest().await.unwrap(), second.rest().await.unwrap()), (one.into(), two.into()));
        for value in [one, two] {
            let answer = with(&proxy, "/a", field, value).send().await;
            assert_eq!(answer.text(), value);
        }
        assert_eq!(origin.hits("/a"), 2);
    }
}

#[tokio::test]
async fn f4_another_host_never_shares_a_response_and_another_spelling_of_one_does() {
    let (origin, proxy) = start("").await;
    origin.on_request("/a", |request| for_a_minute(Reply::ok()).body(request.header("host").unwrap()));
    for (host, body, hits) in [
        ("one.test", "one.test", 1),
        ("two.test", "two.test", 2),
        ("one.test:8080", "one.test:8080", 3),
        ("ONE.test", "one.test", 3),
        ("one.test:80", "one.test", 3),
    ] {
        let answer = with(&proxy, "/a", "host", host).send().await;
        assert_eq!((answer.text(), origin.hits("/a")), (body, hits), "{host}");
    }
}

#[tokio::test]
async fn f11_the_variants_of_a_url_are_bounded_and_those_stored_stay_useful() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).section("[cache]\nmax_variants = 3").await;
    origin.on_request("/a", |request| {
        for_a_minute(Reply::ok()).header("vary", "User-Agent").body(request.header("user-agent").unwrap())
    });
    for number in 0..20 {
        let agent = format!("agent-{number}");
        let answer = with(&proxy, "/a", "user-agent", &agent).send().await;
        assert_eq!(answer.text(), agent);
        let status = answer.cache_status();
        let expected = if number < 3 { (true, None) } else { (false, Some("too-many-variants")) };
        assert_eq!((status.stored, status.detail.as_deref()), expected, "{agent}");
    }
    for number in 0..3 {
        let agent = format!("agent-{number}");
        let answer = with(&proxy, "/a", "user-agent", &agent).send().await;
        assert_eq!((answer.text(), answer.cache_status().hit), (agent.as_str(), true));
    }
    let refused = proxy.metric(r#"not_stored_total{reason="too-many-variants",route="all"}"#).await;
    assert_eq!((refused, proxy.metric("l1_entries").await, origin.hits("/a")), (17, 1, 20));
}

#[tokio::test]
async fn f15_a_second_cookie_of_a_name_counts_as_well_as_the_first() {
    let (origin, proxy) = start(", key = { cookies = ['tenant'] }").await;
    // Some frameworks take the first cookie of a name, some the last; and most ignore white space.
    origin.on_request("/a", |request| {
        let cookies = request.header("cookie").unwrap();
        let last = cookies.split(';').rfind(|pair| pair.trim_start().starts_with("tenant")).unwrap();
        for_a_minute(Reply::ok()).body(last.split_once('=').unwrap().1.to_owned())
    });
    for evil in ["tenant=one; tenant=two", "tenant=one; tenant =two", "tenant=one; a=b;tenant\t=two"] {
        assert_eq!(with(&proxy, "/a", "cookie", evil).send().await.text(), "two", "{evil}");
        assert_eq!(with(&proxy, "/a", "cookie", "tenant=one").send().await.text(), "one", "after {evil}");
        proxy.purge(r#"{"all": true}"#).await;
    }
}

#[tokio::test]
async fn f9_a_cookie_with_space_behind_its_name_is_bypassed_as_the_origin_reads_it() {
    let (origin, proxy) = start(", bypass = { cookies = ['session'] }").await;
    origin.on_request("/a", |request| for_a_minute(Reply::ok()).body(request.header("cookie").unwrap_or_default()));
    with(&proxy, "/a", "cookie", "session =mine").send().await;
    assert_eq!(proxy.client().get("/a").send().await.text(), "");
}
