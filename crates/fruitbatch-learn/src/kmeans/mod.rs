//! KMeans by Lloyd's algorithm, with scikit-learn's start, stopping rule and treatment of empty clusters.
//!
//! - Start: greedy k-means++ (the best of `2 + ln k` candidates at each step) or k random rows; `n_init` runs, the one of least
//!   inertia wins, the earliest of equals.
//! - Stop: when no row changes its cluster, or when the squared shifts of all centres together are at most `tol` times the
//!   mean variance of the columns, or after `max_iter` rounds.
//! - A cluster that loses all rows gets the row farthest from its centre.
//! - Numbers: cluster 0 is the largest, then by falling size; of equal sizes the one whose first row comes first.
//!
//! The random numbers are those of `Xoshiro256Plus`, one stretch of its sequence for each run, and sums go over fixed blocks, so
//! one seed gives the same bits on any number of threads.
//!
//! `linfa_clustering::KMeans` stops on the shift alone, leaves empty clusters where they are, and draws a single candidate
//! at each step of its start; the tests compare the two by inertia.

mod assign;
mod initial_centres;
mod lloyd;
mod restarts;

use std::num::NonZeroUsize;

use linfa::traits::{Fit, Predict, Transformer};
use linfa::{DatasetBase, Float, ParamGuard};
use ndarray::{Array1, Array2, ArrayBase, Axis, Data, Ix2};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256Plus;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::blocks::try_reduce_blocks;
use crate::metrics::sample_rows;
use crate::moments::ColumnMoments;
use crate::row_blocks::RowBlocks;
use crate::rows::{CentredRows, FiniteRows, check_finite, check_width};
pub(crate) use assign::Assignment;
use assign::NearestCentres;
pub(crate) use assign::squared_distance;
pub use restarts::{MAX_COMPARED_RESTARTS, MAX_COMPARED_ROWS, Restarts};

/// How the first centres of a run are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KMeansInit {
    /// Rows far from each other, by greedy k-means++.
    #[default]
    #[serde(rename = "k-means++")]
    KMeansPlusPlus,
    /// Distinct rows, all equally likely.
    #[serde(rename = "random")]
    Random,
}

/// KMeans' parameters, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansValidParams {
    n_clusters: usize,
    init: KMeansInit,
    n_init: usize,
    max_iter: usize,
    tol: f64,
    is_spherical: bool,
    seed: u64,
    threads: NonZeroUsize,
}

/// KMeans' parameters; [`KMeans::params`] makes them. `fit` checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansParams(KMeansValidParams);

impl KMeansParams {
    /// How the first centres are drawn (default: k-means++).
    #[must_use]
    pub fn init(mut self, init: KMeansInit) -> Self {
        self.0.init = init;
        self
    }

    /// Runs with different first centres (default: 10).
    #[must_use]
    pub fn n_init(mut self, n_init: usize) -> Self {
        self.0.n_init = n_init;
        self
    }

    /// The most rounds of a run (default: 300).
    #[must_use]
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.0.max_iter = max_iter;
        self
    }

    /// The squared shift of all centres at which a run stops, as a share of the columns' mean variance (default: 1e-4).
    #[must_use]
    pub fn tol(mut self, tol: f64) -> Self {
        self.0.tol = tol;
        self
    }

    /// Whether rows are compared by direction alone (default: no): rows are fitted as if each were divided by its Euclidean
    /// length, and so are the centres in every round. The inertia is then the sum of `2 (1 - cosine)`.
    #[must_use]
    pub fn spherical(mut self, is_spherical: bool) -> Self {
        self.0.is_spherical = is_spherical;
        self
    }

    /// Start of the random numbers (default: 0).
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Threads to use (default: 1). The result doesn't depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.0.threads = threads;
        self
    }
}

impl ParamGuard for KMeansParams {
    type Checked = KMeansValidParams;
    type Error = LearnError;

