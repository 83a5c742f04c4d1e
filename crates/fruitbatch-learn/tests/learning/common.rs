//! What several test files share: the features that `tests/formula_features.py` makes too.

use fruitbatch_learn::{Fitted, RowBlocks};
use ndarray::Array2;

const COLUMN_SCALES: [f64; 4] = [0.5, 3.0, 40.0, 700.0];

/// Between 0 and 1.
pub(crate) fn noise(row: usize, column: usize) -> f64 {
    ((row * 7919 + column * 104_729 + row * row * (column + 3) * 31) % 1009) as f64 / 1009.0
}

/// Three groups of rows (`row % 3`), columns of unequal scales, column 5 constant.
pub(crate) fn features(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        if column == 5 {
            return 0.1;
        }
        let group_offset = 6 * (row % 3 * (column + 1) % 3);
        ((noise(row, column) + group_offset as f64) * COLUMN_SCALES[column % 4]) as f32
    })
}

/// The scores of all rows.
pub(crate) fn scores(fitted: &Fitted) -> Array2<f64> {
    fitted.projected.to_matrix().unwrap().into_owned()
}

/// Asserts that two sequences agree to `tolerance`, relative to the largest number expected.
#[track_caller]
pub(crate) fn assert_close<'a, 'b>(
    found: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'b f64>,
    tolerance: f64,
) {
    let (found, expected): (Vec<f64>, Vec<f64>) =
        (found.into_iter().copied().collect(), expected.into_iter().copied().collect());
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= tolerance * scale, "number {index} is {found} instead of {expected}");
    }
}
