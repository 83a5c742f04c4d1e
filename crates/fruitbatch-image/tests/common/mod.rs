//! What the tests of this crate share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fruitbatch_image::RgbImage;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The folder of the committed files.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A manifest that `make_fixtures.py` wrote: what Pillow made of each file.
pub(crate) fn read_manifest(path: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The committed files, by name.
pub(crate) fn fixture_files() -> BTreeMap<String, Vec<u8>> {
    let names = read_manifest(&fixtures().join("manifest.json")).into_keys();
    names.map(|name| (name.clone(), std::fs::read(fixtures().join(name)).unwrap())).collect()
}

/// The first 64 bits of the SHA-256 of the pixels, as the manifests hold it.
pub(crate) fn digest(image: &RgbImage) -> String {
    hex::encode(&Sha256::digest(image.pixels())[..8])
}

/// Size and digest of an image in the shape of a manifest's entries.
pub(crate) fn summary(image: &RgbImage) -> Value {
    serde_json::json!({"width": image.width(), "height": image.height(), "sha256": digest(image)})
}

/// Noise from a linear congruential generator, the same as in `make_fixtures.py`.
pub(crate) fn formula_image(width: u32, height: u32) -> RgbImage {
    let mut state = width.wrapping_mul(31).wrapping_add(height);
    let pixels = (0..width * height * 3).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    RgbImage::new(width, height, pixels.collect()).unwrap()
}
