//! The promises of the set: its shape, its determinism, and its care for what else lies in a folder.

#![allow(clippy::unwrap_used)] // Clippy takes helper functions of a test file for code that ships.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fruitbatch_samples::{SampleError, SampleOptions, draw_in_memory, draw_samples};

fn small() -> SampleOptions {
    SampleOptions { per_label: 3, size: 48, ..SampleOptions::default() }
}

fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for label in fs::read_dir(folder).unwrap() {
        let label = label.unwrap();
        for file in fs::read_dir(label.path()).unwrap() {
            let names = [label.file_name(), file.unwrap().file_name()];
            files.insert(names.map(|name| name.into_string().unwrap()).join("/"));
        }
    }
    files
}

fn decoded(jpeg: &[u8]) -> image::RgbImage {
    image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap().to_rgb8()
}

#[test]
fn the_set_has_the_folders_and_names_of_the_study() {
    let folder = tempfile::tempdir().unwrap();
    let photos = draw_samples(folder.path(), &small()).unwrap();
    let expected: BTreeSet<String> = ["Apple Braeburn", "Apple Pink Lady", "Orange", "Strawberry"]
        .iter()
        .flat_map(|label| [0, 120, 240].map(|degrees| format!("{label}/{degrees}_48.jpg")))
        .collect();
    assert_eq!(files_below(folder.path()), expected);
    let told: BTreeSet<String> = photos.iter().map(|photo| photo.path.to_str().unwrap().to_owned()).collect();
    assert_eq!(told, expected);
    for photo in photos {
        assert_eq!(photo.length, fs::metadata(folder.path().join(&photo.path)).unwrap().len());
        assert!(photo.path.starts_with(photo.label));
    }
}

#[test]
fn photos_are_square_with_a_white_background_and_a_fruit_in_the_middle() {
    for photo in draw_in_memory(&small()).unwrap() {
        let pixels = decoded(&photo.jpeg);
        assert_eq!(pixels.dimensions(), (48, 48), "{}", photo.path);
        for corner in [(0, 0), (47, 0), (0, 47), (47, 47)] {
            // JPEG lets a little of a fruit near the corner ring into it.
            let darkest = pixels.get_pixel(corner.0, corner.1).0.into_iter().min().unwrap();
            assert!(darkest >= 245, "{}: corner {corner:?} is {darkest}", photo.path);
        }
        let middle = pixels.get_pixel(24, 24).0;
        assert!(middle[0] > middle[2].saturating_add(20), "{}: the middle is {middle:?}", photo.path);
    }
}

#[test]
fn a_turn_brings_new_sides_to_the_front() {
    let photos = draw_in_memory(&small()).unwrap();
    for pair in photos.windows(2).filter(|pair| pair[0].label == pair[1].label) {
        let (before, after) = (decoded(&pair[0].jpeg), decoded(&pair[1].jpeg));
        let difference: u64 = before.iter().zip(after.iter()).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
        let mean = difference as f64 / before.len() as f64;
        // The camera's noise alone gives about 1.
        assert!(mean > 4.0, "{} and {} differ by {mean} only", pair[0].path, pair[1].path);
    }
}

#[test]
fn one_seed_gives_one_set_and_another_seed_other_individuals() {
    let first = draw_in_memory(&small()).unwrap();
    assert_eq!(first, draw_in_memory(&small()).unwrap());
    let other = draw_in_memory(&SampleOptions { seed: 1, ..small() }).unwrap();
    for (one, another) in first.iter().zip(&other) {
        assert_eq!(one.path, another.path);
        assert_ne!(one.jpeg, another.jpeg, "{}", one.path);
    }
}

/// Every machine must draw the pixels that were drawn when this was written: x86-64 and aarch64, any C library.
/// Decoded pixels, so that the encoder's choices in coding them don't matter.
#[test]
fn every_kind_of_machine_draws_the_same_pixels() {
    let checksums: Vec<(&str, u64)> = draw_in_memory(&SampleOptions { per_label: 1, ..small() })
        .unwrap()
        .iter()
        .map(|photo| (photo.label, fnv1a(&decoded(&photo.jpeg))))
        .collect();
    assert_eq!(
        checksums,
        [
            ("Apple Braeburn", 12_657_686_642_309_788_875),
            ("Apple Pink Lady", 8_275_624_116_002_719_848),
            ("Orange", 4_930_484_029_515_593_888),
            ("Strawberry", 10_752_081_341_816_240_010)
        ],
        "if the drawing was changed on purpose, pin the new values"
    );
}

/// The 64-bit Fowler-Noll-Vo hash 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn repeating_leaves_finished_photos_untouched_and_completes_an_interrupted_set() {
    let folder = tempfile::tempdir().unwrap();
    let options = small();
    let photos = draw_samples(folder.path(), &options).unwrap();
    let kept = folder.path().join(&photos[0].path);
    let lost = folder.path().join(&photos[1].path);
    let bytes_of_lost = fs::read(&lost).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&kept).unwrap().set_modified(long_ago).unwrap();
    // As an interruption leaves it: one photo missing, one half written.
    fs::remove_file(&lost).unwrap();
    fs::write(folder.path().join(".unfinished-sample"), b"half").unwrap();

    assert_eq!(draw_samples(folder.path(), &options).unwrap(), photos);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), long_ago);
    assert_eq!(fs::read(&lost).unwrap(), bytes_of_lost);
    assert!(!folder.path().join(".unfinished-sample").exists());
}

#[test]
fn a_folder_with_anything_else_in_it_is_refused_and_left_alone() {
    for foreign in [
        "notes.txt",
        "Apple Braeburn/1_48.jpg",
        "Apple Braeburn/0_100.jpg",
        "Pear/0_48.jpg",
        "Orange/deep/0_48.jpg",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(foreign);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"mine").unwrap();
        let error = draw_samples(folder.path(), &small()).unwrap_err();
        assert!(matches!(error, SampleError::FolderInUse { .. }), "{foreign}: {error}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{foreign}: something was written");
    }
}

#[test]
fn the_photos_of_another_seed_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let photos = draw_samples(folder.path(), &small()).unwrap();
    let before = fs::read(folder.path().join(&photos[0].path)).unwrap();
    let error = draw_samples(folder.path(), &SampleOptions { seed: 1, ..small() }).unwrap_err();
    assert!(matches!(error, SampleError::OtherSet { .. }), "{error}");
    assert_eq!(fs::read(folder.path().join(&photos[0].path)).unwrap(), before);
}

#[test]
fn options_outside_their_range_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        SampleOptions { per_label: 0, ..small() },
        SampleOptions { per_label: 361, ..small() },
        SampleOptions { size: 15, ..small() },
        SampleOptions { size: 1025, ..small() },
        SampleOptions { quality: 0, ..small() },
        SampleOptions { quality: 101, ..small() },
    ] {
        let error = draw_samples(folder.path(), &options).unwrap_err();
        assert!(matches!(error, SampleError::InvalidOption { .. }), "{options:?}: {error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
