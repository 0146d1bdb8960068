//! Origins that break the rules, or keep to them in unusual ways.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use millpond::config::OriginConfig;
use millpond::origin::{RequestBody, UploadError};
use millpond::reason::OriginFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{LATER, OK, Peer, SOON, Subject, channel, config, full, listen, request, soon, text};

/// A response whose parts arrive one by one.
async fn in_parts(parts: &[&str]) -> Result<(String, bool), OriginFault> {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let client = async {
        let collected = subject.get().await?.into_body().collect().await?;
        let trailers = collected.trailers().is_some_and(|trailers| trailers.contains_key("x-sum"));
        Ok((String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers))
    };
    let origin = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        peer.0.set_nodelay(true).unwrap();
        for part in parts {
            // The client may have had enough.
            if peer.0.write_all(part.as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        peer
    };
    let (answer, _peer) = tokio::join!(client, origin);
    subject.assert_idle_after(answer.as_ref().err().map_or(&[], std::slice::from_ref));
    answer
}

#[tokio::test]
async fn a_response_may_arrive_byte_by_byte() {
    for response in [
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nx-sum: 1\r\n\r\n",
    ] {
        let bytes: Vec<String> = response.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        let (body, trailers) = in_parts(&bytes).await.unwrap();
        assert_eq!((body.as_str(), trailers), ("hello", response.contains("x-sum")));
    }
}

#[tokio::test]
async fn chunks_of_all_legal_forms_are_understood() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "5\r\nhello\r\n0\r\n\r\n",
        "0005\r\nhello\r\n0;last\r\n\r\n",
        "5;name=value;other=\"quoted text\"\r\nhello\r\n0\r\n\r\n",
        // Servers that write sizes of one width.
        "5  \r\nhello\r\n0  \r\n\r\n",
        "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n",
    ] {
        assert_eq!(in_parts(&[head, chunks]).await, Ok(("hello".into(), false)), "{chunks:?}");
        let whole = format!("{head}{chunks}");
        assert_eq!(in_parts(&[&whole]).await, Ok(("hello".into(), false)), "{chunks:?}");
    }
}

#[tokio::test]
async fn f2_chunks_that_two_parsers_could_read_differently_are_a_protocol_fault() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = format!("1;{}\r\na\r\n", "x".repeat(1 << 20));
    for chunks in [
        "x\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nfolded: a\r\n b\r\n\r\n",
        "0\r\ncontent-length: 5\r\n\r\n",
        &long,
    ] {
        assert_eq!(in_parts(&[head, chunks]).await, Err(OriginFault::Protocol), "{chunks:.40}");
    }
}

#[tokio::test]
async fn f3_a_second_response_in_the_bytes_of_the_first_reaches_nobody() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for first in [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let (listener, at) = listen().await;
        let subject = Subject::at(at);
        let (answer, mut peer) = tokio::join!(async { text(subject.get().await?).await }, async {
            let mut peer = Peer::accept(&listener).await;
            peer.answer(&format!("{first}{poison}")).await;
            peer
        });
        assert!(!answer.unwrap().contains("poison"));
        peer.closed().await;
        let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
        assert_eq!(text(answer.unwrap()).await.unwrap(), "ok", "{first:?}");
    }
}

#[tokio::test]
async fn f3_what_came_before_the_request_is_not_its_answer_even_if_the_runtime_has_not_heard_of_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let subject = Subject::at(listener.local_addr().unwrap());
    let ((poison, poisoned), (said, says)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let origin = std::thread::spawn(move || {
        let answer = |peer: &mut std::net::TcpStream| {
            assert!(peer.read(&mut [0; 1024]).unwrap() > 0);
            peer.write_all(OK.as_bytes()).unwrap();
        };
        let (mut first, _) = listener.accept().unwrap();
        answer(&mut first);
        poisoned.recv().unwrap();
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").unwrap();
        said.send(()).unwrap();
        answer(&mut listener.accept().unwrap().0);
    });
    assert_eq!(text(subject.get().await.unwrap()).await.unwrap(), "ok");
    // This thread is the whole runtime: it hears of nothing meanwhile.
    poison.send(()).unwrap();
    says.recv().unwrap();
    assert_eq!(text(subject.get().await.unwrap()).await.unwrap(), "ok");
    origin.join().unwrap();
}

#[tokio::test]
async fn an_origin_may_refuse_an_upload_and_close_before_it_has_read_it() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    let (answer, ()) = tokio::join!(subject.post(full(vec![0; 64 << 20])), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(refusal).await;
        // What the client has sent by now stays unread, and is never asked for.
        tokio::time::sleep(SOON).await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(text(answer).await.unwrap(), "no");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn what_is_left_of_an_upload_is_sent_while_its_response_is_read() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (pieces, body) = channel();
    let (answer, mut peer) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    // Each piece is echoed before the next one is sent.
    for piece in ["one", "three"] {
        pieces.send(Ok(piece.into())).unwrap();
        let echo = async {
            peer.until(&format!("{piece}\r\n")).await;
            peer.say(&format!("{}\r\n{piece}\r\n", piece.len())).await;
        };
        let (frame, ()) = soon("echo", async { tokio::join!(body.frame(), echo) }).await;
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(pieces);
    let (rest, ()) = tokio::join!(body.collect(), async {
        peer.until("0\r\n\r\n").await;
        peer.say("0\r\n\r\n").await;
    });
    assert!(rest.unwrap().to_bytes().is_empty());
    // Both are complete, so the connection is good for another request.
    let (answer, _) = tokio::join!(subject.get(), peer.answer(OK));
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn an_upload_that_breaks_off_behind_the_head_of_its_response_ends_that() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (pieces, body) = channel();
    let (answer, mut peer) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
    pieces.send(Err("the client went away".into())).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), OriginFault::RequestBody);
    peer.closed().await;
    subject.assert_idle_after(&[OriginFault::RequestBody]);
}

