//! Requests that offer to leave HTTP, on connections in memory.

use std::time::Duration;

use crate::listener::tests::{GET, Served};

#[tokio::test(start_paused = true)]
async fn f20_bytes_behind_an_upgrade_wait_for_the_101() {
    let mut served = Served::new();
    served.send("GET /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
    served.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.settle().await;
    assert_eq!(served.answers.seen(), ["GET /switch"]);
    served.answers.go.notify_one();
    assert!(served.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    // The bytes reach the tunnel, not the handler, and no rule of HTTP holds for them any more.
    served.read_to("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.send("\0\n").await;
    served.read_to("\0\n").await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    served.send("late").await;
    served.read_to("late").await;
    assert_eq!(served.answers.seen(), ["GET /switch"]);
}

#[tokio::test(start_paused = true)]
async fn f20_bytes_behind_a_declined_upgrade_are_the_next_request() {
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").await;
    served.send(GET).await;
    served.send("GET / HTTP/1.1\n\n").await;
    served.settle().await;
    assert_eq!(served.answers.seen(), ["GET /slow"]);
    served.answers.go.notify_one();
    let answers = served.rest().await;
    assert_eq!(answers.matches("200 OK").count(), 2, "{answers}");
    assert!(answers.ends_with("bare-line-feed"), "{answers}");
    assert_eq!(served.answers.seen(), ["GET /slow", "GET /"]);
}

#[tokio::test(start_paused = true)]
async fn f20_a_client_that_leaves_while_its_upgrade_is_undecided_frees_the_handler() {
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nheld").await;
    served.settle().await;
    assert_eq!(served.metrics.in_flight.get(), 1);
    drop(served.client);
    served.task.await.unwrap();
    assert_eq!(served.metrics.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn f20_the_body_of_an_upgrade_is_no_part_of_the_other_protocol() {
    let head = "PUT /switch HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\n";
    let mut served = Served::new();
    served.send(head).await;
    served.settle().await;
    served.send("bodyfirst").await;
    served.answers.go.notify_one();
    assert!(served.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    assert_eq!(served.read_to("first").await, "first");
    // Half a body is followed by nothing that could be told from its other half.
    let mut served = Served::new();
    served.send(head).await;
    served.settle().await;
    served.send("bo").await;
    served.answers.go.notify_one();
    assert!(served.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    served.send("dyfirst").await;
    assert_eq!(served.rest().await, "");
}
