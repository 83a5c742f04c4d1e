//! Files that are cut off, mutated, or made to exhaust memory: always an answer, never a panic, bounded memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "common/counting_allocator.rs"]
mod counting_allocator;

use std::io::Write;
use std::sync::{Mutex, MutexGuard};

use fruitbatch_image::{DecodeError, DecodeLimits, RgbImage, decode};

use crate::common::fixture_files;
use crate::counting_allocator::peak_while;

const REASONS: [&str; 6] = ["empty", "not-an-image", "truncated", "unsupported", "too-large", "decode-error"];

/// Small enough that a decoder that ignores it is found out.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 20, max_bytes: 8 << 20 };

/// What one decode may allocate at most: 16 bytes a pixel and 64 MiB for tables, as promised by the limits, plus the
/// result, its copy when it is turned, and the file.
const MAX_ALLOCATED: usize = (16 + 3 + 3) * (1 << 20) + (64 << 20) + (8 << 20);

/// Tests of this file run one at a time: they share the counter.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Decodes and checks what holds for every file.
fn decode_checked(name: &str, bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    let (outcome, allocated) = peak_while(|| decode(bytes, &LIMITS));
    assert!(allocated <= MAX_ALLOCATED, "{name}: {allocated} bytes were allocated");
    match &outcome {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert!(pixels <= LIMITS.max_pixels, "{name}: {image:?}");
            assert_eq!(image.pixels().len() as u64, pixels * 3, "{name}");
        }
        Err(error) => {
            assert!(REASONS.contains(&error.reason()), "{name}: {}", error.reason());
            assert!(error.to_string().len() < 500, "{name}: {error}");
        }
    }
    outcome
}

fn reason(name: &str, bytes: &[u8]) -> &'static str {
    decode_checked(name, bytes).map_or_else(|error| error.reason(), |_| "decoded")
}

#[test]
fn cut_off_files_are_truncated() {
    let _alone = alone();
    for (name, bytes) in fixture_files() {
        let whole = decode(&bytes, &LIMITS).unwrap();
        let near_the_end = (1..=16).map(|missing| bytes.len() - missing);
        let mut decoded = 0;
        for length in (1..10).map(|tenth| bytes.len() * tenth / 10).chain(near_the_end).chain(1..64) {
            match decode_checked(&name, &bytes[..length]) {
                Err(error) if error.reason() == "truncated" => {}
                // The first bytes of a signature may be no more than text.
                Err(error) if length < 4 => assert_eq!(error.reason(), "not-an-image", "{name}: {error}"),
                Err(error) => panic!("{name} cut to {length} of {} bytes: {error}", bytes.len()),
                // Nothing is lost where what is missing comes behind the pixels.
                Ok(image) => {
                    assert_eq!(
                        image.pixels(),
                        whole.pixels(),
                        "{name} cut to {length} of {} bytes",
                        bytes.len()
                    );
                    decoded += 1;
                }
            }
        }
        assert!(decoded < 30, "{name}: {decoded} beginnings were taken for the whole");
    }
}

#[test]
fn mutated_files_do_no_harm() {
    let _alone = alone();
    let mutations = std::env::var("FRUITBATCH_IMAGE_MUTATIONS").map_or(60, |count| count.parse().unwrap());
    let mut random = Random(0x5eed);
    for (name, bytes) in fixture_files() {
        for _ in 0..mutations {
            let mut mutated = bytes.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(mutated.len());
                match random.below(5) {
                    0 => mutated[at] = random.below(256) as u8,
                    1 => mutated[at] ^= 1 << random.below(8),
                    2 => mutated[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
                    3 => {
                        let length = random.below(9).min(mutated.len() - at);
                        mutated.drain(at..at + length);
                    }
                    _ => {
                        let from = random.below(mutated.len());
                        let length = random.below(17).min(mutated.len() - from);
                        let copied = mutated[from..from + length].to_vec();
                        mutated.splice(at..at, copied);
                    }
                }
                if mutated.is_empty() {
                    mutated.push(0);
                }
            }
            decode_checked(&name, &mutated).ok();
        }
    }
}

#[test]
fn enormous_sizes_are_refused_from_the_header() {
    let _alone = alone();
    let sides = |order: fn(u32) -> Vec<u8>| [order(65_535), order(65_535)].concat();
    let little_16: fn(u32) -> Vec<u8> = |side| (side as u16).to_le_bytes().to_vec();
    let big_16: fn(u32) -> Vec<u8> = |side| (side as u16).to_be_bytes().to_vec();
    let big_32: fn(u32) -> Vec<u8> = |side| side.to_be_bytes().to_vec();
    let little_32: fn(u32) -> Vec<u8> = |side| side.to_le_bytes().to_vec();
    let files = fixture_files();
    let patched = |name: &str, at: usize, with: Vec<u8>| {
        let mut bytes = files[name].clone();
        bytes[at..at + with.len()].copy_from_slice(&with);
        bytes
    };
    let jpeg = &files["jpeg-420-odd"];
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    assert_eq!(reason("jpeg", &patched("jpeg-420-odd", frame + 5, sides(big_16))), "too-large");
    let mut header = patched("png-rgba", 16, sides(big_32));
    let checksum = crc32(&header[12..29]);
    header[29..33].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(reason("png", &header), "too-large");
    assert_eq!(reason("gif", &patched("gif-interlaced", 6, sides(little_16))), "too-large");
    assert_eq!(reason("bmp", &patched("bmp-24", 18, sides(little_32))), "too-large");
    // Canvas sides less one in three bytes each, behind the flags of the extended header.
    let canvas = [0xfe, 0xff, 0x00, 0xfe, 0xff, 0x00].to_vec();
    assert_eq!(reason("webp", &patched("webp-animated", 24, canvas)), "too-large");
    let tiff = tiff_of(65_535, 65_535, &[]);
    assert_eq!(reason("tiff", &tiff), "too-large");
}

