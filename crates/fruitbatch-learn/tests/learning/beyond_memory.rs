//! Features and scores that aren't in memory: the same bits, and errors where they can't be read.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{features, noise, scores};
use fruitbatch_learn::blocks::{ROWS_PER_BLOCK, block_count, rows_of_block};
use fruitbatch_learn::classifier::{ClassifierSpec, fit_classifier};
use fruitbatch_learn::tsne::{TsneSpec, tsne};
use fruitbatch_learn::{
    Algorithm, ClusterCount, Components, FitOptions, Fitted, LearnError, LearnSpec, RowBlocks, RowsByNumber,
    fit,
};
use ndarray::{Array2, Axis, CowArray, Ix2, s};

/// A matrix whose blocks are copied out of it one by one, with faults.
struct Source {
    matrix: Array2<f32>,
    /// Blocks read so far, in all passes.
    blocks_read: AtomicUsize,
    /// The block that can't be read, and the first pass in which it can't.
    broken: Option<(usize, usize)>,
    /// A block that lacks its last row.
    short: Option<usize>,
    /// Behind this block a pass is over.
    end: usize,
}

impl Source {
    fn new(matrix: &Array2<f32>) -> Self {
        Self {
            matrix: matrix.clone(),
            blocks_read: AtomicUsize::new(0),
            broken: None,
            short: None,
            end: usize::MAX,
        }
    }
}

impl RowBlocks for Source {
    type Value = f32;

    fn row_count(&self) -> usize {
        self.matrix.nrows()
    }

    fn width(&self) -> usize {
        self.matrix.ncols()
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f32, Ix2>, LearnError>> {
        blocks.take_while(|&block| block < self.end).map(|block| {
            let earlier = self.blocks_read.fetch_add(1, Ordering::SeqCst);
            if let Some((broken, pass)) = self.broken
                && block == broken
                && earlier >= pass * block_count(self.row_count())
            {
                return Err(LearnError::unread(io::Error::other("the disk is gone")));
            }
            let mut rows = rows_of_block(block, self.row_count());
            rows.end -= usize::from(self.short == Some(block));
            Ok(self.matrix.slice(s![rows, ..]).to_owned().into())
        })
    }
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// All scores on disk.
fn on_disk(count: usize) -> FitOptions {
    FitOptions { memory_budget_bytes: 0, ..FitOptions::from(threads(count)) }
}

fn spec(algorithm: Algorithm) -> LearnSpec {
    let mut spec = LearnSpec { algorithm, ..LearnSpec::default() };
    spec.pca.n_components = Components::Count(3);
    spec.kmeans.n_clusters = ClusterCount::Count(5);
    spec.kmeans.n_init = 2;
    spec
}

/// Without groups, so that KMeans has many rounds to drift apart in.
fn loose(rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, 6), |(row, column)| (noise(row, column) * (column + 1) as f64) as f32)
}

#[track_caller]
fn assert_same_bits(left: &Fitted, right: &Fitted) {
    assert_eq!(left.model.to_files(), right.model.to_files());
    let bits = |fitted: &Fitted| scores(fitted).mapv(f64::to_bits);
    assert_eq!(bits(left), bits(right));
    assert_eq!((&left.clusters, &left.distances), (&right.clusters, &right.distances));
    assert_eq!((&left.report, &left.silhouette), (&right.report, &right.silhouette));
}

/// From a source that is read block by block with scores on disk, and from rows that lie apart: what a matrix gives.
#[track_caller]
fn assert_same_from_everywhere(
    matrix: &Array2<f32>,
    fit_on: Option<&[bool]>,
    labels: Option<&[Option<u32>]>,
    spec: &LearnSpec,
) {
    let in_memory = fit(matrix.view(), fit_on, labels, spec, threads(1)).unwrap();
    assert!(in_memory.projected.is_in_memory());
    let source = Source::new(matrix);
    for count in [1, 2, 3] {
        let from_source = fit(&source, fit_on, labels, spec, on_disk(count)).unwrap();
        assert!(!from_source.projected.is_in_memory());
        assert_same_bits(&from_source, &in_memory);
    }
    let rows = RowsByNumber::new(matrix.nrows(), matrix.ncols(), |row| {
        matrix.row(row).to_slice().expect("rows of a fresh matrix are contiguous")
    });
    assert_same_bits(&fit(rows, fit_on, labels, spec, threads(2)).unwrap(), &in_memory);
}

