//! Bodies that come packed although `identity` was asked for: unpacked as browsers do, within bounds.

use std::io::Read;

use flate2::read::DeflateDecoder;
use flate2::read::ZlibDecoder;
use reqwest::header::CONTENT_ENCODING;
use reqwest::header::HeaderMap;

use crate::written::header_text;

/// Nobody packs a body more often in earnest.
const MOST_LAYERS: usize = 3;
/// The window that browsers allow a zstd stream (RFC 9659).
const LARGEST_WINDOW_BYTES: u64 = 8 << 20;
/// The buffer of the br unpacker.
const BUFFER_BYTES: usize = 4096;

/// One way to pack (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// How a body is packed, in the order in which that was done; empty: it is not.
///
/// # Errors
/// A word that no browser knows; browsers take such a body as it stands.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, String> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for word in header_text(value).split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "identity" => {}
                "gzip" | "x-gzip" => found.push(Coding::Gzip),
                "deflate" => found.push(Coding::Deflate),
                "br" => found.push(Coding::Brotli),
                "zstd" => found.push(Coding::Zstd),
                _ => return Err(word.to_owned()),
            }
        }
    }
    Ok(found)
}

/// What a packed body holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// The content, or its beginning.
    pub(super) bytes: Vec<u8>,
    /// Whether there was more than was asked for.
    pub(super) is_cut: bool,
}

/// Unpacks at most `most` bytes, which bounds time and memory whatever the body claims. Of a body that is not `is_whole` its
/// beginning is unpacked as far as it goes.
///
/// # Errors
/// It is not packed as it says; the words follow "it".
pub(super) fn unpack(codings: &[Coding], body: &[u8], is_whole: bool, most: usize) -> Result<Unpacked, String> {
    if codings.len() > MOST_LAYERS {
        return Err(format!("is compressed {} times over", codings.len()));
    }
    let mut content = body.to_vec();
    let mut is_whole = is_whole;
    for coding in codings.iter().rev() {
        let unpacked = layer(*coding, &content, is_whole, most)?;
        is_whole &= !unpacked.is_cut;
        content = unpacked.bytes;
    }
    Ok(Unpacked { bytes: content, is_cut: !is_whole })
}

fn layer(coding: Coding, packed: &[u8], is_whole: bool, most: usize) -> Result<Unpacked, String> {
    // What is empty was not packed at all; browsers take it for empty.
    if packed.is_empty() {
        return Ok(Unpacked { bytes: Vec::new(), is_cut: false });
    }
    let (bytes, end) = match coding {
        // A body that ends too early shows as far as it came; browsers are as lenient.
        Coding::Gzip => match behind_gzip_head(packed) {
            Ok(stream) => read(DeflateDecoder::new(stream), most),
            Err(why) => (Vec::new(), End::Broken(why.to_owned())),
        },
        Coding::Deflate if is_zlib(packed) => read(ZlibDecoder::new(packed), most),
        Coding::Deflate => read(DeflateDecoder::new(packed), most),
        Coding::Brotli => read(brotli_decompressor::Decompressor::new(packed, BUFFER_BYTES), most),
        Coding::Zstd => frames(packed, most),
    };
    let is_cut = bytes.len() > most;
    let mut bytes = bytes;
    bytes.truncate(most);
    match end {
        End::Broken(why) if !is_cut && !(why == EARLY && (!is_whole || (coding.is_lenient() && !bytes.is_empty()))) => {
            Err(format!("is not valid {}: {why}", coding.word()))
        }
        _ => Ok(Unpacked { bytes, is_cut }),
    }
}

impl Coding {
    fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Whether browsers show what came of a body that ends too early.
    fn is_lenient(self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate)
    }
}

/// How unpacking ended.
enum End {
    Good,
    Broken(String),
}

const EARLY: &str = "it ends too early";

/// At most one byte more than `most`, and how it ended.
fn read(mut from: impl Read, most: usize) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 32 << 10];
    while bytes.len() <= most {
        match from.read(&mut piece) {
            Ok(0) => return (bytes, End::Good),
            Ok(count) => {
                let room = (most + 1).saturating_sub(bytes.len()).min(count);
                bytes.extend_from_slice(&piece[..room]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return (bytes, End::Broken(EARLY.to_owned())),
            Err(error) => return (bytes, End::Broken(error.to_string().trim_end_matches('.').to_owned())),
        }
    }
    (bytes, End::Good)
}

/// What stands behind the head of a gzip member (RFC 1952, section 2.3). Browsers do not look at the sum behind the stream, nor at
/// what follows that.
fn behind_gzip_head(packed: &[u8]) -> Result<&[u8], &'static str> {
    const TEXT_FIELDS: [u8; 2] = [0x08, 0x10];
    let Some(rest) = packed.strip_prefix(&[0x1f, 0x8b, 8]) else {
        return Err(if [0x1f, 0x8b, 8].starts_with(packed) { EARLY } else { "it does not begin like gzip" });
    };
    let flags = *rest.first().ok_or(EARLY)?;
    let mut rest = rest.get(7..).ok_or(EARLY)?;
    if flags & 0x04 != 0 {
        let length = rest.get(..2).ok_or(EARLY)?;
        rest = rest.get(2 + usize::from(u16::from_le_bytes([length[0], length[1]]))..).ok_or(EARLY)?;
    }
    for field in TEXT_FIELDS {
        if flags & field != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(EARLY)?;
            rest = &rest[end + 1..];
        }
    }
    rest.get(if flags & 0x02 == 0 { 0 } else { 2 }..).ok_or(EARLY)
}

