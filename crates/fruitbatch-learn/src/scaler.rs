//! The standard scaler: columns brought to mean 0 and standard deviation 1, as scikit-learn or as Spark ML does it.

use std::num::NonZeroUsize;

use linfa::traits::{Fit, Transformer};
use linfa::{DatasetBase, Float, ParamGuard};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Data, Ix2};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::moments::{ColumnMoments, Moments, to_f64};
use crate::rows::{FiniteRows, check_finite, check_width};

/// What becomes of a column that has no variance, and so nothing to divide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConstantColumns {
    /// Its scale is 1: it is only centred, if the scaler centres. As scikit-learn does.
    #[default]
    Unscaled,
    /// Its scale is infinite: every value becomes 0. As Spark ML does.
    Zeroed,
}

/// The scaler's parameters, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardScalerValidParams {
    with_mean: bool,
    with_std: bool,
    ddof: u8,
    constant_columns: ConstantColumns,
}

/// The scaler's parameters; [`StandardScaler::params`] makes them. `fit` checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardScalerParams(StandardScalerValidParams);

impl StandardScalerParams {
    /// Whether to subtract each column's mean (default: yes).
    #[must_use]
    pub fn with_mean(mut self, with_mean: bool) -> Self {
        self.0.with_mean = with_mean;
        self
    }

    /// Whether to divide by each column's standard deviation (default: yes).
    #[must_use]
    pub fn with_std(mut self, with_std: bool) -> Self {
        self.0.with_std = with_std;
        self
    }

    /// Delta degrees of freedom: the variance divides by `rows - ddof`. 0 (default) as scikit-learn, 1 as Spark ML.
    #[must_use]
    pub fn ddof(mut self, ddof: u8) -> Self {
        self.0.ddof = ddof;
        self
    }

    /// What becomes of columns without variance (default: as scikit-learn).
    #[must_use]
    pub fn constant_columns(mut self, constant_columns: ConstantColumns) -> Self {
        self.0.constant_columns = constant_columns;
        self
    }
}

impl ParamGuard for StandardScalerParams {
    type Checked = StandardScalerValidParams;
    type Error = LearnError;

    /// # Errors
    /// [`LearnError::InvalidParameter`] if `ddof` is neither 0 nor 1.
    fn check_ref(&self) -> Result<&Self::Checked, LearnError> {
        if self.0.ddof > 1 {
            return Err(LearnError::InvalidParameter {
                name: "ddof",
                value: self.0.ddof.to_string(),
                allowed: "0 or 1",
            });
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, LearnError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl StandardScalerValidParams {
    /// The scaler for rows of these moments. This is all that fitting is; the moments may come from anywhere.
    ///
    /// A column counts as constant by scikit-learn's rule (`_is_constant_feature`): its variance isn't above
    /// `n eps var + (n mean eps)^2`, what rounding alone can make of a constant.
    ///
    /// # Errors
    /// [`LearnError::NoRows`], and [`LearnError::TooFewRows`] if there are no more than `ddof`.
    pub fn fit_moments(&self, moments: &ColumnMoments) -> Result<StandardScaler, LearnError> {
        let rows = moments.count();
        if rows == 0 {
            return Err(LearnError::NoRows);
        }
        if rows <= u64::from(self.ddof) {
            return Err(LearnError::TooFewRows { rows: rows as usize, needed: usize::from(self.ddof) + 1 });
        }
        let rows = rows as f64;
        let population_variance = moments.variance(0);
        let is_constant = |variance: f64, mean: f64| {
            variance <= rows * f64::EPSILON * variance + (rows * mean * f64::EPSILON).powi(2)
        };
        let mut scale = moments.variance(self.ddof).mapv(f64::sqrt);
        let mut constant_columns = 0;
        for ((scale, &variance), &mean) in scale.iter_mut().zip(&population_variance).zip(moments.mean()) {
            if is_constant(variance, mean) {
                constant_columns += 1;
                *scale = match self.constant_columns {
                    ConstantColumns::Unscaled => 1.0,
                    ConstantColumns::Zeroed => f64::INFINITY,
                };
            }
        }
        if !self.with_std {
            scale.fill(1.0);
        }
        Ok(StandardScaler {
            mean: moments.mean().clone(),
            scale,
            with_mean: self.with_mean,
            constant_columns,
        })
    }
}

impl<F: Float, D: Data<Elem = F>, T> Fit<ArrayBase<D, Ix2>, T, LearnError> for StandardScalerValidParams {
    type Object = StandardScaler;

    /// Fits on all records (n x width); targets and weights play no part. Holds one block of rows at a time.
    ///
    /// # Errors
    /// [`LearnError::NotFinite`] and those of [`StandardScalerValidParams::fit_moments`].
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<StandardScaler, LearnError> {
        let rows = FiniteRows(dataset.records.view());
        self.fit_moments(&ColumnMoments::of_rows(&rows, NonZeroUsize::MIN)?)
    }
}

/// A fitted scaler: `(x - mean) / scale`, or `x / scale` without centring.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardScaler {
    pub(crate) mean: Array1<f64>,
    pub(crate) scale: Array1<f64>,
    pub(crate) with_mean: bool,
    pub(crate) constant_columns: usize,
}

impl StandardScaler {
    /// The default parameters, scikit-learn's: mean 0, standard deviation 1, ddof 0.
    pub fn params() -> StandardScalerParams {
        StandardScalerParams(StandardScalerValidParams {
            with_mean: true,
            with_std: true,
            ddof: 0,
            constant_columns: ConstantColumns::Unscaled,
        })
    }

    /// Mean of each column of the rows fitted on, whether it is subtracted or not.
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// What each column is divided by: its standard deviation, 1 or infinity for columns without variance (see
    /// [`ConstantColumns`]), 1 for all if the scaler doesn't scale.
    pub fn scale(&self) -> &Array1<f64> {
        &self.scale
    }

    /// How many columns have no variance.
    pub fn constant_columns(&self) -> usize {
        self.constant_columns
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn offset(&self) -> Option<&Array1<f64>> {
        self.with_mean.then_some(&self.mean)
    }

    /// The moments of the scaled rows, from those of the rows.
    pub(crate) fn scale_moments(&self, moments: Moments) -> Moments {
        moments.of_scaled_rows(self.offset(), &self.scale)
    }

    /// Scales rows of the right width.
    pub(crate) fn scale_rows<F: Float>(&self, rows: ArrayView2<'_, F>) -> Array2<f64> {
        let mut scaled = to_f64(rows);
        for mut row in scaled.rows_mut() {
            if self.with_mean {
                row -= &self.mean;
            }
            row /= &self.scale;
        }
        scaled
    }
}

impl<F: Float, D: Data<Elem = F>> Transformer<&ArrayBase<D, Ix2>, Result<Array2<f64>, LearnError>>
    for StandardScaler
{
    /// Scales rows (n x width) to n x width in f64.
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, LearnError> {
        check_width(&rows.view(), self.width())?;
        check_finite(rows.view())?;
        Ok(self.scale_rows(rows.view()))
    }
}
