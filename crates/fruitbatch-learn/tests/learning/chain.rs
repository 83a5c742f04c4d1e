//! The whole chain's promises: reproducible, refusing what it can't do, saying what it did.

use std::num::NonZeroUsize;

use crate::common::{assert_close, features, noise, scores};
use fruitbatch_learn::{
    ClusterCount, Components, Fitted, KMeans, KMeansInit, LearnError, LearnSpec, Pca, PcaSolver,
    choose_n_clusters, fit,
};
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict, Transformer};
use ndarray::{Array2, Axis, array, s};

/// Puts one value of a spec out of its range.
type SpecChange = fn(&mut LearnSpec);

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn spec(n_components: usize, n_clusters: usize) -> LearnSpec {
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(n_components);
    spec.kmeans.n_clusters = ClusterCount::Count(n_clusters);
    spec
}

fn fit_all(features: &Array2<f32>, spec: &LearnSpec) -> Result<Fitted, LearnError> {
    fit(features.view(), None, None, spec, NonZeroUsize::MIN)
}

/// Everything but the timings.
fn assert_same_bits(left: &Fitted, right: &Fitted) {
    assert_eq!(left.model, right.model);
    assert_eq!(scores(left), scores(right));
    assert_eq!((&left.clusters, &left.distances), (&right.clusters, &right.distances));
    assert_eq!(left.report, right.report);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Five blocks of rows, the last one short; without groups, so that KMeans has many rounds to drift apart in.
    let rows = Array2::from_shape_fn((4_500, 12), |(row, column)| noise(row, column) as f32);
    for (n_init, init) in
        [(1, KMeansInit::KMeansPlusPlus), (3, KMeansInit::KMeansPlusPlus), (2, KMeansInit::Random)]
    {
        let mut spec = spec(6, 7);
        spec.kmeans.n_init = n_init;
        spec.kmeans.init = init;
        let one = fit(rows.view(), None, None, &spec, threads(1)).unwrap();
        for count in [2, 4] {
            assert_same_bits(&one, &fit(rows.view(), None, None, &spec, threads(count)).unwrap());
        }
    }
    let mut wide_spec = spec(4, 3);
    wide_spec.normalize = true;
    let wide = Array2::from_shape_fn((40, 4_500), |(row, column)| noise(row, column) as f32);
    let one = fit(wide.view(), None, None, &wide_spec, threads(1)).unwrap();
    assert_same_bits(&one, &fit(wide.view(), None, None, &wide_spec, threads(4)).unwrap());
}

#[test]
fn another_seed_may_change_the_start_but_not_the_clear_groups() {
    let rows = features(300, 12);
    let first = fit_all(&rows, &spec(4, 3)).unwrap();
    let mut other_spec = spec(4, 3);
    other_spec.kmeans.seed = 12_345;
    let other = fit_all(&rows, &other_spec).unwrap();
    assert_eq!(first.clusters, other.clusters);
}

#[test]
fn a_row_gets_the_same_result_alone_and_in_company() {
    let rows = features(300, 12);
    for normalize in [false, true] {
        let mut spec = spec(4, 3);
        spec.normalize = normalize;
        let fitted = fit_all(&rows, &spec).unwrap();
        let together = fitted.model.predict_rows(rows.view(), threads(2)).unwrap();
        assert_eq!(together.projected, scores(&fitted));
        assert_eq!((&together.clusters, &together.distances), (&fitted.clusters, &fitted.distances));
        for row in [0, 1, 17, 299] {
            let alone = fitted.model.predict_rows(rows.slice(s![row..=row, ..]), threads(1)).unwrap();
            assert_eq!(alone.projected.row(0), scores(&fitted).row(row));
            assert_eq!(
                (alone.clusters[0], alone.distances[0]),
                (fitted.clusters[row], fitted.distances[row])
            );
        }
    }
}

