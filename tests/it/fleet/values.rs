//! What stands in Redis, and what does not deserve to be read from there.

use std::time::Duration;

use crate::support::origin::{Origin, RawScript};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::soon;
use crate::support::wire::Wire;

use super::{ask_all, body, instance, instance_at, instances, lasting, section, stored};

#[tokio::test]
async fn what_one_instance_has_fetched_the_others_read_from_redis() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let big = "x".repeat(100_000);
    origin.set("/a", lasting(&big).header("vary", "accept-language").header("etag", "\"1\""));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let ask = async |proxy: &Proxy, language: &'static str| {
        proxy.client().get("/a").header("host", "h").header("accept-language", language).send().await
    };
    for (count, language) in [(1, "de"), (2, "en")] {
        assert_eq!(ask(&one, language).await.text(), big);
        stored(&one, count).await;
    }
    for language in ["de", "en"] {
        let answer = ask(&two, language).await;
        assert_eq!((answer.text(), answer.cache_status().hit), (&*big, true), "{language}");
        assert_eq!(answer.cache_status().detail.as_deref(), Some("l2"), "{language}");
        assert_eq!(answer.header("etag").as_deref(), Some("\"1\""));
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn an_instance_that_starts_finds_what_is_in_redis_for_its_first_client() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    body(&one).await;
    stored(&one, 1).await;
    let newcomer = Proxy::start(&origin).section(&section(&redis.url())).await;
    let answer = newcomer.client().get("/a").header("host", "h").send().await;
    assert_eq!(answer.cache_status().detail.as_deref(), Some("l2"));
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn responses_that_are_looked_up_by_a_body_are_shared_and_purged_like_others() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/a", |request| lasting(&String::from_utf8_lossy(&request.body)));
    let rules = "key = { body = { methods = ['POST'], normalise_json = true } }";
    let fleet = instances(2, &origin, &redis, rules).await;
    let ask = async |proxy: &Proxy, body: &'static str| {
        let ask = proxy.client().ask("POST", "/a").header("host", "h").header("content-type", "application/json");
        ask.body(body).send().await
    };
    for (count, body) in [(1, "[1]"), (2, "[2]")] {
        ask(&fleet[0], body).await;
        stored(&fleet[0], count).await;
    }
    for (body, text) in [("[1]", "[1]"), ("[ 2 ]", "[2]")] {
        let answer = ask(&fleet[1], body).await;
        assert_eq!((answer.text(), answer.cache_status().detail.as_deref()), (text, Some("l2")));
    }
    fleet[0].purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    for (count, body) in [(1, "[1]"), (2, "[2]")] {
        assert!(!ask(&fleet[1], body).await.cache_status().hit, "{body}");
        stored(&fleet[1], count).await;
    }
    assert_eq!(origin.hits("/a"), 4);
    assert!(ask(&fleet[0], "[1]").await.cache_status().hit, "what was fetched since");
}

#[tokio::test]
async fn a_purge_by_an_instance_that_never_saw_the_response_removes_what_is_good_for_its_url() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/a", |request| lasting(&request.target).header("no-vary-search", "params"));
    let fleet = instances(2, &origin, &redis, "key = { no_vary_search = true }").await;
    let ask = async |proxy: &Proxy, target: &str| proxy.client().get(target).header("host", "h").send().await;
    ask(&fleet[0], "/a?b=1").await;
    stored(&fleet[0], 1).await;
    assert!(ask(&fleet[0], "/a?b=2").await.cache_status().hit);
    fleet[1].purge(r#"{"url": "http://h/a?b=3", "wait": "5s"}"#).await;
    assert!(!ask(&fleet[0], "/a?b=2").await.cache_status().hit);
    // The copy in Redis is refused as well, by both.
    for proxy in &fleet[1..] {
        assert!(!ask(proxy, "/a?b=1").await.cache_status().hit);
    }
}

#[tokio::test]
async fn parts_stay_where_they_are_and_the_whole_made_of_them_is_shared() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/a", |request| {
        let reply = lasting("").header("etag", "\"1\"");
        match request.header("range").as_deref() {
            Some("bytes=0-1") => reply.status(206).header("content-range", "bytes 0-1/5").body("he"),
            Some("bytes=2-") => reply.status(206).header("content-range", "bytes 2-4/5").body("llo"),
            other => panic!("nobody needs {other:?}"),
        }
    });
    let fleet = instances(2, &origin, &redis, "ranges = 'as-asked'").await;
    let part = async |proxy: &Proxy| {
        let answer = proxy.client().get("/a").header("host", "h").header("range", "bytes=0-1").send().await;
        (answer.status, answer.text().to_owned(), answer.cache_status().hit)
    };
    for proxy in &fleet {
        assert_eq!(part(proxy).await, (206, "he".to_owned(), false));
        assert_eq!(part(proxy).await, (206, "he".to_owned(), true));
    }
    assert_eq!((origin.hits("/a"), redis.keys("*:v:-").await.len()), (2, 0));
    assert_eq!(body(&fleet[0]).await, "hello");
    stored(&fleet[0], 1).await;
    assert_eq!(body(&fleet[1]).await, "hello");
    assert_eq!(origin.hits("/a"), 3);
}

