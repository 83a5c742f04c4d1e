//! Principal components, exactly: from the whole covariance matrix (or, for few very wide rows, from the matrix of their inner
//! products), so that the whole spectrum is known and nothing is approximated.
//!
//! - `covariance` (up to [`MAX_COVARIANCE_WIDTH`] columns, any number of rows): eigenvectors of the width x width covariance
//!   in f64. It needs the moments of the rows and no second look at them.
//! - `gram` (wider, but up to [`MAX_GRAM_ROWS`] rows): eigenvectors of the n x n matrix of inner products of the centred
//!   rows, which has the same eigenvalues other than 0, mapped back to components.
//!
//! Signs: each component's loading of largest absolute value (the first of equals) is positive. That is scikit-learn's rule
//! since 1.5 (`svd_flip` with `u_based_decision=False`).

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use linfa::traits::{Fit, Transformer};
use linfa::{DatasetBase, Float, ParamGuard};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Axis, CowArray, Data, Ix2, s};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::blocks::{ROWS_PER_BLOCK, block_count, reduce_blocks};
use crate::eigen::Spectrum;
use crate::moments::{ColumnMoments, Moments, add_lower_products, to_f64};
use crate::row_blocks::{RowBlocks, read_blocks};
use crate::rows::{FiniteRows, check_finite, check_width};
use crate::scaler::StandardScaler;

/// The most columns that the covariance way takes: its matrix then has 128 MiB (four of them are held at the peak) and its
/// eigenvectors take about 11 s on one core.
pub const MAX_COVARIANCE_WIDTH: usize = 4096;

/// The most rows that the Gram way takes, for the same memory and time.
pub const MAX_GRAM_ROWS: usize = 4096;

/// Columns that the Gram way scales and multiplies at a time; part of the fixed order of its sums.
const GRAM_COLUMNS: usize = 1024;

/// How many components to keep.
///
/// As text and in a spec: a whole number is a count, a number with a point between 0 and 1 is a share.
///
/// ```
/// use fruitbatch_learn::Components;
///
/// assert_eq!("10".parse(), Ok(Components::Count(10)));
/// assert_eq!("0.95".parse(), Ok(Components::VarianceShare(0.95)));
/// assert!("1.5".parse::<Components>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Components {
    /// So many, at least 1 and at most `min(rows, width)`.
    Count(usize),
    /// The fewest whose explained-variance ratios sum up to more than this share, which lies strictly between 0 and 1
    /// (scikit-learn's rule: `searchsorted(cumsum(ratios), share, side="right") + 1`).
    VarianceShare(f64),
}

impl Components {
    /// Checks the range of the number itself.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] for a count of 0 and for a share outside of 0 to 1.
    pub fn check(self) -> Result<(), LearnError> {
        let sound = match self {
            Self::Count(count) => count > 0,
            Self::VarianceShare(share) => share > 0.0 && share < 1.0,
        };
        if sound { Ok(()) } else { Err(invalid_components(self.to_string())) }
    }

    /// The number of components to keep of this spectrum.
    fn resolve(
        self,
        explained_variance: &Array1<f64>,
        rows: usize,
        width: usize,
    ) -> Result<usize, LearnError> {
        let most = rows.min(width);
        match self {
            Self::Count(requested) if requested > most => {
                Err(LearnError::TooManyComponents { requested, most, rows, width })
            }
            Self::Count(requested) => Ok(requested),
            Self::VarianceShare(share) => {
                let ratios = ratios(explained_variance);
                if explained_variance.sum() <= 0.0 {
                    return Err(LearnError::NoVariance);
                }
                let mut kept = 0.0;
                let first_above = ratios.iter().position(|ratio| {
                    kept += ratio;
                    kept > share
                });
                Ok(first_above.map_or(ratios.len(), |index| index + 1))
            }
        }
    }
}

impl Default for Components {
    fn default() -> Self {
        Self::Count(10)
    }
}

impl fmt::Display for Components {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::VarianceShare(share) => write!(formatter, "{share:?}"),
        }
    }
}

