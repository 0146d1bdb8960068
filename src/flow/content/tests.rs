use std::convert::Infallible;

use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;

use super::*;

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(http::header::EXPIRES, HeaderValue::from_static("0"))]))
}

/// A body of these parts that then ends, or never goes on.
fn body(
    parts: Vec<Result<Frame<Bytes>, &'static str>>,
    ends: bool,
) -> Replay<impl Body<Data = Bytes, Error = &'static str> + Unpin> {
    let then = stream::pending().take(usize::from(!ends));
    Replay::new(StreamBody::new(stream::iter(parts).chain(then)))
}

/// Everything that a body gives, up to the point where it hangs.
async fn all<B: Body<Data = Bytes, Error = &'static str> + Unpin>(mut body: B) -> String {
    let mut all = String::new();
    while let Ok(frame) = tokio::time::timeout(Duration::from_mins(1), body.frame()).await {
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => all.push_str(std::str::from_utf8(&data).unwrap()),
                Err(_) => all.push('T'),
            },
            Some(Err(fault)) => all.push_str(fault),
            None => return all + ".",
        }
    }
    all + "~"
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_whole_or_given_back_to_the_last_byte() {
    for (parts, ends, whole, left) in [
        (vec![], true, Some(""), "."),
        (vec![Ok(data("abcd"))], true, Some("abcd"), "abcd."),
        (vec![Ok(data("ab")), Ok(data("")), Ok(data("cd"))], true, Some("abcd"), "abcd."),
        (vec![Ok(data("abcde"))], true, None, "abcde."),
        (vec![Ok(data("abc")), Ok(data("de")), Ok(data("fg"))], true, None, "abcdefg."),
        (vec![Ok(data("ab")), Ok(trailers())], true, None, "abT."),
        (vec![Ok(data("ab")), Err("!")], true, None, "ab!."),
        (vec![Ok(data("ab"))], false, None, "ab~"),
        (vec![Ok(data("ab")), Ok(data("cd"))], false, None, "abcd~"),
        (vec![], false, None, "~"),
    ] {
        let mut body = body(parts, ends);
        let read = body.whole(4, Duration::from_secs(1)).await;
        assert_eq!(read.as_deref(), whole.map(str::as_bytes), "{left}");
        assert_eq!(all(body).await, left);
    }
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_not_touched() {
    struct Large;
    impl Body for Large {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("not touched, so that a client which awaits 100 (Continue) is not asked for it")
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(5)
        }
    }
    assert_eq!(Replay::new(Large).whole(4, PATIENCE).await, None);
}

#[tokio::test]
async fn what_was_read_still_counts_in_the_length() {
    let mut body = Replay::new(http_body_util::Full::new(Bytes::from_static(b"abcd")));
    assert_eq!(body.whole(9, PATIENCE).await.unwrap(), "abcd");
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(4), false));
    body.frame().await;
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
}
