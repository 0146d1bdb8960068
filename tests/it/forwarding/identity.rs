//! The request id and the trace that tie log lines together.

use super::start;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn every_request_to_the_origin_has_an_id() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| r);
    for method in ["GET", "POST", "GET"] {
        proxy.client().ask(method, "/a").send().await;
    }
    let ids: std::collections::HashSet<_> =
        origin.requests().iter().map(|request| request.header("x-request-id").expect("an id")).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())), "{ids:?}");
}

#[tokio::test]
async fn a_sane_id_of_the_clients_is_kept_and_any_other_replaced() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| r);
    for (sent, kept) in [("order-4711", true), ("two words", false), (&"x".repeat(129), false)] {
        proxy.client().get("/a").header("x-request-id", sent).send().await;
        let id = origin.last("/a").header("x-request-id").unwrap();
        assert_eq!(id == sent, kept, "{sent} became {id}");
    }
    proxy.client().get("/a").header("x-request-id", "one").header("x-request-id", "two").send().await;
    assert_eq!(origin.last("/a").header("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn a_valid_trace_goes_on_to_the_origin_and_an_invalid_one_does_not() {
    let (origin, proxy) = start().await;
    origin.on("/a", |r| r);
    let zeros = TRACE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
    for (trace, valid) in [(TRACE, true), (zeros.as_str(), false), ("nonsense", false)] {
        for method in ["GET", "POST"] {
            let ask = proxy.client().ask(method, "/a").header("traceparent", trace).header("tracestate", "a=b");
            ask.send().await;
            let request = origin.last("/a");
            assert_eq!(request.header("traceparent").as_deref(), valid.then_some(trace), "{method}");
            assert_eq!(request.header("tracestate").as_deref(), valid.then_some("a=b"), "{method}");
        }
    }
}
