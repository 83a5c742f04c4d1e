//! What every algorithm promises: the same bits again, the same answer for the same row, and refusals in words.

use std::num::NonZeroUsize;

use crate::common::{features, noise, scores};
use fruitbatch_learn::{
    Algorithm, ClusterCount, Clusterer, Components, Fitted, KMeans, LearnError, LearnSpec, NOISE, fit,
};
use linfa::traits::{Fit, Predict, Transformer};
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::{Dbscan, GaussianMixtureModel};
use ndarray::{Array2, Axis, array, s};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256Plus;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn spec(algorithm: Algorithm) -> LearnSpec {
    let mut spec = LearnSpec { algorithm, ..LearnSpec::default() };
    spec.pca.n_components = Components::Count(3);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    spec.kmeans.n_init = 2;
    spec.dbscan.eps = 0.8;
    spec.hdbscan.min_cluster_size = 20;
    spec
}

/// Three groups of unequal size, and some rows between them.
fn grouped(rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, 4), |(row, column)| {
        let group = if row % 10 < 5 { 0 } else { row % 10 / 8 + 1 };
        let spread = if row % 50 == 7 { 30.0 } else { 3.0 };
        (spread * (noise(row, column) - 0.5)) as f32 + 12.0 * f32::from(u8::from(group == column))
    })
}

fn assert_same_bits(left: &Fitted, right: &Fitted, what: &dyn std::fmt::Display) {
    assert_eq!(left.model, right.model, "{what}");
    assert_eq!((&left.clusters, &left.distances), (&right.clusters, &right.distances), "{what}");
    assert_eq!(left.report, right.report, "{what}");
}

#[test]
fn any_number_of_threads_and_every_repetition_give_the_same_bits() {
    let rows = grouped(2_600);
    for algorithm in Algorithm::ALL {
        let mut spec = spec(algorithm);
        spec.normalize_features = algorithm == Algorithm::SphericalKMeans;
        let one = fit(rows.view(), None, None, &spec, threads(1)).unwrap();
        for count in [1, 3] {
            let again = fit(rows.view(), None, None, &spec, threads(count)).unwrap();
            assert_same_bits(&one, &again, &algorithm);
        }
    }
}

