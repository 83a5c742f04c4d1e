//! Maps: as good as scikit-learn's, reproducible, and of anything that isn't refused.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use crate::common::{features, noise};
use fruitbatch_learn::tsne::{MIN_TSNE_ROWS, TsneMap, TsneSpec, trustworthiness, tsne};
use fruitbatch_learn::{ClusterCount, Components, LearnError, LearnSpec, fit};
use ndarray::{Array2, Axis, array, concatenate, s};
use serde::Deserialize;

#[derive(Deserialize)]
struct Figures {
    kl_divergence: f64,
    trustworthiness: f64,
    trustworthiness_of_first_columns: Vec<(usize, f64)>,
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn map(points: &Array2<f64>, spec: &TsneSpec) -> Result<TsneMap, LearnError> {
    tsne(points.view(), spec, threads(2), &|_, _| ())
}

/// Scores of the formula's features on six components.
fn scores() -> Array2<f64> {
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(6);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    fit(features(400, 12).view(), None, None, &spec, threads(2)).unwrap().projected.into_matrix().unwrap()
}

fn noise_points(rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(row, column)| noise(row, column))
}

#[test]
fn a_map_is_as_good_as_the_one_of_scikit_learn() {
    let figures: Figures =
        serde_json::from_str(include_str!("../fixtures/scikit_learn_tsne_figures.json")).unwrap();
    let scores = scores();
    for (n_neighbors, expected) in figures.trustworthiness_of_first_columns {
        let first_columns = scores.slice(s![.., ..2]);
        let found = trustworthiness(scores.view(), first_columns, n_neighbors, threads(2)).unwrap();
        // Whole ranks over one product: only rounding differs.
        assert!((found - expected).abs() < 1e-12, "{n_neighbors} neighbours: {found} instead of {expected}");
    }

    let shown = map(&scores, &TsneSpec::default()).unwrap();
    let found = trustworthiness(scores.view(), shown.map.view(), 5, threads(2)).unwrap();
    println!(
        "trustworthiness {found} ({}), divergence {} ({})",
        figures.trustworthiness, shown.kl_divergence, figures.kl_divergence
    );
    // Two descents end in different optima; scikit-learn's own differ by about as much from seed to seed.
    assert!(found > figures.trustworthiness - 0.005, "{found}");
    assert!(shown.kl_divergence < 1.1 * figures.kl_divergence, "{}", shown.kl_divergence);
    assert_eq!(shown.perplexity, 30.0);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Several tasks of rows, the last one short.
    let points = noise_points(700, 7);
    let spec = TsneSpec { max_iter: 400, ..TsneSpec::default() };
    let one = tsne(points.view(), &spec, threads(1), &|_, _| ()).unwrap();
    for count in [1, 2, 3] {
        assert_eq!(one, tsne(points.view(), &spec, threads(count), &|_, _| ()).unwrap());
    }
    let found = |count| trustworthiness(points.view(), one.map.view(), 5, threads(count)).unwrap();
    assert_eq!(found(1), found(3));
}

#[test]
fn of_many_rows_a_seeded_sample_is_shown() {
    let points = noise_points(300, 4);
    let spec = |seed| TsneSpec { max_rows: 60, max_iter: 250, seed, ..TsneSpec::default() };
    let shown = map(&points, &spec(1)).unwrap();
    assert_eq!((shown.rows.len(), shown.map.dim()), (60, (60, 2)));
    assert!(shown.rows.is_sorted_by(|left, right| left < right) && shown.rows[59] < 300);
    // The others have no part in the map.
    let alone = map(&points.select(Axis(0), &shown.rows), &spec(1)).unwrap();
    assert_eq!(alone.map, shown.map);
    assert_eq!(alone.rows, (0..60).collect::<Vec<_>>());
    assert_ne!(map(&points, &spec(2)).unwrap().rows, shown.rows);
}

#[test]
fn groups_far_apart_stay_apart() {
    // Three groups, in the order 0, 1, 2, 0, ...
    let points = Array2::from_shape_fn((90, 5), |(row, column)| {
        noise(row, column) + if column == row % 3 { 20.0 } else { 0.0 }
    });
    let shown = map(&points, &TsneSpec { perplexity: 10.0, ..TsneSpec::default() }).unwrap().map;
    for (row, place) in shown.rows().into_iter().enumerate() {
        let squared_distance = |other: usize| (&shown.row(other) - &place).mapv(|side| side * side).sum();
        let nearest = (0..90)
            .filter(|&other| other != row)
            .min_by(|&left, &right| squared_distance(left).total_cmp(&squared_distance(right)))
            .unwrap();
        assert_eq!(nearest % 3, row % 3, "row {row}");
    }
}

#[test]
fn progress_counts_every_round() {
    let told = Mutex::new(Vec::new());
    let spec = TsneSpec { max_iter: 260, ..TsneSpec::default() };
    tsne(noise_points(20, 3).view(), &spec, threads(2), &|done, total| {
        told.lock().unwrap().push((done, total));
    })
    .unwrap();
    assert_eq!(told.into_inner().unwrap(), (1..=260).map(|round| (round, 260)).collect::<Vec<_>>());
}

