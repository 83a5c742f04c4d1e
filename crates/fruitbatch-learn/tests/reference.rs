//! Against what scikit-learn makes of the reference features: VGG16 features of 928 photos of fruit, 4 labels.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use fruitbatch_learn::{ClusterCount, Components, LearnSpec, fit};
use ndarray::Array2;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::Deserialize;

/// The figures in the reference file that are compared.
#[derive(Deserialize)]
struct ReferenceFigures {
    zero_variance_features: usize,
    explained_variance_ratio_first10: Vec<f64>,
    n_components_for_80pct: usize,
    n_components_for_95pct: usize,
    kmeans_k: usize,
    kmeans_inertia_best_of_20: f64,
    ari: f64,
    nmi: f64,
    silhouette: f64,
}

/// The folder of shared data, if it is there.
fn shared_folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FRUITBATCH_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    if folder.join("reference").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {test}: no reference folder in {}", folder.display());
    None
}

/// Labels by row and features, n x 512.
fn read_features(path: &std::path::Path) -> (Vec<Option<u32>>, Array2<f32>) {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let row_count = reader.metadata().file_metadata().num_rows() as usize;
    let (mut labels, mut features) = (Vec::<ByteArray>::new(), Vec::<f32>::new());
    for group_index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group_index).unwrap();
        let rows = group.metadata().num_rows() as usize;
        let parquet::column::reader::ColumnReader::ByteArrayColumnReader(mut label_column) =
            group.get_column_reader(1).unwrap()
        else {
            panic!("the second column isn't the label")
        };
        label_column.read_records(rows, Some(&mut Vec::new()), None, &mut labels).unwrap();
        let parquet::column::reader::ColumnReader::FloatColumnReader(mut feature_column) =
            group.get_column_reader(2).unwrap()
        else {
            panic!("the third column isn't the features")
        };
        let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
        feature_column
            .read_records(rows, Some(&mut definitions), Some(&mut repetitions), &mut features)
            .unwrap();
    }
    let names: BTreeSet<&[u8]> = labels.iter().map(ByteArray::data).collect();
    let label_numbers = labels
        .iter()
        .map(|label| names.iter().position(|name| *name == label.data()).map(|index| index as u32));
    let width = features.len() / row_count;
    (label_numbers.collect(), Array2::from_shape_vec((row_count, width), features).unwrap())
}

fn check_image_size(test: &str, image_size: u32) {
    let Some(shared) = shared_folder(test) else { return };
    let folder = shared.join("reference");
    let (labels, features) = read_features(&folder.join(format!("fruits-928_features_{image_size}.parquet")));
    let figures = File::open(folder.join(format!("fruits-928_{image_size}.json"))).unwrap();
    let reference: ReferenceFigures = serde_json::from_reader(figures).unwrap();
    let threads = NonZeroUsize::new(2).unwrap();
    let mut spec = LearnSpec::default();
    spec.kmeans.n_clusters = ClusterCount::Count(reference.kmeans_k);
    let fitted = fit(features.view(), None, Some(&labels), &spec, threads).unwrap();
    let (report, timings) = (fitted.report, fitted.timings);
    println!(
        "{image_size}: inertia {} ({}), ari {:?} ({}), nmi {:?} ({}), silhouette {:?} ({}), {:?}",
        report.inertia,
        reference.kmeans_inertia_best_of_20,
        report.ari,
        reference.ari,
        report.nmi,
        reference.nmi,
        report.silhouette,
        reference.silhouette,
        timings,
    );

    assert_eq!(report.constant_columns, reference.zero_variance_features);
    assert_eq!(report.explained_variance_ratio.len(), 512);
    // Both are exact up to the rounding of f64; the reference was scaled in another order of operations.
    for (ratio, expected) in
        report.explained_variance_ratio.iter().zip(&reference.explained_variance_ratio_first10)
    {
        assert!((ratio - expected).abs() < 1e-6, "explained-variance ratio {ratio} instead of {expected}");
    }
    // KMeans finds local optima: ours from ten starts may be better than the reference's from twenty, hardly worse.
    assert!(report.inertia <= 1.001 * reference.kmeans_inertia_best_of_20, "inertia {}", report.inertia);
    assert!((report.ari.unwrap() - reference.ari).abs() < 0.02, "ari {:?}", report.ari);
    assert!((report.nmi.unwrap() - reference.nmi).abs() < 0.02, "nmi {:?}", report.nmi);
    assert!(
        (report.silhouette.unwrap() - reference.silhouette).abs() < 0.02,
        "silhouette {:?}",
        report.silhouette
    );
    assert_eq!((report.labelled_rows, report.silhouette_rows), (928, 928));

    for (share, expected) in
        [(0.8, reference.n_components_for_80pct), (0.95, reference.n_components_for_95pct)]
    {
        spec.pca.n_components = Components::VarianceShare(share);
        let fitted = fit(features.view(), None, None, &spec, threads).unwrap();
        assert_eq!(fitted.report.n_components, expected, "components for {share} of the variance");
    }
}

#[test]
fn photos_at_100_give_the_reference_figures() {
    check_image_size("photos_at_100_give_the_reference_figures", 100);
}

#[test]
fn photos_at_224_give_the_reference_figures() {
    check_image_size("photos_at_224_give_the_reference_figures", 224);
}
