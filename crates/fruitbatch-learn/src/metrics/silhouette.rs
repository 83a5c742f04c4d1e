//! Silhouettes: how much nearer each row is to its own cluster than to the next one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView2, s};

use super::{DenseClusters, check_lengths, sample_rows};
use crate::LearnError;
use crate::blocks::{Merge, reduce_blocks};
use crate::row_blocks::RowBlocks;
use crate::rows::{FiniteRows, check_finite};

/// Rows above which [`sampled_silhouette`] draws a sample: all pairs of distances are needed, 10^8 of them here.
pub const MAX_SILHOUETTE_ROWS: usize = 10_000;

/// Rows whose distances are found together, in each direction: a tile of 8 KiB a column stays in the cache.
const SILHOUETTE_TILE: usize = 128;

/// Silhouettes of a clustering and the rows they were taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Silhouette {
    /// Mean over the rows, between -1 and 1.
    pub mean: f64,
    /// Mean over the rows of each cluster that has any among them.
    pub by_cluster: BTreeMap<i32, f64>,
    /// The silhouette of each row whose distances were compared, and its cluster.
    pub values: Vec<(i32, f64)>,
}

/// The mean over all rows of their [`silhouettes`].
///
/// # Errors
/// As [`silhouettes`].
pub fn mean_silhouette(
    points: ArrayView2<'_, f64>,
    clusters: &[i32],
    threads: NonZeroUsize,
) -> Result<Option<f64>, LearnError> {
    Ok(silhouettes(points, clusters, threads)?.map(|silhouettes| mean(&silhouettes)))
}

/// Each row's silhouette after Rousseeuw, `(b - a) / max(a, b)`: a is the mean Euclidean distance from the other rows of the
/// own cluster, b the least mean distance from the rows of another cluster. Rows alone in their cluster have 0. `None` unless
/// there are at least 2 clusters and fewer clusters than rows.
///
/// Takes time for n^2 distances and memory for two copies of the points. Threads change nothing but the time.
///
/// # Errors
/// [`LearnError::LengthMismatch`] unless there is one cluster number for each row, [`LearnError::NotFinite`].
pub fn silhouettes(
    points: ArrayView2<'_, f64>,
    clusters: &[i32],
    threads: NonZeroUsize,
) -> Result<Option<Vec<f64>>, LearnError> {
    check_lengths(points.nrows(), clusters)?;
    check_finite(points)?;
    let clustering = DenseClusters::new(clusters);
    let is_defined = clustering.is_comparable();
    Ok(silhouettes_of_rows(points, &[clustering], threads).pop().filter(|_| is_defined))
}

/// The mean of `values` (one for each row, such as its silhouette) over the rows of each cluster.
///
/// # Errors
/// [`LearnError::LengthMismatch`] unless there is one cluster number for each value.
pub fn mean_by_cluster(values: &[f64], clusters: &[i32]) -> Result<BTreeMap<i32, f64>, LearnError> {
    if clusters.len() != values.len() {
        return Err(LearnError::LengthMismatch {
            what: "clusters",
            got: clusters.len(),
            expected: values.len(),
        });
    }
    let mut sums = BTreeMap::<i32, (f64, usize)>::new();
    for (value, &cluster) in values.iter().zip(clusters) {
        let (sum, size) = sums.entry(cluster).or_default();
        *sum += value;
        *size += 1;
    }
    Ok(sums.into_iter().map(|(cluster, (sum, size))| (cluster, sum / size as f64)).collect())
}

/// The mean [`silhouettes`] of all rows and of each cluster, over a random sample of `max_rows` rows if there are more (drawn
/// from `seed`, without replacement). Holds no more than `max_rows` of the points.
///
/// # Errors
/// As [`silhouettes`], and those of the points where they aren't in memory.
pub fn sampled_silhouette<B: RowBlocks<Value = f64>>(
    points: B,
    clusters: &[i32],
    max_rows: usize,
    seed: u64,
    threads: NonZeroUsize,
) -> Result<Option<Silhouette>, LearnError> {
    check_lengths(points.row_count(), clusters)?;
    FiniteRows(&points).check(threads)?;
    let (points, clusters) = match sample_rows(points.row_count(), max_rows, seed) {
        None => (points.to_matrix()?, Cow::Borrowed(clusters)),
        Some(sample) => (
            points.select(&sample)?.into(),
            Cow::Owned(sample.iter().map(|&row| clusters[row]).collect::<Vec<i32>>()),
        ),
    };
    let Some(silhouettes) = silhouettes(points.view(), &clusters, threads)? else { return Ok(None) };
    Ok(Some(Silhouette {
        mean: mean(&silhouettes),
        by_cluster: mean_by_cluster(&silhouettes, &clusters)?,
        values: clusters.iter().copied().zip(silhouettes).collect(),
    }))
}

