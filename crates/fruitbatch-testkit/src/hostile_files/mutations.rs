//! Good files, damaged at random.

use std::ops::Range;

use super::{EXTENSIONS, GOOD_FILES, HostileFile, Random, crc32, extension};

/// Numbers at the edges of what fields hold.
const EDGES: [u32; 14] =
    [0, 1, 2, 7, 8, 0x7f, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// Most damage is small: a file with much of it is refused at its first bytes.
const MOST_STEPS: usize = 6;

/// One good file after one to six mutations.
pub(super) fn mutated_file(random: &mut Random) -> HostileFile {
    let (name, good) = random.one_of(&GOOD_FILES);
    let mut bytes = good.to_vec();
    let mut applied = "";
    for _ in 0..=random.below(MOST_STEPS) {
        applied = mutate(&mut bytes, name, random);
    }
    // Half of the PNG files get their checksums right, or none would come past its first changed chunk.
    if name.starts_with("png") && random.below(2) == 0 {
        correct_png_checksums(&mut bytes);
    }
    let extension = if random.below(16) == 0 { random.one_of(&EXTENSIONS) } else { extension(name) };
    HostileFile { name: format!("{name}-{applied}.{extension}"), bytes }
}

/// Applies one mutation and names it.
fn mutate(bytes: &mut Vec<u8>, name: &str, random: &mut Random) -> &'static str {
    /// Where headers lie.
    const HEADER_BYTES: usize = 96;
    if bytes.is_empty() {
        bytes.push(0);
    }
    let at = random.below(bytes.len());
    match random.below(12) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "bit"
        }
        1 => {
            bytes[at] = random.next() as u8;
            "byte"
        }
        2 => {
            let run = at..(at + 1 + random.below(32)).min(bytes.len());
            bytes[run].fill(random.one_of(&[0, 0xff, 0x80, b'A']));
            "run"
        }
        3 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
            "gap"
        }
        4 => {
            let from = random.below(bytes.len());
            let copied = bytes[from..(from + 1 + random.below(64)).min(bytes.len())].to_vec();
            bytes.splice(at..at, copied);
            "repeat"
        }
        5 => {
            bytes.truncate(at);
            "cut"
        }
        6 => {
            let (_, other) = random.one_of(&GOOD_FILES);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len())..]);
            "splice"
        }
        7 => {
            let length = random.below(256);
            bytes.extend((0..length).map(|_| random.next() as u8));
            "junk"
        }
        8 | 9 => {
            let at = random.below(bytes.len().min(HEADER_BYTES));
            let value = random.one_of(&EDGES);
            let big_endian = random.below(2) == 0;
            let field = match (random.below(2), big_endian) {
                (0, true) => (value as u16).to_be_bytes().to_vec(),
                (0, false) => (value as u16).to_le_bytes().to_vec(),
                (_, true) => value.to_be_bytes().to_vec(),
                (_, false) => value.to_le_bytes().to_vec(),
            };
            for (byte, new) in bytes[at..].iter_mut().zip(field) {
                *byte = new;
            }
            "field"
        }
        _ => rearrange_blocks(bytes, name, random),
    }
}

/// Swaps, doubles or drops blocks of a file, or replaces a number in one.
fn rearrange_blocks(bytes: &mut Vec<u8>, name: &str, random: &mut Random) -> &'static str {
    let blocks = match name.split('-').next() {
        Some("png") => png_chunks(bytes),
        Some("jpeg") => jpeg_segments(bytes),
        Some("webp") => riff_chunks(bytes),
        Some("tiff") => tiff_entries(bytes),
        _ => Vec::new(),
    };
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return "whole" };
    let (before, behind) = (bytes[..first.start].to_vec(), bytes[last.end..].to_vec());
    let mut parts: Vec<Vec<u8>> = blocks.iter().map(|block| bytes[block.clone()].to_vec()).collect();
    let one = random.below(parts.len());
    let done = match random.below(4) {
        0 => {
            let other = random.below(parts.len());
            parts.swap(one, other);
            "swapped"
        }
        1 => {
            for _ in 0..=random.below(40) {
                parts.insert(one, parts[one].clone());
            }
            "doubled"
        }
        2 => {
            parts.remove(one);
            "dropped"
        }
        _ => {
            let part = &mut parts[one];
            let at = random.below(part.len());
            let value = random.one_of(&EDGES);
            let field = if random.below(2) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
            for (byte, new) in part[at..].iter_mut().zip(field) {
                *byte = new;
            }
            "number"
        }
    };
    *bytes = [before, parts.concat(), behind].concat();
    done
}

fn big_endian(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let number = bytes.get(at..)?.get(..length)?;
    Some(number.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn little_endian(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let number = bytes.get(at..)?.get(..length)?;
    Some(number.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// Blocks that follow each other from `start`, as far as they lie within the file.
fn blocks_from(bytes: &[u8], start: usize, length_at: impl Fn(usize) -> Option<usize>) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut at = start;
    while let Some(end) = length_at(at).map(|length| at + length)
        && end <= bytes.len()
        && end > at
    {
        blocks.push(at..end);
        at = end;
    }
    blocks
}

fn png_chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    blocks_from(bytes, 8, |at| Some(big_endian(bytes, at, 4)? + 12))
}

/// The segments before the first scan.
fn jpeg_segments(bytes: &[u8]) -> Vec<Range<usize>> {
    blocks_from(bytes, 2, |at| match bytes.get(at..)? {
        [0xff, 0xda, ..] => None,
        [0xff, ..] => Some(big_endian(bytes, at + 2, 2)? + 2),
        _ => None,
    })
}

fn riff_chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    blocks_from(bytes, 12, |at| Some(little_endian(bytes, at + 4, 4)?.next_multiple_of(2) + 8))
}

/// The entries of the first directory.
fn tiff_entries(bytes: &[u8]) -> Vec<Range<usize>> {
    let number = if bytes.starts_with(b"MM") { big_endian } else { little_endian };
    let Some(start) = number(bytes, 4, 4) else { return Vec::new() };
    let count = number(bytes, start, 2).unwrap_or(0);
    let end = start + 2 + count * 12;
    blocks_from(bytes, start + 2, |at| (at < end).then_some(12))
}

fn correct_png_checksums(bytes: &mut [u8]) {
    for chunk in png_chunks(bytes) {
        let (content, checksum) = (chunk.start + 4..chunk.end - 4, chunk.end - 4..chunk.end);
        let correct = crc32(&bytes[content]);
        bytes[checksum].copy_from_slice(&correct.to_be_bytes());
    }
}
