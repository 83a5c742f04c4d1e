//! How good a clustering is: against labels ([`ContingencyTable`]: adjusted Rand index, normalised mutual information) and by
//! itself ([`mean_silhouette`]). Values are scikit-learn's to about 1e-12.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256Plus;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::blocks::{Merge, reduce_blocks};
use crate::rows::check_finite;

/// Rows above which [`sampled_mean_silhouette`] draws a sample: all pairs of distances are needed, 10^8 of them here.
pub const MAX_SILHOUETTE_ROWS: usize = 10_000;

/// Rows whose distances are found together, in each direction: a tile of 8 KiB a column stays in the cache.
const SILHOUETTE_TILE: usize = 128;

/// How many rows of each label fell into each cluster.
///
/// ```
/// use fruitbatch_learn::metrics::ContingencyTable;
///
/// let labels = [Some(0), Some(0), Some(1), Some(1), None];
/// let table = ContingencyTable::new(&labels, &[1, 1, 0, 0, 0])?;
/// assert_eq!(table.counts, [[0, 2], [2, 0]]);
/// assert_eq!(table.adjusted_rand_index(), Some(1.0));
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContingencyTable {
    /// The labels that occur, rising: one row of `counts` each.
    pub labels: Vec<u32>,
    /// The clusters that occur on rows with a label, rising: one column of `counts` each.
    pub clusters: Vec<u32>,
    /// Rows with that label in that cluster.
    pub counts: Vec<Vec<u64>>,
}

impl ContingencyTable {
    /// Counts the rows that have a label; the others are left out.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] if the two differ in length.
    pub fn new(labels: &[Option<u32>], clusters: &[u32]) -> Result<Self, LearnError> {
        if labels.len() != clusters.len() {
            return Err(LearnError::LengthMismatch {
                what: "labels",
                got: labels.len(),
                expected: clusters.len(),
            });
        }
        let pairs = || labels.iter().zip(clusters).filter_map(|(label, &cluster)| Some(((*label)?, cluster)));
        let seen_labels: BTreeSet<u32> = pairs().map(|(label, _)| label).collect();
        let seen_clusters: BTreeSet<u32> = pairs().map(|(_, cluster)| cluster).collect();
        let position =
            |set: &BTreeSet<u32>| -> BTreeMap<u32, usize> { set.iter().copied().zip(0..).collect() };
        let (label_rows, cluster_columns) = (position(&seen_labels), position(&seen_clusters));
        let mut counts = vec![vec![0; seen_clusters.len()]; seen_labels.len()];
        for (label, cluster) in pairs() {
            counts[label_rows[&label]][cluster_columns[&cluster]] += 1;
        }
        Ok(Self {
            labels: seen_labels.into_iter().collect(),
            clusters: seen_clusters.into_iter().collect(),
            counts,
        })
    }

