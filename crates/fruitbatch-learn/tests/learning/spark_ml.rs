//! The preset `spark-ml` against Spark ML: `tests/spark_ml_figures.py` made the figures.

use std::num::NonZeroUsize;

use crate::common::{assert_close, features, scores};
use fruitbatch_learn::{ClusterCount, Components, LearnSpec, Preset, fit};
use linfa::traits::Transformer;
use serde::Deserialize;

/// Spark's covariance and SVD go another way in f64, and components divide by gaps in the spectrum.
const TOLERANCE: f64 = 1e-8;

#[derive(Deserialize)]
struct Figures {
    scaler_std: Vec<f64>,
    components: Vec<Vec<f64>>,
    explained_variance_ratio: Vec<f64>,
    scaled_first_row: Vec<f64>,
    projected: Vec<Vec<f64>>,
    training_cost: f64,
    cluster_sizes: Vec<usize>,
}

/// -1 where a component of Spark, whose signs are arbitrary, points the other way than ours.
fn sign(component: &[f64]) -> f64 {
    let largest = component
        .iter()
        .fold(0.0_f64, |largest, loading| if loading.abs() > largest.abs() { *loading } else { largest });
    largest.signum()
}

#[test]
fn the_preset_gives_what_spark_ml_gives() {
    let figures: Figures = serde_json::from_str(include_str!("../fixtures/spark_ml_figures.json")).unwrap();
    let features = features(200, 12);
    let mut spec = LearnSpec::preset(Preset::SparkMl);
    spec.pca.n_components = Components::Count(5);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    let fitted = fit(features.view(), None, None, &spec, NonZeroUsize::MIN).unwrap();

    let scaler = fitted.model.scaler();
    for (column, (scale, expected)) in scaler.scale().iter().zip(&figures.scaler_std).enumerate() {
        // Spark reports a standard deviation of 0 for the constant column, and makes it 0 by that; we divide by infinity.
        let expected = if *expected == 0.0 { f64::INFINITY } else { *expected };
        assert!(*scale == expected || (scale / expected - 1.0).abs() < 1e-12, "column {column}: {scale}");
    }
    assert_close(scaler.transform(&features).unwrap().row(0), &figures.scaled_first_row, 1e-12);

    assert_close(
        fitted.report.explained_variance_ratio.iter().take(5),
        &figures.explained_variance_ratio,
        TOLERANCE,
    );
    let signs: Vec<f64> = figures.components.iter().map(|component| sign(component)).collect();
    for ((component, expected), sign) in
        fitted.model.pca().components().rows().into_iter().zip(&figures.components).zip(&signs)
    {
        let expected: Vec<f64> = expected.iter().map(|loading| loading * sign).collect();
        assert_close(component, &expected, TOLERANCE);
    }
    for (row, expected) in scores(&fitted).rows().into_iter().zip(&figures.projected) {
        let expected: Vec<f64> = expected.iter().zip(&signs).map(|(score, sign)| score * sign).collect();
        assert_close(row, &expected, TOLERANCE);
    }

    // The three groups are far apart, so Spark's start and ours end in the same clusters.
    assert_close([&fitted.report.inertia.unwrap()], [&figures.training_cost], TOLERANCE);
    assert_eq!(fitted.report.cluster_sizes, figures.cluster_sizes);
}