#[tokio::test]
async fn d11_what_is_stored_between_the_script_and_the_read_behind_it_spares_the_fetch() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance_at(&origin, &wire.redis_url()).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    // It stays in Redis, where it has less time left than the next will have.
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
    let key = redis.keys("*:v:-").await.remove(0);
    redis.ask(&format!("PEXPIRE {key} 60000")).await;
    let looks = async || {
        let stats = redis.ask("INFO commandstats").await;
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls=")).unwrap_or("0,");
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = looks().await;
    // The command, and not the text of the script.
    wire.hold(Some("GETRANGE\r\n"));
    let asked = async { body(&two).await };
    let meanwhile = async {
        soon("the script to run", async { while looks().await == before {} }).await;
        assert_eq!(body(&one).await, "v2");
        stored(&one, 2).await;
        wire.hold(None);
    };
    assert_eq!(tokio::join!(asked, meanwhile).0, "v2");
    assert_eq!((origin.hits("/a"), two.metric("l2_faults_total").await), (2, 0));
}

#[tokio::test]
async fn damaged_and_foreign_values_are_misses() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    let keys = redis.ask("KEYS *:v:-").await;
    let key = keys.lines().last().unwrap().to_owned();
    for commands in [
        &["SET K nonsense PX 60000"][..],
        &["SET K nonsense"],
        &["DEL K", "LPUSH K a"],
        &["SET K \"\" PX 60000"],
        // A bit of the body or of the metadata, and the end.
        &["SETRANGE K 60 ~"],
        &["APPEND K x"],
    ] {
        for command in commands {
            redis.ask(&command.replace('K', &key)).await;
        }
        let command = commands[0];
        let fresh = instance(&origin, &redis).await;
        let before = origin.hits("/a");
        assert_eq!(body(&fresh).await, "v1", "{command}");
        assert_eq!(origin.hits("/a"), before + 1, "{command}");
        stored(&fresh, 1).await;
    }
}

#[tokio::test]
async fn f16_a_value_planted_under_another_key_is_refused() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("a"));
    origin.set("/b", lasting("b"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "a");
    stored(&one, 1).await;
    let of_a = redis.keys("*:v:-").await.remove(0);
    assert_eq!(one.client().get("/b").header("host", "h").send().await.text(), "b");
    stored(&one, 2).await;
    let of_b = redis.keys("*:v:-").await.into_iter().find(|key| *key != of_a).unwrap();
    redis.ask(&format!("COPY {of_a} {of_b} REPLACE")).await;
    assert_eq!(two.client().get("/b").header("host", "h").send().await.text(), "b");
    assert_eq!(two.metric("l2_damaged_total{kind=\"wrong-key\"}").await, 1);
}

#[tokio::test]
async fn a16_a_value_of_another_version_is_a_miss_on_both_sides_of_an_upgrade() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    let key = redis.keys("*:v:-").await.remove(0);
    redis.ask(&format!("SETRANGE {key} 4 \"\\x09\"")).await;
    assert_eq!((body(&two).await, origin.hits("/a")), ("v1".into(), 2));
    assert_eq!(two.metric("l2_damaged_total{kind=\"version\"}").await, 1);
    // What this version has written over it is good for the next reader of this version.
    stored(&two, 1).await;
    let three = instance(&origin, &redis).await;
    assert_eq!((body(&three).await, origin.hits("/a")), ("v1".into(), 2));
}

#[tokio::test]
async fn a_value_of_512_mib_is_not_even_read() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    let key = redis.keys("*:v:-").await.remove(0);
    redis.ask(&format!("SETRANGE {key} 536870911 x")).await;
    assert_eq!((body(&two).await, origin.hits("/a")), ("v1".into(), 2));
    stored(&two, 1).await;
    assert!(redis.ask(&format!("STRLEN {key}")).await.len() < 8, "it was replaced");
    assert_eq!(two.metric("l2_damaged_total{kind=\"too-large\"}").await, 1);
}

#[tokio::test]
async fn a10_a_purge_by_url_deletes_every_variant_in_redis() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1").header("vary", "accept-language"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    for (count, language) in [(1, "de"), (2, "en"), (3, "fr")] {
        let ask = one.client().get("/a").header("host", "h").header("accept-language", language);
        ask.send().await;
        stored(&one, count).await;
    }
    assert_eq!(redis.keys("*:v:*").await.len(), 4, "three variants, and what tells them apart");
    two.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    soon("the deletes", async { while !redis.keys("*:v:*").await.is_empty() {} }).await;
}

#[tokio::test]
async fn a11_ordinary_fills_say_nothing_on_the_channel() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |_| lasting("v"));
    let fleet = instances(4, &origin, &redis, "").await;
    for (number, proxy) in fleet.iter().enumerate() {
        for page in 0..5 {
            proxy.client().get(&format!("/?{number}-{page}")).header("host", "h").send().await;
        }
        stored(proxy, 5).await;
    }
    let report = fleet[0].purge(r#"{"tag": "nobody", "wait": "5s"}"#).await;
    assert_eq!(report["seq"], 1, "nothing came before it");
}

