//! Rows that are checked or changed as they are read, and what is done to rows one by one.

use std::num::NonZeroUsize;
use std::ops::Range;

use linfa::Float;
use ndarray::{Array1, Array2, ArrayView2, CowArray, Ix2};

use crate::LearnError;
use crate::blocks::ROWS_PER_BLOCK;
use crate::moments::to_f64;
use crate::row_blocks::{RowBlocks, reduce_rows};

/// Rows that end the pass where one of them holds a value that is NaN or infinite.
#[derive(Debug)]
pub(crate) struct FiniteRows<B>(pub(crate) B);

impl<B: RowBlocks> FiniteRows<B> {
    /// Reads all rows for nothing but the check.
    pub(crate) fn check(&self, threads: NonZeroUsize) -> Result<(), LearnError> {
        reduce_rows(threads, self, |_| ()).map(|_| ())
    }
}

impl<B: RowBlocks> RowBlocks for FiniteRows<B> {
    type Value = B::Value;

    fn row_count(&self) -> usize {
        self.0.row_count()
    }

    fn width(&self) -> usize {
        self.0.width()
    }

    fn read(
        &self,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'_, B::Value, Ix2>, LearnError>> {
        blocks.clone().zip(self.0.read(blocks)).map(|(block, values)| {
            let values = values?;
            check_finite_from(block * ROWS_PER_BLOCK, values.view())?;
            Ok(values)
        })
    }
}

/// Rows divided by their Euclidean length, if that is wanted.
#[derive(Debug)]
pub(crate) struct UnitRows<B> {
    rows: B,
    is_wanted: bool,
}

impl<B: RowBlocks> UnitRows<B> {
    pub(crate) fn new(rows: B, is_wanted: bool) -> Self {
        Self { rows, is_wanted }
    }
}

impl<B: RowBlocks> RowBlocks for UnitRows<B> {
    type Value = B::Value;

    fn row_count(&self) -> usize {
        self.rows.row_count()
    }

    fn width(&self) -> usize {
        self.rows.width()
    }

    fn read(
        &self,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'_, B::Value, Ix2>, LearnError>> {
        self.rows.read(blocks).map(|values| {
            let values = values?;
            Ok(if self.is_wanted { unit_rows(values.view()).into() } else { values })
        })
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<B::Value>, LearnError> {
        let selected = self.rows.select(rows)?;
        Ok(if self.is_wanted { unit_rows(selected.view()) } else { selected })
    }

    fn to_matrix(&self) -> Result<CowArray<'_, B::Value, Ix2>, LearnError> {
        let matrix = self.rows.to_matrix()?;
        Ok(if self.is_wanted { unit_rows(matrix.view()).into() } else { matrix })
    }
}

/// Rows in f64: as they are or of unit length, about an origin.
#[derive(Debug)]
pub(crate) struct CentredRows<B> {
    pub(crate) rows: B,
    pub(crate) is_unit_length: bool,
    /// What is subtracted from each row; nothing without it.
    pub(crate) origin: Option<Array1<f64>>,
}

impl<B: RowBlocks> CentredRows<B> {
    fn centre(&self, values: ArrayView2<'_, B::Value>) -> Array2<f64> {
        let mut centred = to_f64(values);
        if self.is_unit_length {
            to_unit_length(&mut centred);
        }
        if let Some(origin) = &self.origin {
            for mut row in centred.rows_mut() {
                row -= origin;
            }
        }
        centred
    }
}

impl<B: RowBlocks> RowBlocks for CentredRows<B> {
    type Value = f64;

    fn row_count(&self) -> usize {
        self.rows.row_count()
    }

    fn width(&self) -> usize {
        self.rows.width()
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f64, Ix2>, LearnError>> {
        self.rows.read(blocks).map(|values| Ok(self.centre(values?.view()).into()))
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<f64>, LearnError> {
        Ok(self.centre(self.rows.select(rows)?.view()))
    }
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
    check_finite_from(0, matrix)
}

/// As [`check_finite`], for rows of which the first has this number.
fn check_finite_from<F: Float>(first_row: usize, matrix: ArrayView2<'_, F>) -> Result<(), LearnError> {
    for (row_index, row) in matrix.rows().into_iter().enumerate() {
        // To the end in any case, so that the compiler can take many at once.
        if row.fold(true, |is_finite, value| is_finite & value.is_finite()) {
            continue;
        }
        if let Some(column) = row.iter().position(|value| !value.is_finite()) {
            let value = row[column].to_f64().expect("f32 and f64 both convert to f64");
            return Err(LearnError::NotFinite { row: first_row + row_index, column, value });
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
