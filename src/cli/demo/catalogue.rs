//! The catalogue that the built-in origin serves: what each path answers, without sockets or
//! delays. It shows each thing a cache must get right: validators, `Vary`, surrogate tags, private
//! answers, and writes that change what a later read returns.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::RwLock;
use serde_json::{Value, json};

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// Products have the ids 1 to this.
pub(super) const PRODUCTS: u32 = 500;

/// Products on the overview page.
const PAGE: u32 = 20;

/// Products that every search finds.
const FOUND: u32 = 5;

/// Products, their reviews, and the size and lifetime of answers.
pub(super) struct Catalogue {
    /// What writes changed; every other product is as it was made.
    changed: RwLock<HashMap<u32, Product>>,
    body_bytes: usize,
    max_age: Duration,
}

/// The part of a product that can change.
#[derive(Clone, Copy)]
struct Product {
    version: u32,
    price: u64,
    reviews: u32,
}

impl Product {
    fn original(id: u32) -> Self {
        Self { version: 1, price: 1_000 + u64::from(id) * 25, reviews: 3 }
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
enum Resource {
    Products,
    Product(u32),
    Reviews(u32),
    Search,
    Cart,
    Health,
}

impl Resource {
    fn of(path: &str) -> Option<Self> {
        let product = |text: &str| text.parse().ok().filter(|id| (1..=PRODUCTS).contains(id));
        match path {
            "/api/products" => Some(Self::Products),
            "/api/search" => Some(Self::Search),
            "/api/cart" => Some(Self::Cart),
            "/health" => Some(Self::Health),
            _ => {
                let rest = path.strip_prefix("/api/products/")?;
                match rest.strip_suffix("/reviews") {
                    Some(id) => product(id).map(Self::Reviews),
                    None => product(rest).map(Self::Product),
                }
            }
        }
    }

    /// The methods it takes, as an `Allow` field lists them.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Product(_) => "GET, HEAD, PUT",
            Self::Reviews(_) => "GET, HEAD, POST",
            Self::Products | Self::Search | Self::Cart | Self::Health => "GET, HEAD",
        }
    }
}

impl Catalogue {
    /// A catalogue whose bodies have at least `body_bytes` bytes and whose products are fresh for `max_age`.
    pub(super) fn new(body_bytes: usize, max_age: Duration) -> Self {
        Self { changed: RwLock::default(), body_bytes, max_age }
    }

