//! The least that a server can do for a request: one call to read it and one to write an answer that is always the same.
//!
//! What it takes is what the kernel takes, on few connections and on many. It takes for granted what the closed load does: a
//! request comes whole, and the next one when its answer has gone.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt::set_tcp_congestion;
use slab::Slab;

use crate::{Failure, listener};

/// The body of the answer.
const BODY: [u8; 1024] = [b'm'; 1024];
/// What waits for connections.
const LISTENER: Token = Token(usize::MAX);

/// The floor's command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

/// Serves until it is killed.
pub(crate) fn serve(args: &Args) -> Result<(), Failure> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", BODY.len());
    answer.extend(BODY.map(char::from));
    let mut listener = listener(args.listen)?;
    // As Millpond where it listens on a loopback address.
    set_tcp_congestion(&listener, "reno")?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut connections, mut request) = (Slab::<TcpStream>::new(), [0; 4096]);
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if event.token() != LISTENER {
                let Some(stream) = connections.get_mut(token) else { continue };
                let served = match stream.read(&mut request) {
                    Ok(read) => {
                        read > 0 && stream.write(answer.as_bytes()).is_ok_and(|written| written == answer.len())
                    }
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                if !served {
                    connections.remove(token);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                let place = connections.vacant_entry();
                poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE)?;
                place.insert(stream);
            }
        }
    }
}