#[tokio::test]
async fn an_answer_that_has_come_counts_even_if_the_upload_breaks_off_at_the_same_moment() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (broken, mut first) = (Arc::new(AtomicBool::new(false)), Some(Frame::data(Bytes::from_static(b"part"))));
    let seen = Arc::clone(&broken);
    // It wakes nobody when it breaks: that shows when the answer does.
    let frames = stream::poll_fn(move |_| match first.take() {
        Some(frame) => Poll::Ready(Some(Ok(frame))),
        None if seen.load(Relaxed) => Poll::Ready(Some(Err(UploadError::from("the client went away")))),
        None => Poll::Pending,
    });
    let body = RequestBody::Streaming(Box::pin(StreamBody::new(frames)));
    let (answer, mut peer) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        peer.until("part\r\n").await;
        broken.store(true, Relaxed);
        peer.say(OK).await;
        peer
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    peer.closed().await;
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn a_head_without_end_is_a_protocol_fault() {
    let line = format!("x: {}\r\n", "y".repeat(8 << 10));
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &line.repeat(64);
    let many = "HTTP/1.1 200 OK\r\n".to_owned() + &"x: y\r\n".repeat(101);
    for head in [endless, many] {
        let (listener, at) = listen().await;
        let subject = Subject::at(at);
        let (answer, ()) = tokio::join!(subject.get(), async {
            let mut peer = Peer::accept(&listener).await;
            peer.head().await;
            let _ = peer.0.write_all(head.as_bytes()).await;
            peer.closed().await;
        });
        assert_eq!(answer.unwrap_err(), OriginFault::Protocol);
        subject.assert_idle_after(&[OriginFault::Protocol]);
    }
}

#[tokio::test]
async fn interim_responses_without_end_do_not_put_off_the_time_out() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { first_byte_timeout: LATER, ..config(at) });
    let (answer, ()) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        while peer.0.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(answer.unwrap_err(), OriginFault::FirstByteTimeout);
}

#[tokio::test]
async fn a_time_out_holds_on_a_connection_that_another_task_has_used() {
    let (listener, at) = listen().await;
    let limit = LATER;
    let limits = OriginConfig { first_byte_timeout: limit, between_bytes_timeout: limit, ..config(at) };
    let subject = Subject::new(limits);
    // The first answer takes a while, so that the timer of the connection runs for that task.
    let first = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    tokio::time::sleep(SOON).await;
    peer.say(OK).await;
    let answer = first.await.unwrap().unwrap();
    assert_eq!(text(answer).await.unwrap(), "ok");
    // The head comes, the body does not, and it is read by a third task.
    let second = subject.spawn_get();
    peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
    let answer = second.await.unwrap().unwrap();
    let third = tokio::spawn(text(answer));
    assert_eq!(soon("time-out", third).await.unwrap().unwrap_err(), OriginFault::BetweenBytesTimeout);
    peer.closed().await;
}

#[tokio::test]
async fn a_connection_that_the_origin_closes_while_it_is_idle_is_closed_here_too() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, ..config(at) });
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    text(answer.unwrap()).await.unwrap();
    peer.0.shutdown().await.unwrap();
    // Without any further request.
    peer.closed().await;
    let (answer, ()) = tokio::join!(subject.post(full("x")), async {
        let mut peer = Peer::accept(&listener).await;
        peer.until("\r\n\r\nx").await;
        peer.say(OK).await;
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    assert_eq!(subject.metrics.retries.get(), 0);
}

#[tokio::test]
async fn an_old_origin_keeps_its_connection_only_if_it_says_so() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let kept = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok";
    let (answer, mut peer) = tokio::join!(async { text(subject.get().await?).await }, async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(kept).await;
        peer
    });
    assert_eq!(answer.unwrap(), "ok");
    let ended = "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (answer, _) = tokio::join!(async { text(subject.get().await?).await }, peer.answer(ended));
    assert_eq!(answer.unwrap(), "ok");
    peer.closed().await;
}

#[tokio::test]
async fn a_large_body_arrives_whole_and_nothing_behind_it() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let large: Vec<u8> = (0..3_000_017_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for (behind, reused) in [("", true), ("HTTP/1.1 200 OK\r\n\r\npoison", false)] {
        let (answer, mut peer) = tokio::join!(async { subject.get().await?.into_body().collect().await }, async {
            let mut peer = Peer::accept(&listener).await;
            peer.head().await;
            peer.say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", large.len())).await;
            peer.0.write_all(&large).await.unwrap();
            peer.say(behind).await;
            peer
        });
        assert!(answer.unwrap().to_bytes() == large, "the body as it was sent");
        crate::harness::let_the_runtime_look().await;
        if reused {
            let (answer, _) =
                tokio::join!(subject.get(), peer.answer("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"));
            assert_eq!(answer.unwrap().status(), 204);
        } else {
            let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
            assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
        }
    }
}

#[tokio::test]
async fn the_head_and_the_body_at_hand_leave_together() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    for body in [RequestBody::Whole("which".into()), full("which")] {
        let (answer, ()) = tokio::join!(subject.send(request(Method::PUT, body)), async {
            let mut peer = Peer::accept(&listener).await;
            let mut first = vec![0; 1024];
            let count = soon("request", peer.0.read(&mut first)).await.unwrap();
            assert!(first[..count].ends_with(b"content-length: 5\r\n\r\nwhich"));
            peer.say("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        });
        assert_eq!(answer.unwrap().status(), 204);
    }
    subject.assert_idle_after(&[]);
}
