//! A Redis in every kind of trouble.

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;

use super::lasting;

#[tokio::test]
async fn g1_a_frozen_redis_costs_a_miss_no_more_than_its_budget() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |_| lasting("v"));
    let section = format!("[redis]\nurl = '{}'\n[invalidation]\nheartbeat = '100ms'\n", redis.url());
    let one = Proxy::start(&origin).section(&section).await;
    one.is_synced(true).await;
    redis.freeze();
    for i in 0..30 {
        let answer = one.client().get(&format!("/?{i}")).send().await;
        assert_eq!(answer.status, 200);
    }
    redis.thaw();
    one.is_synced(true).await;
}