/// A zlib header (RFC 1950): some servers send the bare stream as `deflate`, and browsers take both.
fn is_zlib(packed: &[u8]) -> bool {
    matches!(packed, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

/// The frames of a zstd body, one behind the other.
fn frames(packed: &[u8], most: usize) -> (Vec<u8>, End) {
    let mut rest = packed;
    let mut bytes = Vec::new();
    while !rest.is_empty() && bytes.len() <= most {
        if window_bytes(rest).is_none_or(|window| window > LARGEST_WINDOW_BYTES) {
            let why = if rest.len() < 18 { EARLY } else { "it does not begin with a frame that browsers can decompress" };
            return (bytes, End::Broken(why.to_owned()));
        }
        let frame = match ruzstd::decoding::StreamingDecoder::new(&mut rest) {
            Ok(frame) => frame,
            Err(error) => return (bytes, End::Broken(error.to_string())),
        };
        let (more, end) = read(frame, most.saturating_sub(bytes.len()));
        bytes.extend(more);
        if let End::Broken(why) = end {
            return (bytes, End::Broken(if rest.is_empty() { EARLY.to_owned() } else { why }));
        }
    }
    (bytes, End::Good)
}

/// What a zstd frame wants to be kept at hand (RFC 8878, section 3.1.1.1); none: it is no frame.
fn window_bytes(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    // A frame of one segment is kept whole: its size stands behind the id of its dictionary.
    let rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let size = rest.get(..length)?.iter().rev().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    Some(if length == 2 { size + 256 } else { size })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::Coding;
    use super::unpack;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(content).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn every_coding_is_unpacked_and_layers_in_turn() {
        let page = "<p>hello</p>".repeat(500);
        let deflated = |is_zlib: bool| {
            if is_zlib {
                let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(page.as_bytes()).unwrap();
                packed.finish().unwrap()
            } else {
                let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(page.as_bytes()).unwrap();
                packed.finish().unwrap()
            }
        };
        let zstd = ruzstd::encoding::compress_to_vec(page.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        let table: [(&[Coding], Vec<u8>); 6] = [
            (&[Coding::Gzip], gzip(page.as_bytes())),
            (&[Coding::Gzip], [gzip(page.as_bytes()), b"junk".to_vec()].concat()),
            (&[Coding::Deflate], deflated(true)),
            (&[Coding::Deflate], deflated(false)),
            (&[Coding::Zstd], zstd.clone()),
            (&[Coding::Deflate, Coding::Gzip], gzip(&deflated(true))),
        ];
        for (codings, packed) in &table {
            let unpacked = unpack(codings, packed, true, 1 << 20).unwrap();
            assert!(unpacked.bytes == page.as_bytes() && !unpacked.is_cut, "{codings:?}");
            let begun = unpack(codings, &packed[..packed.len() / 2], false, 1 << 20).unwrap();
            assert!(page.as_bytes().starts_with(&begun.bytes) && begun.is_cut, "{codings:?}");
        }
        assert!(unpack(&[Coding::Zstd], &zstd[..zstd.len() / 2], true, 1 << 20).is_err());
        // "hello" by RFC 7932: one block that is not packed, and the last one, which is empty.
        let brotli = [0x0b, 0x02, 0x80, b'h', b'e', b'l', b'l', b'o', 0x03];
        assert_eq!(unpack(&[Coding::Brotli], &brotli, true, 99).unwrap().bytes, b"hello");
        assert!(unpack(&[Coding::Brotli], &brotli[..6], true, 99).is_err());
    }

    #[test]
    fn bombs_and_rubbish_take_neither_memory_nor_time() {
        let bomb = gzip(&vec![0; 50 << 20]);
        let unpacked = unpack(&[Coding::Gzip], &bomb, true, 1 << 20).unwrap();
        assert_eq!((unpacked.bytes.len(), unpacked.is_cut), (1 << 20, true));
        let twice = unpack(&[Coding::Gzip, Coding::Gzip], &gzip(&bomb), true, 1 << 20).unwrap();
        assert!(twice.bytes.len() <= 1 << 20 && twice.is_cut);
        assert!(unpack(&[Coding::Gzip; 4], &bomb, true, 99).is_err());
        // A frame of one segment that claims 2^60 bytes.
        let huge = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1_u64 << 60).to_le_bytes(), &[0; 32]].concat();
        assert!(unpack(&[Coding::Zstd], &huge, true, 99).is_err());
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            assert!(unpack(&[coding], b"<!doctype html><p>this is not packed at all", true, 99).is_err(), "{coding:?}");
            assert_eq!(unpack(&[coding], b"", true, 99).unwrap().bytes, b"");
        }
    }
}
