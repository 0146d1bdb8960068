use super::*;

fn catalogue() -> Catalogue {
    Catalogue::new(500, Duration::from_secs(5))
}

fn ask(catalogue: &Catalogue, method: &str, uri: &str, fields: &[(&str, &str)], body: &str) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    catalogue.answer(&request.body(Bytes::from(body.to_owned())).unwrap())
}

fn get(uri: &str) -> Response<Bytes> {
    ask(&catalogue(), "GET", uri, &[], "")
}

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_product_has_a_validator_a_lifetime_tags_and_the_configured_size() {
    let product = get("/api/products/42");
    assert_eq!(product.status(), 200);
    assert_eq!(field(&product, "etag"), Some("\"p42-v1\""));
    assert_eq!(field(&product, "cache-control"), Some("public, max-age=5"));
    assert_eq!(field(&product, "surrogate-key"), Some("catalogue product:42"));
    assert_eq!(product.body().len(), 500);
    let body: Value = serde_json::from_slice(product.body()).unwrap();
    assert_eq!(body["id"], 42);
}

#[test]
fn the_current_validator_gets_a_304_without_a_body_and_another_one_does_not() {
    let ask = |tag| ask(&catalogue(), "GET", "/api/products/42", &[("if-none-match", tag)], "");
    for current in ["\"p42-v1\"", "W/\"p42-v1\"", "\"other\", \"p42-v1\"", "*"] {
        let answer = ask(current);
        assert_eq!(answer.status(), 304, "{current}");
        assert!(answer.body().is_empty());
        assert_eq!(field(&answer, "etag"), Some("\"p42-v1\""));
    }
    assert_eq!(ask("\"p42-v2\"").status(), 200);
}

#[test]
fn a_put_changes_the_price_and_the_validator_of_that_product_alone() {
    let catalogue = catalogue();
    let before = ask(&catalogue, "GET", "/api/products", &[], "");
    let put = ask(&catalogue, "PUT", "/api/products/7", &[], r#"{"price": 99}"#);
    assert_eq!(put.status(), 200);
    let changed = ask(&catalogue, "GET", "/api/products/7", &[], "");
    assert_eq!(field(&changed, "etag"), Some("\"p7-v2\""));
    assert_eq!(serde_json::from_slice::<Value>(changed.body()).unwrap()["price"], 99);
    let other = ask(&catalogue, "GET", "/api/products/8", &[], "");
    assert_eq!(field(&other, "etag"), Some("\"p8-v1\""));
    let after = ask(&catalogue, "GET", "/api/products", &[], "");
    assert_ne!(before.headers()["etag"], after.headers()["etag"]);
}

#[test]
fn a_posted_review_shows_in_the_reviews_which_leave_their_lifetime_to_the_proxy() {
    let catalogue = catalogue();
    let before = ask(&catalogue, "GET", "/api/products/7/reviews", &[], "");
    assert_eq!(field(&before, "cache-control"), None);
    assert_eq!(ask(&catalogue, "POST", "/api/products/7/reviews", &[], "{}").status(), 201);
    let after = ask(&catalogue, "GET", "/api/products/7/reviews", &[], "");
    assert_ne!(before.headers()["etag"], after.headers()["etag"]);
}

#[test]
fn search_varies_by_language_and_the_overview_by_encoding() {
    let german = ask(&catalogue(), "GET", "/api/search?q=mill", &[("accept-language", "de-CH, en;q=0.5")], "");
    assert_eq!(field(&german, "vary"), Some("accept-language"));
    let language =
        |answer: &Response<Bytes>| serde_json::from_slice::<Value>(answer.body()).unwrap()["language"].clone();
    assert_eq!(language(&german), "de");
    assert_eq!(language(&get("/api/search?q=mill")), "en");
    assert_eq!(field(&get("/api/products"), "vary"), Some("accept-encoding"));
}

#[test]
fn the_cart_is_private_and_health_and_errors_are_not_stored() {
    assert_eq!(field(&get("/api/cart"), "cache-control"), Some("private, no-store"));
    for (uri, status) in [
        ("/health", 200),
        ("/nothing", 404),
        ("/api/products/501", 404),
        ("/api/products/0", 404),
        ("/api/search", 400),
    ] {
        let answer = get(uri);
        assert_eq!(answer.status(), status, "{uri}");
        assert_eq!(field(&answer, "cache-control"), Some("no-store"), "{uri}");
    }
}

#[test]
fn a_method_that_a_resource_does_not_take_is_refused_with_the_list_of_those_it_takes() {
    let refused = ask(&catalogue(), "DELETE", "/api/products/1", &[], "");
    assert_eq!(refused.status(), 405);
    assert_eq!(field(&refused, "allow"), Some("GET, HEAD, PUT"));
    assert_eq!(ask(&catalogue(), "PUT", "/api/products/1", &[], "not json").status(), 400);
}
