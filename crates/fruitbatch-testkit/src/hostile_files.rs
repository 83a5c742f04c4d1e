//! Bad image files by the ten thousand: good ones of every format mutated, and files crafted to exhaust memory or time.
//!
//! [`hostile_files`] is an endless, reproducible sequence. It begins with the [`crafted_files`], goes on with every good file
//! as it is, under a wrong name and cut at every tenth, and then mutates good files without end: flipped bits, overwritten
//! and repeated runs, two files spliced, numbers in headers replaced, blocks (chunks, segments, directory entries) swapped,
//! doubled and dropped with their checksums made right again, junk behind the end.
//!
//! A name tells what a file is and is unique: `00412-png-rgba-cut-3-tenths.png`.

mod crafted;
mod mutations;

use rand::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

pub use crafted::crafted_files;

/// A file for a decoder to survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostileFile {
    /// A file's name without folders; its extension is sometimes another format's.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// How many files a test of the whole decode path goes through.
pub const HOSTILE_FILE_COUNT: usize = 10_000;

/// The good files of one kind each that mutations begin with: the fixtures of `fruitbatch-image`, name and content.
pub const GOOD_FILES: [(&str, &[u8]); 44] = {
    macro_rules! fixtures {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_bytes!(concat!("../../fruitbatch-image/tests/fixtures/", $name)).as_slice())),*]
        };
    }
    fixtures![
        "bmp-1",
        "bmp-16-565",
        "bmp-24",
        "bmp-32",
        "bmp-4",
        "bmp-8",
        "bmp-rle-8",
        "gif-interlaced",
        "gif-large-frame",
        "gif-small-frame",
        "gif-two-frames",
        "jpeg-411",
        "jpeg-420-odd",
        "jpeg-440",
        "jpeg-cmyk",
        "jpeg-gray",
        "jpeg-orientation-6",
        "jpeg-orientation-xmp",
        "jpeg-progressive",
        "jpeg-progressive-cut-short",
        "jpeg-restarts",
        "jpeg-ycck",
        "png-gray-1",
        "png-gray-16",
        "png-gray-alpha",
        "png-orientation-5",
        "png-palette-4",
        "png-palette-transparent",
        "png-rgb-16-interlaced",
        "png-rgba",
        "tiff-associated-alpha",
        "tiff-cmyk",
        "tiff-fax-4",
        "tiff-gray-16-big-endian",
        "tiff-jpeg-ycbcr",
        "tiff-lzw",
        "tiff-orientation-3",
        "tiff-palette-4",
        "tiff-planes",
        "tiff-tiles",
        "webp-animated",
        "webp-lossless-alpha",
        "webp-lossy",
        "webp-orientation-8",
    ]
};

/// The bad files of a seed, without end. The same seed gives the same files; the first few hundred don't depend on it.
///
/// ```
/// use fruitbatch_testkit::hostile_files::hostile_files;
///
/// let files: Vec<_> = hostile_files(7).take(1200).collect();
/// assert!(files.iter().any(|file| file.name.ends_with("-65535x65535.png")));
/// assert_eq!(files, hostile_files(7).take(1200).collect::<Vec<_>>());
/// ```
pub fn hostile_files(seed: u64) -> impl Iterator<Item = HostileFile> + Send {
    let systematic = GOOD_FILES.iter().flat_map(|&(name, bytes)| systematic_files(name, bytes));
    let mut random = Random::new(seed);
    let mutated = std::iter::repeat_with(move || mutations::mutated_file(&mut random));
    crafted_files()
        .into_iter()
        .chain(systematic)
        .chain(mutated)
        .enumerate()
        .map(|(number, file)| HostileFile { name: format!("{number:05}-{}", file.name), bytes: file.bytes })
}

/// A good file as it is, with another format's extension, and cut at every tenth.
fn systematic_files(name: &str, bytes: &[u8]) -> Vec<HostileFile> {
    let extension = extension(name);
    let others = EXTENSIONS.into_iter().filter(|other| *other != extension);
    let named = |name: String, bytes: &[u8]| HostileFile { name, bytes: bytes.to_vec() };
    let mut files = vec![named(format!("{name}-whole.{extension}"), bytes)];
    files.extend(others.map(|other| named(format!("{name}-misnamed.{other}"), bytes)));
    files.extend((1..10).map(|tenth| {
        named(format!("{name}-cut-{tenth}-tenths.{extension}"), &bytes[..bytes.len() * tenth / 10])
    }));
    files
}

/// Extensions that photos have.
const EXTENSIONS: [&str; 6] = ["jpg", "png", "gif", "webp", "tif", "bmp"];

/// The extension of a good file, which is named for its format.
fn extension(name: &str) -> &'static str {
    match name.split('-').next() {
        Some("bmp") => "bmp",
        Some("gif") => "gif",
        Some("png") => "png",
        Some("tiff") => "tif",
        Some("webp") => "webp",
        _ => "jpg",
    }
}

/// What mutations are drawn from: the same on every machine.
struct Random(SplitMix64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; zero where `bound` is.
    fn below(&mut self, bound: usize) -> usize {
        self.next().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The checksum of PNG's chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    checksum.sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_sequence_is_that_of_its_seed() {
        let files: Vec<HostileFile> = hostile_files(1).take(HOSTILE_FILE_COUNT).collect();
        assert_eq!(files.len(), HOSTILE_FILE_COUNT);
        let names: HashSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names.len(), HOSTILE_FILE_COUNT);
        assert!(files.iter().all(|file| !file.name.contains('/')));
        assert!(files.iter().zip(hostile_files(1)).all(|(one, other)| *one == other));
        let others = hostile_files(2).take(HOSTILE_FILE_COUNT);
        let same = files.iter().zip(others).filter(|(one, other)| one.bytes == other.bytes).count();
        assert!(same < HOSTILE_FILE_COUNT / 4, "{same} files are alike for two seeds");
    }

    #[test]
    fn nearly_all_files_differ_from_every_good_one_and_from_each_other() {
        let files: Vec<HostileFile> = hostile_files(1).take(HOSTILE_FILE_COUNT).collect();
        let distinct: HashSet<&[u8]> = files.iter().map(|file| file.bytes.as_slice()).collect();
        assert!(distinct.len() > HOSTILE_FILE_COUNT * 9 / 10, "{} distinct files", distinct.len());
        let total: usize = files.iter().map(|file| file.bytes.len()).sum();
        assert!(total < 100 << 20, "{total} bytes are too many to write to a disk in a test");
    }
}