    /// Number of rows counted.
    pub fn rows(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    fn label_totals(&self) -> Vec<u64> {
        self.counts.iter().map(|row| row.iter().sum()).collect()
    }

    fn cluster_totals(&self) -> Vec<u64> {
        (0..self.clusters.len()).map(|column| self.counts.iter().map(|row| row[column]).sum()).collect()
    }

    /// Hubert and Arabie's adjusted Rand index: 1 for the same partition, about 0 for a random one. `None` without rows.
    ///
    /// From the counts of pairs of rows, as scikit-learn's `adjusted_rand_score`, which is 1 too where both partitions are
    /// trivial.
    pub fn adjusted_rand_index(&self) -> Option<f64> {
        let rows = u128::from(self.rows());
        if rows == 0 {
            return None;
        }
        let sum_of_squares = |counts: &mut dyn Iterator<Item = u64>| -> u128 {
            counts.map(|count| u128::from(count).pow(2)).sum()
        };
        let both = sum_of_squares(&mut self.counts.iter().flatten().copied());
        let same_label = sum_of_squares(&mut self.label_totals().into_iter());
        let same_cluster = sum_of_squares(&mut self.cluster_totals().into_iter());
        // Ordered pairs that are together in both, in the clusters alone, in the labels alone, in neither.
        let true_positive = (both - rows) as f64;
        let false_positive = (same_cluster - both) as f64;
        let false_negative = (same_label - both) as f64;
        let true_negative = (rows * rows + both - same_cluster - same_label) as f64;
        if false_positive == 0.0 && false_negative == 0.0 {
            return Some(1.0);
        }
        let numerator = 2.0 * (true_positive * true_negative - false_negative * false_positive);
        let denominator = (true_positive + false_negative) * (false_negative + true_negative)
            + (true_positive + false_positive) * (false_positive + true_negative);
        Some(numerator / denominator)
    }

    /// Mutual information over the arithmetic mean of the two entropies, as scikit-learn's
    /// `normalized_mutual_info_score`: 1 for the same partition, 0 for independent ones. `None` without rows.
    pub fn normalized_mutual_information(&self) -> Option<f64> {
        let rows = self.rows() as f64;
        if rows == 0.0 {
            return None;
        }
        let (label_totals, cluster_totals) = (self.label_totals(), self.cluster_totals());
        match (label_totals.len(), cluster_totals.len()) {
            (1, 1) => return Some(1.0),
            (1, _) | (_, 1) => return Some(0.0),
            _ => {}
        }
        let mut mutual_information = 0.0;
        for (counts, &label_total) in self.counts.iter().zip(&label_totals) {
            for (&count, &cluster_total) in counts.iter().zip(&cluster_totals) {
                if count > 0 {
                    let count = count as f64;
                    let expected = label_total as f64 * cluster_total as f64 / rows;
                    mutual_information += count / rows * (count / expected).ln();
                }
            }
        }
        if mutual_information < f64::EPSILON {
            return Some(0.0);
        }
        let entropy = |totals: &[u64]| -> f64 {
            totals.iter().map(|&total| total as f64 / rows).map(|share| -share * share.ln()).sum()
        };
        let mean_entropy = f64::midpoint(entropy(&label_totals), entropy(&cluster_totals));
        // Rounding can lift the same partition a little above 1.
        Some((mutual_information / mean_entropy).min(1.0))
    }
}

/// A mean silhouette and the rows it was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Silhouette {
    /// Between -1 and 1.
    pub mean: f64,
    /// Rows whose distances were compared.
    pub rows: usize,
}

/// The mean over all rows of Rousseeuw's silhouette `(b - a) / max(a, b)`: a is the mean Euclidean distance from the other
/// rows of the own cluster, b the least mean distance from the rows of another cluster. Rows alone in their cluster count 0.
/// `None` unless there are at least 2 clusters and fewer clusters than rows.
///
/// Takes time for n^2 distances and memory for two copies of the points.
///
/// # Errors
/// [`LearnError::LengthMismatch`] unless there is one cluster number for each row, [`LearnError::NotFinite`].
pub fn mean_silhouette(
    points: ArrayView2<'_, f64>,
    clusters: &[u32],
    threads: NonZeroUsize,
) -> Result<Option<f64>, LearnError> {
    check_points(points, clusters)?;
    Ok(mean_silhouettes(points, &[clusters], threads)[0])
}

/// [`mean_silhouette`], over a random sample of `max_rows` rows if there are more (drawn from `seed`, without replacement).
///
/// # Errors
/// As [`mean_silhouette`].
pub fn sampled_mean_silhouette(
    points: ArrayView2<'_, f64>,
    clusters: &[u32],
    max_rows: usize,
    seed: u64,
    threads: NonZeroUsize,
) -> Result<Option<Silhouette>, LearnError> {
    check_points(points, clusters)?;
    let silhouette = |mean: Option<f64>, rows: usize| mean.map(|mean| Silhouette { mean, rows });
    match sample_rows(points.nrows(), max_rows, seed) {
        None => Ok(silhouette(mean_silhouettes(points, &[clusters], threads)[0], points.nrows())),
        Some(sample) => {
            let sampled_clusters: Vec<u32> = sample.iter().map(|&row| clusters[row]).collect();
            let points = points.select(Axis(0), &sample);
            Ok(silhouette(mean_silhouettes(points.view(), &[&sampled_clusters], threads)[0], sample.len()))
        }
    }
}

