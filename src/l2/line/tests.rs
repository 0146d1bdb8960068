use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Clock;
use crate::config::RedisConfig;
use crate::l2::Settings;
use crate::l2::ask::{Look, Seen, Silence, Span};
use crate::l2::connection::READ;
use crate::l2::envelope::Packing;
use crate::l2::names::Place;
use crate::redis::{Connections, LogId};
use crate::telemetry::metrics::Metrics;

/// The largest value that the stage's instance reads.
const LONGEST: usize = 2000 + (1 << 20);
/// Long enough for everything that is to happen.
const AGES: Duration = Duration::from_mins(1);

/// A Redis that says what the test wants.
struct Stage {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Stage {
    async fn set(patience: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = config(&format!("redis://{}", listener.local_addr().unwrap()));
        // The library's connections lead nowhere.
        let nowhere = Connections::new(&config("redis://127.0.0.1:1")).unwrap();
        let settings = Settings {
            prefix: "p:".to_owned(),
            log_id: LogId::default(),
            connections: 1,
            timeout: patience,
            lease: Duration::from_secs(10),
            packing: Packing { compress_from: None, max_body: 1000 },
        };
        let direct = Connections::new(&there).unwrap().direct();
        let metrics = Metrics::new().unwrap().l2.clone();
        let shared = Shared::new(&nowhere, direct, settings, Clock::system(), metrics).unwrap();
        Self { listener, shared }
    }

    /// Looks at this place, until it is too late.
    async fn look(&self, key: u128, patience: Duration) -> Result<Look, Silence> {
        let place = Place { log: 0, key, variant: None };
        self.shared.look(place, None, span(patience)).await
    }

    /// Looks at this place for another value than this one.
    async fn look_again(&self, key: u128, head: &'static str, left: i64) -> Result<Look, Silence> {
        let place = Place { log: 0, key, variant: None };
        let seen = Seen { head: Bytes::from_static(head.as_bytes()), left };
        self.shared.look(place, Some(seen), span(AGES)).await
    }

    /// The connection, on which the script is known.
    async fn hello(&self) -> Peer {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut peer = Peer { socket, heard: Vec::new() };
        assert_eq!(peer.command().await[0], "SCRIPT");
        peer.says("$3\r\nsha\r\n").await;
        peer
    }
}

fn span(length: Duration) -> Span {
    let from = Instant::now();
    Span { from, until: from + length }
}

fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: url.to_owned(),
        username: None,
        password: None,
        prefix: "p:".to_owned(),
        instance: None,
        connections: 1,
        timeout: AGES,
        lease: AGES,
        max_object_size: 1000,
        compress_from: None,
    }
}

/// Redis's end of a connection.
struct Peer {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl Peer {
    async fn command(&mut self) -> Vec<String> {
        let (mut words, mut left) = (Vec::new(), 1);
        while left > 0 {
            let Some((word, length)) = resp::word(&self.heard, 1 << 20).unwrap() else {
                assert!(self.socket.read_buf(&mut self.heard).await.unwrap() > 0, "the connection has ended");
                continue;
            };
            match word {
                Word::Array(count) => left = count + 1,
                Word::Bulk(text) => words.push(String::from_utf8(text.to_vec()).unwrap()),
                other => panic!("{other:?} in a command"),
            }
            left -= 1;
            self.heard.drain(..length);
        }
        words
    }

