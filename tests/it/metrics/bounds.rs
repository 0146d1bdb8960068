//! Trap F25: labels are bounded, whatever clients send.

use super::{main_route, scrape};
use crate::support::origin::Origin;

#[tokio::test]
async fn f25_odd_hosts_methods_and_paths_make_no_series() {
    let origin = Origin::start().await;
    let proxy = main_route(&origin).await;
    let client = proxy.client();
    let mut connection = client.connect().await;
    let before = scrape(&proxy).await;
    for number in 0..1_000 {
        let ask = client.ask(&format!("ODD{number}"), &format!("/odd/{number}?token=secret{number}"));
        let answer = connection.send(ask.header("host", &format!("odd{number}.test"))).await.unwrap();
        assert_eq!(answer.status, 404);
    }
    let after = scrape(&proxy).await;
    assert_eq!(after.names(), before.names());
    let (passed, unsafe_) =
        ("requests_total{outcome=\"pass\",route=\"main\"}", "passed_total{reason=\"unsafe-method\",route=\"main\"}");
    assert_eq!((after.value(passed), after.value(unsafe_)), (1_000, 1_000));
    assert!(!after.names().iter().any(|name| name.contains("odd") || name.contains("secret")));
}
