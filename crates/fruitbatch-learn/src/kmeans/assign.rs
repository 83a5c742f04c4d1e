//! Rows to their nearest centres.

use std::cmp::Ordering;
use std::num::NonZeroUsize;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use pulp::Arch;

use crate::LearnError;
use crate::blocks::ROWS_PER_BLOCK;
use crate::moments::to_f64;
use crate::row_blocks::{RowBlocks, reduce_rows_with};

/// Rows whose products with all centres are made at a time: few enough that these stay in a core's cache until they are looked at.
const ROWS_AT_A_TIME: usize = 256;

/// Where each row belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) clusters: Vec<i32>,
    /// Euclidean distance from the own centre.
    pub(crate) distances: Vec<f64>,
}

/// Centres prepared for a search by one matrix product for each block of rows.
pub(super) struct NearestCentres {
    /// The mean of the centres: about it the products below are small and keep their digits, wherever the data lie.
    origin: Array1<f64>,
    about_origin: CentreProducts,
}

/// Finds `argmin_j |c_j|^2 - 2 x c_j`, which orders centres as the squared distance does.
pub(super) struct CentreProducts {
    pub(super) centres: Array2<f64>,
    squared_norms: Vec<f64>,
}

impl CentreProducts {
    pub(super) fn new(centres: Array2<f64>) -> Self {
        let squared_norms = centres.rows().into_iter().map(|centre| centre.dot(&centre)).collect();
        Self { centres, squared_norms }
    }

    /// Writes the number of the nearest centre of each row; of equals the lowest.
    pub(super) fn nearest(&self, rows: ArrayView2<'_, f64>, clusters: &mut [i32]) {
        let mut products = Array2::zeros((ROWS_AT_A_TIME.min(rows.nrows()), self.centres.nrows()));
        let vectors = Arch::new();
        for (rows, clusters) in
            rows.axis_chunks_iter(Axis(0), ROWS_AT_A_TIME).zip(clusters.chunks_mut(ROWS_AT_A_TIME))
        {
            let mut products = products.slice_mut(s![..rows.nrows(), ..]);
            general_mat_mul(-2.0, &rows, &self.centres.t(), 0.0, &mut products);
            let products = products.as_slice().expect("whole rows lie one behind the other");
            vectors.dispatch(|| {
                for (products, cluster) in products.chunks_exact(self.squared_norms.len()).zip(clusters) {
                    *cluster = lowest_sum(products, &self.squared_norms) as i32;
                }
            });
        }
    }
}

/// The position of the lowest `left + right`; of equals the first. Sums that are no numbers don't count.
#[inline(always)]
fn lowest_sum(left: &[f64], right: &[f64]) -> usize {
    const LANES: usize = 8;
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    // Each lane has a minimum of its own, so that the compiler can take all of them at once.
    let (mut lowest, mut chunk_of_lowest) = ([f64::INFINITY; LANES], [0_u64; LANES]);
    for (chunk, (left, right)) in left.iter().zip(right).enumerate() {
        for lane in 0..LANES {
            let sum = left[lane] + right[lane];
            let is_lower = sum < lowest[lane];
            lowest[lane] = if is_lower { sum } else { lowest[lane] };
            chunk_of_lowest[lane] = if is_lower { chunk as u64 } else { chunk_of_lowest[lane] };
        }
    }
    let of_lanes = (0..LANES).map(|lane| (lowest[lane], chunk_of_lowest[lane] as usize * LANES + lane));
    let of_rest =
        left_rest.iter().zip(right_rest).map(|(left, right)| left + right).zip(left.len() * LANES..);
    let is_better = |sum: f64, position: usize, best: (f64, usize)| match sum.partial_cmp(&best.0) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => position < best.1,
        Some(Ordering::Greater) | None => false,
    };
    of_lanes
        .chain(of_rest)
        .fold(
            (f64::INFINITY, 0),
            |best, (sum, position)| {
                if is_better(sum, position, best) { (sum, position) } else { best }
            },
        )
        .1
}

impl NearestCentres {
    pub(super) fn new(centres: &Array2<f64>) -> Self {
        let origin = centres.mean_axis(Axis(0)).expect("there is at least one centre");
        let about_origin = CentreProducts::new(centres - &origin);
        Self { origin, about_origin }
    }

    pub(super) fn assign<B: RowBlocks>(
        &self,
        rows: &B,
        threads: NonZeroUsize,
    ) -> Result<Assignment, LearnError> {
        let mut clusters = vec![0; rows.row_count()];
        let mut distances = vec![0.0; rows.row_count()];
        let blocks = clusters.chunks_mut(ROWS_PER_BLOCK).zip(distances.chunks_mut(ROWS_PER_BLOCK)).collect();
        reduce_rows_with(
            threads,
            rows,
            blocks,
            |_, block, (clusters, distances): (&mut [i32], &mut [f64])| {
                let mut shifted = to_f64(block);
                for mut row in shifted.rows_mut() {
                    row -= &self.origin;
                }
                self.about_origin.nearest(shifted.view(), clusters);
                for ((row, &cluster), distance) in shifted.rows().into_iter().zip(&*clusters).zip(distances) {
                    *distance = squared_distance(row, self.about_origin.centres.row(cluster as usize)).sqrt();
                }
                Ok(())
            },
        )?;
        Ok(Assignment { clusters, distances })
    }
}

/// Summed from the differences themselves, so that equal rows are at distance 0.
pub(crate) fn squared_distance(left: ArrayView1<'_, f64>, right: ArrayView1<'_, f64>) -> f64 {
    left.iter().zip(right).map(|(left, right)| (left - right) * (left - right)).sum()
}

/// Squared distances of rows from points, n x p, from the expansion `|x|^2 - 2 x p + |p|^2`, none below 0.
pub(super) fn squared_distances_into(
    rows: ArrayView2<'_, f64>,
    squared_norms: &[f64],
    points: &Array2<f64>,
    mut distances: ArrayViewMut2<'_, f64>,
) {
    let point_norms: Vec<f64> = points.rows().into_iter().map(|point| point.dot(&point)).collect();
    general_mat_mul(-2.0, &rows, &points.t(), 0.0, &mut distances);
    for (row, &squared_norm) in distances.rows_mut().into_iter().zip(squared_norms) {
        let row = row.into_slice().expect("a row's distances lie one behind the other");
        for (distance, &point_norm) in row.iter_mut().zip(&point_norms) {
            *distance = (*distance + squared_norm + point_norm).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_sum_is_the_first_of_equals_at_any_length() {
        for length in 1..40 {
            for lowest in 0..length {
                let left: Vec<f64> = (0..length).map(|position| ((position * 7) % 5) as f64).collect();
                let mut right = vec![0.0; length];
                right[lowest] = -10.0;
                assert_eq!(lowest_sum(&left, &right), lowest, "of {length}");
                // As low, and later.
                right[length - 1] = -10.0 + left[lowest] - left[length - 1];
                assert_eq!(lowest_sum(&left, &right), lowest, "of {length}");
            }
        }
        assert_eq!(lowest_sum(&[f64::NAN, 2.0, 1.0], &[0.0; 3]), 2);
        assert_eq!(lowest_sum(&[f64::NAN; 9], &[0.0; 9]), 0);
    }
}
