//! GraphQL: only what is clearly a query is looked up.

use crate::support::proxy::Proxy;

use super::{JSON, ask, hits, start};

const GRAPHQL: &str = ", graphql = true, normalise_json = true";

async fn asks(proxy: &Proxy, document: &str) -> bool {
    hits(proxy, &serde_json::json!({ "query": document, "variables": { "id": 1 } }).to_string()).await
}

#[tokio::test]
async fn queries_are_looked_up() {
    let (origin, proxy) = start(GRAPHQL, "").await;
    for document in ["{ a }", "query A($id: ID) { a(id: $id) { ...F } } fragment F on T { mutation }"] {
        assert!(!asks(&proxy, document).await && asks(&proxy, document).await, "{document}");
    }
    assert_eq!(origin.hits("/s"), 2);
}

#[tokio::test]
async fn a_mutation_is_never_answered_from_the_cache() {
    let (origin, proxy) = start(GRAPHQL, "").await;
    let documents =
        ["mutation { a }", "subscription { a }", "query A { a } mutation B { b }", "{ a", "fragment F on T { a }", ""];
    for document in documents {
        assert!(!asks(&proxy, document).await && !asks(&proxy, document).await, "{document}");
        assert_eq!(origin.last("/s").method, "POST");
    }
    for body in ["[{\"query\": \"{a}\"}]", "{\"id\": 1}", "{\"query\": \"{a}\", \"query\": \"mutation {a}\"}", "{a}"] {
        assert!(!hits(&proxy, body).await && !hits(&proxy, body).await, "{body}");
    }
    // A query in another form than JSON is not read.
    for _ in 0..2 {
        let answer = ask(&proxy, "POST", "application/graphql", "{\"query\": \"{a}\"}").send().await;
        assert_eq!(answer.cache_status().detail.as_deref(), Some("not-a-query"));
    }
    assert_eq!(origin.hits("/s"), 2 * (documents.len() + 5));
    assert_eq!(proxy.metric("passed_total{reason=\"not-a-query\",route=\"all\"}").await, origin.hits("/s") as u64);
}

#[tokio::test]
async fn a13_a_mutation_that_succeeds_invalidates_the_queries_of_its_url() {
    let (origin, proxy) = start(GRAPHQL, "").await;
    assert!(!asks(&proxy, "{ a }").await && asks(&proxy, "{ a }").await);
    asks(&proxy, "mutation { a }").await;
    assert!(!asks(&proxy, "{ a }").await, "a client reads what it has written");
    assert!(asks(&proxy, "{ a }").await);
    assert_eq!(origin.hits("/s"), 3);
    // One that changes something by QUERY is against the method's definition: it has no effect.
    ask(&proxy, "QUERY", JSON, "{\"query\": \"mutation { a }\"}").send().await;
    assert!(asks(&proxy, "{ a }").await);
}

#[tokio::test]
async fn a_document_that_the_url_names_by_escapes_is_found_as_well() {
    let (_origin, proxy) = start(GRAPHQL, "").await;
    for query in ["query=mutation%7Bpay%7D", "qu%65ry=mutation%7Bpay%7D", "Query=mutation%7Bpay%7D", "a=b&%69d=pay"] {
        let ask = || {
            let ask = proxy.client().ask("POST", &format!("/s?{query}")).header("host", "api.test");
            ask.header("content-type", JSON).body("{\"query\": \"{a}\"}")
        };
        ask().send().await;
        assert_eq!(ask().send().await.cache_status().detail.as_deref(), Some("not-a-query"), "{query}");
    }
}