    /// Answers one request.
    pub(super) fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        let Some(resource) = Resource::of(path) else {
            return problem(StatusCode::NOT_FOUND, "there is nothing at this path");
        };
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match resource {
            Resource::Product(id) if request.method() == Method::PUT => self.change(id, request.body()),
            Resource::Reviews(id) if request.method() == Method::POST => self.review(id),
            _ if !read => {
                let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "see Allow");
                refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.methods()));
                refusal
            }
            _ => conditional(request.headers(), self.read(&resource, request)),
        }
    }

    fn read(&self, resource: &Resource, request: &Request<Bytes>) -> Response<Bytes> {
        match *resource {
            Resource::Products => {
                let items: Vec<Value> = (1..=PAGE).map(|id| self.json(id)).collect();
                let etag = format!("\"list-v{}\"", self.revision(PAGE));
                // A server that can compress says so even where it did not.
                self.page(json!({ "products": items }), &etag, "catalogue", Some("accept-encoding"))
            }
            Resource::Product(id) => {
                let etag = format!("\"p{id}-v{}\"", self.product(id).version);
                self.page(self.json(id), &etag, &format!("catalogue product:{id}"), None)
            }
            Resource::Reviews(id) => {
                let reviews = self.product(id).reviews;
                let list: Vec<Value> = (1..=reviews).map(|n| json!({ "review": n, "stars": 1 + n % 5 })).collect();
                let etag = format!("\"r{id}-n{reviews}\"");
                let mut page =
                    self.page(json!({ "product": id, "reviews": list }), &etag, &format!("product:{id}"), None);
                // The proxy's own `ttl` decides where the origin says nothing.
                page.headers_mut().remove(CACHE_CONTROL);
                page
            }
            Resource::Search => self.search(request),
            Resource::Cart => {
                let mut page = self.page(json!({ "cart": [] }), "", "", None);
                page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
                page
            }
            Resource::Health => problem(StatusCode::OK, "healthy"),
        }
    }

    fn search(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let query = request.uri().query().unwrap_or_default();
        let term = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "q").map(|(_, value)| value);
        let Some(term) = term else {
            return problem(StatusCode::BAD_REQUEST, "search needs a term: /api/search?q=...");
        };
        let wanted = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("en");
        let language = if wanted.trim_start().starts_with("de") { "de" } else { "en" };
        let found: Vec<Value> = (1..=FOUND).map(|id| self.json(id)).collect();
        let etag = format!("\"s-{language}-v{}\"", self.revision(FOUND));
        let body = json!({ "q": term, "language": language, "products": found });
        self.page(body, &etag, "catalogue", Some("accept-language"))
    }

    fn change(&self, id: u32, body: &[u8]) -> Response<Bytes> {
        let price = serde_json::from_slice::<Value>(body).ok().and_then(|value| value.get("price")?.as_u64());
        let Some(price) = price else {
            return problem(StatusCode::BAD_REQUEST, "send a JSON object with a whole number as `price`");
        };
        self.update(id, |product| {
            product.version += 1;
            product.price = price;
        });
        json_response(StatusCode::OK, &self.json(id))
    }

    fn review(&self, id: u32) -> Response<Bytes> {
        self.update(id, |product| product.reviews += 1);
        let mut created = json_response(StatusCode::CREATED, &json!({ "reviews": self.product(id).reviews }));
        if let Ok(location) = HeaderValue::from_str(&format!("/api/products/{id}/reviews")) {
            created.headers_mut().insert(LOCATION, location);
        }
        created
    }

    fn product(&self, id: u32) -> Product {
        self.changed.read().get(&id).copied().unwrap_or_else(|| Product::original(id))
    }

    fn update(&self, id: u32, change: impl FnOnce(&mut Product)) {
        change(self.changed.write().entry(id).or_insert_with(|| Product::original(id)));
    }

    /// A number that changes with each change of the first `count` products.
    fn revision(&self, count: u32) -> u32 {
        (1..=count).map(|id| self.product(id).version).sum()
    }

    fn json(&self, id: u32) -> Value {
        let product = self.product(id);
        json!({ "id": id, "name": format!("Product {id}"), "price": product.price, "version": product.version })
    }

    /// A cacheable answer with its validator and tags, padded to the configured size. An empty
    /// `etag` or `tags` leaves the field out.
    fn page(&self, mut body: Value, etag: &str, tags: &str, vary: Option<&'static str>) -> Response<Bytes> {
        const PADDING_FIELD: usize = r#","about":"""#.len();
        let missing = self.body_bytes.saturating_sub(body.to_string().len() + PADDING_FIELD);
        body["about"] = Value::String("Lorem ipsum dolor sit amet. ".chars().cycle().take(missing).collect());
        let mut response = json_response(StatusCode::OK, &body);
        let lifetime = format!("public, max-age={}", self.max_age.as_secs());
        for (name, value) in [(CACHE_CONTROL, lifetime.as_str()), (ETAG, etag), (SURROGATE_KEY, tags)] {
            if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        if let Some(field) = vary {
            response.headers_mut().insert(VARY, HeaderValue::from_static(field));
        }
        response
    }
}

/// RFC 9110 section 13.1.2: a GET whose `If-None-Match` names the current validator gets a 304.
fn conditional(request: &HeaderMap, mut response: Response<Bytes>) -> Response<Bytes> {
    let Some(current) = response.headers().get(ETAG).and_then(|value| value.to_str().ok()) else { return response };
    let held = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // The comparison is weak: `W/` does not count (RFC 9110 section 8.8.3.2).
    let matches = held.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || opaque == current
    });
    if matches {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        response.body_mut().clear();
    }
    response
}

/// A short answer that nobody may store.
pub(super) fn problem(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = json_response(status, &json!({ "status": status.as_u16(), "detail": text }));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
