//! Clusters of any shape: rows that lie close together, and noise between them.
//!
//! - DBSCAN: a row is a core row if at least `min_samples` rows, itself among them, are within `eps`; core rows within `eps` of
//!   each other are one cluster. Any other row belongs to the cluster of its nearest core row if that is within `eps`, else it
//!   is noise. (scikit-learn and linfa give a row between two clusters to whichever they came by first.)
//! - HDBSCAN: the clusters that persist longest over all distances, by the `hdbscan` crate. A new row belongs to the cluster of
//!   the nearest row fitted on, noise rows included, if it is no farther from it than that row's own `min_samples`-th
//!   neighbour, else it is noise.
//!
//! Both compare all pairs of rows: time for n^2 k, no memory beyond a few copies of the rows.

use std::num::NonZeroUsize;

use hdbscan::{DistanceMetric, Hdbscan, HdbscanHyperParams, NnAlgorithm};
use ndarray::{Array2, ArrayView2, Axis};

use crate::LearnError;
use crate::blocks::reduce_blocks;
use crate::kmeans::{Assignment, assign_to_nearest};
use crate::row_blocks::RowBlocks;
use crate::spec::{DbscanSpec, HdbscanSpec};

/// The cluster of rows that are in none.
pub const NOISE: i32 = -1;

/// The most rows that are fitted on by density: 4 * 10^8 pairs, about half a minute for 50 columns on one core.
pub const MAX_DENSITY_ROWS: usize = 20_000;

/// Rows whose neighbours are found on one thread at a time.
const ROWS_AT_A_TIME: usize = 128;

/// Rows with their clusters, to which others are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct DensityClusters {
    /// m x k: DBSCAN's core rows, or all rows that HDBSCAN was fitted on.
    pub(crate) rows: Array2<f64>,
    /// The cluster of each, or [`NOISE`].
    pub(crate) clusters: Vec<i32>,
    /// How far from each a row may be to belong with it.
    pub(crate) radii: Vec<f64>,
}

impl DensityClusters {
    /// DBSCAN on `points` (n x k, n up to [`MAX_DENSITY_ROWS`]).
    ///
    /// # Errors
    /// [`LearnError::OnlyNoise`] without any core row.
    pub(crate) fn dbscan(
        points: ArrayView2<'_, f64>,
        spec: &DbscanSpec,
        threads: NonZeroUsize,
    ) -> Result<Self, LearnError> {
        let squared_eps = spec.eps * spec.eps;
        let is_core = for_each_row(points, threads, |squared_distances| {
            squared_distances.iter().filter(|&&squared| squared <= squared_eps).count() >= spec.min_samples
        });
        let core_numbers: Vec<usize> = (0..points.nrows()).filter(|&row| is_core[row]).collect();
        if core_numbers.is_empty() {
            return Err(LearnError::OnlyNoise);
        }
        let rows = points.select(Axis(0), &core_numbers);
        let columns = columns(rows.view());
        let mut clusters = vec![NOISE; rows.nrows()];
        let mut squared_distances = vec![0.0; rows.nrows()];
        let mut cluster_count = 0;
        for first in 0..rows.nrows() {
            if clusters[first] != NOISE {
                continue;
            }
            clusters[first] = cluster_count;
            let mut reached = vec![first];
            while let Some(row) = reached.pop() {
                squared_distances_from(rows.row(row), &columns, &mut squared_distances);
                for (other, squared) in squared_distances.iter().enumerate() {
                    if clusters[other] == NOISE && *squared <= squared_eps {
                        clusters[other] = cluster_count;
                        reached.push(other);
                    }
                }
            }
            cluster_count += 1;
        }
        let radii = vec![spec.eps; rows.nrows()];
        Ok(Self { rows, clusters, radii })
    }

