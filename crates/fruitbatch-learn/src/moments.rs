//! Count, mean and centred products of rows, in f64: all that the scaler and the covariance way of PCA need to know of the data.
//!
//! A block of rows is reduced in two passes (its mean, then products of the differences from it), and blocks are merged by
//! the pairwise formula of Chan, Golub and `LeVeque` ("Algorithms for computing the sample variance: analysis and
//! recommendations", 1983). Nothing is ever subtracted that is much larger than the result, so columns with a large mean and
//! a small spread keep their digits; a column that is constant in f32 has a variance of exactly 0.
//!
//! Both kinds implement [`Merge`], so a [`BlockAccumulator`](crate::blocks::BlockAccumulator) collects them over threads or
//! executors with the same bits as on one thread.

use std::num::NonZeroUsize;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use linfa::Float;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::LearnError;
use crate::blocks::Merge;
use crate::row_blocks::{RowBlocks, reduce_rows};

/// Count, mean and sum of squared differences from the mean, column by column. Memory: two values a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMoments {
    count: u64,
    mean: Array1<f64>,
    centred_squares: Array1<f64>,
}

/// Count, mean and the matrix of centred products, the sum over rows of `(x - mean) (x - mean)^T`. Memory: `width^2` values.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    count: u64,
    mean: Array1<f64>,
    /// Only the lower triangle and the diagonal are kept up; the rest stays 0.
    centred_products: Array2<f64>,
}

impl ColumnMoments {
    /// Of one block of rows (n x width), all finite.
    pub fn of_block<F: Float>(rows: ArrayView2<'_, F>) -> Self {
        let (mean, centred) = centre_block(rows);
        let mut centred_squares = Array1::zeros(mean.len());
        for row in centred.rows() {
            centred_squares.zip_mut_with(&row, |sum: &mut f64, &value| *sum += value * value);
        }
        Self { count: centred.nrows() as u64, mean, centred_squares }
    }

    /// Of all `rows`, block by block.
    pub(crate) fn of_rows<B: RowBlocks>(rows: &B, threads: NonZeroUsize) -> Result<Self, LearnError> {
        let moments = reduce_rows(threads, rows, Self::of_block)?;
        Ok(moments.unwrap_or_else(|| Self::empty(rows.width())))
    }

    fn empty(width: usize) -> Self {
        Self { count: 0, mean: Array1::zeros(width), centred_squares: Array1::zeros(width) }
    }

    /// Number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of each column.
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// Variance of each column, divided by `count - ddof`; NaN or infinite where that isn't positive.
    pub fn variance(&self, ddof: u8) -> Array1<f64> {
        &self.centred_squares / (self.count as f64 - f64::from(ddof))
    }
}

impl Merge for ColumnMoments {
    fn merge(mut self, later: Self) -> Self {
        let Some(weights) = MergeWeights::new(self.count, later.count) else {
            return if self.count == 0 { later } else { self };
        };
        let difference = later.mean - &self.mean;
        ndarray::Zip::from(&mut self.centred_squares)
            .and(&later.centred_squares)
            .and(&difference)
            .for_each(|sum, &other, &difference| *sum += other + difference * difference * weights.products);
        self.mean.scaled_add(weights.mean, &difference);
        self.count += later.count;
        self
    }
}

impl Moments {
    /// Of one block of rows (n x width), all finite.
    pub fn of_block<F: Float>(rows: ArrayView2<'_, F>) -> Self {
        let (mean, centred) = centre_block(rows);
        let mut centred_products = Array2::zeros((mean.len(), mean.len()));
        add_lower_products(&mut centred_products, centred.t());
        Self { count: centred.nrows() as u64, mean, centred_products }
    }

    /// Of all `rows`, block by block.
    pub(crate) fn of_rows<B: RowBlocks>(rows: &B, threads: NonZeroUsize) -> Result<Self, LearnError> {
        let moments = reduce_rows(threads, rows, Self::of_block)?;
        let width = rows.width();
        Ok(moments.unwrap_or_else(|| Self {
            count: 0,
            mean: Array1::zeros(width),
            centred_products: Array2::zeros((width, width)),
        }))
    }

