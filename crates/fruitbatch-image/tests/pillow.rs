//! Every kind of file, and the reference photos where they are at hand, against the Pillow of this machine.
//!
//! The interpreter is `FRUITBATCH_PYTHON`, else `python3`. The photos are looked for in `FRUITBATCH_SHARED`, else in
//! `../shared` beside the repository.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruitbatch_image::{DecodeLimits, decode};
use serde_json::Value;

use crate::common::{read_manifest, summary};

/// Earlier ones resize in another order and read some files in another way.
const OLDEST_PILLOW: u32 = 13;

#[test]
fn every_kind_of_file_decodes_to_pillows_pixels() {
    let Some(python) = python_with_pillow("every_kind_of_file_decodes_to_pillows_pixels") else { return };
    let folder = tempfile::tempdir().unwrap();
    run(Command::new(python).arg(script()).arg("corpus").arg(folder.path()));
    let expected = read_manifest(&folder.path().join("manifest.json"));
    assert!(expected.len() > 450, "the corpus holds {} files", expected.len());
    compare(&expected, |name| folder.path().join(name));
}

#[test]
fn reference_photos_decode_to_pillows_pixels() {
    const TEST: &str = "reference_photos_decode_to_pillows_pixels";
    let Some(python) = python_with_pillow(TEST) else { return };
    let data = std::env::var_os("FRUITBATCH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from)
        .join("data");
    let mut photos = Vec::new();
    for folder in ["fruits-928", "photos"] {
        collect_files(&data.join(folder), &mut photos);
    }
    if photos.is_empty() {
        eprintln!("SKIPPED: {TEST}: no reference photos in {}", data.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("manifest.json");
    run(Command::new(python).arg(script()).arg("photos").arg(&manifest).args(&photos));
    let expected = read_manifest(&manifest);
    assert_eq!(expected.len(), photos.len());
    compare(&expected, |path| PathBuf::from(path));
}

#[test]
fn resizes_give_the_pixels_of_this_pillow() {
    let Some(python) = python_with_pillow("resizes_give_the_pixels_of_this_pillow") else { return };
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("resizes.json");
    run(Command::new(python).arg(script()).arg("resizes").arg(&manifest));
    // `tests/fixtures.rs` checks our resizes against the committed list: it has to be what Pillow gives today.
    assert_eq!(read_manifest(&manifest), read_manifest(&common::fixtures().join("resizes.json")));
}

fn compare(expected: &BTreeMap<String, Value>, path_of: impl Fn(&str) -> PathBuf) {
    let mut differences = Vec::new();
    for (name, expected) in expected {
        let bytes = std::fs::read(path_of(name)).unwrap();
        match decode(&bytes, &DecodeLimits::default()) {
            Ok(image) if summary(&image) == *expected => {}
            Ok(image) => differences.push(format!("{name}: {} instead of {expected}", summary(&image))),
            Err(error) => differences.push(format!("{name}: {error} instead of {expected}")),
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} files differ:\n{}",
        differences.len(),
        expected.len(),
        differences.join("\n")
    );
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/make_fixtures.py")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The interpreter, or `None` after saying why the test is skipped.
fn python_with_pillow(test: &str) -> Option<PathBuf> {
    let python =
        std::env::var_os("FRUITBATCH_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let output = Command::new(&python).args(["-c", "import PIL; print(PIL.__version__)"]).output();
    let version = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_string(),
        _ => {
            eprintln!("SKIPPED: {test}: {} cannot import Pillow", python.display());
            return None;
        }
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    if major < OLDEST_PILLOW {
        eprintln!("SKIPPED: {test}: Pillow {version} is older than {OLDEST_PILLOW}");
        return None;
    }
    Some(python)
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}
