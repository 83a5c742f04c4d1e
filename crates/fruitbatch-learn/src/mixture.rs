//! Gaussian mixtures with full covariances, by expectation and maximisation from the clusters that KMeans finds.
//!
//! Start, update, regularisation and stopping rule are those of scikit-learn's `GaussianMixture`, with the best of `n_init`
//! runs of [`KMeans`](crate::KMeans) in place of a single one. Sums go over fixed blocks of rows, so that threads change no bit.
//!
//! `linfa_clustering::GaussianMixtureModel` 0.8.1 sums probabilities, not their logarithms: a row far from all components makes
//! it fail. Its further runs go on from the first one's end. Where it is right, the tests compare with it.

use std::num::NonZeroUsize;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayViewMut2, Axis, s};

use crate::LearnError;
use crate::blocks::{Merge, ROWS_PER_BLOCK, reduce_blocks};
use crate::kmeans::{Assignment, squared_distance};
use crate::row_blocks::{RowBlocks, reduce_rows};
use crate::spec::GaussianMixtureSpec;

/// The most columns a mixture is fitted on: a covariance then has 0.5 MiB.
pub const MAX_MIXTURE_WIDTH: usize = 256;

/// A fitted mixture of c normal distributions in k dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    pub(crate) weights: Array1<f64>,
    pub(crate) means: Array2<f64>,
    pub(crate) covariances: Array3<f64>,
    /// Follow from the covariances.
    densities: Densities,
}

/// What a mixture's fit found beside the mixture.
pub(crate) struct MixtureFit {
    pub(crate) mixture: GaussianMixture,
    pub(crate) n_iter: usize,
    /// Mean over the rows of the logarithm of their density.
    pub(crate) log_likelihood: f64,
}

/// The components' densities in a form that is quickly evaluated.
#[derive(Debug, Clone, PartialEq)]
struct Densities {
    /// For each component the upper triangular P with `P P^T` the inverse of its covariance.
    precision_factors: Vec<Array2<f64>>,
    /// For each component the logarithm of weight times density at the mean.
    log_heights: Vec<f64>,
}

impl Densities {
    /// `None` if a covariance isn't positive definite.
    fn new(weights: &Array1<f64>, covariances: &Array3<f64>) -> Option<Self> {
        let precision_factors =
            covariances.outer_iter().map(precision_factor).collect::<Option<Vec<Array2<f64>>>>()?;
        let normalisation = 0.5 * covariances.dim().1 as f64 * (2.0 * std::f64::consts::PI).ln();
        let log_heights = weights
            .iter()
            .zip(&precision_factors)
            .map(|(weight, factor)| {
                weight.ln() + factor.diag().iter().map(|value| value.ln()).sum::<f64>() - normalisation
            })
            .collect();
        Some(Self { precision_factors, log_heights })
    }

    /// Writes the logarithm of weight times density of each row (n x k) under each component (n x c).
    fn log_densities(
        &self,
        means: &Array2<f64>,
        rows: ArrayView2<'_, f64>,
        mut result: ArrayViewMut2<'_, f64>,
    ) {
        let mut standardised = Array2::zeros(rows.raw_dim());
        for (component, factor) in self.precision_factors.iter().enumerate() {
            general_mat_mul(1.0, &(&rows - &means.row(component)), factor, 0.0, &mut standardised);
            for (row, log_density) in standardised.rows().into_iter().zip(result.column_mut(component)) {
                *log_density = self.log_heights[component] - 0.5 * row.dot(&row);
            }
        }
    }
}

/// The transposed inverse of the lower Cholesky factor; `None` if the matrix isn't positive definite.
fn precision_factor(covariance: ArrayView2<'_, f64>) -> Option<Array2<f64>> {
    let width = covariance.nrows();
    let mut lower = Array2::<f64>::zeros((width, width));
    for row in 0..width {
        for column in 0..=row {
            let known = lower.slice(s![row, ..column]).dot(&lower.slice(s![column, ..column]));
            let rest = covariance[[row, column]] - known;
            lower[[row, column]] = if column < row {
                rest / lower[[column, column]]
            } else if rest > 0.0 && rest.is_finite() {
                rest.sqrt()
            } else {
                return None;
            };
        }
    }
    // Column by column of the inverse, by forward substitution.
    let mut inverse = Array2::<f64>::zeros((width, width));
    for column in 0..width {
        inverse[[column, column]] = 1.0 / lower[[column, column]];
        for row in column + 1..width {
            let known = lower.slice(s![row, column..row]).dot(&inverse.slice(s![column..row, column]));
            inverse[[row, column]] = -known / lower[[row, row]];
        }
    }
    Some(inverse.reversed_axes().as_standard_layout().into_owned())
}

