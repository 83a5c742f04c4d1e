//! Models as files: exact there and back, and nothing damaged gets in.

use std::num::NonZeroUsize;

use crate::common::features;
use fruitbatch_learn::model::{MANIFEST_FILE, array_file_names};
use fruitbatch_learn::{
    Algorithm, ClusterCount, Components, KMeans, LearnModel, LearnSpec, Lineage, ModelError, Preset, fit,
};
use sha2::{Digest, Sha256};

type Files = Vec<(String, Vec<u8>)>;

fn model(preset: Preset) -> LearnModel {
    model_of(LearnSpec::preset(preset), preset == Preset::Plain)
}

fn model_of(mut spec: LearnSpec, whiten: bool) -> LearnModel {
    spec.pca.n_components = Components::Count(4);
    spec.pca.whiten = whiten;
    spec.dbscan.eps = 1.5;
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    // Numbers whose shortest decimal form is long.
    spec.kmeans.tol = 0.1 + 0.2;
    let labels: Vec<Option<u32>> = (0..60).map(|row| Some(row % 3)).collect();
    let fitted = fit(features(60, 12).view(), None, Some(&labels), &spec, NonZeroUsize::MIN).unwrap();
    let names = ["apple", "orange", "straw\"berry"].map(str::to_owned).to_vec();
    let lineage = Lineage::from([("feature_model".to_owned(), "sha256:00".into())]);
    fitted.model.with_label_names(names).unwrap().with_lineage(lineage)
}

/// One of each preset and each algorithm.
fn models() -> Vec<LearnModel> {
    let of_algorithm = |algorithm| {
        let normalize_features = algorithm == Algorithm::SphericalKMeans;
        model_of(LearnSpec { algorithm, normalize_features, ..LearnSpec::default() }, true)
    };
    let of_presets = [Preset::Plain, Preset::SparkMl, Preset::Cosine].map(model);
    of_presets.into_iter().chain(Algorithm::ALL.map(of_algorithm)).collect()
}

fn edit_manifest(files: &mut Files, edit: impl FnOnce(&mut serde_json::Value)) {
    let (_, bytes) = files.iter_mut().find(|(name, _)| name == MANIFEST_FILE).unwrap();
    let mut manifest = serde_json::from_slice(bytes).unwrap();
    edit(&mut manifest);
    *bytes = serde_json::to_vec(&manifest).unwrap();
}