/// The mean of silhouettes, summed tile by tile in the fixed tree.
fn mean(silhouettes: &[f64]) -> f64 {
    let tiles = silhouettes.chunks(SILHOUETTE_TILE).collect();
    let sum = reduce_blocks(NonZeroUsize::MIN, tiles, |_, tile: &[f64]| tile.iter().sum::<f64>());
    sum.unwrap_or(0.0) / silhouettes.len() as f64
}

/// The mean silhouettes of several clusterings of the same points, whose distances are found only once.
pub(crate) fn mean_silhouettes(
    points: ArrayView2<'_, f64>,
    clusterings: &[&[i32]],
    threads: NonZeroUsize,
) -> Vec<Option<f64>> {
    let clusterings: Vec<DenseClusters> =
        clusterings.iter().map(|clusters| DenseClusters::new(clusters)).collect();
    silhouettes_of_rows(points, &clusterings, threads)
        .iter()
        .zip(&clusterings)
        .map(|(silhouettes, clustering)| clustering.is_comparable().then(|| mean(silhouettes)))
        .collect()
}

impl DenseClusters {
    /// Silhouette of a row from its summed distances to each cluster.
    fn silhouette(&self, row: usize, distance_sums: &[f64]) -> f64 {
        let own = self.of_rows[row];
        if self.sizes[own] == 1 {
            return 0.0;
        }
        let within = distance_sums[own] / (self.sizes[own] - 1) as f64;
        let between = distance_sums
            .iter()
            .zip(&self.sizes)
            .enumerate()
            .filter(|&(cluster, _)| cluster != own)
            .map(|(_, (&sum, &size))| sum / size as f64)
            .fold(f64::INFINITY, f64::min);
        let larger = within.max(between);
        if larger > 0.0 { (between - within) / larger } else { 0.0 }
    }
}

/// Silhouettes of consecutive rows, for each clustering.
struct TileSilhouettes(Vec<Vec<f64>>);

impl Merge for TileSilhouettes {
    fn merge(mut self, later: Self) -> Self {
        for (silhouettes, mut later) in self.0.iter_mut().zip(later.0) {
            silhouettes.append(&mut later);
        }
        self
    }
}

/// The silhouettes of all rows in each clustering; numbers without meaning where clusters aren't comparable.
fn silhouettes_of_rows(
    points: ArrayView2<'_, f64>,
    clusterings: &[DenseClusters],
    threads: NonZeroUsize,
) -> Vec<Vec<f64>> {
    let row_count = points.nrows();
    let columns = points.t().as_standard_layout().into_owned();
    let tiles: Vec<_> = (0..row_count).step_by(SILHOUETTE_TILE).collect();
    let silhouettes = reduce_blocks(threads, tiles, |_, first_row| {
        let rows = first_row..row_count.min(first_row + SILHOUETTE_TILE);
        let mut distance_sums: Vec<Array2<f64>> = clusterings
            .iter()
            .map(|clustering| Array2::zeros((rows.len(), clustering.sizes.len())))
            .collect();
        let mut distances = Vec::with_capacity(SILHOUETTE_TILE);
        for first_other in (0..row_count).step_by(SILHOUETTE_TILE) {
            let others = first_other..row_count.min(first_other + SILHOUETTE_TILE);
            let other_columns = columns.slice(s![.., others.clone()]);
            for row in rows.clone() {
                distances.clear();
                distances.resize(others.len(), 0.0);
                for (&coordinate, other_coordinates) in points.row(row).iter().zip(other_columns.rows()) {
                    // As a slice, which the compiler turns into vector instructions.
                    let other_coordinates =
                        other_coordinates.to_slice().expect("rows of a standard layout are contiguous");
                    for (distance, other) in distances.iter_mut().zip(other_coordinates) {
                        *distance += (coordinate - other) * (coordinate - other);
                    }
                }
                for distance in &mut distances {
                    *distance = distance.sqrt();
                }
                for (sums, clustering) in distance_sums.iter_mut().zip(clusterings) {
                    let mut sums = sums.row_mut(row - first_row);
                    for (&distance, &cluster) in distances.iter().zip(&clustering.of_rows[others.clone()]) {
                        sums[cluster] += distance;
                    }
                }
            }
        }
        TileSilhouettes(
            clusterings
                .iter()
                .zip(&distance_sums)
                .map(|(clustering, sums)| {
                    let silhouette = |row: usize| {
                        let sums = sums.row(row - first_row);
                        clustering
                            .silhouette(row, sums.as_slice().expect("rows of a fresh array are contiguous"))
                    };
                    rows.clone().map(silhouette).collect()
                })
                .collect(),
        )
    });
    silhouettes.map_or_else(|| vec![Vec::new(); clusterings.len()], |silhouettes| silhouettes.0)
}