impl FromStr for Components {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        let components = match (text.parse(), text.parse()) {
            (Ok(count), _) => Self::Count(count),
            (Err(_), Ok(share)) => Self::VarianceShare(share),
            _ => return Err(invalid_components(text.to_owned())),
        };
        components.check().map(|()| components)
    }
}

fn invalid_components(value: String) -> LearnError {
    LearnError::InvalidParameter {
        name: "n_components",
        value,
        allowed: "a whole number from 1, or a share of variance between 0 and 1 such as 0.95",
    }
}

/// The exact way by which components were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PcaSolver {
    /// Eigenvectors of the covariance matrix, width x width.
    #[default]
    Covariance,
    /// Eigenvectors of the inner products of the rows, n x n.
    Gram,
}

impl PcaSolver {
    /// The way that is taken for so many rows of this width.
    ///
    /// # Errors
    /// [`LearnError::TooWide`] if neither fits into its bound.
    pub fn for_size(rows: usize, width: usize) -> Result<Self, LearnError> {
        if width <= MAX_COVARIANCE_WIDTH {
            Ok(Self::Covariance)
        } else if rows <= MAX_GRAM_ROWS {
            Ok(Self::Gram)
        } else {
            Err(LearnError::TooWide { width, rows })
        }
    }
}

/// PCA's parameters, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaValidParams {
    n_components: Components,
    whiten: bool,
    centre: bool,
}

/// PCA's parameters; [`Pca::params`] makes them. `fit` checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaParams(PcaValidParams);

impl PcaParams {
    /// Whether to divide each projected column by its standard deviation, the root of its explained variance (default: no).
    #[must_use]
    pub fn whiten(mut self, whiten: bool) -> Self {
        self.0.whiten = whiten;
        self
    }

    /// Whether to subtract the mean before projecting (default: yes). Without it rows are projected as they are, as Spark ML
    /// does; the components themselves always come from the covariance about the mean.
    #[must_use]
    pub fn centre(mut self, centre: bool) -> Self {
        self.0.centre = centre;
        self
    }
}

impl ParamGuard for PcaParams {
    type Checked = PcaValidParams;
    type Error = LearnError;