#[test]
fn no_source_and_no_budget_changes_a_bit() {
    // About the borders of blocks.
    for rows in [40, ROWS_PER_BLOCK - 1, ROWS_PER_BLOCK, ROWS_PER_BLOCK + 1, 3 * ROWS_PER_BLOCK + 17] {
        let matrix = loose(rows);
        for algorithm in [Algorithm::KMeans, Algorithm::SphericalKMeans] {
            assert_same_from_everywhere(&matrix, None, None, &spec(algorithm));
        }
    }
}

#[test]
fn nor_where_only_some_rows_are_fitted_on_or_have_labels() {
    let rows = 4 * ROWS_PER_BLOCK + 100;
    let matrix = loose(rows);
    let labels: Vec<Option<u32>> = (0..rows).map(|row| (row % 7 != 3).then_some(row as u32 % 4)).collect();
    let splits: [fn(usize) -> bool; 5] = [
        |row| row % 3 != 1,
        |row| row >= 2_000,
        |row| row < 1_025,
        |row| row == 5 || row > 3_000,
        |row| row % 50 == 0,
    ];
    for is_fitted_on in splits {
        let fit_on: Vec<bool> = (0..rows).map(is_fitted_on).collect();
        for algorithm in [Algorithm::KMeans, Algorithm::SphericalKMeans] {
            assert_same_from_everywhere(&matrix, Some(&fit_on), Some(&labels), &spec(algorithm));
        }
    }
}

#[test]
fn nor_by_any_choice_of_the_spec() {
    let rows = 2 * ROWS_PER_BLOCK + 333;
    let matrix = loose(rows);
    let fit_on: Vec<bool> = (0..rows).map(|row| row % 5 > 1).collect();
    let changes: [fn(&mut LearnSpec); 6] = [
        |spec| spec.normalize = true,
        |spec| spec.normalize_features = true,
        |spec| spec.pca.whiten = true,
        |spec| spec.pca.n_components = Components::VarianceShare(0.7),
        |spec| spec.kmeans.init = fruitbatch_learn::KMeansInit::Random,
        |spec| spec.kmeans.n_clusters = ClusterCount::Range { least: 2, most: 4 },
    ];
    for change in changes {
        let mut spec = spec(Algorithm::KMeans);
        change(&mut spec);
        assert_same_from_everywhere(&matrix, None, None, &spec);
        assert_same_from_everywhere(&matrix, Some(&fit_on), None, &spec);
    }
}

#[test]
fn nor_where_clusters_lose_their_rows_or_rows_are_no_different() {
    // Most rows in few places: clusters run empty and are given the farthest rows.
    let rows = 2 * ROWS_PER_BLOCK + 5;
    let few_places = Array2::from_shape_fn((rows, 4), |(row, column)| {
        if row % 97 == 0 { 50.0 * noise(row, column) as f32 } else { (row % 3 * (column + 1) % 3) as f32 }
    });
    let mut many_clusters = spec(Algorithm::KMeans);
    many_clusters.kmeans.n_clusters = ClusterCount::Count(40);
    many_clusters.kmeans.init = fruitbatch_learn::KMeansInit::Random;
    assert_same_from_everywhere(&few_places, None, None, &many_clusters);
    let equal = Array2::from_elem((30, 4), 1.0);
    assert_same_from_everywhere(&equal, None, None, &spec(Algorithm::KMeans));
}

#[test]
fn nor_by_inner_products_of_few_wide_rows() {
    let wide = Array2::from_shape_fn((60, 4_200), |(row, column)| noise(row, column) as f32);
    let fit_on: Vec<bool> = (0..60).map(|row| row % 3 > 0).collect();
    assert_same_from_everywhere(&wide, None, None, &spec(Algorithm::KMeans));
    assert_same_from_everywhere(&wide, Some(&fit_on), None, &spec(Algorithm::KMeans));
}

#[test]
fn clusters_by_density_take_any_budget() {
    let matrix = features(1_500, 12);
    let fit_on: Vec<bool> = (0..1_500).map(|row| row % 4 == 0).collect();
    for algorithm in [Algorithm::Dbscan, Algorithm::Hdbscan] {
        let mut spec = spec(algorithm);
        // Some noise.
        spec.dbscan.eps = 0.35;
        spec.hdbscan.min_cluster_size = 20;
        assert_same_from_everywhere(&matrix, Some(&fit_on), None, &spec);
    }
}