#[test]
fn rows_get_the_same_answer_from_the_fit_and_from_the_model_alone_and_in_company() {
    let rows = grouped(300);
    for algorithm in Algorithm::ALL {
        let mut spec = spec(algorithm);
        spec.normalize_features = algorithm == Algorithm::GaussianMixture;
        let fitted = fit(rows.view(), None, None, &spec, threads(2)).unwrap();
        let together = fitted.model.predict_rows(rows.view(), threads(2)).unwrap();
        assert_eq!(
            (&together.clusters, &together.distances),
            (&fitted.clusters, &fitted.distances),
            "{algorithm}"
        );
        for row in [0, 7, 57, 299] {
            let alone = fitted.model.predict_rows(rows.slice(s![row..=row, ..]), threads(1)).unwrap();
            assert_eq!(
                (alone.clusters[0], alone.distances[0]),
                (fitted.clusters[row], fitted.distances[row]),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn clusters_are_numbered_by_size_and_figures_leave_noise_out() {
    let rows = grouped(300);
    for algorithm in Algorithm::ALL {
        let fitted = fit(rows.view(), None, None, &spec(algorithm), threads(1)).unwrap();
        let report = &fitted.report;
        assert!(report.cluster_sizes.is_sorted_by(|left, right| left >= right), "{algorithm}: {report:?}");
        assert_eq!(report.cluster_sizes.len(), report.n_clusters);
        assert_eq!(report.cluster_sizes.iter().sum::<usize>() + report.noise_rows, 300);
        let noise = fitted.clusters.iter().filter(|cluster| **cluster == NOISE).count();
        assert_eq!(report.noise_rows, noise);
        assert_eq!(noise > 0, !algorithm.takes_n_clusters(), "{algorithm}: {noise} rows of noise");
        assert_eq!(report.silhouette_rows, 300 - noise);
        assert_eq!(report.inertia.is_some(), fitted.model.kmeans().is_some());
        assert_eq!(report.restarts.is_some(), fitted.model.kmeans().is_some());
        assert_eq!(report.log_likelihood.is_some(), algorithm == Algorithm::GaussianMixture);
        assert_eq!(report.n_clusters, 3, "{algorithm}");
    }
}

#[test]
fn spherical_kmeans_has_centres_of_length_one_and_an_inertia_of_cosines() {
    let rows = grouped(400).mapv(f64::from);
    let dataset = DatasetBase::from(rows.view());
    let kmeans = KMeans::params(3).spherical(true).fit(&dataset).unwrap();
    for centre in kmeans.centres().rows() {
        assert!((centre.dot(&centre) - 1.0).abs() < 1e-12);
    }
    let clusters = kmeans.predict(&rows).unwrap();
    let loss: f64 = rows
        .rows()
        .into_iter()
        .zip(&clusters)
        .map(|(row, &cluster)| 2.0 * (1.0 - row.dot(&kmeans.centres().row(cluster)) / row.dot(&row).sqrt()))
        .sum();
    assert!((kmeans.inertia() / loss - 1.0).abs() < 1e-12, "{} instead of {loss}", kmeans.inertia());
    // A centre is the direction of its rows' mean direction, so nothing moves any more.
    for (cluster, centre) in kmeans.centres().rows().into_iter().enumerate() {
        let mut mean = ndarray::Array1::<f64>::zeros(4);
        for (row, _) in rows.rows().into_iter().zip(&clusters).filter(|(_, own)| **own == cluster) {
            mean.scaled_add(1.0 / row.dot(&row).sqrt(), &row);
        }
        assert!(mean.dot(&centre) / mean.dot(&mean).sqrt() > 1.0 - 1e-6);
    }
    // Lengths play no part.
    let mut stretched = rows.clone();
    for (index, mut row) in stretched.rows_mut().into_iter().enumerate() {
        row *= 1.0 + (index % 7) as f64;
    }
    let of_stretched = KMeans::params(3).spherical(true).fit(&DatasetBase::from(stretched.view())).unwrap();
    assert_eq!(of_stretched.predict(&stretched).unwrap(), clusters);
}

#[test]
fn new_rows_far_from_all_dense_places_are_noise() {
    let rows = grouped(300);
    for algorithm in [Algorithm::Dbscan, Algorithm::Hdbscan] {
        let model = fit(rows.view(), None, None, &spec(algorithm), threads(1)).unwrap().model;
        let far = array![[500.0_f32, -500.0, 500.0, 0.0]];
        assert_eq!(model.predict_rows(far.view(), threads(1)).unwrap().clusters, [NOISE], "{algorithm}");
        // A hair beside a row in the first cluster.
        let Clusterer::Density(density) = model.clusterer() else { panic!("another clusterer") };
        assert!(density.clusters().contains(&0));
        let near = rows.slice(s![0..1, ..]).mapv(|value| value + 1e-4);
        assert_eq!(model.predict_rows(near.view(), threads(1)).unwrap().clusters, [0], "{algorithm}");
    }
}

#[test]
fn core_rows_of_dbscan_are_clustered_as_linfa_clusters_them() {
    let rows = Array2::from_shape_fn((400, 2), |(row, column)| noise(row, column));
    let (eps, min_samples) = (0.07, 5);
    let theirs = Dbscan::params(min_samples).tolerance(eps).check().unwrap().transform(&rows);
    let mut spec = LearnSpec { algorithm: Algorithm::Dbscan, ..LearnSpec::default() };
    spec.scaler.with_std = false;
    spec.pca.n_components = Components::Count(2);
    spec.dbscan.eps = eps;
    let fitted = fit(rows.mapv(|value| value as f32).view(), None, None, &spec, threads(1)).unwrap();
    assert!(fitted.report.n_clusters > 1 && fitted.report.noise_rows > 0, "{:?}", fitted.report);
    let neighbours = |row: usize| {
        let row = rows.row(row);
        rows.rows().into_iter().filter(|other| (&row - other).mapv(|d| d * d).sum().sqrt() <= eps).count()
    };
    let mut numbers = std::collections::BTreeMap::new();
    for row in 0..400 {
        assert_eq!(fitted.clusters[row] == NOISE, theirs[row].is_none(), "row {row}");
        if neighbours(row) >= min_samples {
            let same = *numbers.entry(theirs[row]).or_insert(fitted.clusters[row]);
            assert_eq!(same, fitted.clusters[row], "row {row}");
        }
    }
    assert_eq!(numbers.len(), fitted.report.n_clusters);
}

#[test]
fn a_mixture_is_as_likely_as_that_of_linfa_clustering() {
    let rows = grouped(500);
    let mut spec = spec(Algorithm::GaussianMixture);
    spec.gaussian_mixture.tol = 1e-6;
    let fitted = fit(rows.view(), None, None, &spec, threads(1)).unwrap();
    let theirs = GaussianMixtureModel::params_with_rng(3, Xoshiro256Plus::seed_from_u64(0))
        .tolerance(1e-6)
        .check()
        .unwrap()
        .fit(&DatasetBase::from(scores(&fitted).view()))
        .unwrap();
    let Clusterer::GaussianMixture(ours) = fitted.model.clusterer() else { panic!("another clusterer") };
    let mut their_weights = theirs.weights().to_vec();
    their_weights.sort_by(|left, right| right.total_cmp(left));
    for (our_weight, their_weight) in ours.weights().iter().zip(their_weights) {
        assert!((our_weight - their_weight).abs() < 1e-3, "{our_weight} and {their_weight}");
    }
}

#[test]
fn the_number_of_clusters_is_chosen_for_every_algorithm_that_is_told_it() {
    let rows = features(90, 12);
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.takes_n_clusters()) {
        let mut spec = spec(algorithm);
        spec.kmeans.n_clusters = ClusterCount::Range { least: 2, most: 5 };
        let report = fit(rows.view(), None, None, &spec, threads(1)).unwrap().report;
        let choice = report.n_clusters_choice.unwrap();
        assert_eq!((choice.n_clusters, choice.tried.len()), (3, 4), "{algorithm}");
        assert_eq!(choice.tried[1].inertia.is_some(), algorithm != Algorithm::GaussianMixture);
    }
}

#[test]
fn what_an_algorithm_can_not_do_is_refused_in_words() {
    let refusal = |rows: &Array2<f32>, spec: &LearnSpec| {
        fit(rows.view(), None, None, spec, threads(1)).map(|_| ()).unwrap_err()
    };
    let rows = grouped(60);
    let mut lonely = spec(Algorithm::Dbscan);
    lonely.dbscan.eps = 1e-6;
    assert_eq!(refusal(&rows, &lonely), LearnError::OnlyNoise);
    let mut huge = spec(Algorithm::Hdbscan);
    huge.hdbscan.min_cluster_size = 61;
    assert_eq!(refusal(&rows, &huge), LearnError::TooFewRows { rows: 60, needed: 61 });
    huge.hdbscan.min_samples = Some(3);
    assert_eq!(refusal(&rows, &huge), LearnError::OnlyNoise);
    for algorithm in [Algorithm::Dbscan, Algorithm::Hdbscan] {
        let many = Array2::zeros((20_001, 1));
        let mut spec = spec(algorithm);
        spec.pca.n_components = Components::Count(1);
        assert_eq!(refusal(&many, &spec), LearnError::TooManyRows { rows: 20_001 });
    }
    let mut flat = spec(Algorithm::GaussianMixture);
    flat.gaussian_mixture.reg_covar = 0.0;
    assert_eq!(
        refusal(&Array2::from_elem((30, 4), 1.0), &flat),
        LearnError::MixtureCollapsed { reg_covar: 0.0 }
    );
    let mut wide = spec(Algorithm::GaussianMixture);
    wide.pca.n_components = Components::Count(257);
    let wide_rows = Array2::from_shape_fn((260, 300), |(row, column)| noise(row, column) as f32);
    assert_eq!(refusal(&wide_rows, &wide), LearnError::TooWideForMixture { width: 257 });
}

#[test]
fn duplicates_are_no_trouble_to_any_algorithm() {
    let rows = Array2::from_shape_fn((60, 3), |(row, _)| (row % 2) as f32);
    for algorithm in Algorithm::ALL {
        let mut spec = spec(algorithm);
        spec.hdbscan.min_cluster_size = 5;
        let fitted = fit(rows.view(), None, None, &spec, threads(1));
        let fitted = fitted.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        let even = rows.axis_iter(Axis(0)).zip(&fitted.clusters).filter(|(row, _)| row[0] == 0.0);
        let clusters: std::collections::BTreeSet<i32> = even.map(|(_, &cluster)| cluster).collect();
        assert_eq!(clusters.len(), 1, "{algorithm}");
    }
}
