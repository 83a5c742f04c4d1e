//! Rows to their nearest centres.

use std::num::NonZeroUsize;

use linfa::Float;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use crate::blocks::{ROWS_PER_BLOCK, reduce_blocks};
use crate::moments::to_f64;

/// Where each row belongs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) clusters: Vec<u32>,
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
    squared_norms: Array1<f64>,
}

impl CentreProducts {
    pub(super) fn new(centres: Array2<f64>) -> Self {
        let squared_norms = centres.rows().into_iter().map(|centre| centre.dot(&centre)).collect();
        Self { centres, squared_norms }
    }

    /// Writes the number of the nearest centre of each row; of equals the lowest.
    pub(super) fn nearest(&self, rows: ArrayView2<'_, f64>, clusters: &mut [u32]) {
        let mut scores = Array2::zeros((rows.nrows(), self.centres.nrows()));
        scores.assign(&self.squared_norms);
        general_mat_mul(-2.0, &rows, &self.centres.t(), 1.0, &mut scores);
        for (row, cluster) in scores.rows().into_iter().zip(clusters) {
            let mut lowest = f64::INFINITY;
            for (index, &score) in row.iter().enumerate() {
                if score < lowest {
                    lowest = score;
                    *cluster = index as u32;
                }
            }
        }
    }
}

impl NearestCentres {
    pub(super) fn new(centres: &Array2<f64>) -> Self {
        let origin = centres.mean_axis(Axis(0)).expect("there is at least one centre");
        let about_origin = CentreProducts::new(centres - &origin);
        Self { origin, about_origin }
    }

    pub(super) fn assign<F: Float>(&self, rows: ArrayView2<'_, F>, threads: NonZeroUsize) -> Assignment {
        let mut clusters = vec![0; rows.nrows()];
        let mut distances = vec![0.0; rows.nrows()];
        let blocks = rows
            .axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)
            .zip(clusters.chunks_mut(ROWS_PER_BLOCK))
            .zip(distances.chunks_mut(ROWS_PER_BLOCK))
            .collect();
        reduce_blocks(
            threads,
            blocks,
            |_, ((block, clusters), distances): ((ArrayView2<'_, F>, &mut [u32]), &mut [f64])| {
                let mut shifted = to_f64(block);
                for mut row in shifted.rows_mut() {
                    row -= &self.origin;
                }
                self.about_origin.nearest(shifted.view(), clusters);
                for ((row, &cluster), distance) in shifted.rows().into_iter().zip(&*clusters).zip(distances) {
                    *distance = squared_distance(row, self.about_origin.centres.row(cluster as usize)).sqrt();
                }
            },
        );
        Assignment { clusters, distances }
    }
}

/// Summed from the differences themselves, so that equal rows are at distance 0.
pub(super) fn squared_distance(left: ArrayView1<'_, f64>, right: ArrayView1<'_, f64>) -> f64 {
    left.iter().zip(right).map(|(left, right)| (left - right) * (left - right)).sum()
}

/// Squared distances of rows from points, n x p, from the expansion `|x|^2 - 2 x p + |p|^2`, none below 0.
pub(super) fn squared_distances_into(
    rows: ArrayView2<'_, f64>,
    squared_norms: &[f64],
    points: &Array2<f64>,
    mut distances: ArrayViewMut2<'_, f64>,
) {
    let point_norms: Array1<f64> = points.rows().into_iter().map(|point| point.dot(&point)).collect();
    general_mat_mul(-2.0, &rows, &points.t(), 0.0, &mut distances);
    for (mut row, &squared_norm) in distances.rows_mut().into_iter().zip(squared_norms) {
        row.zip_mut_with(&point_norms, |distance, &point_norm| {
            *distance = (*distance + squared_norm + point_norm).max(0.0);
        });
    }
}