    /// # Errors
    /// Those of [`Components::check`].
    fn check_ref(&self) -> Result<&Self::Checked, LearnError> {
        self.0.n_components.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, LearnError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// Components with the spectrum that they are the head of.
struct FoundComponents {
    components: Array2<f64>,
    explained_variance: Array1<f64>,
}

impl PcaValidParams {
    /// The components of rows with these moments, by the covariance way.
    ///
    /// # Errors
    /// [`LearnError::TooFewRows`] under two rows, [`LearnError::TooWide`], [`LearnError::TooManyComponents`],
    /// [`LearnError::NoVariance`].
    pub fn fit_moments(&self, moments: &Moments) -> Result<Pca, LearnError> {
        let (rows, width) = (moments.count() as usize, moments.mean().len());
        check_size(rows, width)?;
        if width > MAX_COVARIANCE_WIDTH {
            return Err(LearnError::TooWide { width, rows });
        }
        let spectrum = Spectrum::of_lower_triangle(&moments.lower_covariance(1))?;
        let explained_variance = spectrum.eigenvalues.slice(s![..rows.min(width)]).to_owned();
        let kept = self.n_components.resolve(&explained_variance, rows, width)?;
        let components = spectrum.leading_eigenvectors(kept);
        Ok(self.finish(
            moments.mean(),
            FoundComponents { components, explained_variance },
            PcaSolver::Covariance,
        ))
    }

    /// The components of `rows` after `scaler`, by the Gram way. Holds all blocks of the rows (no copy of a matrix), n x n
    /// inner products and [`GRAM_COLUMNS`] scaled columns at a time.
    ///
    /// # Errors
    /// Those of [`PcaValidParams::fit_moments`] and of the rows.
    pub(crate) fn fit_gram<B: RowBlocks>(
        &self,
        rows: &B,
        scaler: &StandardScaler,
        threads: NonZeroUsize,
    ) -> Result<Pca, LearnError> {
        let (row_count, width) = (rows.row_count(), rows.width());
        check_size(row_count, width)?;
        if row_count > MAX_GRAM_ROWS {
            return Err(LearnError::TooWide { width, rows: row_count });
        }
        let blocks: Vec<CowArray<'_, B::Value, Ix2>> =
            read_blocks(rows, 0..block_count(row_count)).collect::<Result<_, _>>()?;
        let column_ranges: Vec<_> =
            (0..width).step_by(GRAM_COLUMNS).map(|start| start..width.min(start + GRAM_COLUMNS)).collect();
        // The mean after scaling is 0 if the scaler centres; the centred and scaled rows are the same in both cases.
        let centred_columns = |columns: std::ops::Range<usize>| {
            let mut centred = Array2::zeros((row_count, columns.len()));
            for (mut centred, block) in centred.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK).zip(&blocks) {
                centred.assign(&to_f64(block.slice(s![.., columns.clone()])));
            }
            let (mean, scale) = (scaler.mean.slice(s![columns.clone()]), scaler.scale.slice(s![columns]));
            for mut row in centred.rows_mut() {
                row -= &mean;
                row /= &scale;
            }
            centred
        };
        let mut inner_products = reduce_blocks(threads, column_ranges.clone(), |_, columns| {
            let mut products = Array2::zeros((row_count, row_count));
            add_lower_products(&mut products, centred_columns(columns).view());
            MatrixSum(products)
        })
        .map_or_else(|| Array2::zeros((row_count, row_count)), |sum| sum.0);
        inner_products /= row_count as f64 - 1.0;

        let spectrum = Spectrum::of_lower_triangle(&inner_products)?;
        let explained_variance = spectrum.eigenvalues.clone();
        let kept = self.n_components.resolve(&explained_variance, row_count, width)?;
        let combinations = spectrum.leading_eigenvectors(kept);
        // An eigenvalue below this is 0 but for rounding, and its combination of rows is the zero vector.
        let smallest = explained_variance[0] * f64::EPSILON * row_count as f64;
        let mut components = Array2::zeros((kept, width));
        for columns in column_ranges {
            components
                .slice_mut(s![.., columns.clone()])
                .assign(&combinations.dot(&centred_columns(columns)));
        }
        for (mut component, &variance) in components.axis_iter_mut(Axis(0)).zip(&explained_variance) {
            let length = component.dot(&component).sqrt();
            if variance > smallest && length > 0.0 {
                component /= length;
            } else {
                component.fill(0.0);
            }
        }
        let mean = match scaler.offset() {
            Some(_) => Array1::zeros(width),
            None => &scaler.mean / &scaler.scale,
        };
        Ok(self.finish(&mean, FoundComponents { components, explained_variance }, PcaSolver::Gram))
    }

    fn finish(&self, mean: &Array1<f64>, found: FoundComponents, solver: PcaSolver) -> Pca {
        let FoundComponents { mut components, explained_variance } = found;
        for mut component in components.rows_mut() {
            let largest =
                component.iter().fold(
                    0.0_f64,
                    |largest, &loading| {
                        if loading.abs() > largest.abs() { loading } else { largest }
                    },
                );
            if largest < 0.0 {
                component.mapv_inplace(|loading| -loading);
            }
        }
        let mean = if self.centre { mean.clone() } else { Array1::zeros(mean.len()) };
        Pca { mean, components, explained_variance, whiten: self.whiten, solver }
    }
}

/// Matrices that add up.
struct MatrixSum(Array2<f64>);

impl crate::blocks::Merge for MatrixSum {
    fn merge(mut self, later: Self) -> Self {
        self.0 += &later.0;
        self
    }
}

fn check_size(rows: usize, width: usize) -> Result<(), LearnError> {
    match (rows, width) {
        (0, _) => Err(LearnError::NoRows),
        (1, _) => Err(LearnError::TooFewRows { rows, needed: 2 }),
        (_, 0) => Err(LearnError::NoColumns),
        _ => Ok(()),
    }
}

fn ratios(explained_variance: &Array1<f64>) -> Array1<f64> {
    let total = explained_variance.sum();
    if total > 0.0 { explained_variance / total } else { Array1::zeros(explained_variance.len()) }
}

impl<F: Float, D: Data<Elem = F>, T> Fit<ArrayBase<D, Ix2>, T, LearnError> for PcaValidParams {
    type Object = Pca;