#[test]
fn rows_that_are_not_fitted_on_change_nothing_and_are_assigned() {
    let rows = features(400, 12);
    let fit_on: Vec<bool> = (0..400).map(|row| row % 4 != 1).collect();
    let chosen: Vec<usize> = (0..400).filter(|&row| fit_on[row]).collect();
    let labels: Vec<Option<u32>> = (0..400).map(|row| (row != 2).then_some(row % 3)).collect();
    let fitted = fit(rows.view(), Some(&fit_on), Some(&labels), &spec(4, 3), threads(2)).unwrap();
    let alone = fit_all(&rows.select(Axis(0), &chosen), &spec(4, 3)).unwrap();

    assert_eq!(fitted.model.scaler(), alone.model.scaler());
    assert_eq!(fitted.model.pca(), alone.model.pca());
    assert_eq!(fitted.model.clusterer(), alone.model.clusterer());
    assert_eq!(scores(&fitted).select(Axis(0), &chosen), scores(&alone));
    assert_eq!(fitted.clusters.len(), 400);
    let report = &fitted.report;
    assert_eq!((report.rows_fitted, report.labelled_rows), (300, 399));
    assert_eq!((report.ari, report.nmi), (Some(1.0), Some(1.0)));
    assert_eq!(report.cluster_sizes.iter().sum::<usize>(), 400);
    assert_eq!(report.contingency.as_ref().unwrap().rows(), 399);

    // New rows get the label whose mean is nearest, and a label without rows to fit on never.
    let predictions = fitted.model.predict_rows(rows.view(), threads(1)).unwrap();
    assert!(predictions.nearest_labels.unwrap().iter().zip(0..).all(|(&label, row)| label == row % 3));
    let mut labels = labels;
    labels[1] = Some(3);
    let fitted = fit(rows.view(), Some(&fit_on), Some(&labels), &spec(4, 3), threads(2)).unwrap();
    let centres = fitted.model.label_centres().unwrap();
    assert_eq!(centres.nrows(), 4);
    assert!(centres.row(3).iter().all(|value| value.is_nan()));
    let predictions = fitted.model.predict_rows(rows.view(), threads(1)).unwrap();
    assert!(!predictions.nearest_labels.unwrap().contains(&3));
}

#[test]
fn clusters_are_numbered_by_size_then_by_first_row() {
    let rows = array![[9.0], [0.0], [0.1], [5.0], [9.1], [5.1], [0.2]];
    for seed in 0..5 {
        let kmeans = KMeans::params(3).seed(seed).fit(&DatasetBase::from(rows.view())).unwrap();
        assert_eq!(kmeans.predict(&rows).unwrap().to_vec(), [1, 0, 0, 2, 1, 2, 0]);
        let distances = kmeans.transform(&rows).unwrap();
        let inertia: f64 = distances.iter().map(|distance| distance * distance).sum();
        assert!((inertia - kmeans.inertia()).abs() < 1e-12);
    }
}