    /// # Errors
    /// [`LearnError::InvalidParameter`] for `n_clusters`, `n_init` or `max_iter` of 0, and for a `tol` that is negative or no
    /// number.
    fn check_ref(&self) -> Result<&Self::Checked, LearnError> {
        let counts =
            [("n_clusters", self.0.n_clusters), ("n_init", self.0.n_init), ("max_iter", self.0.max_iter)];
        for (name, value) in counts {
            if value == 0 {
                return Err(LearnError::InvalidParameter {
                    name,
                    value: value.to_string(),
                    allowed: "at least 1",
                });
            }
        }
        if !(self.0.tol >= 0.0 && self.0.tol.is_finite()) {
            return Err(LearnError::InvalidParameter {
                name: "tol",
                value: self.0.tol.to_string(),
                allowed: "a finite number from 0 up",
            });
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, LearnError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<F: Float, D: Data<Elem = F>, T> Fit<ArrayBase<D, Ix2>, T, LearnError> for KMeansValidParams {
    type Object = KMeans;

    /// Fits on all records (n x width); targets and weights play no part. Holds for each run at work `8 (4 + ln k)` bytes a row
    /// for k-means++, then 8 bytes a row, and for each thread one block in f64, its scores (1024 x k) and sums (k x width).
    ///
    /// # Errors
    /// [`LearnError::NoRows`], [`LearnError::NoColumns`], [`LearnError::NotFinite`] and
    /// [`LearnError::MoreClustersThanRows`].
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<KMeans, LearnError> {
        self.fit_restarts(dataset.records.view()).map(|(kmeans, _)| kmeans)
    }
}

impl KMeansValidParams {
    /// Fits on `rows` (n x width), and says how far the `n_init` runs agree. Needs no further run for that: the clusters of a
    /// few rows are kept of each.
    ///
    /// Each of `n_init` runs passes over the rows once for each cluster to find its first centres, then once a round.
    ///
    /// # Errors
    /// As `fit`, and those of the rows where they aren't in memory.
    pub fn fit_restarts<B: RowBlocks>(&self, rows: B) -> Result<(KMeans, Restarts), LearnError> {
        match (rows.row_count(), rows.width()) {
            (0, _) => return Err(LearnError::NoRows),
            (_, 0) => return Err(LearnError::NoColumns),
            (row_count, _) if row_count < self.n_clusters => {
                return Err(LearnError::MoreClustersThanRows {
                    rows: row_count,
                    n_clusters: self.n_clusters,
                });
            }
            _ => {}
        }
        let points = CentredRows { rows: FiniteRows(&rows), is_unit_length: self.is_spherical, origin: None };
        let moments = ColumnMoments::of_rows(&points, self.threads)?;
        // About the mean, squared norms are small and the expansion of squared distances keeps its digits. Directions are
        // about the origin by their nature.
        let origin = if self.is_spherical { Array1::zeros(rows.width()) } else { moments.mean().clone() };
        let centred =
            CentredRows { rows: &rows, is_unit_length: self.is_spherical, origin: Some(origin.clone()) };
        let absolute_tol = self.tol * moments.variance(0).mean().expect("there is a column");

        let compared_rows = sample_rows(rows.row_count(), MAX_COMPARED_ROWS, self.seed);
        // Threads go to whole runs first and to the blocks of a run as far as some are left.
        let runs_at_once =
            NonZeroUsize::new(self.threads.get().min(self.n_init)).expect("both are at least 1");
        let threads_a_run =
            NonZeroUsize::new(self.threads.get() / runs_at_once).expect("runs_at_once is at most threads");
        let mut runs = try_reduce_blocks(runs_at_once, (0..self.n_init).collect(), |_, run: usize| {
            let mut random = Xoshiro256Plus::seed_from_u64(self.seed);
            (0..run).for_each(|_| random.jump());
            let start =
                initial_centres::draw(&centred, self.n_clusters, self.init, &mut random, threads_a_run)?;
            let mut result =
                lloyd::run(&centred, start, self.max_iter, absolute_tol, self.is_spherical, threads_a_run)?;
            if run >= MAX_COMPARED_RESTARTS {
                result.clusters = Vec::new();
            } else if let Some(sample) = &compared_rows {
                result.clusters = sample.iter().map(|&row| result.clusters[row]).collect();
            }
            Ok::<_, LearnError>(vec![result])
        })?
        .expect("n_init is at least 1");
        let inertia = runs.iter().map(|run| run.inertia).collect();
        let clusterings: Vec<Vec<i32>> = runs
            .iter_mut()
            .take(MAX_COMPARED_RESTARTS)
            .map(|run| std::mem::take(&mut run.clusters))
            .collect();
        let best = runs
            .into_iter()
            .reduce(|best, run| if run.inertia < best.inertia { run } else { best })
            .expect("n_init is at least 1");

        let mut kmeans =
            KMeans { centres: best.centres + &origin, inertia: best.inertia, n_iter: best.n_iter };
        let assignment = kmeans.assign(&rows, self.threads)?;
        kmeans.centres =
            kmeans.centres.select(Axis(0), &order_by_size(&assignment.clusters, self.n_clusters));
        Ok((kmeans, Restarts::new(inertia, &clusterings)))
    }
}

/// Fitted centres.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    pub(crate) centres: Array2<f64>,
    pub(crate) inertia: f64,
    pub(crate) n_iter: usize,
}

impl KMeans {
    /// Parameters for so many clusters, otherwise scikit-learn's defaults with `n_init` 10.
    pub fn params(n_clusters: usize) -> KMeansParams {
        KMeansParams(KMeansValidParams {
            n_clusters,
            init: KMeansInit::KMeansPlusPlus,
            n_init: 10,
            max_iter: 300,
            tol: 1e-4,
            is_spherical: false,
            seed: 0,
            threads: NonZeroUsize::MIN,
        })
    }

    /// The centres, k x width, in the order of the clusters' numbers.
    pub fn centres(&self) -> &Array2<f64> {
        &self.centres
    }

    /// Number of clusters.
    pub fn n_clusters(&self) -> usize {
        self.centres.nrows()
    }

    /// Sum of the squared distances of the rows fitted on from their centres.
    pub fn inertia(&self) -> f64 {
        self.inertia
    }

    /// Rounds of the winning run.
    pub fn n_iter(&self) -> usize {
        self.n_iter
    }

    /// The nearest centre of each row and the Euclidean distance from it; of centres equally near the one of the lowest
    /// number. A row's result doesn't depend on the rows around it.
    pub(crate) fn assign<B: RowBlocks>(
        &self,
        rows: &B,
        threads: NonZeroUsize,
    ) -> Result<Assignment, LearnError> {
        assign_to_nearest(&self.centres, rows, threads)
    }
}

/// The nearest of `centres` for each row, by number, and the Euclidean distance from it; of centres equally near the one of the
/// lowest number. Holds a product for each centre and 256 rows at a time on each thread.
pub(crate) fn assign_to_nearest<B: RowBlocks>(
    centres: &Array2<f64>,
    rows: &B,
    threads: NonZeroUsize,
) -> Result<Assignment, LearnError> {
    NearestCentres::new(centres).assign(rows, threads)
}

/// The old numbers of clusters in the order of their new ones: by falling size, then by first row. Negative numbers are noise.
pub(crate) fn order_by_size(clusters: &[i32], n_clusters: usize) -> Vec<usize> {
    let mut sizes = vec![0_usize; n_clusters];
    let mut first_rows = vec![usize::MAX; n_clusters];
    for (row, cluster) in clusters.iter().enumerate() {
        if let Ok(cluster) = usize::try_from(*cluster) {
            sizes[cluster] += 1;
            first_rows[cluster] = first_rows[cluster].min(row);
        }
    }
    let mut order: Vec<usize> = (0..n_clusters).collect();
    order.sort_by_key(|&cluster| (std::cmp::Reverse(sizes[cluster]), first_rows[cluster]));
    order
}

impl<F: Float, D: Data<Elem = F>> Predict<&ArrayBase<D, Ix2>, Result<Array1<usize>, LearnError>> for KMeans {
    /// The number of the nearest centre of each row (n x width).
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn predict(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<usize>, LearnError> {
        check_width(&rows.view(), self.centres.ncols())?;
        check_finite(rows.view())?;
        let assignment = self.assign(&rows.view(), NonZeroUsize::MIN)?;
        Ok(assignment.clusters.into_iter().map(|cluster| cluster as usize).collect())
    }
}

impl<F: Float, D: Data<Elem = F>> Transformer<&ArrayBase<D, Ix2>, Result<Array1<f64>, LearnError>>
    for KMeans
{
    /// The Euclidean distance of each row (n x width) from its nearest centre. (linfa's own KMeans gives the square.)
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<f64>, LearnError> {
        check_width(&rows.view(), self.centres.ncols())?;
        check_finite(rows.view())?;
        Ok(self.assign(&rows.view(), NonZeroUsize::MIN)?.distances.into())
    }
}