fn check_points(points: ArrayView2<'_, f64>, clusters: &[u32]) -> Result<(), LearnError> {
    if clusters.len() != points.nrows() {
        return Err(LearnError::LengthMismatch {
            what: "clusters",
            got: clusters.len(),
            expected: points.nrows(),
        });
    }
    check_finite(points)
}

/// Ascending numbers of `max_rows` random rows of `rows`; `None` if that is all of them.
pub(crate) fn sample_rows(rows: usize, max_rows: usize, seed: u64) -> Option<Vec<usize>> {
    (rows > max_rows).then(|| {
        let mut sample = index::sample(&mut Xoshiro256Plus::seed_from_u64(seed), rows, max_rows).into_vec();
        sample.sort_unstable();
        sample
    })
}

/// One clustering of the points, its clusters numbered without gaps.
struct DenseClusters {
    of_rows: Vec<usize>,
    sizes: Vec<usize>,
}

impl DenseClusters {
    fn new(clusters: &[u32]) -> Self {
        let numbers: BTreeMap<u32, usize> =
            clusters.iter().copied().collect::<BTreeSet<_>>().into_iter().zip(0..).collect();
        let of_rows: Vec<usize> = clusters.iter().map(|cluster| numbers[cluster]).collect();
        let mut sizes = vec![0; numbers.len()];
        for &cluster in &of_rows {
            sizes[cluster] += 1;
        }
        Self { of_rows, sizes }
    }

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

/// Sums of silhouettes, one for each clustering.
struct SilhouetteSums(Vec<f64>);

impl Merge for SilhouetteSums {
    fn merge(mut self, later: Self) -> Self {
        for (sum, later) in self.0.iter_mut().zip(later.0) {
            *sum += later;
        }
        self
    }
}

/// The mean silhouettes of several clusterings of the same points, whose distances are found only once.
pub(crate) fn mean_silhouettes(
    points: ArrayView2<'_, f64>,
    clusterings: &[&[u32]],
    threads: NonZeroUsize,
) -> Vec<Option<f64>> {
    let row_count = points.nrows();
    let clusterings: Vec<DenseClusters> =
        clusterings.iter().map(|clusters| DenseClusters::new(clusters)).collect();
    let columns = points.t().as_standard_layout().into_owned();
    let tiles: Vec<_> = (0..row_count).step_by(SILHOUETTE_TILE).collect();
    let sums = reduce_blocks(threads, tiles, |_, first_row| {
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
                for (sums, clustering) in distance_sums.iter_mut().zip(&clusterings) {
                    let mut sums = sums.row_mut(row - first_row);
                    for (&distance, &cluster) in distances.iter().zip(&clustering.of_rows[others.clone()]) {
                        sums[cluster] += distance;
                    }
                }
            }
        }
        SilhouetteSums(
            clusterings
                .iter()
                .zip(&distance_sums)
                .map(|(clustering, sums)| {
                    let silhouette = |row: usize| {
                        let sums = sums.row(row - first_row);
                        clustering
                            .silhouette(row, sums.as_slice().expect("rows of a fresh array are contiguous"))
                    };
                    rows.clone().map(silhouette).sum()
                })
                .collect(),
        )
    });
    let sums = sums.map_or_else(|| vec![0.0; clusterings.len()], |sums| sums.0);
    clusterings
        .iter()
        .zip(sums)
        .map(|(clustering, sum)| {
            let is_defined = clustering.sizes.len() >= 2 && clustering.sizes.len() < row_count;
            is_defined.then(|| sum / row_count as f64)
        })
        .collect()
}
