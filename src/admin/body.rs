//! The request body, bounded in bytes and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::refusal::Refusal;

/// Bytes of a body; more is 413.
const MAX_BODY: usize = 64 * 1024;

/// Bytes read and thrown away of a body that is too large. Closing a socket with bytes unread
/// resets the connection, and the client might never see the 413.
const MAX_DISCARDED: usize = 1024 * 1024;

/// From the end of the head to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, gather(body)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive within 10 seconds",
            "send the whole body at once",
        )),
    }
}

async fn gather(mut body: Incoming) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 64 KiB",
            "split the order into several, or tag what belongs together",
        )
    };
    if body.size_hint().lower() > MAX_DISCARDED as u64 {
        return Err(too_large());
    }
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body broke off", "send the whole body"));
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MAX_DISCARDED {
            break;
        }
        if length <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY { Err(too_large()) } else { Ok(kept.freeze()) }
}