    /// HDBSCAN on `points` (n x k, n at least 2 and up to [`MAX_DENSITY_ROWS`]).
    ///
    /// # Errors
    /// [`LearnError::TooFewRows`] under `min_samples`, [`LearnError::OnlyNoise`] without any cluster.
    pub(crate) fn hdbscan(
        points: ArrayView2<'_, f64>,
        spec: &HdbscanSpec,
        threads: NonZeroUsize,
    ) -> Result<Self, LearnError> {
        let min_samples = spec.min_samples.unwrap_or(spec.min_cluster_size);
        let needed = min_samples.max(2);
        if points.nrows() < needed {
            return Err(LearnError::TooFewRows { rows: points.nrows(), needed });
        }
        let rows: Vec<Vec<f64>> = points.rows().into_iter().map(|row| row.to_vec()).collect();
        let params = HdbscanHyperParams::builder()
            .min_cluster_size(spec.min_cluster_size)
            .min_samples(min_samples)
            .dist_metric(DistanceMetric::Euclidean)
            // The other way holds all pairs of distances.
            .nn_algorithm(NnAlgorithm::KdTree)
            .build();
        let clusters = Hdbscan::new(&rows, params).cluster().map_err(|_| LearnError::OnlyNoise)?;
        if clusters.iter().all(|&cluster| cluster == NOISE) {
            return Err(LearnError::OnlyNoise);
        }
        let radii = for_each_row(points, threads, |squared_distances| {
            let (_, squared, _) = squared_distances.select_nth_unstable_by(min_samples - 1, f64::total_cmp);
            squared.sqrt()
        });
        Ok(Self { rows: points.to_owned(), clusters, radii })
    }

    /// The rows that others are compared to, m x k: DBSCAN's core rows, or all that HDBSCAN was fitted on.
    pub fn rows(&self) -> &Array2<f64> {
        &self.rows
    }

    /// The cluster of each of these rows, or [`NOISE`].
    pub fn clusters(&self) -> &[i32] {
        &self.clusters
    }

    /// Number of clusters, without noise.
    pub fn n_clusters(&self) -> usize {
        self.clusters.iter().max().map_or(0, |&largest| (largest + 1) as usize)
    }

    /// The cluster of each row's nearest kept row if that is near enough, else [`NOISE`], and the Euclidean distance from it.
    pub(crate) fn assign<B: RowBlocks<Value = f64>>(
        &self,
        points: &B,
        threads: NonZeroUsize,
    ) -> Result<Assignment, LearnError> {
        let mut assignment = assign_to_nearest(&self.rows, points, threads)?;
        for (cluster, distance) in assignment.clusters.iter_mut().zip(&assignment.distances) {
            let nearest = *cluster as usize;
            *cluster = if *distance <= self.radii[nearest] { self.clusters[nearest] } else { NOISE };
        }
        Ok(assignment)
    }

    /// Puts the clusters into this order.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        let mut numbers = vec![0; order.len()];
        for (number, &cluster) in order.iter().enumerate() {
            numbers[cluster] = number as i32;
        }
        for cluster in self.clusters.iter_mut().filter(|cluster| **cluster != NOISE) {
            *cluster = numbers[*cluster as usize];
        }
    }
}

/// Refuses more rows than are fitted on by density.
pub(crate) fn check_row_count(rows: usize) -> Result<(), LearnError> {
    if rows <= MAX_DENSITY_ROWS { Ok(()) } else { Err(LearnError::TooManyRows { rows }) }
}

/// What `work` makes of each row's squared distances from all rows (in their order, its own among them).
fn for_each_row<T: Send>(
    points: ArrayView2<'_, f64>,
    threads: NonZeroUsize,
    work: impl Fn(&mut [f64]) -> T + Sync,
) -> Vec<T> {
    let columns = columns(points);
    let blocks = points.axis_chunks_iter(Axis(0), ROWS_AT_A_TIME).collect();
    let results = reduce_blocks(threads, blocks, |_, rows: ArrayView2<'_, f64>| {
        let mut squared_distances = vec![0.0; points.nrows()];
        rows.rows()
            .into_iter()
            .map(|row| {
                squared_distances_from(row, &columns, &mut squared_distances);
                work(&mut squared_distances)
            })
            .collect::<Vec<T>>()
    });
    results.unwrap_or_default()
}

/// The transposed rows, so that one column lies in a piece.
fn columns(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    rows.t().as_standard_layout().into_owned()
}

/// Summed from the differences themselves, so that equal rows are at distance 0.
fn squared_distances_from(
    row: ndarray::ArrayView1<'_, f64>,
    columns: &Array2<f64>,
    squared_distances: &mut [f64],
) {
    squared_distances.fill(0.0);
    for (coordinate, column) in row.iter().zip(columns.rows()) {
        let column = column.to_slice().expect("rows of a standard layout are contiguous");
        for (squared, other) in squared_distances.iter_mut().zip(column) {
            *squared += (coordinate - other) * (coordinate - other);
        }
    }
}