    /// Fits on all records (n x width) as they are; targets and weights play no part. Holds a few matrices of
    /// width x width, or n x n for few wide rows, and one block of rows.
    ///
    /// # Errors
    /// [`LearnError::NotFinite`] and those of [`PcaValidParams::fit_moments`].
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Pca, LearnError> {
        let rows = FiniteRows(dataset.records.view());
        match PcaSolver::for_size(rows.row_count(), rows.width())? {
            PcaSolver::Covariance => self.fit_moments(&Moments::of_rows(&rows, NonZeroUsize::MIN)?),
            PcaSolver::Gram => {
                let unscaled = StandardScaler {
                    mean: ColumnMoments::of_rows(&rows, NonZeroUsize::MIN)?.mean().clone(),
                    scale: Array1::ones(rows.width()),
                    with_mean: false,
                    constant_columns: 0,
                };
                self.fit_gram(&rows, &unscaled, NonZeroUsize::MIN)
            }
        }
    }
}

/// Fitted principal components: rows of width d become rows of k scores, `(x - mean) components^T`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    pub(crate) mean: Array1<f64>,
    pub(crate) components: Array2<f64>,
    pub(crate) explained_variance: Array1<f64>,
    pub(crate) whiten: bool,
    pub(crate) solver: PcaSolver,
}

impl Pca {
    /// Parameters that keep so many components, centred, without whitening.
    pub fn params(n_components: Components) -> PcaParams {
        PcaParams(PcaValidParams { n_components, whiten: false, centre: true })
    }

    /// What is subtracted from a row before it is projected; zeros if it isn't centred.
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// The components, k x width: orthonormal rows, by falling variance. (By the Gram way, a component without any variance
    /// is all zeros.)
    pub fn components(&self) -> &Array2<f64> {
        &self.components
    }

    /// Number of components kept.
    pub fn n_components(&self) -> usize {
        self.components.nrows()
    }

    /// Number of columns of the rows.
    pub fn width(&self) -> usize {
        self.components.ncols()
    }

    /// The variance (ddof 1) along all `min(rows, width)` components, not only those kept, in falling order; further ones
    /// have none.
    pub fn explained_variance(&self) -> &Array1<f64> {
        &self.explained_variance
    }

    /// [`Pca::explained_variance`] as shares of the total; zeros if there is no variance at all.
    pub fn explained_variance_ratio(&self) -> Array1<f64> {
        ratios(&self.explained_variance)
    }

    /// By which exact way the components were found.
    pub fn solver(&self) -> PcaSolver {
        self.solver
    }

    /// Projects rows of the right width.
    pub(crate) fn project_rows(&self, mut rows: Array2<f64>) -> Array2<f64> {
        for mut row in rows.rows_mut() {
            row -= &self.mean;
        }
        let mut scores = rows.dot(&self.components.t());
        if self.whiten {
            // As scikit-learn: a component without variance isn't blown up by more than 1 / eps.
            let deviation = self
                .explained_variance
                .slice(s![..self.n_components()])
                .mapv(|variance| variance.sqrt().max(f64::EPSILON));
            scores /= &deviation;
        }
        scores
    }
}

impl<F: Float, D: Data<Elem = F>> Transformer<&ArrayBase<D, Ix2>, Result<Array2<f64>, LearnError>> for Pca {
    /// Projects rows (n x width) to scores (n x k).
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, LearnError> {
        let rows: ArrayView2<'_, F> = rows.view();
        check_width(&rows, self.width())?;
        check_finite(rows)?;
        Ok(self.project_rows(to_f64(rows)))
    }
}
