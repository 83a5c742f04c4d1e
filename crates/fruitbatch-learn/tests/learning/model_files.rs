//! Models as files: exact there and back, and nothing damaged gets in.

use std::num::NonZeroUsize;

use crate::common::features;
use fruitbatch_learn::model::{MANIFEST_FILE, array_file_names};
use fruitbatch_learn::{ClusterCount, Components, LearnModel, LearnSpec, Lineage, ModelError, Preset, fit};

type Files = Vec<(String, Vec<u8>)>;

fn model(preset: Preset) -> LearnModel {
    let mut spec = LearnSpec::preset(preset);
    spec.pca.n_components = Components::Count(4);
    spec.pca.whiten = preset == Preset::Plain;
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    // Numbers whose shortest decimal form is long.
    spec.kmeans.tol = 0.1 + 0.2;
    let labels: Vec<Option<u32>> = (0..60).map(|row| Some(row % 3)).collect();
    let fitted = fit(features(60, 12).view(), None, Some(&labels), &spec, NonZeroUsize::MIN).unwrap();
    let names = ["apple", "orange", "straw\"berry"].map(str::to_owned).to_vec();
    let lineage = Lineage::from([("feature_model".to_owned(), "sha256:00".into())]);
    fitted.model.with_label_names(names).unwrap().with_lineage(lineage)
}

fn edit_manifest(files: &mut Files, edit: impl FnOnce(&mut serde_json::Value)) {
    let (_, bytes) = files.iter_mut().find(|(name, _)| name == MANIFEST_FILE).unwrap();
    let mut manifest = serde_json::from_slice(bytes).unwrap();
    edit(&mut manifest);
    *bytes = serde_json::to_vec(&manifest).unwrap();
}

#[test]
fn a_model_comes_back_exactly() {
    for preset in [Preset::Plain, Preset::SparkMl] {
        let model = model(preset);
        let files = model.to_files();
        let read = LearnModel::from_files(&files).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.to_files(), files);
        let rows = features(90, 12);
        assert_eq!(
            read.predict_rows(rows.view(), NonZeroUsize::MIN).unwrap(),
            model.predict_rows(rows.view(), NonZeroUsize::MIN).unwrap()
        );
    }
}

#[test]
fn the_manifest_names_every_other_file_and_comes_last() {
    let mut files = model(Preset::Plain).to_files();
    let (name, manifest) = files.pop().unwrap();
    assert_eq!(name, MANIFEST_FILE);
    let mut written: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    written.sort();
    assert_eq!(array_file_names(&manifest).unwrap(), written);
}

#[test]
fn a_model_without_labels_needs_none() {
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(2);
    spec.kmeans.n_clusters = ClusterCount::Count(2);
    let model = fit(features(9, 12).view(), None, None, &spec, NonZeroUsize::MIN).unwrap().model;
    assert_eq!(LearnModel::from_files(&model.to_files()).unwrap(), model);
    assert!(model.clone().with_label_names(vec!["apple".to_owned()]).is_err());
    assert_eq!(model.predict_rows(features(3, 12).view(), NonZeroUsize::MIN).unwrap().nearest_labels, None);
}

#[test]
fn every_missing_file_is_named() {
    let files = model(Preset::Plain).to_files();
    for index in 0..files.len() {
        let mut fewer = files.clone();
        let (removed, _) = fewer.remove(index);
        assert_eq!(LearnModel::from_files(&fewer), Err(ModelError::MissingFile { file: removed }));
    }
}

#[test]
fn every_changed_or_cut_array_is_found_by_its_digest() {
    let files = model(Preset::Plain).to_files();
    for index in 0..files.len() - 1 {
        let length = files[index].1.len();
        for position in (0..length).step_by(7).chain([length - 1]) {
            let mut changed = files.clone();
            changed[index].1[position] ^= 0x10;
            assert!(matches!(LearnModel::from_files(&changed), Err(ModelError::Digest { .. })));
            let mut cut = files.clone();
            cut[index].1.truncate(position);
            assert!(matches!(LearnModel::from_files(&cut), Err(ModelError::Digest { .. })));
        }
    }
}

#[test]
fn no_changed_byte_of_the_manifest_gets_through_unseen_or_panics() {
    let original = model(Preset::Plain);
    let files = original.to_files();
    let manifest = files.len() - 1;
    for position in 0..files[manifest].1.len() {
        let mut cut = files.clone();
        cut[manifest].1.truncate(position);
        // Only the newline at the end may be missing.
        assert_eq!(
            LearnModel::from_files(&cut).is_ok(),
            position + 1 == files[manifest].1.len(),
            "{position}"
        );
        for flipped in [0x01, 0x10, 0x80] {
            let mut changed = files.clone();
            changed[manifest].1[position] ^= flipped;
            if let Ok(model) = LearnModel::from_files(&changed) {
                // Free text and figures may differ; what is computed with it has its digests.
                assert_eq!(model.kmeans().centres(), original.kmeans().centres());
                model.predict_rows(features(5, 12).view(), NonZeroUsize::MIN).unwrap();
            }
        }
    }
}

#[test]
fn arrays_that_are_consistent_with_wrong_digests_and_shapes_are_refused() {
    let files = model(Preset::Plain).to_files();
    let refused = |edit: fn(&mut serde_json::Value)| {
        let mut edited = files.clone();
        edit_manifest(&mut edited, edit);
        LearnModel::from_files(&edited).unwrap_err()
    };
    let error = refused(|manifest| manifest["format_version"] = 2.into());
    assert!(matches!(error, ModelError::FormatVersion { found: 2, supported: 1, .. }), "{error}");
    let error = refused(|manifest| manifest["width"] = 13.into());
    assert!(matches!(error, ModelError::Inconsistent { .. }), "{error}");
    let error = refused(|manifest| manifest["surprise"] = 1.into());
    assert!(matches!(error, ModelError::Manifest { .. }), "{error}");
    let error = refused(|manifest| manifest["label_names"] = serde_json::json!(["one"]));
    assert!(matches!(error, ModelError::Inconsistent { .. }), "{error}");
    let huge = |manifest: &mut serde_json::Value| {
        manifest["files"]["kmeans_centres.npy"]["shape"] = serde_json::json!([u64::MAX, u64::MAX]);
    };
    assert!(matches!(refused(huge), ModelError::Array { .. }));
    let one_dimension = |manifest: &mut serde_json::Value| {
        manifest["files"]["kmeans_centres.npy"]["shape"] = serde_json::json!([12]);
    };
    assert!(matches!(refused(one_dimension), ModelError::Array { .. }));

    // An array of the right form under the wrong name, with its digest.
    let mut swapped = files.clone();
    edit_manifest(&mut swapped, |manifest| {
        manifest["files"]["pca_components.npy"] = manifest["files"]["kmeans_centres.npy"].clone();
    });
    let centres = swapped.iter().find(|(name, _)| name == "kmeans_centres.npy").unwrap().1.clone();
    swapped.iter_mut().find(|(name, _)| name == "pca_components.npy").unwrap().1 = centres;
    assert!(matches!(LearnModel::from_files(&swapped), Err(ModelError::Inconsistent { .. })));
    assert_eq!(
        LearnModel::from_files(&Files::new()),
        Err(ModelError::MissingFile { file: MANIFEST_FILE.to_owned() })
    );
}