#[test]
fn a_mixture_says_what_it_needs_and_what_to_choose_instead() {
    let matrix = features(1_500, 12);
    let mixture = spec(Algorithm::GaussianMixture);
    let refused = fit(Source::new(&matrix), None, None, &mixture, on_disk(1)).unwrap_err();
    // Three components and five of the mixture.
    let needed_bytes = 1_500 * (3 + 5) * 8;
    assert_eq!(refused, LearnError::MixtureBeyondMemory { needed_bytes, budget_bytes: 0 });
    assert!(refused.to_string().contains("use KMeans"), "{refused}");
    let just = FitOptions { memory_budget_bytes: needed_bytes, ..on_disk(2) };
    let from_source = fit(Source::new(&matrix), None, None, &mixture, just).unwrap();
    assert_same_bits(&from_source, &fit(matrix.view(), None, None, &mixture, threads(1)).unwrap());

    // Where the numbers are known only later, it is refused later.
    let mut later = mixture;
    later.pca.n_components = Components::VarianceShare(0.999);
    let budget = FitOptions { memory_budget_bytes: 1_500 * (1 + 5) * 8, ..on_disk(1) };
    let refused = fit(Source::new(&matrix), None, None, &later, budget).unwrap_err();
    assert!(matches!(refused, LearnError::MixtureBeyondMemory { .. }), "{refused}");
}

#[test]
fn a_source_is_read_in_two_passes() {
    let matrix = loose(5 * ROWS_PER_BLOCK + 1);
    let source = Source::new(&matrix);
    for count in [1, 2] {
        source.blocks_read.store(0, Ordering::SeqCst);
        fit(&source, None, None, &spec(Algorithm::KMeans), on_disk(count)).unwrap();
        assert_eq!(source.blocks_read.load(Ordering::SeqCst), 2 * 6);
    }
}

#[test]
fn a_block_that_can_not_be_read_ends_the_fit_in_whichever_pass() {
    let matrix = loose(4 * ROWS_PER_BLOCK + 1);
    let fit_on: Vec<bool> = (0..matrix.nrows()).map(|row| row % 2 == 0).collect();
    for block in 0..5 {
        for (pass, count) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)] {
            for fit_on in [None, Some(fit_on.as_slice())] {
                let source = Source { broken: Some((block, pass)), ..Source::new(&matrix) };
                let error = fit(&source, fit_on, None, &spec(Algorithm::KMeans), on_disk(count)).unwrap_err();
                assert_eq!(error, LearnError::unread(io::Error::other("the disk is gone")));
                let LearnError::Unread { source } = &error else { panic!("{error}") };
                assert_eq!(source.error().downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::Other);
                assert!(error.to_string().contains("the disk is gone"), "{error}");
            }
        }
    }
    // A classifier reads as often as it descends.
    let labels: Vec<Option<u32>> = (0..matrix.nrows()).map(|row| Some(row as u32 % 3)).collect();
    for pass in [0, 1, 4] {
        let source = Source { broken: Some((2, pass)), ..Source::new(&matrix) };
        let error =
            fit_classifier(&source, &labels, None, &ClassifierSpec::default(), threads(2)).unwrap_err();
        assert!(matches!(error, LearnError::Unread { .. }), "{error}");
    }
}

#[test]
fn a_source_that_does_not_give_what_it_says_is_refused() {
    let matrix = loose(2 * ROWS_PER_BLOCK + 10);
    let refusal =
        |source: &Source| fit(source, None, None, &spec(Algorithm::KMeans), on_disk(1)).unwrap_err();
    let short = refusal(&Source { short: Some(1), ..Source::new(&matrix) });
    assert_eq!(short, LearnError::BlockShape { block: 1, got: (1_023, 6), expected: (1_024, 6) });
    let ended = refusal(&Source { end: 2, ..Source::new(&matrix) });
    assert_eq!(ended, LearnError::BlockShape { block: 2, got: (0, 0), expected: (10, 6) });

    let uneven = [vec![1.0_f32, 2.0], vec![3.0]];
    let rows = RowsByNumber::new(2, 2, |row| uneven[row].as_slice());
    let error = fit(rows, None, None, &spec(Algorithm::Dbscan), threads(1)).unwrap_err();
    assert_eq!(error, LearnError::RowWidth { row: 1, got: 1, expected: 2 });
}

