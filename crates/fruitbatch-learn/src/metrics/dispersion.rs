//! How tight clusters are against how far apart they lie, from their centroids alone.

use std::num::NonZeroUsize;

use ndarray::{Array1, Array2};

use super::{DenseClusters, check_lengths};
use crate::LearnError;
use crate::blocks::{Merge, ROWS_PER_BLOCK};
use crate::kmeans::squared_distance;
use crate::row_blocks::{RowBlocks, reduce_rows_with};
use crate::rows::FiniteRows;

/// What counts as no distance at all, numpy's `allclose(x, 0)`: scikit-learn's Davies-Bouldin score is 0 below it.
const NO_DISTANCE: f64 = 1e-8;

/// The centroids of a clustering and how its rows lie about them: all that the scores by centroids need. Takes two passes over
/// the rows, so time for n k values and memory for the centroids, whatever the number of rows.
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use fruitbatch_learn::metrics::Dispersion;
/// use ndarray::array;
///
/// let points = array![[0.0], [2.0], [10.0], [12.0]];
/// let dispersion = Dispersion::new(points.view(), &[0, 0, 1, 1], NonZeroUsize::MIN)?;
/// // Between: 4 rows at 5 from the mean. Within: 4 rows at 1 from their centroid. (100 / 1) / (4 / 2).
/// assert_eq!(dispersion.calinski_harabasz(), Some(50.0));
/// // (1 + 1) / 10 for both clusters.
/// assert_eq!(dispersion.davies_bouldin(), Some(0.2));
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dispersion {
    sizes: Vec<usize>,
    /// One row for each cluster.
    centroids: Array2<f64>,
    /// Mean Euclidean distance of each cluster's rows from its centroid.
    mean_distances: Vec<f64>,
    /// Sum over all rows of the squared distance from their centroid.
    within: f64,
    /// Whether there are at least 2 clusters, and fewer than rows.
    is_comparable: bool,
}

/// Sums over rows: by cluster and of all.
struct ClusterSums {
    by_cluster: Array2<f64>,
    total: f64,
}

impl Merge for ClusterSums {
    fn merge(mut self, later: Self) -> Self {
        self.by_cluster += &later.by_cluster;
        self.total += later.total;
        self
    }
}

impl Dispersion {
    /// Finds the centroids of `points` (n x k) in the clusters of these numbers, and the rows' distances from them. Threads
    /// change nothing but the time.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] unless there is one cluster number for each row, [`LearnError::NotFinite`], and those of
    /// the points where they aren't in memory.
    pub fn new<B: RowBlocks<Value = f64>>(
        points: B,
        clusters: &[i32],
        threads: NonZeroUsize,
    ) -> Result<Self, LearnError> {
        check_lengths(points.row_count(), clusters)?;
        let clusters = DenseClusters::new(clusters);
        let (cluster_count, width) = (clusters.sizes.len(), points.width());
        let of_blocks = || -> Vec<&[usize]> { clusters.of_rows.chunks(ROWS_PER_BLOCK).collect() };
        let sums =
            reduce_rows_with(threads, &FiniteRows(&points), of_blocks(), |_, rows, clusters: &[usize]| {
                let mut sums = Array2::<f64>::zeros((cluster_count, width));
                for (row, &cluster) in rows.rows().into_iter().zip(clusters) {
                    let mut sum = sums.row_mut(cluster);
                    sum += &row;
                }
                Ok(ClusterSums { by_cluster: sums, total: 0.0 })
            })?;
        let mut centroids = sums.map_or_else(|| Array2::zeros((0, width)), |sums| sums.by_cluster);
        for (mut centroid, &size) in centroids.rows_mut().into_iter().zip(&clusters.sizes) {
            centroid /= size as f64;
        }
        let distances = reduce_rows_with(threads, &points, of_blocks(), |_, rows, clusters: &[usize]| {
            let mut distances = Array2::<f64>::zeros((cluster_count, 1));
            let mut within = 0.0;
            for (row, &cluster) in rows.rows().into_iter().zip(clusters) {
                let squared = squared_distance(row, centroids.row(cluster));
                distances[[cluster, 0]] += squared.sqrt();
                within += squared;
            }
            Ok(ClusterSums { by_cluster: distances, total: within })
        })?
        .unwrap_or_else(|| ClusterSums { by_cluster: Array2::zeros((0, 1)), total: 0.0 });
        let mean_distances =
            distances.by_cluster.iter().zip(&clusters.sizes).map(|(sum, &size)| sum / size as f64).collect();
        Ok(Self {
            is_comparable: clusters.is_comparable(),
            sizes: clusters.sizes,
            centroids,
            mean_distances,
            within: distances.total,
        })
    }

    /// Caliński and Harabasz's ratio of the variance between clusters to that within them,
    /// `(sum_c n_c |m_c - m|^2 / (c - 1)) / (sum_i |x_i - m_c(i)|^2 / (n - c))`: from 0 up, the higher the better. `None` unless
    /// there are at least 2 clusters and fewer clusters than rows.
    ///
    /// 1 where all rows lie on their centroids, as scikit-learn's `calinski_harabasz_score`.
    pub fn calinski_harabasz(&self) -> Option<f64> {
        if !self.is_comparable {
            return None;
        }
        if self.within == 0.0 {
            return Some(1.0);
        }
        let (rows, clusters) = (self.sizes.iter().sum::<usize>() as f64, self.sizes.len() as f64);
        let mut mean = Array1::<f64>::zeros(self.centroids.ncols());
        for (centroid, &size) in self.centroids.rows().into_iter().zip(&self.sizes) {
            mean.scaled_add(size as f64 / rows, &centroid);
        }
        let between: f64 = self
            .centroids
            .rows()
            .into_iter()
            .zip(&self.sizes)
            .map(|(centroid, &size)| size as f64 * squared_distance(centroid, mean.view()))
            .sum();
        Some(between * (rows - clusters) / (self.within * (clusters - 1.0)))
    }

    /// Davies and Bouldin's mean over the clusters of their likeness to the cluster most like them,
    /// `max_j (s_i + s_j) / |m_i - m_j|` with s the mean distance from the centroid: from 0 up, the lower the better. `None`
    /// unless there are at least 2 clusters and fewer clusters than rows.
    ///
    /// As scikit-learn's `davies_bouldin_score`: 0 where all mean distances or all centroids are equal to within 1e-8, and
    /// clusters of one centroid aren't compared with each other.
    pub fn davies_bouldin(&self) -> Option<f64> {
        if !self.is_comparable {
            return None;
        }
        let cluster_count = self.sizes.len();
        let distances = Array2::from_shape_fn((cluster_count, cluster_count), |(one, other)| {
            squared_distance(self.centroids.row(one), self.centroids.row(other)).sqrt()
        });
        if self.mean_distances.iter().all(|&distance| distance <= NO_DISTANCE)
            || distances.iter().all(|&distance| distance <= NO_DISTANCE)
        {
            return Some(0.0);
        }
        let greatest_likeness = |one: usize| {
            (0..cluster_count)
                .filter(|&other| distances[[one, other]] > 0.0)
                .map(|other| {
                    (self.mean_distances[one] + self.mean_distances[other]) / distances[[one, other]]
                })
                .fold(0.0, f64::max)
        };
        Some((0..cluster_count).map(greatest_likeness).sum::<f64>() / cluster_count as f64)
    }
}