/// Makes every response in Redis five seconds older.
async fn age(redis: &Redis) {
    for key in redis.keys("*:v:*").await {
        let left: u64 = redis.ask(&format!("PTTL {key}")).await.trim_start_matches(':').trim().parse().unwrap();
        redis.ask(&format!("PEXPIRE {key} {}", left - 5_000)).await;
    }
}

#[tokio::test]
async fn g2_what_only_the_fleet_holds_stands_in_for_an_origin_that_fails() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply = lasting("v1").header("cache-control", "max-age=1, stale-if-error=600");
    origin.set("/a", reply);
    let fleet = instances(2, &origin, &redis, "").await;
    assert_eq!(body(&fleet[0]).await, "v1");
    stored(&fleet[0], 1).await;
    age(&redis).await;
    origin.fail("/a", 503);
    let gate = origin.hold("/a");
    let clients = ask_all(&fleet[1..], 20).await;
    gate.arrived(1).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v1", "the same for all who wait");
    }
    assert_eq!((body(&fleet[1]).await, origin.hits("/a")), ("v1".into(), 2), "and for who comes a moment later");
    fleet[1].pass(Duration::from_secs(1));
    assert_eq!((body(&fleet[1]).await, origin.hits("/a")), ("v1".into(), 3), "then the origin is asked again");
}

#[tokio::test]
async fn a2_what_was_purged_while_the_origin_failed_is_not_stored_to_stand_in_for_it() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1").header("cache-control", "max-age=1, stale-if-error=600"));
    let fleet = instances(2, &origin, &redis, "").await;
    assert_eq!(body(&fleet[0]).await, "v1");
    stored(&fleet[0], 1).await;
    age(&redis).await;
    origin.raw("/a", RawScript::close);
    let gate = origin.hold("/a");
    let asked = fleet[1].client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    fleet[1].purge(r#"{"all": true, "wait": "5s"}"#).await;
    gate.release();
    let _ = asked.rest().await;
    assert_eq!(fleet[1].metric("l1_entries").await, 0);
}

#[tokio::test]
async fn redis_has_the_stored_form_alone_and_every_instance_makes_the_forms_that_its_clients_want() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let text = "0123456789".repeat(1_000);
    let vary = "accept-encoding";
    origin.set("/a", lasting(&text).header("content-type", "text/plain").header("etag", "\"1\"").header("vary", vary));
    let fleet = instances(2, &origin, &redis, "compress = ['br', 'gzip']").await;
    let ask = async |proxy: &Proxy, coding: &'static str| {
        proxy.client().get("/a").header("host", "h").header("accept-encoding", coding).send().await
    };
    assert_eq!(ask(&fleet[0], "gzip").await.text(), text);
    stored(&fleet[0], 1).await;
    let found = ask(&fleet[1], "br").await;
    assert_eq!((found.text(), found.cache_status().detail.as_deref()), (&*text, Some("l2")));
    for (proxy, coding, tag) in [(&fleet[0], "gzip", "\"1-gzip\""), (&fleet[1], "br", "\"1-br\"")] {
        let coded = async {
            loop {
                let answer = ask(proxy, coding).await;
                if answer.header("content-encoding").is_some() {
                    return answer;
                }
            }
        };
        let answer = soon("a coded form", coded).await;
        assert_eq!(
            (answer.header("content-encoding").as_deref(), answer.header("etag").as_deref()),
            (Some(coding), Some(tag))
        );
        assert_eq!(answer.header("vary").as_deref(), Some(vary));
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn d9_variants_that_only_the_fleet_holds_cost_a_failing_origin_one_request_each() {
    const VARIANTS: usize = 8;
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply =
        lasting("v1").header("cache-control", "max-age=1, stale-if-error=600").header("vary", "accept-language");
    origin.set("/a", reply);
    let fleet = instances(2, &origin, &redis, "").await;
    let ask = |proxy: &Proxy, number: usize| {
        proxy.client().get("/a").header("host", "h").header("accept-language", &format!("l{number}"))
    };
    for number in 0..VARIANTS {
        assert_eq!(ask(&fleet[0], number).send().await.text(), "v1");
    }
    stored(&fleet[0], VARIANTS as u64).await;
    age(&redis).await;
    origin.fail("/a", 503);
    let before = origin.hits("/a");
    let gate = origin.hold("/a");
    let mut clients = Vec::new();
    for _ in 0..10 {
        for number in 0..VARIANTS {
            clients.push(ask(&fleet[1], number).start().await);
        }
    }
    fleet[1].answering(10 * VARIANTS as u64).await;
    gate.arrived(1).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v1");
    }
    let asked = origin.hits("/a") - before;
    assert!(asked <= VARIANTS + 1, "{asked} requests");
}
