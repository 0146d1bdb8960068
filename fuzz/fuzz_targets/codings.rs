//! Content codings: numbers (how often the body is repeated, how many bytes of a coded one arrive at a time), the fields
//! of a request, the codings of a route in their order, one on each line, and the rest of the input as the body.

#![no_main]

use std::io::{self, Read};

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use millpond::entry::coder::encode;
use millpond::policy::coding::{Accepted, Coding};
use millpond_fuzz::meaning::{Meaning, Preference, meaning};
use millpond_fuzz::{fields, lines, numbers, sections};

/// Longer bodies show nothing new.
const MOST: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let mut read = 0;
    let mut sections = sections(input);
    let mut next = || {
        let section = sections.next().unwrap_or_default();
        read += section.len() + 2;
        section
    };
    let [repeated, chunk] = numbers(next());
    let request = fields(next());
    let order: Vec<Coding> = lines(next()).filter_map(named).take(Coding::ALL.len()).collect();
    prefers_what_the_client_does(&request, &order);
    let seed = input.get(read..).unwrap_or_default();
    let times = (repeated as usize).clamp(1, MOST / seed.len().max(1) + 1);
    let body = seed.repeat(times);
    for coding in Coding::ALL {
        gives_the_body_back(coding, &body, (chunk as usize).max(1));
    }
});

fn named(name: &[u8]) -> Option<Coding> {
    Coding::ALL.into_iter().find(|coding| coding.as_str().as_bytes() == name)
}

/// What is coded is smaller, the same each time, and again the body once it is decoded.
fn gives_the_body_back(coding: Coding, body: &[u8], chunk: usize) {
    let Some(coded) = encode(coding, body) else { return };
    assert!(coded.len() < body.len());
    assert_eq!(encode(coding, body).as_ref(), Some(&coded), "a strong tag names bytes");
    let arriving = InChunks { left: &coded, chunk };
    let mut decoded = Vec::new();
    let read = match coding {
        Coding::Zstd => zstd::stream::Decoder::new(arriving).and_then(|mut d| d.read_to_end(&mut decoded)),
        Coding::Brotli => brotli::Decompressor::new(arriving, 4096).read_to_end(&mut decoded),
        Coding::Gzip => flate2::read::GzDecoder::new(arriving).read_to_end(&mut decoded),
    };
    assert_eq!(read.expect("it can be decoded"), body.len());
    assert!(decoded == body, "{coding:?}");
}

/// Bytes as they come from a connection.
struct InChunks<'a> {
    left: &'a [u8],
    chunk: usize,
}

impl Read for InChunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (now, later) = self.left.split_at(self.chunk.min(self.left.len()).min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.left = later;
        Ok(now.len())
    }
}

/// RFC 9110 section 12.5.3.
fn prefers_what_the_client_does(request: &HeaderMap, order: &[Coding]) {
    let accepted = Accepted::of(request);
    let stated = Stated::of(request);
    for coding in Coding::ALL {
        let taken = stated.as_ref().is_none_or(|stated| stated.weight(coding) > 0);
        assert_eq!(accepted.takes(coding), taken, "{coding:?}");
    }
    let Some(stated) = stated else {
        assert!(accepted.best(order).is_none() && accepted.takes_identity(), "who understands codings says so");
        return;
    };
    let identity = stated.named("identity");
    assert_eq!(accepted.takes_identity(), identity.or(stated.named("*")) != Some(0));
    // Of equals the first of the route; any weight beats no coding, unless that has a higher one.
    let most = order.iter().map(|coding| stated.weight(*coding)).max().unwrap_or_default();
    let expected = order.iter().copied().find(|coding| stated.weight(*coding) == most);
    let worth_it = most > 0 && most >= identity.unwrap_or_default();
    assert_eq!(accepted.best(order), expected.filter(|_| worth_it));
}

/// The members of `Accept-Encoding` that can be read.
struct Stated(Vec<(String, u16)>);

impl Stated {
    fn of(request: &HeaderMap) -> Option<Self> {
        let Meaning::Preferences(members) = meaning("accept-encoding", request) else { return None };
        let weighted = members.into_iter().filter_map(|member| match member {
            Preference::Weighted(name, weight) => Some((name, weight)),
            Preference::Malformed(_) => None,
        });
        Some(Self(weighted.collect()))
    }

    /// Of a name that comes twice the lower weight counts: no coding is always understood.
    fn named(&self, name: &str) -> Option<u16> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, weight)| *weight).min()
    }

    fn weight(&self, coding: Coding) -> u16 {
        // Section 8.4.1.3: an old name of gzip.
        let old = if coding == Coding::Gzip { self.named("x-gzip") } else { None };
        let named = [self.named(coding.as_str()), old].into_iter().flatten().min();
        named.or(self.named("*")).unwrap_or_default()
    }
}
