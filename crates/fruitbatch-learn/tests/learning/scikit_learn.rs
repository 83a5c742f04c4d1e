//! Against scikit-learn: `tests/scikit_learn_figures.py` made the figures.

use std::num::NonZeroUsize;

use crate::common::{assert_close, features, noise};
use fruitbatch_learn::metrics::{
    ContingencyTable, Dispersion, mean_by_cluster, mean_silhouette, sampled_silhouette, silhouettes,
};
use fruitbatch_learn::{
    Algorithm, ClusterCount, Clusterer, Components, Fitted, HdbscanSpec, KMeans, LearnSpec, NOISE, Pca,
    StandardScaler, fit,
};
use linfa::DatasetBase;
use linfa::traits::{Fit, Transformer};
use ndarray::{Array2, array, s};
use serde::Deserialize;

/// Both sides compute in f64 by different orders of operations; components additionally divide by gaps in the spectrum.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Figures {
    scaler_mean: Vec<f64>,
    scaler_scale: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    components: Vec<Vec<f64>>,
    scores_of_first_rows: Vec<Vec<f64>>,
    whitened_scores_of_first_rows: Vec<Vec<f64>>,
    components_for_shares: Vec<(f64, usize)>,
    explained_variance_ratio_of_8_rows: Vec<f64>,
    labels: Vec<Vec<u32>>,
    clusters: Vec<Vec<i32>>,
    metrics: Vec<MetricFigures>,
    silhouettes_of_scores: Vec<f64>,
    silhouettes_of_first_rows: Vec<Vec<f64>>,
    silhouettes_by_cluster: Vec<Vec<f64>>,
    calinski_harabasz_of_scores: Vec<f64>,
    davies_bouldin_of_scores: Vec<f64>,
    kmeans_inertia_of_scores: f64,
    mixture: MixtureFigures,
    dbscan: Vec<i32>,
    dbscan_core_rows: Vec<usize>,
    hdbscan: Vec<i32>,
    explained_variance_of_unit_rows: Vec<f64>,
}

#[derive(Deserialize)]
struct MixtureFigures {
    weights: Vec<f64>,
    means: Vec<f64>,
    covariances: Vec<f64>,
    lower_bound: f64,
}

#[derive(Deserialize)]
struct MetricFigures {
    labels: usize,
    clusters: usize,
    ari: f64,
    nmi: f64,
    homogeneity: f64,
    completeness: f64,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../fixtures/scikit_learn_figures.json")).unwrap()
}

fn scaled(rows: usize) -> Array2<f64> {
    let dataset = DatasetBase::from(features(rows, 12));
    StandardScaler::params().fit(&dataset).unwrap().transform(&dataset.records).unwrap()
}

fn pca(components: Components, whiten: bool, rows: &Array2<f64>) -> Pca {
    Pca::params(components).whiten(whiten).fit(&DatasetBase::from(rows.view())).unwrap()
}

#[test]
fn the_scaler_finds_the_same_means_scales_and_constant_columns() {
    let figures = figures();
    let scaler = StandardScaler::params().fit(&DatasetBase::from(features(200, 12))).unwrap();
    assert_close(scaler.mean(), &figures.scaler_mean, 1e-14);
    assert_close(scaler.scale(), &figures.scaler_scale, 1e-14);
    assert_eq!(scaler.scale()[5], 1.0);
    assert_eq!(scaler.constant_columns(), 1);
}

#[test]
fn pca_finds_the_same_spectrum_components_and_signs() {
    let figures = figures();
    let rows = scaled(200);
    let pca = pca(Components::Count(4), false, &rows);
    assert_close(pca.explained_variance(), &figures.explained_variance, TOLERANCE);
    assert_close(&pca.explained_variance_ratio(), &figures.explained_variance_ratio, TOLERANCE);
    for (component, expected) in pca.components().rows().into_iter().zip(&figures.components) {
        assert_close(component, expected, TOLERANCE);
    }
    let scores = pca.transform(&rows).unwrap();
    for (row, expected) in scores.rows().into_iter().zip(&figures.scores_of_first_rows) {
        assert_close(row, expected, TOLERANCE);
    }
}

#[test]
fn whitening_gives_the_same_scores() {
    let rows = scaled(200);
    let scores = pca(Components::Count(4), true, &rows).transform(&rows).unwrap();
    for (row, expected) in scores.rows().into_iter().zip(&figures().whitened_scores_of_first_rows) {
        assert_close(row, expected, TOLERANCE);
    }
}

#[test]
fn a_share_of_variance_keeps_the_same_number_of_components() {
    let rows = scaled(200);
    for (share, expected) in figures().components_for_shares {
        assert_eq!(pca(Components::VarianceShare(share), false, &rows).n_components(), expected, "{share}");
    }
}

#[test]
fn fewer_rows_than_columns_give_the_same_spectrum() {
    let pca = pca(Components::Count(3), false, &scaled(8));
    assert_close(&pca.explained_variance_ratio(), &figures().explained_variance_ratio_of_8_rows, TOLERANCE);
    assert!(pca.explained_variance().iter().all(|&variance| variance >= 0.0));
}