#[test]
fn a_png_that_inflates_without_end_is_bounded() {
    let _alone = alone();
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..200 {
        packed.write_all(&zeros).unwrap();
    }
    let packed = packed.finish().unwrap();
    // More pixel data than the image has room for, and a text that inflates to 200 MiB.
    let header = [8_u32.to_be_bytes().as_slice(), &8_u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let text = [b"XML:com.adobe.xmp\0\x01\0\0\0".as_slice(), &packed].concat();
    for chunks in [
        vec![(b"IHDR", header.clone()), (b"IDAT", packed.clone()), (b"IEND", Vec::new())],
        vec![(b"IHDR", header), (b"iTXt", text), (b"IDAT", packed), (b"IEND", Vec::new())],
    ] {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        for (name, body) in chunks {
            png.extend((body.len() as u32).to_be_bytes());
            let chunk = [name.as_slice(), &body].concat();
            png.extend(&chunk);
            png.extend(crc32(&chunk).to_be_bytes());
        }
        assert_eq!(reason("png", &png), "decoded");
    }
}

#[test]
fn tiles_and_strips_larger_than_the_image_are_bounded() {
    let _alone = alone();
    // One column of 1,000 pixels in tiles that are a million pixels wide.
    let tiles: [(u16, u32); 3] = [(322, 1 << 30), (323, 1), (324, 8)];
    assert_eq!(reason("tiff", &tiff_of(1, 1000, &tiles)), "decode-error");
    let many_tiles: [(u16, u32); 3] = [(322, 1 << 30), (323, 1000), (324, 8)];
    assert_eq!(reason("tiff", &tiff_of(1, 1000, &many_tiles)), "too-large");
}

#[test]
fn a_progressive_jpeg_of_many_scans_is_refused() {
    let _alone = alone();
    let jpeg = &fixture_files()["jpeg-progressive"];
    let scans: Vec<usize> = (0..jpeg.len() - 1).filter(|at| jpeg[*at..].starts_with(&[0xff, 0xda])).collect();
    let last_scan = &jpeg[*scans.last().unwrap()..jpeg.len() - 2];
    let mut many = jpeg[..jpeg.len() - 2].to_vec();
    for _ in 0..20 {
        many.extend_from_slice(last_scan);
    }
    assert_eq!(reason("jpeg of some scans", &[many.as_slice(), &[0xff, 0xd9]].concat()), "decoded");
    for _ in 0..500 {
        many.extend_from_slice(last_scan);
    }
    assert_eq!(reason("jpeg of many scans", &[many.as_slice(), &[0xff, 0xd9]].concat()), "decode-error");
}

#[test]
fn only_the_first_of_thousands_of_frames_is_decoded() {
    let _alone = alone();
    let gif = &fixture_files()["gif-interlaced"];
    let (trailer, start) = gif.split_last().unwrap();
    let palette_bytes = 3 * (2 << (gif[10] & 7));
    let frame = &start[13 + palette_bytes..];
    let mut many = start.to_vec();
    for _ in 0..5000 {
        many.extend_from_slice(frame);
    }
    many.push(*trailer);
    assert_eq!(decode_checked("gif", &many).unwrap(), decode(gif, &LIMITS).unwrap());
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let _alone = alone();
    let cases: [(&[u8], &str, &str); 14] = [
        (b"", "empty", "empty"),
        (b"<!DOCTYPE html><html><body>not found</body></html>", "not-an-image", "HTML"),
        (b"\n  <HTML>", "not-an-image", "HTML"),
        (b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>", "unsupported", "SVG"),
        (b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "not-an-image", "XML"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "unsupported", "AVIF"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "unsupported", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "not-an-image", "video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported", "JPEG XL"),
        (b"8BPS\0\x01", "unsupported", "Photoshop"),
        (b"P6\n1 1\n255\n\0\0\0", "unsupported", "Netpbm"),
        (b"%PDF-1.7", "not-an-image", "PDF"),
        (b"label,path\napple,1.jpg\n", "not-an-image", "text"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08", "not-an-image", "no known image format"),
    ];
    for (bytes, expected_reason, word) in cases {
        let error = decode_checked(word, bytes).unwrap_err();
        assert_eq!(error.reason(), expected_reason, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn limits_are_on_bytes_and_pixels() {
    let _alone = alone();
    let png = &fixture_files()["png-rgba"];
    let image = decode(png, &LIMITS).unwrap();
    let pixels = u64::from(image.width()) * u64::from(image.height());
    let bytes = png.len() as u64;
    let exact = DecodeLimits { max_pixels: pixels, max_bytes: bytes };
    assert!(decode(png, &exact).is_ok());
    for (limits, counted) in [
        (DecodeLimits { max_pixels: pixels - 1, ..exact }, "pixel count"),
        (DecodeLimits { max_bytes: bytes - 1, ..exact }, "file size"),
    ] {
        let error = decode(png, &limits).unwrap_err();
        assert_eq!(error.reason(), "too-large");
        assert!(error.to_string().contains(counted), "{error}");
    }
}

/// An uncompressed gray TIFF without pixels and with further tags of one LONG each.
fn tiff_of(width: u32, height: u32, more_tags: &[(u16, u32)]) -> Vec<u8> {
    let mut tags = vec![(256, width), (257, height), (258, 8), (259, 1), (262, 1), (277, 1)];
    if more_tags.is_empty() {
        tags.extend([(273, 8), (278, height), (279, 1)]);
    } else {
        tags.extend(more_tags);
        tags.push((325, 1));
    }
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        file.extend(u16::to_le_bytes(tag));
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    checksum.sum()
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