#[test]
fn the_first_value_that_is_not_finite_is_named_wherever_it_lies() {
    let mut matrix = loose(3 * ROWS_PER_BLOCK);
    matrix[[2_500, 3]] = f32::NAN;
    matrix[[1_100, 1]] = f32::INFINITY;
    for count in [1, 2, 3] {
        let error =
            fit(Source::new(&matrix), None, None, &spec(Algorithm::KMeans), on_disk(count)).unwrap_err();
        assert!(matches!(error, LearnError::NotFinite { row: 1_100, column: 1, .. }), "{error}");
    }
    // Among rows that nothing is fitted on too.
    let fit_on: Vec<bool> = (0..matrix.nrows()).map(|row| row < 900).collect();
    let source = Source::new(&matrix);
    let error = fit(&source, Some(&fit_on), None, &spec(Algorithm::KMeans), on_disk(2)).unwrap_err();
    assert!(matches!(error, LearnError::NotFinite { row: 1_100, column: 1, .. }), "{error}");
}

#[test]
fn scores_on_disk_are_read_by_block_and_by_number_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = loose(2 * ROWS_PER_BLOCK + 10);
    let options = FitOptions { scratch_folder: Some(folder.path().to_owned()), ..on_disk(2) };
    let fitted = fit(Source::new(&matrix), None, None, &spec(Algorithm::SphericalKMeans), options).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let in_memory = fit(matrix.view(), None, None, &spec(Algorithm::SphericalKMeans), threads(1)).unwrap();
    let all = scores(&in_memory);
    assert_eq!((fitted.projected.row_count(), fitted.projected.width()), all.dim());
    let read: Vec<_> = fitted.projected.clone().read(1..3).map(|block| block.unwrap().into_owned()).collect();
    assert_eq!(read[0], all.slice(s![1_024..2_048, ..]));
    assert_eq!(read[1], all.slice(s![2_048.., ..]));
    let some = [2_057, 0, 1_024, 0];
    assert_eq!(fitted.projected.select(&some).unwrap(), all.select(Axis(0), &some));
    let directions = in_memory.model.clustering_points(&all);
    assert_eq!(fitted.points().to_matrix().unwrap(), *directions);
    assert_eq!(fitted.points().select(&some).unwrap(), directions.select(Axis(0), &some));
    assert_eq!(
        fitted.model.memberships(fitted.points(), &fitted.clusters).unwrap(),
        in_memory.model.memberships(directions.view(), &in_memory.clusters).unwrap()
    );
    let quick = TsneSpec { max_rows: 100, max_iter: 250, ..TsneSpec::default() };
    assert_eq!(
        tsne(&fitted.projected, &quick, threads(2), &|_, _| ()).unwrap(),
        tsne(all.view(), &quick, threads(1), &|_, _| ()).unwrap()
    );
    assert_eq!(fitted.projected.into_matrix().unwrap(), all);
}

#[test]
fn a_folder_that_can_not_hold_the_scores_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let options = FitOptions { scratch_folder: Some(missing.clone()), ..on_disk(1) };
    let error = fit(loose(50).view(), None, None, &spec(Algorithm::KMeans), options).unwrap_err();
    assert!(matches!(&error, LearnError::Scratch { folder, .. } if *folder == missing), "{error}");
    assert!(error.to_string().contains("name another folder"), "{error}");
}

#[test]
fn a_classifier_learns_the_same_from_any_source() {
    let matrix = features(2 * ROWS_PER_BLOCK + 9, 12);
    let labels: Vec<Option<u32>> = (0..matrix.nrows()).map(|row| Some(row as u32 % 3)).collect();
    let spec = ClassifierSpec { max_iter: 20, ..ClassifierSpec::default() };
    let in_memory = fit_classifier(matrix.view(), &labels, None, &spec, threads(1)).unwrap();
    let from_source = fit_classifier(Source::new(&matrix), &labels, None, &spec, threads(3)).unwrap();
    assert_eq!(from_source.head.to_files(), in_memory.head.to_files());
    assert_eq!(from_source.report, in_memory.report);
}