#[test]
fn figures_against_labels_are_the_same_also_of_trivial_partitions() {
    let figures = figures();
    for expected in &figures.metrics {
        let labels: Vec<_> = figures.labels[expected.labels].iter().copied().map(Some).collect();
        let table = ContingencyTable::new(&labels, &figures.clusters[expected.clusters]).unwrap();
        let found = [
            ("ari", table.adjusted_rand_index(), expected.ari),
            ("nmi", table.normalized_mutual_information(), expected.nmi),
            ("homogeneity", table.homogeneity(), expected.homogeneity),
            ("completeness", table.completeness(), expected.completeness),
        ];
        for (name, found, expected_value) in found {
            let found = found.unwrap();
            assert!(
                (found - expected_value).abs() < TOLERANCE,
                "{name} of {} and {}: {found} instead of {expected_value}",
                expected.labels,
                expected.clusters
            );
        }
    }
    let nothing = ContingencyTable::new(&[None], &[0]).unwrap();
    assert_eq!((nothing.homogeneity(), nothing.completeness(), nothing.purity()), (None, None, None));
}

#[test]
fn purity_counts_the_most_frequent_label_of_each_cluster() {
    let labels = [0, 0, 1, 1, 1, 2, 2].map(Some);
    let table = ContingencyTable::new(&labels, &[-1, -1, -1, 3, 3, 3, 8]).unwrap();
    // 2 of 3, 2 of 3, 1 of 1.
    assert_eq!(table.purity(), Some(5.0 / 7.0));
    assert_eq!(table.clusters, [-1, 3, 8]);
}

#[test]
fn silhouettes_are_the_same_of_rows_of_clusters_and_of_all() {
    let figures = figures();
    let rows = scaled(200);
    let scores = pca(Components::Count(4), false, &rows).transform(&rows).unwrap();
    for (index, clusters) in figures.clusters.iter().take(2).enumerate() {
        let mean = mean_silhouette(scores.view(), clusters, NonZeroUsize::MIN).unwrap().unwrap();
        assert_close([&mean], [&figures.silhouettes_of_scores[index]], TOLERANCE);
        let of_rows = silhouettes(scores.view(), clusters, NonZeroUsize::MIN).unwrap().unwrap();
        assert_close(of_rows.iter().take(8), &figures.silhouettes_of_first_rows[index], TOLERANCE);
        let by_cluster = mean_by_cluster(&of_rows, clusters).unwrap();
        assert_close(by_cluster.values(), &figures.silhouettes_by_cluster[index], TOLERANCE);
        let all = sampled_silhouette(scores.view(), clusters, 200, 0, NonZeroUsize::MIN).unwrap().unwrap();
        assert_eq!((all.mean, all.by_cluster, all.values.len()), (mean, by_cluster, 200));
        let some = sampled_silhouette(scores.view(), clusters, 150, 0, NonZeroUsize::MIN).unwrap().unwrap();
        assert_eq!(some.values.len(), 150);
        assert!((some.mean - mean).abs() < 0.1, "{} of a sample instead of {mean}", some.mean);
    }
    // One cluster, and as many as rows.
    for clusters in &figures.clusters[2..] {
        assert_eq!(silhouettes(scores.view(), clusters, NonZeroUsize::MIN), Ok(None));
        assert_eq!(mean_silhouette(scores.view(), clusters, NonZeroUsize::MIN), Ok(None));
    }
}

#[test]
fn scores_by_centroids_are_the_same_on_any_number_of_threads() {
    let figures = figures();
    let rows = scaled(200);
    let scores = pca(Components::Count(4), false, &rows).transform(&rows).unwrap();
    for (index, clusters) in figures.clusters.iter().take(2).enumerate() {
        let dispersion = Dispersion::new(scores.view(), clusters, NonZeroUsize::MIN).unwrap();
        let found = dispersion.calinski_harabasz().unwrap();
        assert_close([&found], [&figures.calinski_harabasz_of_scores[index]], TOLERANCE);
        let found = dispersion.davies_bouldin().unwrap();
        assert_close([&found], [&figures.davies_bouldin_of_scores[index]], TOLERANCE);
    }
    for clusters in &figures.clusters[2..] {
        let dispersion = Dispersion::new(scores.view(), clusters, NonZeroUsize::MIN).unwrap();
        assert_eq!((dispersion.calinski_harabasz(), dispersion.davies_bouldin()), (None, None));
    }
    // scikit-learn's values where nothing lies about its centroid, and where two centroids are one.
    let points = array![[1.0], [1.0], [5.0], [5.0]];
    let tight = Dispersion::new(points.view(), &[0, 0, 1, 1], NonZeroUsize::MIN).unwrap();
    assert_eq!((tight.calinski_harabasz(), tight.davies_bouldin()), (Some(1.0), Some(0.0)));
    let mixed = Dispersion::new(points.view(), &[0, 1, 0, 1], NonZeroUsize::MIN).unwrap();
    assert_eq!((mixed.calinski_harabasz(), mixed.davies_bouldin()), (Some(0.0), Some(0.0)));
    assert!(Dispersion::new(points.view(), &[0], NonZeroUsize::MIN).is_err());
    // Five blocks of rows.
    let many = Array2::from_shape_fn((4_500, 3), |(row, column)| noise(row, column));
    let clusters: Vec<i32> = (0..4_500).map(|row| row % 7 - 1).collect();
    let one = Dispersion::new(many.view(), &clusters, NonZeroUsize::MIN).unwrap();
    assert_eq!(one, Dispersion::new(many.view(), &clusters, NonZeroUsize::new(3).unwrap()).unwrap());
}

