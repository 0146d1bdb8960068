//! Makes coded bodies. It takes the time it takes, so it runs on a thread that serves nobody.

use std::io::{self, Write};

use bytes::Bytes;

use crate::policy::coding::Coding;

// Each form is made once and sent many times, so these are slower and better than what a proxy affords per response. The
// window of zstd stays far below the 8 MiB that RFC 9659 allows.
const ZSTD_LEVEL: i32 = 9;
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW: u32 = 22;
const GZIP_LEVEL: u32 = 6;
const BROTLI_BUFFER: usize = 16 * 1024;

/// The body in a coding; `None` if that is no smaller.
pub fn encode(coding: Coding, body: &[u8]) -> Option<Bytes> {
    let coded = match coding {
        Coding::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
        Coding::Brotli => brotli(body),
        Coding::Gzip => gzip(body),
    };
    match coded {
        Ok(mut coded) => {
            coded.shrink_to_fit();
            (coded.len() < body.len()).then(|| coded.into())
        }
        Err(error) => {
            tracing::warn!(%error, coding = coding.as_str(), "a body could not be coded and stays as it is");
            None
        }
    }
}

fn brotli(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_QUALITY, BROTLI_WINDOW);
    writer.write_all(body)?;
    Ok(writer.into_inner())
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
    writer.write_all(body)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match coding {
            Coding::Zstd => plain = zstd::stream::decode_all(coded).unwrap(),
            Coding::Brotli => drop(brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain).unwrap()),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(coded).read_to_end(&mut plain).unwrap()),
        }
        plain
    }

    #[test]
    fn every_coding_gives_the_body_back_and_the_same_bytes_each_time() {
        let body = "one stored representation serves all; ".repeat(5_000).into_bytes();
        for coding in Coding::ALL {
            let coded = encode(coding, &body).unwrap();
            assert!(coded.len() < body.len() / 10, "{coding:?}");
            assert!(decode(coding, &coded) == body, "{coding:?}");
            assert!(encode(coding, &body).unwrap() == coded, "a strong tag names bytes: {coding:?}");
        }
    }

    #[test]
    fn a_body_that_does_not_shrink_stays_as_it_is() {
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(4096).collect();
        for coding in Coding::ALL {
            assert!(encode(coding, &noise).is_none() && encode(coding, b"").is_none(), "{coding:?}");
        }
    }
}