    async fn says(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Look-ups that are asked together: the command that runs the script, behind which the values are read.
    async fn looks(&mut self) -> Vec<String> {
        let script = self.command().await;
        assert_eq!((&*script[0], script.last().map(String::as_str)), ("EVALSHA", Some("look")));
        for name in keys_in(&script) {
            assert_eq!(self.command().await[..], ["GETRANGE", name, "0", &LONGEST.to_string()]);
        }
        script
    }

    /// Answers look-ups.
    async fn answers(&mut self, answers: &[(&str, &str)]) {
        self.says(&answer(answers)).await;
    }
}

/// The names of the values that are looked for.
fn keys_in(script: &[String]) -> &[String] {
    let count: usize = script[2].parse().unwrap();
    &script[3..3 + count]
}

/// The answer to look-ups, by what the script says of each value and by the value.
fn answer(answers: &[(&str, &str)]) -> String {
    let mut said = format!("*{}\r\n", answers.len());
    for (time, _) in answers {
        write!(said, ":{time}\r\n").unwrap();
    }
    for (_, value) in answers {
        write!(said, "${}\r\n{value}\r\n", value.len()).unwrap();
    }
    said
}

const VALUE: (&str, &str) = ("500", "x");
const LEASED: (&str, &str) = ("-2", "");
const TAKEN: (&str, &str) = ("-3", "");

#[tokio::test]
async fn what_is_looked_up_at_once_leaves_in_few_commands_and_comes_back_to_each() {
    let stage = Stage::set(AGES).await;
    let asked = join_all((0..40).map(|key| stage.look(key, AGES)));
    let redis = async {
        let mut peer = stage.hello().await;
        let mut counts = Vec::new();
        while counts.iter().sum::<usize>() < 40 {
            let script = peer.looks().await;
            counts.push(keys_in(&script).len());
            // Each gets a value that names it, piece by piece.
            let values: Vec<(&str, &str)> = keys_in(&script).iter().map(|name| ("500", &**name)).collect();
            for piece in answer(&values).as_bytes().chunks(701) {
                peer.socket.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        counts
    };
    let (looks, counts) = tokio::join!(asked, redis);
    assert_eq!(counts, [16, 16, 8]);
    for (key, look) in looks.into_iter().enumerate() {
        let Ok(Look::Value(value, left)) = look else { panic!("{look:?}") };
        let place = Place { log: 0, key: key as u128, variant: None };
        assert_eq!((&*value, left), (place.value("p:").as_bytes(), Duration::from_millis(500)));
    }
}

#[tokio::test]
async fn one_that_is_too_late_fails_none_of_the_others_and_its_lease_is_freed_behind_it() {
    let stage = Stage::set(AGES).await;
    let late = Duration::from_millis(50);
    let asked = async {
        let warm = stage.look(0, AGES).await;
        assert!(matches!(warm, Ok(Look::Taken)), "{warm:?}");
        tokio::join!(stage.look(1, late), stage.look(2, AGES))
    };
    let redis = async {
        let mut peer = stage.hello().await;
        assert_eq!(keys_in(&peer.looks().await).len(), 1);
        peer.answers(&[TAKEN]).await;
        let look = peer.looks().await;
        assert_eq!(keys_in(&look).len(), 2);
        // Only now is anything said: the first has left by then.
        let release = peer.command().await;
        peer.answers(&[LEASED, VALUE]).await;
        peer.says(":1\r\n").await;
        (look, release)
    };
    let ((late, other), (look, release)) = tokio::join!(asked, redis);
    assert!(matches!(late, Err(Silence::NoAnswer)), "{late:?}");
    assert!(matches!(other, Ok(Look::Value(..))), "{other:?}");
    let (place, token) = (Place { log: 0, key: 1, variant: None }, &look[5]);
    assert_eq!(release[3], place.lease("p:"));
    assert_eq!((&release[6], release.last().map(String::as_str)), (token, Some("release")));
    assert_eq!(stage.shared.metrics.faults.get(), 1);
}

#[tokio::test]
async fn what_redis_has_forgotten_is_told_again_and_asked_again() {
    let stage = Stage::set(AGES).await;
    let redis = async {
        let mut peer = stage.hello().await;
        assert_eq!(keys_in(&peer.looks().await).len(), 2);
        peer.says("-NOSCRIPT none\r\n$1\r\nx\r\n$1\r\nx\r\n").await;
        assert_eq!(peer.command().await[..2], ["SCRIPT", "LOAD"]);
        assert_eq!(keys_in(&peer.looks().await).len(), 2);
        peer.says("$3\r\nsha\r\n").await;
        peer.answers(&[VALUE; 2]).await;
    };
    let (looks, ()) = tokio::join!(join_all((0..2).map(|key| stage.look(key, AGES))), redis);
    assert!(looks.iter().all(|look| matches!(look, Ok(Look::Value(..)))), "{looks:?}");
}

#[tokio::test]
async fn what_redis_refuses_fails_by_itself_and_the_next_answer_is_heard() {
    for (refusal, second) in [
        // All of it, the script alone, one value alone.
        ("-NOPERM 1\r\n-NOPERM 2\r\n-NOPERM 3\r\n", false),
        ("-BUSY\r\n$1\r\nx\r\n$1\r\nx\r\n", false),
        ("*2\r\n:500\r\n:500\r\n-NOPERM\r\n$1\r\nx\r\n", true),
    ] {
        let stage = Stage::set(AGES).await;
        let redis = async {
            let mut peer = stage.hello().await;
            assert_eq!(keys_in(&peer.looks().await).len(), 2);
            peer.says(refusal).await;
            peer.looks().await;
            peer.answers(&[VALUE]).await;
        };
        let asked = async {
            let looks = tokio::join!(stage.look(1, AGES), stage.look(2, AGES));
            (looks, stage.look(3, AGES).await)
        };
        let ((looks, next), ()) = tokio::join!(asked, redis);
        assert!(matches!(looks.0, Err(Silence::NoAnswer)), "{refusal}: {looks:?}");
        assert_eq!(matches!(looks.1, Ok(Look::Value(..))), second, "{refusal}: {looks:?}");
        assert!(matches!(next, Ok(Look::Value(..))), "{refusal}: {next:?}");
    }
}

#[tokio::test]
async fn what_is_of_another_type_or_too_large_spoils_none_of_the_others() {
    let stage = Stage::set(AGES).await;
    let long = "x".repeat(LONGEST + 1);
    let redis = async {
        let mut peer = stage.hello().await;
        peer.looks().await;
        let said = answer(&[("500", "list"), ("500", &long), VALUE, ("500", ""), ("-2", "late")]);
        peer.says(&said.replace("$4\r\nlist\r\n", "-WRONGTYPE\r\n")).await;
        peer
    };
    let (looks, _peer) = tokio::join!(join_all((0..5).map(|key| stage.look(key, AGES))), redis);
    let [useless @ .., Ok(Look::Value(..)), Ok(Look::Useless(gone)), Ok(Look::Leased(_))] = &looks[..] else {
        panic!("{looks:?}")
    };
    assert_eq!(gone.head, "");
    assert!(matches!(useless, [Ok(Look::Useless(_)), Ok(Look::Useless(_))]));
}

#[tokio::test]
async fn what_is_too_large_is_removed_if_it_came_too_late_for_whoever_asked() {
    let stage = Stage::set(AGES).await;
    let long = "x".repeat(LONGEST + 1);
    let asked = async {
        let warm = stage.look(0, AGES).await;
        assert!(matches!(warm, Ok(Look::Taken)), "{warm:?}");
        stage.look(1, Duration::from_millis(50)).await
    };
    let redis = async {
        let mut peer = stage.hello().await;
        peer.looks().await;
        peer.answers(&[TAKEN]).await;
        let script = peer.looks().await;
        assert_eq!(peer.command().await.last().map(String::as_str), Some("release"));
        peer.answers(&[("500", &long)]).await;
        peer.says(":0\r\n").await;
        assert_eq!(peer.command().await, ["UNLINK", &keys_in(&script)[0]]);
    };
    let (look, ()) = tokio::join!(asked, redis);
    assert!(matches!(look, Err(Silence::NoAnswer)), "{look:?}");
}

#[tokio::test]
async fn second_looks_go_by_the_script_alone_and_each_gets_its_own_answer() {
    let stage = Stage::set(AGES).await;
    let asked = async {
        tokio::join!(
            stage.look(1, AGES),
            stage.look_again(2, "head", 7),
            stage.look(3, AGES),
            stage.look_again(4, "", 0)
        )
    };
    let redis = async {
        let mut peer = stage.hello().await;
        for (head, left) in [("head", "7"), ("", "0")] {
            let read = peer.command().await;
            assert_eq!((&*read[0], &*read[2]), ("EVALSHA", "1"));
            assert_eq!(read[6..], [&*LONGEST.to_string(), head, left, "read"]);
        }
        assert_eq!(keys_in(&peer.looks().await).len(), 2);
        // The script is not known to the first, and the second finds something foreign.
        peer.says("-NOSCRIPT none\r\n*3\r\n:-3\r\n$0\r\n\r\n:1\r\n").await;
        peer.answers(&[("100", "one"), ("300", "three")]).await;
        assert_eq!(peer.command().await[..2], ["SCRIPT", "LOAD"]);
        assert_eq!(peer.command().await[7], "head");
        peer.says("$3\r\nsha\r\n*3\r\n:200\r\n$3\r\ntwo\r\n:0\r\n").await;
    };
    let (looks, ()) = tokio::join!(asked, redis);
    let (Ok(Look::Value(one, _)), Ok(Look::Value(two, left)), Ok(Look::Value(three, _)), Ok(Look::Taken)) = looks
    else {
        panic!("{looks:?}")
    };
    assert_eq!((&*one, &*two, &*three, left.as_millis()), (&b"one"[..], &b"two"[..], &b"three"[..], 200));
}

#[tokio::test]
async fn all_that_a_lost_connection_was_asked_fails_at_once_and_the_next_one_serves() {
    let stage = Stage::set(AGES).await;
    for breakage in ["*5\r\n", "*2\r\n:1\r\n$0\r\n\r\n", "*2\r\n:1\r\n:1\r\n:1\r\n", "nonsense\r\n", "gone"] {
        let redis = async {
            let mut peer = stage.hello().await;
            assert_eq!(keys_in(&peer.looks().await).len(), 2);
            if breakage == "gone" {
                return None;
            }
            peer.says(breakage).await;
            Some(peer)
        };
        let (looks, _peer) = tokio::join!(join_all((0..2).map(|key| stage.look(key, AGES))), redis);
        assert!(looks.iter().all(|look| matches!(look, Err(Silence::NoAnswer))), "{breakage}: {looks:?}");
        let redis = async {
            let mut peer = stage.hello().await;
            assert_eq!(keys_in(&peer.looks().await).len(), 1);
            peer.answers(&[VALUE]).await;
        };
        let (look, ()) = tokio::join!(stage.look(3, AGES), redis);
        assert!(matches!(look, Ok(Look::Value(..))), "{breakage}: {look:?}");
    }
}

#[tokio::test]
async fn while_nothing_listens_nobody_waits_for_a_connection() {
    let stage = Stage::set(AGES).await;
    let Stage { listener, shared } = stage;
    drop(listener);
    for key in 0..3 {
        let place = Place { log: 0, key, variant: None };
        let look = shared.look(place, None, span(AGES)).await;
        assert!(matches!(look, Err(Silence::NoAnswer)), "{look:?}");
    }
}

#[tokio::test]
async fn a_value_longer_than_what_is_read_at_once_is_read_whole() {
    let stage = Stage::set(AGES).await;
    let long = "x".repeat(READ * 5 + 1);
    let redis = async {
        let mut peer = stage.hello().await;
        assert_eq!(keys_in(&peer.looks().await).len(), 1);
        peer.answers(&[("500", &long)]).await;
        peer
    };
    let (look, mut peer) = tokio::join!(stage.look(1, AGES), redis);
    let Ok(Look::Value(value, _)) = look else { panic!("{look:?}") };
    assert_eq!(value, long);
    let redis = async {
        peer.looks().await;
        peer.answers(&[VALUE]).await;
    };
    let (look, ()) = tokio::join!(stage.look(2, AGES), redis);
    assert!(matches!(look, Ok(Look::Value(..))), "{look:?}");
}

#[tokio::test]
async fn the_line_ends_with_the_instance() {
    let stage = Stage::set(AGES).await;
    let redis = async {
        let mut peer = stage.hello().await;
        peer.looks().await;
        peer.answers(&[VALUE]).await;
        peer
    };
    let (look, mut peer) = tokio::join!(stage.look(1, AGES), redis);
    assert!(look.is_ok());
    stage.shared.close();
    let mut rest = Vec::new();
    assert_eq!(peer.socket.read_to_end(&mut rest).await.unwrap(), 0);
}
