//! The rows to fit on: all of a matrix or a choice of them, read block by block and never copied as a whole.

use std::ops::Range;

use linfa::Float;
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, s};

use crate::LearnError;
use crate::blocks::{ROWS_PER_BLOCK, block_count};
use crate::moments::to_f64;

/// A view of the rows to fit on. Blocks count the chosen rows only, so what is fitted doesn't depend on the others.
#[derive(Debug)]
pub(crate) struct SelectedRows<'a, F> {
    matrix: ArrayView2<'a, F>,
    /// Ascending row numbers; `None` for all rows.
    chosen: Option<Vec<usize>>,
}

impl<'a, F: Float> SelectedRows<'a, F> {
    /// All rows of `matrix`.
    pub(crate) fn all(matrix: ArrayView2<'a, F>) -> Self {
        Self { matrix, chosen: None }
    }

    /// The rows where `fit_on` is true; all without it.
    pub(crate) fn new(matrix: ArrayView2<'a, F>, fit_on: Option<&[bool]>) -> Result<Self, LearnError> {
        let Some(fit_on) = fit_on else { return Ok(Self::all(matrix)) };
        if fit_on.len() != matrix.nrows() {
            return Err(LearnError::LengthMismatch {
                what: "fit_on",
                got: fit_on.len(),
                expected: matrix.nrows(),
            });
        }
        let chosen: Vec<usize> = (0..fit_on.len()).filter(|&row| fit_on[row]).collect();
        Ok(Self { matrix, chosen: (chosen.len() < fit_on.len()).then_some(chosen) })
    }

    pub(crate) fn len(&self) -> usize {
        self.chosen.as_ref().map_or(self.matrix.nrows(), Vec::len)
    }

    pub(crate) fn width(&self) -> usize {
        self.matrix.ncols()
    }

    /// The blocks' row ranges, in order; they count the chosen rows.
    pub(crate) fn blocks(&self) -> Vec<Range<usize>> {
        row_blocks(self.len())
    }

    /// The chosen rows of one range.
    pub(crate) fn gather(&self, range: Range<usize>) -> CowArray<'_, F, Ix2> {
        match &self.chosen {
            None => self.matrix.slice(s![range, ..]).into(),
            Some(chosen) => self.matrix.select(Axis(0), &chosen[range]).into(),
        }
    }

    /// All chosen rows of the columns in `columns`.
    pub(crate) fn gather_columns(&self, columns: Range<usize>) -> CowArray<'_, F, Ix2> {
        let matrix = self.matrix.slice(s![.., columns]);
        match &self.chosen {
            None => matrix.into(),
            Some(chosen) => matrix.select(Axis(0), chosen).into(),
        }
    }

    /// The chosen rows of another matrix with the same rows.
    pub(crate) fn choose_from<'m>(&self, matrix: &'m Array2<f64>) -> CowArray<'m, f64, Ix2> {
        match &self.chosen {
            None => matrix.view().into(),
            Some(chosen) => matrix.select(Axis(0), chosen).into(),
        }
    }
}

/// The row ranges of the blocks of `rows` rows.
pub(crate) fn row_blocks(rows: usize) -> Vec<Range<usize>> {
    (0..block_count(rows))
        .map(|block| block * ROWS_PER_BLOCK..rows.min((block + 1) * ROWS_PER_BLOCK))
        .collect()
}

/// Divides each row by its Euclidean length. Rows of zeros stay.
pub(crate) fn to_unit_length(rows: &mut Array2<f64>) {
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
}

/// A copy of the rows, each divided by its Euclidean length, which is found in f64. Rows of zeros stay.
pub(crate) fn unit_rows<F: Float>(rows: ArrayView2<'_, F>) -> Array2<F> {
    let mut units = to_f64(rows);
    to_unit_length(&mut units);
    units.mapv(F::cast)
}

/// Refuses values that are NaN or infinite.
pub(crate) fn check_finite<F: Float>(matrix: ArrayView2<'_, F>) -> Result<(), LearnError> {
    for (row_index, row) in matrix.rows().into_iter().enumerate() {
        if let Some(column) = row.iter().position(|value| !value.is_finite()) {
            let value = row[column].to_f64().expect("f32 and f64 both convert to f64");
            return Err(LearnError::NotFinite { row: row_index, column, value });
        }
    }
    Ok(())
}

/// Refuses rows of another width than `expected`.
pub(crate) fn check_width<F>(matrix: &ArrayView2<'_, F>, expected: usize) -> Result<(), LearnError> {
    if matrix.ncols() == expected {
        Ok(())
    } else {
        Err(LearnError::WidthMismatch { got: matrix.ncols(), expected })
    }
}