/// Weights of the rows in each component, and weighted sums of their columns.
struct WeightedSums {
    weights: Array1<f64>,
    sums: Array2<f64>,
}

impl Merge for WeightedSums {
    fn merge(mut self, later: Self) -> Self {
        self.weights += &later.weights;
        self.sums += &later.sums;
        self
    }
}

/// Weighted sums of products, one matrix for each component.
struct WeightedProducts(Array3<f64>);

impl Merge for WeightedProducts {
    fn merge(mut self, later: Self) -> Self {
        self.0 += &later.0;
        self
    }
}

type Block<'a> = (ArrayView2<'a, f64>, ArrayViewMut2<'a, f64>);

/// The rows block by block, with room for what is found of each.
fn blocks<'a>(points: &'a ArrayView2<'_, f64>, by_row: &'a mut Array2<f64>) -> Vec<Block<'a>> {
    points
        .axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)
        .zip(by_row.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK))
        .collect()
}

impl GaussianMixture {
    /// Bytes that a fit holds for rows times components: the points (8 n k) and a probability for each row and component of the
    /// mixture (8 n c).
    pub(crate) fn bytes_needed(rows: usize, width: usize, n_clusters: usize) -> u64 {
        (rows as u64).saturating_mul((width as u64).saturating_add(n_clusters as u64)).saturating_mul(8)
    }

    /// Fits on `points` (n x k, n at least 1) from clusters numbered 0 to `n_clusters`. Holds a probability for each row and
    /// component (8 n c bytes) and for each thread c matrices of k x k; a round takes time for n c k^2.
    ///
    /// # Errors
    /// [`LearnError::TooWideForMixture`] above [`MAX_MIXTURE_WIDTH`] columns, [`LearnError::MixtureCollapsed`] if a covariance
    /// loses its inverse.
    pub(crate) fn fit(
        points: ArrayView2<'_, f64>,
        start: &[i32],
        n_clusters: usize,
        spec: &GaussianMixtureSpec,
        threads: NonZeroUsize,
    ) -> Result<MixtureFit, LearnError> {
        if points.ncols() > MAX_MIXTURE_WIDTH {
            return Err(LearnError::TooWideForMixture { width: points.ncols() });
        }
        let collapsed = || LearnError::MixtureCollapsed { reg_covar: spec.reg_covar };
        let mut responsibilities = Array2::<f64>::zeros((points.nrows(), n_clusters));
        for (mut row, &cluster) in responsibilities.rows_mut().into_iter().zip(start) {
            row[cluster as usize] = 1.0;
        }
        let mut mixture =
            Self::maximise(points, &responsibilities, spec.reg_covar, threads).ok_or_else(collapsed)?;
        let mut log_likelihood = f64::NEG_INFINITY;
        let mut n_iter = 0;
        while n_iter < spec.max_iter {
            n_iter += 1;
            let previous = log_likelihood;
            log_likelihood = mixture.expect(points, &mut responsibilities, threads);
            mixture =
                Self::maximise(points, &responsibilities, spec.reg_covar, threads).ok_or_else(collapsed)?;
            if (log_likelihood - previous).abs() < spec.tol {
                break;
            }
        }
        Ok(MixtureFit { mixture, n_iter, log_likelihood })
    }

    /// The probability of each component for each row of points (n x c); the rows sum to 1.
    pub(crate) fn probabilities(&self, points: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut probabilities = Array2::zeros((points.nrows(), self.weights.len()));
        self.expect(points, &mut probabilities, NonZeroUsize::MIN);
        probabilities
    }

