//! Against linfa's own algorithms.

use crate::common::{assert_close, noise};
use fruitbatch_learn::{Components, KMeans, Pca};
use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_nn::distance::L2Dist;
use ndarray::Array2;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256Plus;

/// Rows in groups, columns of falling spread.
fn grouped_rows(rows: usize, columns: usize, groups: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let group = row % groups;
        noise(row, column) / (1.0 + column as f64) + 3.0 * noise(group * 31 + 7, column)
    })
}

#[test]
fn the_leading_components_are_those_of_linfa_reduction() {
    // A size where linfa_reduction::Pca 0.8.1 is right: between 10 and 100 components of 512, many rows.
    let (rows, width, kept) = (3_000, 512, 12);
    let records = Array2::from_shape_fn((rows, width), |(row, column)| {
        // Twenty hidden directions of falling strength under some noise.
        let hidden = (0..20).map(|rank| {
            let strength = 0.8_f64.powi(rank) * 4.0;
            strength * (noise(row, rank as usize + 600) - 0.5) * (noise(column + 5, rank as usize + 40) - 0.5)
        });
        hidden.sum::<f64>() + 0.05 * noise(row, column)
    });
    let dataset = DatasetBase::from(records);
    let ours = Pca::params(Components::Count(kept)).fit(&dataset).unwrap();
    let theirs: linfa_reduction::Pca<f64> = linfa_reduction::Pca::params(kept).fit(&dataset).unwrap();
    // Its `explained_variance` divides by one less than the number of components instead of rows; its singular values are
    // right, as far as its iteration goes.
    let their_variance = theirs.singular_values().mapv(|value| value * value / (rows - 1) as f64);
    assert_close(ours.explained_variance().iter().take(kept), &their_variance, 1e-4);
}

#[test]
fn kmeans_finds_clusters_as_tight_as_linfa_clustering() {
    let dataset = DatasetBase::from(grouped_rows(1_500, 8, 9));
    let ours = KMeans::params(9).fit(&dataset).unwrap();
    let theirs = linfa_clustering::KMeans::params_with(9, Xoshiro256Plus::seed_from_u64(0), L2Dist)
        .n_runs(10)
        .fit(&dataset)
        .unwrap();
    // linfa gives the mean over the rows. Nine clear groups: both should find the best partition, and ours no worse one.
    let their_inertia = theirs.inertia() * 1_500.0;
    assert!(ours.inertia() <= their_inertia * (1.0 + 1e-9), "{} against {their_inertia}", ours.inertia());
    assert!(ours.inertia() >= their_inertia * 0.9, "{} against {their_inertia}", ours.inertia());
}