    /// The moments of the rows `(x - offset) / scale`, found without touching the rows again: the map is linear in each
    /// column, so means and products follow exactly.
    pub(crate) fn of_scaled_rows(mut self, offset: Option<&Array1<f64>>, scale: &Array1<f64>) -> Self {
        if let Some(offset) = offset {
            self.mean -= offset;
        }
        self.mean /= scale;
        for (mut row, &row_scale) in self.centred_products.rows_mut().into_iter().zip(scale) {
            ndarray::Zip::from(&mut row)
                .and(scale)
                .for_each(|product, &column_scale| *product = *product / row_scale / column_scale);
        }
        self
    }

    /// Number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of each column.
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// The moments of the single columns.
    pub fn columns(&self) -> ColumnMoments {
        ColumnMoments {
            count: self.count,
            mean: self.mean.clone(),
            centred_squares: self.centred_products.diag().to_owned(),
        }
    }

    /// The covariance of the columns, divided by `count - ddof`: the lower triangle and the diagonal, 0 above.
    pub fn lower_covariance(&self, ddof: u8) -> Array2<f64> {
        &self.centred_products / (self.count as f64 - f64::from(ddof))
    }
}

impl Merge for Moments {
    fn merge(mut self, later: Self) -> Self {
        let Some(weights) = MergeWeights::new(self.count, later.count) else {
            return if self.count == 0 { later } else { self };
        };
        let difference = later.mean - &self.mean;
        for (row_index, (mut row, other)) in
            self.centred_products.rows_mut().into_iter().zip(later.centred_products.rows()).enumerate()
        {
            let weighted = difference[row_index] * weights.products;
            for column in 0..=row_index {
                row[column] += other[column] + weighted * difference[column];
            }
        }
        self.mean.scaled_add(weights.mean, &difference);
        self.count += later.count;
        self
    }
}

/// The weights that the difference of two means gets when two sets of rows are joined.
struct MergeWeights {
    mean: f64,
    products: f64,
}

impl MergeWeights {
    /// `None` if one of the sets is empty.
    fn new(count: u64, later_count: u64) -> Option<Self> {
        let (count, later_count) = (count as f64, later_count as f64);
        let share = later_count / (count + later_count);
        (count > 0.0 && later_count > 0.0).then_some(Self { mean: share, products: count * share })
    }
}

/// The mean of each column, and the rows less that mean.
fn centre_block<F: Float>(rows: ArrayView2<'_, F>) -> (Array1<f64>, Array2<f64>) {
    let mut centred = to_f64(rows);
    let mut mean = Array1::<f64>::zeros(centred.ncols());
    for row in centred.rows() {
        mean += &row;
    }
    if centred.nrows() > 0 {
        mean /= centred.nrows() as f64;
    }
    for mut row in centred.axis_iter_mut(Axis(0)) {
        row -= &mean;
    }
    (mean, centred)
}

/// A copy in f64, in standard layout.
pub(crate) fn to_f64<F: Float>(values: ArrayView2<'_, F>) -> Array2<f64> {
    let shape = values.raw_dim();
    let to_f64 = |value: &F| value.to_f64().expect("f32 and f64 both convert to f64");
    let converted = match values.as_slice() {
        Some(values) => values.iter().map(to_f64).collect(),
        None => values.iter().map(to_f64).collect(),
    };
    Array2::from_shape_vec(shape, converted).expect("as many values as the shape asks for")
}