#[test]
fn a_model_comes_back_exactly() {
    for model in models() {
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
    for model in models() {
        let mut files = model.to_files();
        let (name, manifest) = files.pop().unwrap();
        assert_eq!(name, MANIFEST_FILE);
        let mut written: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
        written.sort();
        assert_eq!(array_file_names(&manifest).unwrap(), written);
    }
}

#[test]
fn the_first_format_is_read_still() {
    let model = model(Preset::Plain);
    let mut files = model.to_files();
    edit_manifest(&mut files, |manifest| {
        manifest["format_version"] = 1.into();
        manifest.as_object_mut().unwrap().remove("log_likelihood").unwrap();
        let spec = manifest["spec"].as_object_mut().unwrap();
        for key in ["algorithm", "normalize_features", "gaussian_mixture", "dbscan", "hdbscan"] {
            spec.remove(key).unwrap();
        }
    });
    let mut expected = model;
    // A choice that plays no part for KMeans, and that the first format didn't have.
    assert_eq!(expected.spec().dbscan.eps, 1.5);
    let read = LearnModel::from_files(&files).unwrap();
    assert_eq!(read.spec().dbscan, LearnSpec::default().dbscan);
    expected = LearnModel::from_files(&read.to_files()).unwrap();
    assert_eq!(read, expected);
    let rows = features(90, 12);
    assert_eq!(
        read.predict_rows(rows.view(), NonZeroUsize::MIN).unwrap(),
        self::model(Preset::Plain).predict_rows(rows.view(), NonZeroUsize::MIN).unwrap()
    );
}

/// Puts an array's file into a model under its right digest and shape.
fn replace_file(files: &mut Files, name: &str, bytes: Vec<u8>, shape: &serde_json::Value) {
    edit_manifest(files, |manifest| {
        manifest["files"][name]["sha256"] = hex::encode(Sha256::digest(&bytes)).into();
        manifest["files"][name]["shape"] = shape.clone();
    });
    files.iter_mut().find(|(found, _)| found == name).unwrap().1 = bytes;
}

/// The file of that name, and its shape by the manifest.
fn file(files: &Files, name: &str) -> (Vec<u8>, serde_json::Value) {
    let bytes = |name: &str| &files.iter().find(|(found, _)| found == name).unwrap().1;
    let manifest: serde_json::Value = serde_json::from_slice(bytes(MANIFEST_FILE)).unwrap();
    (bytes(name).clone(), manifest["files"][name]["shape"].clone())
}

#[test]
fn arrays_of_no_mixture_and_of_no_clusters_by_density_are_refused() {
    let files = |algorithm| model_of(LearnSpec { algorithm, ..LearnSpec::default() }, true).to_files();
    let assert_refused = |files: &Files, what: &str| {
        let error = LearnModel::from_files(files).unwrap_err();
        assert!(matches!(error, ModelError::Inconsistent { .. }), "{what}: {error}");
    };
    let wrong_values = [
        (Algorithm::GaussianMixture, "mixture_weights.npy", [-0.5, f64::NAN, f64::INFINITY].as_slice()),
        (Algorithm::GaussianMixture, "mixture_means.npy", &[f64::NAN, f64::INFINITY]),
        (Algorithm::GaussianMixture, "mixture_covariances.npy", &[0.0, 1.0, -1.0, f64::NAN]),
        (Algorithm::Dbscan, "density_clusters.npy", &[-2.0, -1.0, 0.5, 1e9, f64::NAN]),
        (Algorithm::Dbscan, "density_radii.npy", &[-1.0, f64::NAN]),
        (Algorithm::Hdbscan, "density_rows.npy", &[f64::INFINITY]),
    ];
    for (algorithm, name, values) in wrong_values {
        let files = files(algorithm);
        let (original, shape) = file(&files, name);
        let count: u64 = shape.as_array().unwrap().iter().map(|side| side.as_u64().unwrap()).product();
        for value in values {
            let mut bytes = original.clone();
            let header = bytes.len() - 8 * count as usize;
            bytes[header..].chunks_mut(8).for_each(|place| place.copy_from_slice(&value.to_le_bytes()));
            let mut changed = files.clone();
            replace_file(&mut changed, name, bytes, &shape);
            assert_refused(&changed, &format!("{name} of {value}"));
        }
    }
    // Sound arrays that belong to other models: of two components, and of all rows instead of core rows.
    let mut spec = LearnSpec { algorithm: Algorithm::GaussianMixture, ..LearnSpec::default() };
    spec.pca.n_components = Components::Count(4);
    spec.kmeans.n_clusters = ClusterCount::Count(2);
    let two = fit(features(60, 12).view(), None, None, &spec, NonZeroUsize::MIN).unwrap().model.to_files();
    for name in ["mixture_weights.npy", "mixture_means.npy", "mixture_covariances.npy"] {
        let mut changed = files(Algorithm::GaussianMixture);
        let (bytes, shape) = file(&two, name);
        replace_file(&mut changed, name, bytes, &shape);
        assert_refused(&changed, name);
    }
    for name in ["density_rows.npy", "density_clusters.npy", "density_radii.npy"] {
        let mut changed = files(Algorithm::Dbscan);
        let (bytes, shape) = file(&files(Algorithm::Hdbscan), name);
        assert_ne!(shape, file(&changed, name).1);
        replace_file(&mut changed, name, bytes, &shape);
        assert_refused(&changed, name);
    }
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
    for files in models().iter().map(LearnModel::to_files) {
        for index in 0..files.len() {
            let mut fewer = files.clone();
            let (removed, _) = fewer.remove(index);
            assert_eq!(LearnModel::from_files(&fewer), Err(ModelError::MissingFile { file: removed }));
        }
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
                assert_eq!(model.kmeans().map(KMeans::centres), original.kmeans().map(KMeans::centres));
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
    let error = refused(|manifest| manifest["format_version"] = 3.into());
    assert!(matches!(error, ModelError::FormatVersion { found: 3, supported: 2, .. }), "{error}");
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
