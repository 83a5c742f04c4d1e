//! Against what scikit-learn makes of the reference features: VGG16 features of 928 photos of fruit, 4 labels.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::unreadable_literal, reason = "figures as another program prints them")]

use std::collections::BTreeSet;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use fruitbatch_learn::classifier::{ClassifierSpec, fit_classifier};
use fruitbatch_learn::metrics::{ContingencyTable, Dispersion, mean_by_cluster, silhouettes};
use fruitbatch_learn::tsne::{TsneSpec, trustworthiness, tsne};
use fruitbatch_learn::{ClusterCount, Components, LearnSpec, Preset, fit};
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
        "{image_size}: inertia {:?} ({}), ari {:?} ({}), nmi {:?} ({}), silhouette {:?} ({}), {:?}",
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
    assert!(
        report.inertia.unwrap() <= 1.001 * reference.kmeans_inertia_best_of_20,
        "inertia {:?}",
        report.inertia
    );
    assert!((report.ari.unwrap() - reference.ari).abs() < 0.02, "ari {:?}", report.ari);
    assert!((report.nmi.unwrap() - reference.nmi).abs() < 0.02, "nmi {:?}", report.nmi);
    assert!(
        (report.silhouette.unwrap() - reference.silhouette).abs() < 0.02,
        "silhouette {:?}",
        report.silhouette
    );
    let table = report.contingency.unwrap();
    assert_eq!(
        (report.homogeneity, report.completeness, report.purity),
        (table.homogeneity(), table.completeness(), table.purity())
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

/// What scikit-learn says of one partition of the reference features; `tests/reference_figures.py` prints it.
struct PartitionFigures {
    silhouette: f64,
    first_and_last_silhouette: [f64; 2],
    silhouette_by_cluster: &'static [f64],
    calinski_harabasz: f64,
    davies_bouldin: f64,
}

#[track_caller]
fn assert_same(found: f64, expected: f64) {
    // Sums of 928 rows of 512 values in f64, in another order.
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
}

#[test]
fn figures_of_fixed_partitions_are_those_of_scikit_learn() {
    let Some(shared) = shared_folder("figures_of_fixed_partitions_are_those_of_scikit_learn") else { return };
    let (labels, features) = read_features(&shared.join("reference/fruits-928_features_224.parquet"));
    let rows = features.mapv(f64::from);
    let threads = NonZeroUsize::new(2).unwrap();
    let by_label: Vec<i32> = labels.iter().map(|label| label.unwrap().cast_signed()).collect();
    // Another partition that every language finds: by the column of the largest feature, the first of equals.
    let by_largest_feature: Vec<i32> = features
        .rows()
        .into_iter()
        .map(|row| {
            let largest = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            (largest % 5) as i32
        })
        .collect();
    let expected = [
        PartitionFigures {
            silhouette: 0.1699852291443466,
            first_and_last_silhouette: [0.062135736213598664, 0.07281081378440336],
            silhouette_by_cluster: &[
                0.1059918706949541,
                0.053400475124424154,
                0.4002109415232958,
                0.11748919913715913,
            ],
            calinski_harabasz: 130.96151253466041,
            davies_bouldin: 2.3198468973280555,
        },
        PartitionFigures {
            silhouette: 0.0018408880631068571,
            first_and_last_silhouette: [0.0851933305734657, -0.008881124538958281],
            silhouette_by_cluster: &[
                0.024358052342514876,
                0.033676356732053624,
                -0.023792024879811875,
                -0.05287590687212609,
                0.07524087912650275,
            ],
            calinski_harabasz: 35.63310520725447,
            davies_bouldin: 4.2332106726648435,
        },
    ];
    for (clusters, expected) in [&by_label, &by_largest_feature].into_iter().zip(expected) {
        let silhouettes = silhouettes(rows.view(), clusters, threads).unwrap().unwrap();
        assert_same(silhouettes.iter().sum::<f64>() / 928.0, expected.silhouette);
        assert_same(silhouettes[0], expected.first_and_last_silhouette[0]);
        assert_same(silhouettes[927], expected.first_and_last_silhouette[1]);
        let by_cluster = mean_by_cluster(&silhouettes, clusters).unwrap();
        assert_eq!(by_cluster.len(), expected.silhouette_by_cluster.len());
        for (found, &expected) in by_cluster.values().zip(expected.silhouette_by_cluster) {
            assert_same(*found, expected);
        }
        let dispersion = Dispersion::new(rows.view(), clusters, threads).unwrap();
        assert_same(dispersion.calinski_harabasz().unwrap(), expected.calinski_harabasz);
        assert_same(dispersion.davies_bouldin().unwrap(), expected.davies_bouldin);
    }
    let table = ContingencyTable::new(&labels, &by_largest_feature).unwrap();
    assert_same(table.homogeneity().unwrap(), 0.23438792092190874);
    assert_same(table.completeness().unwrap(), 0.22267275260889846);
    assert_same(table.normalized_mutual_information().unwrap(), 0.22838019787077726);
    assert_same(table.purity().unwrap(), 0.5032327586206896);
}

/// docs/clustering.md promises it.
#[test]
fn the_cosine_preset_tells_the_fruit_apart_with_every_seed() {
    let Some(shared) = shared_folder("the_cosine_preset_tells_the_fruit_apart_with_every_seed") else {
        return;
    };
    let (labels, features) = read_features(&shared.join("reference/fruits-928_features_100.parquet"));
    let mut spec = LearnSpec::preset(Preset::Cosine);
    spec.kmeans.n_clusters = ClusterCount::Count(4);
    for seed in 0..5 {
        spec.kmeans.seed = seed;
        let report =
            fit(features.view(), None, Some(&labels), &spec, NonZeroUsize::new(2).unwrap()).unwrap().report;
        assert!(report.ari.unwrap() > 0.85, "seed {seed}: {:?}", report.ari);
    }
}

#[test]
fn a_map_of_the_photos_is_as_good_as_the_one_of_scikit_learn() {
    let Some(shared) = shared_folder("a_map_of_the_photos_is_as_good_as_the_one_of_scikit_learn") else {
        return;
    };
    let (labels, features) = read_features(&shared.join("reference/fruits-928_features_224.parquet"));
    let threads = NonZeroUsize::new(2).unwrap();
    let mut spec = LearnSpec::default();
    spec.kmeans.n_clusters = ClusterCount::Count(4);
    let scores = fit(features.view(), None, None, &spec, threads).unwrap().projected.into_matrix().unwrap();
    let shown = tsne(scores.view(), &TsneSpec::default(), threads, &|_, _| ()).unwrap();

    // scikit-learn 1.9.1: StandardScaler(), PCA(10, svd_solver="full"), TSNE(init="pca"), trustworthiness(n_neighbors=5): 0.99862,
    // a divergence of 0.239, and the ten nearest rows of each row have its label.
    let found = trustworthiness(scores.view(), shown.map.view(), 5, threads).unwrap();
    println!("trustworthiness {found}, divergence {}", shown.kl_divergence);
    // Half a thousandth is what scikit-learn's exact method and its approximation differ by.
    assert!(found > 0.99862 - 0.0005, "trustworthiness {found}");
    assert!(shown.kl_divergence < 0.3, "divergence {}", shown.kl_divergence);
    for (row, place) in shown.map.rows().into_iter().enumerate() {
        let mut others: Vec<(f64, usize)> = (0..labels.len())
            .filter(|&other| other != row)
            .map(|other| ((&shown.map.row(other) - &place).mapv(|side| side * side).sum(), other))
            .collect();
        others.sort_by(|left, right| left.0.total_cmp(&right.0));
        let same_label = others[..10].iter().all(|&(_, other)| labels[other] == labels[row]);
        assert!(same_label, "row {row} has a neighbour of another label");
    }
}

#[test]
fn labels_of_photos_are_learned() {
    let Some(shared) = shared_folder("labels_of_photos_are_learned") else { return };
    for image_size in [100, 224] {
        let (labels, features) =
            read_features(&shared.join(format!("reference/fruits-928_features_{image_size}.parquet")));
        for seed in 0..3 {
            let spec = ClassifierSpec { seed, ..ClassifierSpec::default() };
            let threads = NonZeroUsize::new(2).unwrap();
            let report = fit_classifier(features.view(), &labels, None, &spec, threads).unwrap().report;
            assert!(report.converged);
            let test = report.test.unwrap();
            // scikit-learn 1.9.1's LogisticRegression on scaled features gets all test photos right at both sizes.
            assert!(test.accuracy >= 0.99, "{image_size}, seed {seed}: accuracy {}", test.accuracy);
        }
    }
}
