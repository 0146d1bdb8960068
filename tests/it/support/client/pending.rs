//! An answer under way, which the test takes piece by piece.

use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::Aborted;
use super::{Answer, Ask, Connection, NoAnswer};
use crate::support::soon;

type Awaited = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request that was sent. Dropping it closes the connection, as a client that leaves does.
pub(crate) struct Pending {
    // In this order: the response goes before the connection that it belongs to.
    state: State,
    _connection: Connection,
}

enum State {
    Sent(Awaited),
    Body(Box<(Parts, Incoming)>),
}

impl Pending {
    /// Connects and sends.
    pub(super) async fn open(ask: Ask) -> Result<Self, NoAnswer> {
        let connection = Connection::open(ask.addr, ask.receive_buffer).await?;
        Ok(Self::on(connection, ask))
    }

    /// Sends on a connection that is already open.
    pub(super) fn on(mut connection: Connection, ask: Ask) -> Self {
        // The request is on its way from here on, whether or not somebody waits for the answer.
        let awaited = connection.sender.send_request(ask.request);
        Self { state: State::Sent(Box::pin(awaited)), _connection: connection }
    }

    /// Waits for the response head.
    pub(crate) async fn head(&mut self) -> &Parts {
        if let State::Sent(awaited) = &mut self.state {
            let response = soon("a response head", awaited).await.expect("a response head");
            self.state = State::Body(Box::new(response.into_parts()));
        }
        match &self.state {
            State::Body(response) => &response.0,
            State::Sent(_) => unreachable!("the head has just arrived"),
        }
    }

    /// Waits for the next piece of the body; `None` is its regular end.
    pub(crate) async fn next_chunk(&mut self) -> Option<Result<Bytes, Aborted>> {
        self.head().await;
        let State::Body(response) = &mut self.state else { unreachable!("the head has arrived") };
        loop {
            return match soon("a piece of the body", response.1.frame()).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_trailers) => continue,
                },
                Err(_) => Some(Err(Aborted { arrived: Bytes::new() })),
            };
        }
    }

    /// Waits until exactly these bytes have arrived next, however they were cut up.
    pub(crate) async fn expect(&mut self, text: &str) {
        let mut arrived = BytesMut::new();
        while arrived.len() < text.len() {
            match self.next_chunk().await {
                Some(Ok(chunk)) => arrived.extend_from_slice(&chunk),
                other => panic!("{other:?} after {arrived:?}, instead of {text}"),
            }
        }
        assert_eq!(arrived, text.as_bytes());
    }

    /// Reads the rest of the body.
    pub(crate) async fn rest(mut self) -> Result<Bytes, Aborted> {
        let mut arrived = BytesMut::new();
        while let Some(chunk) = self.next_chunk().await {
            match chunk {
                Ok(chunk) => arrived.extend_from_slice(&chunk),
                Err(_) => return Err(Aborted { arrived: arrived.freeze() }),
            }
        }
        Ok(arrived.freeze())
    }

    /// Reads the whole answer, for as long as that takes; times count from `start`.
    pub(super) async fn answer(self, start: Instant) -> Result<Answer, NoAnswer> {
        let response = match self.state {
            State::Sent(awaited) => awaited.await.map_err(|error| NoAnswer::because("no response head", &error))?,
            State::Body(response) => Response::from_parts(response.0, response.1),
        };
        Ok(Answer::read(response, start).await)
    }
}
