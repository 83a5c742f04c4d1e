//! How good a clustering is: against labels ([`ContingencyTable`]: adjusted Rand index, normalised mutual information,
//! homogeneity, completeness, purity) and by itself ([`mean_silhouette`] and its kin; [`Dispersion`]: Calinski-Harabasz,
//! Davies-Bouldin). Values are scikit-learn's to about 1e-12.
//!
//! Cluster numbers need not be without gaps. Every number is a cluster of its own, also the -1 of noise, as in scikit-learn's
//! functions; whoever doesn't want noise to count leaves its rows out, as [`fit`](crate::fit()) does where it says so.

mod contingency;
mod dispersion;
mod silhouette;

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256Plus;

use crate::LearnError;
pub use contingency::ContingencyTable;
pub(crate) use contingency::{adjusted_rand_index, sum_of_squared_counts};
pub use dispersion::Dispersion;
pub(crate) use silhouette::mean_silhouettes;
pub use silhouette::{
    MAX_SILHOUETTE_ROWS, Silhouette, mean_by_cluster, mean_silhouette, sampled_silhouette, silhouettes,
};

/// One clustering of the points, its clusters numbered without gaps in the order of their numbers.
struct DenseClusters {
    of_rows: Vec<usize>,
    sizes: Vec<usize>,
}

impl DenseClusters {
    fn new(clusters: &[i32]) -> Self {
        let numbers: BTreeMap<i32, usize> =
            clusters.iter().copied().collect::<BTreeSet<_>>().into_iter().zip(0..).collect();
        let of_rows: Vec<usize> = clusters.iter().map(|cluster| numbers[cluster]).collect();
        let mut sizes = vec![0; numbers.len()];
        for &cluster in &of_rows {
            sizes[cluster] += 1;
        }
        Self { of_rows, sizes }
    }

    /// Whether clusters can be compared with each other: there are at least 2, and fewer than rows.
    fn is_comparable(&self) -> bool {
        self.sizes.len() >= 2 && self.sizes.len() < self.of_rows.len()
    }
}

/// Refuses any other number of clusters than one for each row.
fn check_lengths(rows: usize, clusters: &[i32]) -> Result<(), LearnError> {
    if clusters.len() == rows {
        Ok(())
    } else {
        Err(LearnError::LengthMismatch { what: "clusters", got: clusters.len(), expected: rows })
    }
}

/// Ascending numbers of `max_rows` random rows of `rows`; `None` if that is all of them.
pub(crate) fn sample_rows(rows: usize, max_rows: usize, seed: u64) -> Option<Vec<usize>> {
    (rows > max_rows).then(|| {
        let mut sample = index::sample(&mut Xoshiro256Plus::seed_from_u64(seed), rows, max_rows).into_vec();
        sample.sort_unstable();
        sample
    })
}