    /// Writes the probability of each component for each row; gives the mean logarithm of the rows' densities.
    fn expect(
        &self,
        points: ArrayView2<'_, f64>,
        responsibilities: &mut Array2<f64>,
        threads: NonZeroUsize,
    ) -> f64 {
        let sum = reduce_blocks(
            threads,
            blocks(&points, responsibilities),
            |_, (rows, mut probabilities): Block<'_>| {
                self.densities.log_densities(&self.means, rows, probabilities.view_mut());
                let mut sum = 0.0;
                for mut row in probabilities.rows_mut() {
                    // About the largest, so that the sum is at least 1 and a far row has its probabilities too.
                    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    row.mapv_inplace(|log_density| (log_density - largest).exp());
                    let total = row.sum();
                    row /= total;
                    sum += largest + total.ln();
                }
                sum
            },
        );
        sum.unwrap_or(0.0) / points.nrows() as f64
    }

    /// The mixture that these probabilities make most likely; `None` if a covariance isn't positive definite.
    fn maximise(
        points: ArrayView2<'_, f64>,
        responsibilities: &Array2<f64>,
        reg_covar: f64,
        threads: NonZeroUsize,
    ) -> Option<Self> {
        type Weighted<'a> = (ArrayView2<'a, f64>, ArrayView2<'a, f64>);
        let (component_count, width) = (responsibilities.ncols(), points.ncols());
        let blocks = || -> Vec<Weighted<'_>> {
            points
                .axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)
                .zip(responsibilities.axis_chunks_iter(Axis(0), ROWS_PER_BLOCK))
                .collect()
        };
        let WeightedSums { mut weights, sums: mut means } =
            reduce_blocks(threads, blocks(), |_, (rows, probabilities): Weighted<'_>| WeightedSums {
                weights: probabilities.sum_axis(Axis(0)),
                sums: probabilities.t().dot(&rows),
            })?;
        // A component without rows stays at the origin, with next to no weight.
        weights += 10.0 * f64::EPSILON;
        means /= &weights.view().insert_axis(Axis(1));
        let WeightedProducts(mut covariances) =
            reduce_blocks(threads, blocks(), |_, (rows, probabilities): Weighted<'_>| {
                let mut products = Array3::zeros((component_count, width, width));
                for (component, mut product) in products.outer_iter_mut().enumerate() {
                    let differences = &rows - &means.row(component);
                    let weighted = &differences * &probabilities.column(component).insert_axis(Axis(1));
                    general_mat_mul(1.0, &weighted.t(), &differences, 0.0, &mut product);
                }
                WeightedProducts(products)
            })?;
        for (mut covariance, &weight) in covariances.outer_iter_mut().zip(&weights) {
            covariance /= weight;
            covariance.diag_mut().mapv_inplace(|variance| variance + reg_covar);
        }
        weights /= weights.sum();
        Self::from_parts(weights, means, covariances)
    }

    /// A mixture of these weights (c), means (c x k) and covariances (c x k x k); `None` if a covariance isn't positive
    /// definite.
    pub(crate) fn from_parts(
        weights: Array1<f64>,
        means: Array2<f64>,
        covariances: Array3<f64>,
    ) -> Option<Self> {
        let densities = Densities::new(&weights, &covariances)?;
        Some(Self { weights, means, covariances, densities })
    }

    /// The components' shares of the rows; they add up to 1.
    pub fn weights(&self) -> &Array1<f64> {
        &self.weights
    }

    /// The components' means, c x k, in the order of the clusters' numbers.
    pub fn means(&self) -> &Array2<f64> {
        &self.means
    }

    /// The components' covariances, c x k x k.
    pub fn covariances(&self) -> &Array3<f64> {
        &self.covariances
    }

    /// The most probable component of each row, of equals the lowest, and the Euclidean distance from its mean. A row's result
    /// doesn't depend on the rows around it.
    pub(crate) fn assign<B: RowBlocks<Value = f64>>(
        &self,
        points: &B,
        threads: NonZeroUsize,
    ) -> Result<Assignment, LearnError> {
        let assigned = reduce_rows(threads, points, |rows| {
            let mut log_densities = Array2::zeros((rows.nrows(), self.means.nrows()));
            self.densities.log_densities(&self.means, rows, log_densities.view_mut());
            rows.rows()
                .into_iter()
                .zip(log_densities.rows())
                .map(|(row, log_densities)| {
                    let mut best = 0;
                    for (component, log_density) in log_densities.iter().enumerate() {
                        if *log_density > log_densities[best] {
                            best = component;
                        }
                    }
                    (best as i32, squared_distance(row, self.means.row(best)).sqrt())
                })
                .collect::<Vec<_>>()
        })?;
        let (clusters, distances) = assigned.unwrap_or_default().into_iter().unzip();
        Ok(Assignment { clusters, distances })
    }

    /// Puts the components into this order.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        self.weights = self.weights.select(Axis(0), order);
        self.means = self.means.select(Axis(0), order);
        self.covariances = self.covariances.select(Axis(0), order);
        let Densities { precision_factors, log_heights } = &self.densities;
        self.densities = Densities {
            precision_factors: order.iter().map(|&component| precision_factors[component].clone()).collect(),
            log_heights: order.iter().map(|&component| log_heights[component]).collect(),
        };
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_factor_of_a_covariance_gives_its_inverse() {
        let covariance = array![[4.0, 1.2, -0.5], [1.2, 2.0, 0.3], [-0.5, 0.3, 1.0]];
        let factor = precision_factor(covariance.view()).unwrap();
        let product = factor.dot(&factor.t()).dot(&covariance);
        assert!((product - Array2::<f64>::eye(3)).iter().all(|difference| difference.abs() < 1e-14));
        assert_eq!((factor[[1, 0]], factor[[2, 0]], factor[[2, 1]]), (0.0, 0.0, 0.0));
        for bad in [array![[1.0, 2.0], [2.0, 1.0]], array![[0.0]], array![[f64::NAN]]] {
            assert_eq!(precision_factor(bad.view()), None);
        }
    }

    #[derive(serde::Deserialize)]
    struct Figures {
        mixture_from_thirds: MixtureFigures,
    }

    #[derive(serde::Deserialize)]
    struct MixtureFigures {
        weights: Vec<f64>,
        means: Vec<f64>,
        covariances: Vec<f64>,
        lower_bound: f64,
        n_iter: usize,
    }

    fn points() -> Array2<f64> {
        Array2::from_shape_fn((200, 4), |(row, column)| {
            ((row * 7919 + column * 104_729 + row * row * (column + 3) * 31) % 1009) as f64 / 1009.0
        })
    }

    /// `tests/scikit_learn_figures.py` made the figures.
    #[test]
    fn rounds_from_a_given_start_are_those_of_scikit_learn() {
        let figures: Figures =
            serde_json::from_str(include_str!("../tests/fixtures/scikit_learn_figures.json")).unwrap();
        let expected = figures.mixture_from_thirds;
        let start: Vec<i32> = (0..200).map(|row| row % 3).collect();
        let spec = GaussianMixtureSpec { tol: 1e-5, max_iter: 200, ..GaussianMixtureSpec::default() };
        let fit = GaussianMixture::fit(points().view(), &start, 3, &spec, NonZeroUsize::MIN).unwrap();
        assert_eq!(fit.n_iter, expected.n_iter);
        assert!((fit.log_likelihood - expected.lower_bound).abs() < 1e-9, "{}", fit.log_likelihood);
        let found = [
            (fit.mixture.weights.iter().collect::<Vec<_>>(), expected.weights),
            (fit.mixture.means.iter().collect(), expected.means),
            (fit.mixture.covariances.iter().collect(), expected.covariances),
        ];
        // Rounding grows from round to round.
        for (found, expected) in found {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(&expected).all(|(found, expected)| (*found - expected).abs() < 1e-8));
        }
    }

    #[test]
    fn a_row_far_from_everything_has_a_component_too() {
        let mut rows = points();
        let start: Vec<i32> = (0..200).map(|row| row % 2).collect();
        let spec = GaussianMixtureSpec::default();
        let mixture = GaussianMixture::fit(rows.view(), &start, 2, &spec, NonZeroUsize::MIN).unwrap().mixture;
        rows.fill(1e9);
        let assigned = mixture.assign(&rows, NonZeroUsize::MIN).unwrap();
        assert!(assigned.distances.iter().all(|distance| *distance > 1e9));
        let mut probabilities = Array2::zeros((200, 2));
        assert!(mixture.expect(rows.view(), &mut probabilities, NonZeroUsize::MIN).is_finite());
        assert!(probabilities.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
    }
}