#[test]
fn duplicates_and_more_clusters_than_distinct_rows_are_fine() {
    let rows = Array2::from_shape_fn((30, 3), |(row, _)| (row % 2) as f32);
    let fitted = fit_all(&rows, &spec(2, 5)).unwrap();
    // Nothing but the rounding of the scores.
    assert!(fitted.report.inertia.unwrap() < 1e-24, "{:?}", fitted.report.inertia);
    assert_eq!(fitted.model.clusterer().n_clusters(), 5);
    assert_eq!(fitted.clusters.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
}

#[test]
fn the_number_of_clusters_is_chosen_by_the_silhouette() {
    let mut auto = spec(4, 1);
    auto.kmeans.n_clusters = ClusterCount::Auto;
    let fitted = fit_all(&features(300, 12), &auto).unwrap();
    let choice = fitted.report.n_clusters_choice.as_ref().unwrap();
    assert_eq!((fitted.report.n_clusters, choice.n_clusters, choice.rows), (3, 3, 300));
    assert_eq!(
        choice.tried.iter().map(|tried| tried.n_clusters).collect::<Vec<_>>(),
        (2..=20).collect::<Vec<_>>()
    );
    let chosen = &choice.tried[1];
    assert_eq!((chosen.silhouette, chosen.inertia), (fitted.report.silhouette, fitted.report.inertia));
    assert!(choice.tried.iter().all(|tried| tried.silhouette.unwrap() <= chosen.silhouette.unwrap()));

    // Above the limit the choice is made on a sample.
    let many =
        Array2::from_shape_fn((6_000, 2), |(row, column)| noise(row, column) + (10 * (row % 4)) as f64);
    let mut quick = auto.clone();
    quick.kmeans.n_init = 1;
    let choice = choose_n_clusters(many.view(), &quick, threads(2)).unwrap();
    assert_eq!((choice.n_clusters, choice.rows), (4, 5_000));

    // The other figures are those of the final fit too, and the reason names the numbers.
    assert_eq!(
        (chosen.calinski_harabasz, chosen.davies_bouldin),
        (fitted.report.calinski_harabasz, fitted.report.davies_bouldin)
    );
    let why = &fitted.report.n_clusters_choice.as_ref().unwrap().why;
    assert!(why.starts_with("3 clusters have the highest mean silhouette of 2..20, 0."), "{why}");

    let equal = Array2::from_elem((10, 3), 1.0_f32);
    assert_eq!(fit_all(&equal, &auto_with(1)).unwrap_err(), LearnError::NoClustersToChoose);
    assert_eq!(
        fit_all(&features(2, 3), &auto_with(1)).unwrap_err(),
        LearnError::TooFewRows { rows: 2, needed: 3 }
    );
    let three = fit_all(&features(3, 3), &auto_with(1)).unwrap();
    assert_eq!(three.report.n_clusters, 2);
}

#[test]
fn a_range_is_tried_from_end_to_end_as_far_as_there_are_rows() {
    let tried = |rows: usize, least: usize, most: usize| {
        let mut spec = spec(2, 1);
        spec.kmeans.n_clusters = ClusterCount::Range { least, most };
        fit_all(&features(rows, 12), &spec).map(|fitted| {
            let choice = fitted.report.n_clusters_choice.unwrap();
            (choice.n_clusters, choice.tried.iter().map(|tried| tried.n_clusters).collect::<Vec<_>>())
        })
    };
    let (chosen, numbers) = tried(60, 4, 7).unwrap();
    assert_eq!(numbers, [4, 5, 6, 7]);
    assert!(numbers.contains(&chosen));
    assert_eq!(tried(60, 5, 5).unwrap(), (5, vec![5]));
    assert_eq!(tried(6, 4, 9).unwrap().1, [4, 5]);
    assert_eq!(tried(6, 6, 9).unwrap_err(), LearnError::TooFewRows { rows: 6, needed: 7 });
    assert!(matches!(tried(6, 1, 3).unwrap_err(), LearnError::InvalidParameter { name: "n_clusters", .. }));
}

#[test]
fn restarts_say_whether_the_data_have_the_clusters() {
    let mut grouped = spec(4, 3);
    grouped.kmeans.n_init = 4;
    let report = fit_all(&features(1_200, 12), &grouped).unwrap().report;
    let restarts = report.restarts.unwrap();
    assert_eq!(restarts.mean_ari, Some(1.0));
    assert_eq!((restarts.compared_restarts, restarts.compared_rows), (4, 1_000));
    assert_eq!((restarts.inertia.len(), restarts.min_inertia), (4, report.inertia.unwrap()));

    // Without groups each run ends elsewhere.
    let rows = Array2::from_shape_fn((500, 6), |(row, column)| noise(row, column) as f32);
    let mut loose = spec(5, 7);
    loose.kmeans.n_init = 25;
    let restarts = fit_all(&rows, &loose).unwrap().report.restarts.unwrap();
    assert!(restarts.mean_ari.unwrap() < 0.9, "{restarts:?}");
    assert!(restarts.min_inertia < restarts.median_inertia && restarts.median_inertia < restarts.max_inertia);
    assert_eq!((restarts.inertia.len(), restarts.compared_restarts, restarts.compared_rows), (25, 20, 500));
}

fn auto_with(n_components: usize) -> LearnSpec {
    let mut spec = spec(n_components, 1);
    spec.kmeans.n_clusters = ClusterCount::Auto;
    spec
}

#[test]
fn normalised_rows_are_clustered_by_direction() {
    // Two directions, lengths from 1 to 100: without normalisation the long rows would form their own cluster.
    let rows = Array2::from_shape_fn((40, 2), |(row, column)| {
        let length = if row < 4 { 100.0 } else { 1.0 + noise(row, 0) };
        let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
        (sign * length * if column == 0 { 1.0 } else { 0.1 * noise(row, 1) }) as f32
    });
    let mut spec = spec(2, 2);
    spec.normalize = true;
    spec.scaler.with_std = false;
    let fitted = fit_all(&rows, &spec).unwrap();
    assert!(fitted.clusters.iter().enumerate().all(|(row, &cluster)| cluster as usize == row % 2));
    assert!(fitted.distances.iter().all(|&distance| distance < 2.0));
    // The scores are reported as they were before.
    assert!(scores(&fitted)[[0, 0]].abs() > 50.0);
}

#[test]
fn whitened_scores_have_variance_one() {
    let mut spec = spec(5, 3);
    spec.pca.whiten = true;
    let fitted = fit_all(&features(200, 12), &spec).unwrap();
    assert_close(&scores(&fitted).var_axis(Axis(0), 1.0), &[1.0; 5], 1e-9);
}

#[test]
fn few_very_wide_rows_are_fitted_by_their_inner_products() {
    let (rows, width) = (25, 4_200);
    let features = Array2::from_shape_fn((rows, width), |(row, column)| {
        (noise(row, column) * (1.0 + (column % 9) as f64)) as f32
    });
    let fitted = fit_all(&features, &spec(6, 3)).unwrap();
    let report = &fitted.report;
    assert_eq!((report.pca_solver, report.explained_variance.len()), (PcaSolver::Gram, rows));
    // All variance of scaled columns: each has 1 with ddof 0.
    let total: f64 = report.explained_variance.iter().sum();
    let expected = (width - report.constant_columns) as f64 * rows as f64 / (rows - 1) as f64;
    assert!((total / expected - 1.0).abs() < 1e-12, "{total} instead of {expected}");
    // Components are orthonormal, and scores have the variance that is reported.
    let components = fitted.model.pca().components();
    assert_close(&components.dot(&components.t()), &Array2::eye(6), 1e-12);
    assert_close(&scores(&fitted).var_axis(Axis(0), 1.0), report.explained_variance.iter().take(6), 1e-12);

    // The covariance of columns that are zero but for the first few, found both ways.
    let narrow = crate::common::features(25, 12);
    let mut padded = Array2::zeros((25, width));
    padded.slice_mut(s![.., ..12]).assign(&narrow);
    let narrow = Pca::params(Components::Count(4)).fit(&DatasetBase::from(narrow)).unwrap();
    let padded = Pca::params(Components::Count(4)).fit(&DatasetBase::from(padded)).unwrap();
    assert_eq!((narrow.solver(), padded.solver()), (PcaSolver::Covariance, PcaSolver::Gram));
    assert_close(padded.explained_variance().iter().take(12), narrow.explained_variance(), 1e-12);
    assert_close(padded.components().slice(s![.., ..12]), narrow.components(), 1e-9);
    assert_close(padded.mean().iter().take(12), narrow.mean(), 1e-14);
}

#[test]
fn widths_are_refused_before_there_are_features() {
    assert_eq!(LearnSpec::check_width(512, 1_000_000), Ok(PcaSolver::Covariance));
    assert_eq!(LearnSpec::check_width(25_088, 928), Ok(PcaSolver::Gram));
    let refused = LearnSpec::check_width(25_088, 90_000).unwrap_err();
    assert_eq!(refused, LearnError::TooWide { width: 25_088, rows: 90_000 });
    assert!(refused.to_string().contains("use max or avg pooling"));
    assert_eq!(LearnSpec::check_width(0, 5), Err(LearnError::NoColumns));
}

#[test]
fn what_can_not_be_fitted_is_refused_in_words() {
    let good = features(20, 12);
    let refusal = |features: &Array2<f32>, spec: &LearnSpec| fit_all(features, spec).unwrap_err();
    assert_eq!(refusal(&Array2::zeros((0, 12)), &spec(1, 1)), LearnError::NoRows);
    assert_eq!(refusal(&Array2::zeros((5, 0)), &spec(1, 1)), LearnError::NoColumns);
    assert_eq!(refusal(&features(1, 12), &spec(1, 1)), LearnError::TooFewRows { rows: 1, needed: 2 });
    assert_eq!(refusal(&good, &spec(2, 21)), LearnError::MoreClustersThanRows { rows: 20, n_clusters: 21 });
    assert_eq!(
        refusal(&features(6, 12), &spec(10, 2)),
        LearnError::TooManyComponents { requested: 10, most: 6, rows: 6, width: 12 }
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = good.clone();
        bad[[13, 7]] = value;
        let error = refusal(&bad, &spec(2, 2));
        assert!(matches!(error, LearnError::NotFinite { row: 13, column: 7, .. }), "{error}");
        let model = fit_all(&good, &spec(2, 2)).unwrap().model;
        assert!(matches!(
            model.predict_rows(bad.view(), threads(1)),
            Err(LearnError::NotFinite { row: 13, .. })
        ));
    }
    let mut share = spec(1, 2);
    share.pca.n_components = Components::VarianceShare(0.9);
    assert_eq!(refusal(&Array2::ones((4, 3)), &share), LearnError::NoVariance);

    let out_of_range: [(&str, SpecChange); 13] = [
        ("ddof", |spec| spec.scaler.ddof = 2),
        ("n_components", |spec| spec.pca.n_components = Components::Count(0)),
        ("n_components", |spec| spec.pca.n_components = Components::VarianceShare(1.0)),
        ("n_clusters", |spec| spec.kmeans.n_clusters = ClusterCount::Count(0)),
        ("n_init", |spec| spec.kmeans.n_init = 0),
        ("max_iter", |spec| spec.kmeans.max_iter = 0),
        ("tol", |spec| spec.kmeans.tol = f64::NAN),
        ("tol", |spec| spec.gaussian_mixture.tol = -1.0),
        ("reg_covar", |spec| spec.gaussian_mixture.reg_covar = f64::INFINITY),
        ("eps", |spec| spec.dbscan.eps = 0.0),
        ("min_samples", |spec| spec.dbscan.min_samples = 0),
        ("min_cluster_size", |spec| spec.hdbscan.min_cluster_size = 1),
        ("min_samples", |spec| spec.hdbscan.min_samples = Some(0)),
    ];
    for (parameter, change) in out_of_range {
        let mut spec = spec(2, 2);
        change(&mut spec);
        let error = spec.check().unwrap_err();
        assert!(matches!(error, LearnError::InvalidParameter { name, .. } if name == parameter), "{error}");
        assert_eq!(refusal(&good, &spec), error);
    }

    let with_flags = |fit_on: Option<&[bool]>, labels: Option<&[Option<u32>]>| {
        fit(good.view(), fit_on, labels, &spec(2, 2), threads(1)).map(|_| ())
    };
    assert_eq!(with_flags(Some(&[false; 20]), None), Err(LearnError::NoRows));
    assert!(matches!(
        with_flags(Some(&[true; 19]), None),
        Err(LearnError::LengthMismatch { what: "fit_on", .. })
    ));
    assert!(matches!(
        with_flags(None, Some(&[None; 21])),
        Err(LearnError::LengthMismatch { what: "labels", .. })
    ));
    assert!(matches!(
        with_flags(None, Some(&[Some(u32::MAX); 20])),
        Err(LearnError::InvalidParameter { .. })
    ));
    assert_eq!(with_flags(None, Some(&[None; 20])), Ok(()));
}

#[test]
fn rows_of_another_width_are_refused_by_every_step() {
    let model = fit_all(&features(20, 12), &spec(2, 2)).unwrap().model;
    let narrow = features(3, 4);
    let expected = LearnError::WidthMismatch { got: 4, expected: 12 };
    assert_eq!(model.transform(&narrow).unwrap_err(), expected);
    assert_eq!(model.predict(&narrow).unwrap_err(), expected);
    assert_eq!(model.scaler().transform(&narrow).unwrap_err(), expected);
    assert_eq!(model.pca().transform(&narrow).unwrap_err(), expected);
    assert_eq!(
        model.kmeans().unwrap().predict(&narrow).unwrap_err(),
        LearnError::WidthMismatch { got: 4, expected: 2 }
    );
}

#[test]
fn columns_with_a_large_mean_keep_their_spread() {
    // In one pass over squares, the spread of 1 would drown in the mean's 1e14.
    let rows = Array2::from_shape_fn((3_000, 2), |(row, column)| {
        1e7 * (column as f64 + 1.0) + f64::from(row as u32 % 3) - 1.0
    });
    let scaler = fruitbatch_learn::StandardScaler::params().fit(&DatasetBase::from(rows)).unwrap();
    assert_close(scaler.scale(), &[(2.0_f64 / 3.0).sqrt(); 2], 1e-9);
}