/// Adds the lower triangle of `factor factor^T` to `sums`. On one thread: the result must not depend on how many there are.
pub(crate) fn add_lower_products(sums: &mut Array2<f64>, factor: ArrayView2<'_, f64>) {
    let factor = as_faer(factor);
    triangular::matmul(
        as_faer_mut(sums),
        BlockStructure::TriangularLower,
        Accum::Add,
        factor,
        BlockStructure::Rectangular,
        factor.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// The same memory as a faer matrix.
pub(crate) fn as_faer(matrix: ArrayView2<'_, f64>) -> MatRef<'_, f64> {
    let (rows, columns) = matrix.dim();
    let (row_stride, column_stride) = (matrix.strides()[0], matrix.strides()[1]);
    // SAFETY: pointer, shape and strides are those of one live ndarray view, whose lifetime the result keeps.
    unsafe { MatRef::from_raw_parts(matrix.as_ptr(), rows, columns, row_stride, column_stride) }
}

/// The same memory as a faer matrix that may be written.
pub(crate) fn as_faer_mut(matrix: &mut Array2<f64>) -> MatMut<'_, f64> {
    let (rows, columns) = matrix.dim();
    let (row_stride, column_stride) = (matrix.strides()[0], matrix.strides()[1]);
    // SAFETY: as for `as_faer`; the exclusive borrow of the owned array is kept by the result.
    unsafe { MatMut::from_raw_parts_mut(matrix.as_mut_ptr(), rows, columns, row_stride, column_stride) }
}

#[cfg(test)]
mod tests {
    use ndarray::{concatenate, s};

    use super::*;
    use crate::blocks::{BlockAccumulator, ROWS_PER_BLOCK};

    fn rows(count: usize) -> Array2<f32> {
        Array2::from_shape_fn((count, 5), |(row, column)| {
            (((row * 7919 + column * 104_729 + row * row * 31) % 1009) as f32 / 1009.0 + 3.0)
                * (column + 1) as f32
        })
    }

    #[test]
    fn moments_are_mean_and_covariance_by_their_definition() {
        let rows = rows(2 * ROWS_PER_BLOCK + 100);
        let moments = Moments::of_rows(&rows, NonZeroUsize::MIN).unwrap();
        let exact = rows.mapv(f64::from);
        let mean = exact.mean_axis(Axis(0)).unwrap();
        let centred = &exact - &mean;
        let covariance = centred.t().dot(&centred) / (exact.nrows() - 1) as f64;
        assert_eq!(moments.count(), rows.nrows() as u64);
        for column in 0..5 {
            assert!((moments.mean()[column] - mean[column]).abs() < 1e-12);
            for other in 0..=column {
                let found = moments.lower_covariance(1)[[column, other]];
                assert!((found - covariance[[column, other]]).abs() < 1e-12);
            }
            assert!((moments.columns().variance(1)[column] - covariance[[column, column]]).abs() < 1e-12);
        }
        let columns = ColumnMoments::of_rows(&rows, NonZeroUsize::MIN).unwrap();
        let (one_way, other_way) = (columns.variance(0), moments.columns().variance(0));
        assert!((one_way - other_way).iter().all(|difference| difference.abs() < 1e-12));
    }

    #[test]
    fn blocks_dealt_out_to_executors_give_the_same_bits() {
        let rows = rows(6 * ROWS_PER_BLOCK + 7);
        let block = |index: usize| {
            let start = index * ROWS_PER_BLOCK;
            Moments::of_block(rows.slice(s![start..rows.nrows().min(start + ROWS_PER_BLOCK), ..]))
        };
        let mut executors: Vec<BlockAccumulator<Moments>> = (0..3).map(|_| BlockAccumulator::new()).collect();
        for index in [4, 0, 6, 3, 2, 5, 1] {
            executors[index % 3].add_block(index as u64, block(index)).unwrap();
        }
        let mut driver = BlockAccumulator::new();
        for executor in executors {
            driver.absorb(executor).unwrap();
        }
        let here = Moments::of_rows(&rows, NonZeroUsize::new(2).unwrap()).unwrap();
        assert_eq!(driver.finish().unwrap(), here);
    }

    #[test]
    fn no_rows_change_nothing() {
        let some = Moments::of_block(rows(10).view());
        let none = Moments::of_block(rows(0).view());
        assert_eq!(some.clone().merge(none.clone()), some);
        assert_eq!(none.merge(some.clone()), some);
    }

    #[test]
    fn a_constant_column_has_no_variance_at_all() {
        // 0.1 and 1/3 have no finite binary form; their f32 values are summed without rounding in f64.
        let constant = Array2::from_shape_fn((3 * ROWS_PER_BLOCK + 11, 1), |_| 0.1_f32);
        let rows = concatenate![Axis(1), constant, constant.mapv(|_| 1.0_f32 / 3.0)];
        let columns = ColumnMoments::of_rows(&rows, NonZeroUsize::MIN).unwrap();
        assert_eq!(columns.variance(0).to_vec(), [0.0, 0.0]);
        assert_eq!(columns.mean()[0].to_bits(), f64::from(0.1_f32).to_bits());
    }
}