#[test]
fn few_rows_lower_the_perplexity() {
    for rows in [4, 5, 7, 12, 40, 91] {
        let shown = map(&noise_points(rows, 3), &TsneSpec::default()).unwrap();
        assert_eq!(shown.perplexity, 30.0_f64.min((rows - 1) as f64 / 3.0));
        assert!(shown.map.iter().all(|coordinate| coordinate.is_finite()), "{rows} rows");
        assert!(shown.kl_divergence.is_finite(), "{rows} rows");
        let distinct = |left: usize, right: usize| shown.map.row(left) != shown.map.row(right);
        assert!((1..rows).all(|row| distinct(row - 1, row)), "{rows} rows");
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let spec = TsneSpec::default();
    for rows in 0..MIN_TSNE_ROWS {
        let error = map(&noise_points(rows, 3), &spec).unwrap_err();
        assert_eq!(error, LearnError::TooFewRows { rows, needed: MIN_TSNE_ROWS });
    }
    assert_eq!(map(&Array2::zeros((9, 0)), &spec).unwrap_err(), LearnError::NoColumns);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut points = noise_points(9, 3);
        points[[7, 1]] = value;
        let error = map(&points, &spec).unwrap_err();
        assert!(matches!(error, LearnError::NotFinite { row: 7, column: 1, .. }), "{error}");
    }
    let specs = [
        TsneSpec { perplexity: 0.9, ..spec.clone() },
        TsneSpec { perplexity: f64::NAN, ..spec.clone() },
        TsneSpec { perplexity: f64::INFINITY, ..spec.clone() },
        TsneSpec { max_rows: 3, ..spec.clone() },
        TsneSpec { max_iter: 249, ..spec.clone() },
    ];
    for spec in specs {
        let error = map(&noise_points(9, 3), &spec).unwrap_err();
        assert!(matches!(error, LearnError::InvalidParameter { .. }), "{error}");
    }
    assert!(serde_json::from_str::<TsneSpec>(r#"{"perplexitty": 30}"#).is_err());
    assert_eq!(serde_json::from_str::<TsneSpec>("{}").unwrap(), spec);

    let (points, places) = (noise_points(9, 3), noise_points(9, 2));
    for n_neighbors in [0, 5, 9, usize::MAX / 2] {
        assert!(trustworthiness(points.view(), places.view(), n_neighbors, threads(1)).is_err());
    }
    assert!(trustworthiness(points.view(), noise_points(8, 2).view(), 2, threads(1)).is_err());
    assert!(
        trustworthiness(points.view(), array![[f64::NAN, 0.0]].broadcast((9, 2)).unwrap(), 2, threads(1))
            .is_err()
    );
}

#[test]
fn equal_rows_are_all_at_the_origin() {
    for value in [0.0, 0.1, -1e300, f64::MAX] {
        let shown = map(&Array2::from_elem((50, 3), value), &TsneSpec::default()).unwrap();
        assert_eq!((shown.map, shown.kl_divergence), (Array2::zeros((50, 2)), 0.0));
    }
}

#[test]
fn odd_points_have_finite_maps() {
    let noise = noise_points(60, 3);
    let odd = [
        // Half of the rows are equal: more than any row's neighbours.
        concatenate![Axis(0), noise.slice(s![..30, ..]), Array2::zeros((200, 3))],
        // Two places only, and one row alone far away.
        Array2::from_shape_fn((100, 2), |(row, _)| (row % 2) as f64),
        concatenate![Axis(0), noise, array![[1e9, 0.0, 0.0]]],
        // One column; no two columns that vary.
        noise_points(60, 1),
        concatenate![Axis(1), Array2::ones((60, 2)), noise],
        // The ends of what a number can hold.
        Array2::from_shape_fn((60, 2), |(row, _)| if row % 2 == 0 { f64::MAX } else { f64::MIN }),
        &noise * 1e-310,
    ];
    for (index, points) in odd.iter().enumerate() {
        let shown = map(points, &TsneSpec::default()).unwrap();
        assert!(shown.map.iter().all(|coordinate| coordinate.is_finite()), "{index}: {:?}", shown.map);
        assert!(shown.kl_divergence.is_finite(), "{index}: {}", shown.kl_divergence);
        // Both directions of the plane are used.
        assert!(shown.map.std_axis(Axis(0), 0.0).iter().all(|&deviation| deviation > 0.1), "{index}");
    }
}

#[test]
fn the_size_of_the_numbers_changes_nothing() {
    let points = noise_points(80, 3);
    let spec = TsneSpec { max_iter: 250, ..TsneSpec::default() };
    let expected = map(&points, &spec).unwrap();
    for power_of_two in [2.0_f64.powi(-300), 0.25, 2.0_f64.powi(900)] {
        assert_eq!(map(&(&points * power_of_two), &spec).unwrap(), expected);
    }
}
