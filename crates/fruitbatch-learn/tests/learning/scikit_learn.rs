//! Against scikit-learn: `tests/scikit_learn_figures.py` made the figures.

use std::num::NonZeroUsize;

use crate::common::{assert_close, features};
use fruitbatch_learn::metrics::{ContingencyTable, mean_silhouette};
use fruitbatch_learn::{ClusterCount, Components, KMeans, LearnSpec, Pca, StandardScaler, fit};
use linfa::DatasetBase;
use linfa::traits::{Fit, Transformer};
use ndarray::{Array2, s};
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
    clusters: Vec<Vec<u32>>,
    metrics: Vec<MetricFigures>,
    silhouettes_of_scores: Vec<f64>,
    kmeans_inertia_of_scores: f64,
}

#[derive(Deserialize)]
struct MetricFigures {
    labels: usize,
    clusters: usize,
    ari: f64,
    nmi: f64,
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
fn rand_index_and_mutual_information_are_the_same_also_of_trivial_partitions() {
    let figures = figures();
    for expected in &figures.metrics {
        let labels: Vec<_> = figures.labels[expected.labels].iter().copied().map(Some).collect();
        let table = ContingencyTable::new(&labels, &figures.clusters[expected.clusters]).unwrap();
        let (ari, nmi) =
            (table.adjusted_rand_index().unwrap(), table.normalized_mutual_information().unwrap());
        let pair = (expected.labels, expected.clusters);
        assert!((ari - expected.ari).abs() < TOLERANCE, "{pair:?}: {ari} instead of {}", expected.ari);
        assert!((nmi - expected.nmi).abs() < TOLERANCE, "{pair:?}: {nmi} instead of {}", expected.nmi);
    }
}

#[test]
fn the_silhouette_is_the_same() {
    let figures = figures();
    let rows = scaled(200);
    let scores = pca(Components::Count(4), false, &rows).transform(&rows).unwrap();
    for (clusters, expected) in figures.clusters.iter().zip(&figures.silhouettes_of_scores) {
        let silhouette = mean_silhouette(scores.view(), clusters, NonZeroUsize::MIN).unwrap().unwrap();
        assert!((silhouette - expected).abs() < TOLERANCE, "{silhouette} instead of {expected}");
    }
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
    assert_close([&fitted.report.inertia], [&figures.kmeans_inertia_of_scores], TOLERANCE);
    assert_close(&fitted.report.explained_variance, &figures.explained_variance, TOLERANCE);
    let first_rows = fitted.projected.slice(s![..5, ..]);
    for (row, expected) in first_rows.rows().into_iter().zip(&figures.scores_of_first_rows) {
        assert_close(row, expected, TOLERANCE);
    }
}