#[test]
fn kmeans_and_the_whole_chain_reach_the_same_inertia() {
    let figures = figures();
    let rows = scaled(200);
    let scores = pca(Components::Count(4), false, &rows).transform(&rows).unwrap();
    let kmeans = KMeans::params(3).fit(&DatasetBase::from(scores)).unwrap();
    assert_close([&kmeans.inertia()], [&figures.kmeans_inertia_of_scores], TOLERANCE);

    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(4);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    let fitted = fit(features(200, 12).view(), None, None, &spec, NonZeroUsize::MIN).unwrap();
    assert_close([&fitted.report.inertia.unwrap()], [&figures.kmeans_inertia_of_scores], TOLERANCE);
    assert_close(&fitted.report.explained_variance, &figures.explained_variance, TOLERANCE);
    let fitted_scores = crate::common::scores(&fitted);
    let first_rows = fitted_scores.slice(s![..5, ..]);
    for (row, expected) in first_rows.rows().into_iter().zip(&figures.scores_of_first_rows) {
        assert_close(row, expected, TOLERANCE);
    }
}

#[test]
fn a_gaussian_mixture_finds_the_same_components() {
    let expected = figures().mixture;
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(4);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    spec.algorithm = Algorithm::GaussianMixture;
    let fitted = fit(features(200, 12).view(), None, None, &spec, NonZeroUsize::MIN).unwrap();
    let Clusterer::GaussianMixture(mixture) = fitted.model.clusterer() else { panic!("another clusterer") };
    assert_close(mixture.weights(), &expected.weights, TOLERANCE);
    assert_close(mixture.means(), &expected.means, TOLERANCE);
    assert_close(mixture.covariances(), &expected.covariances, TOLERANCE);
    assert_close([&fitted.report.log_likelihood.unwrap()], [&expected.lower_bound], TOLERANCE);
    assert_eq!((fitted.report.inertia, fitted.report.restarts), (None, None));
}

/// Two columns of noise, standing for scores: no scaler, and components that only turn them.
fn fit_noise(algorithm: Algorithm) -> Fitted {
    let mut spec = LearnSpec::default();
    spec.scaler.with_std = false;
    spec.pca.n_components = Components::Count(2);
    spec.algorithm = algorithm;
    spec.dbscan.eps = 0.1;
    spec.hdbscan = HdbscanSpec { min_cluster_size: 8, min_samples: Some(4) };
    let rows = Array2::from_shape_fn((200, 2), |(row, column)| noise(row, column) as f32);
    fit(rows.view(), None, None, &spec, NonZeroUsize::MIN).unwrap()
}

#[test]
fn clusters_by_density_are_the_same_and_so_is_the_noise() {
    let figures = figures();
    // Border rows between two clusters may go to either, so DBSCAN is compared on its core rows.
    let all_rows: Vec<usize> = (0..200).collect();
    let compared = [
        (Algorithm::Dbscan, figures.dbscan, figures.dbscan_core_rows),
        (Algorithm::Hdbscan, figures.hdbscan, all_rows),
    ];
    for (algorithm, expected, rows) in compared {
        let fitted = fit_noise(algorithm);
        let is_noise =
            |clusters: &[i32]| clusters.iter().map(|cluster| *cluster == NOISE).collect::<Vec<_>>();
        assert_eq!(is_noise(&fitted.clusters), is_noise(&expected), "{algorithm}");
        // The same partition under other numbers.
        let labels: Vec<_> = rows.iter().map(|&row| Some((expected[row] + 1).cast_unsigned())).collect();
        let clusters: Vec<i32> = rows.iter().map(|&row| fitted.clusters[row]).collect();
        let table = ContingencyTable::new(&labels, &clusters).unwrap();
        assert_eq!(table.adjusted_rand_index(), Some(1.0), "{algorithm}: {table:?}");
    }
}

#[test]
fn features_of_unit_length_have_the_same_spectrum() {
    let mut spec = LearnSpec { normalize_features: true, ..LearnSpec::default() };
    spec.pca.n_components = Components::Count(2);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    let fitted = fit(features(200, 12).view(), None, None, &spec, NonZeroUsize::MIN).unwrap();
    // Lengths are divided by in f64, and the quotients kept as f32.
    let found = fitted.report.explained_variance.iter().take(2);
    assert_close(found, &figures().explained_variance_of_unit_rows, 1e-6);
}
