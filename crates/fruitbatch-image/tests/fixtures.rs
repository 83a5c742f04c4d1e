//! The committed files and a list of resizes give the pixels that Pillow 13.0.0 gave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use fruitbatch_image::{DecodeLimits, Filter, Resizer, decode, resize};

use crate::common::{digest, fixture_files, fixtures, formula_image, read_manifest, summary};

#[test]
fn every_fixture_decodes_to_pillows_pixels() {
    let expected = read_manifest(&fixtures().join("manifest.json"));
    assert!(expected.len() > 40, "the manifest holds {} files", expected.len());
    for (name, bytes) in fixture_files() {
        let image =
            decode(&bytes, &DecodeLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(summary(&image), expected[&name], "{name}");
    }
}

#[test]
fn every_resize_gives_pillows_pixels() {
    let expected = read_manifest(&fixtures().join("resizes.json"));
    assert!(expected.len() > 150, "the manifest holds {} resizes", expected.len());
    // One resizer for all of them: nothing of an earlier image may be left in its buffers.
    let mut resizer = Resizer::new();
    for (case, expected_digest) in expected {
        let [from, to, filter] = case.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (from_width, from_height) = sides(from);
        let (width, height) = sides(to);
        let filter = match filter {
            "bicubic" => Filter::Bicubic,
            "bilinear" => Filter::Bilinear,
            "nearest" => Filter::Nearest,
            other => panic!("no such filter: {other}"),
        };
        let resized = resizer.resize(&formula_image(from_width, from_height), width, height, filter);
        assert_eq!((resized.width(), resized.height()), (width, height), "{case}");
        assert_eq!(digest(&resized), expected_digest.as_str().unwrap(), "{case}");
    }
}

#[test]
fn the_same_size_is_a_copy() {
    let image = formula_image(17, 9);
    for filter in [Filter::Bicubic, Filter::Bilinear, Filter::Nearest] {
        assert_eq!(resize(&image, 17, 9, filter), image);
    }
}

#[test]
fn an_image_without_pixels_resizes_to_black() {
    let nothing = formula_image(0, 5);
    for filter in [Filter::Bicubic, Filter::Bilinear, Filter::Nearest] {
        assert_eq!(resize(&nothing, 2, 1, filter).pixels(), [0; 6]);
        assert_eq!(resize(&formula_image(4, 4), 0, 3, filter).pixels(), [0; 0]);
    }
}

fn sides(text: &str) -> (u32, u32) {
    let (width, height) = text.split_once('x').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}
