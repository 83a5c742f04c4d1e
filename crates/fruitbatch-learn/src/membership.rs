//! How much a row belongs to its cluster.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::blocks::{ROWS_PER_BLOCK, block_count};
use crate::row_blocks::{RowBlocks, read_blocks};
use crate::rows::unit_rows;
use crate::{Clusterer, LearnError, LearnModel};

/// The membership of a row in the cluster with the number `own`: 1 at its centre, 1/c where all c centres are as far.
///
/// That of fuzzy c-means with the usual fuzzifier of 2 (Bezdek, 1981): `1 / sum_j (d_own^2 / d_j^2)` over the Euclidean distances from all
/// centres; over all clusters they sum to 1.
///
/// # Panics
/// Unless `own` is the number of a centre.
pub fn fuzzy_membership(row: ArrayView1<'_, f64>, centres: &Array2<f64>, own: usize) -> f64 {
    let squared = |centre: ArrayView1<'_, f64>| -> f64 {
        row.iter().zip(centre).map(|(left, right)| (left - right).powi(2)).sum()
    };
    let to_own = squared(centres.row(own));
    if to_own == 0.0 {
        return 1.0;
    }
    // Another centre in the very place of the row takes all: 1 / infinity.
    1.0 / centres.rows().into_iter().map(|centre| to_own / squared(centre)).sum::<f64>()
}

impl LearnModel {
    /// What clusters are made of: the scores (n x k), or their directions if the spec says so.
    pub fn clustering_points<'a>(&self, projected: &'a Array2<f64>) -> Cow<'a, Array2<f64>> {
        if self.projection.is_by_direction() {
            Cow::Owned(unit_rows(projected.view()))
        } else {
            Cow::Borrowed(projected)
        }
    }

    /// How much each row (n x k, as [`Self::clustering_points`] or [`Fitted::points`](crate::Fitted::points) give them) belongs to
    /// its cluster, 0 to 1: for KMeans [`fuzzy_membership`], for a Gaussian mixture the probability of the component. `None`
    /// for clusters by density, and for noise.
    ///
    /// # Errors
    /// Those of the points where they aren't in memory.
    ///
    /// # Panics
    /// Unless there is a cluster of this model for each row.
    pub fn memberships<B: RowBlocks<Value = f64>>(
        &self,
        points: B,
        clusters: &[i32],
    ) -> Result<Vec<Option<f64>>, LearnError> {
        assert_eq!(points.row_count(), clusters.len(), "each row has a cluster");
        let mut memberships = Vec::with_capacity(clusters.len());
        // Block by block: the probabilities of all clusters are many.
        let of_blocks = |belongs: &mut dyn FnMut(ArrayView2<'_, f64>, &[i32])| {
            let blocks = read_blocks(&points, 0..block_count(points.row_count()));
            for (rows, clusters) in blocks.zip(clusters.chunks(ROWS_PER_BLOCK)) {
                belongs(rows?.view(), clusters);
            }
            Ok::<_, LearnError>(())
        };
        match self.clusterer() {
            Clusterer::KMeans(kmeans) => of_blocks(&mut |rows, clusters| {
                let own = rows.rows().into_iter().zip(clusters);
                memberships.extend(
                    own.map(|(row, &own)| Some(fuzzy_membership(row, &kmeans.centres, own as usize))),
                );
            })?,
            Clusterer::GaussianMixture(mixture) => of_blocks(&mut |rows, clusters| {
                let probabilities = mixture.probabilities(rows);
                let own = clusters.iter().enumerate();
                memberships.extend(own.map(|(row, &own)| Some(probabilities[[row, own as usize]])));
            })?,
            Clusterer::Density(_) => memberships.resize(clusters.len(), None),
        }
        Ok(memberships)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn memberships_are_those_of_fuzzy_c_means() {
        let centres = array![[0.0], [4.0], [10.0]];
        let of = |row: f64, own| fuzzy_membership(array![row].view(), &centres, own);
        assert!((of(0.0, 0) - 1.0).abs() < 1e-15);
        assert!(of(0.0, 1).abs() < 1e-15);
        // 1, 9 and 81 away, squared.
        assert!((of(1.0, 0) - 1.0 / (1.0 + 1.0 / 9.0 + 1.0 / 81.0)).abs() < 1e-15);
        let all: f64 = (0..3).map(|own| of(2.5, own)).sum();
        assert!((all - 1.0).abs() < 1e-15);
        let between = fuzzy_membership(array![2.0].view(), &array![[0.0], [4.0]], 1);
        assert!((between - 0.5).abs() < 1e-15);
    }
}
