//! How far the runs from different first centres agree.

use serde::{Deserialize, Serialize};

use crate::metrics::{adjusted_rand_index, sum_of_squared_counts};

/// Rows above which runs are compared on a random sample of so many: enough for two digits of a Rand index.
pub const MAX_COMPARED_ROWS: usize = 1_000;

/// Runs that are compared with each other: the first so many.
pub const MAX_COMPARED_RESTARTS: usize = 20;

/// How much the result owes to chance: the spread of the `n_init` runs that the best one was taken from.
///
/// Runs that end at about the same inertia in the same clusters say that the data have them; runs that disagree say that
/// another seed may give other clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restarts {
    /// Inertia of each run, in the order they were drawn in; the least is that of the clustering.
    pub inertia: Vec<f64>,
    /// The least of them.
    pub min_inertia: f64,
    /// Their median; the mean of the middle two of an even number.
    pub median_inertia: f64,
    /// The greatest of them.
    pub max_inertia: f64,
    /// Mean adjusted Rand index of the runs' clusterings, over all pairs of the runs compared: 1 where all are the same. Null
    /// for a single run.
    pub mean_ari: Option<f64>,
    /// Runs compared: all, or the first [`MAX_COMPARED_RESTARTS`].
    pub compared_restarts: usize,
    /// Rows compared: all rows fitted on, or a sample of [`MAX_COMPARED_ROWS`].
    pub compared_rows: usize,
}

impl Restarts {
    /// From the inertia of each run (at least one) and the clusters of some rows in the first few. Takes time for p^2 r log r
    /// comparisons of p clusterings of r rows: about a millisecond for 10 of 1,000.
    pub(super) fn new(inertia: Vec<f64>, clusterings: &[Vec<i32>]) -> Self {
        let mut ascending = inertia.clone();
        ascending.sort_unstable_by(f64::total_cmp);
        let (middle, last) = (ascending.len() / 2, ascending.len() - 1);
        let median = if ascending.len() % 2 == 1 {
            ascending[middle]
        } else {
            f64::midpoint(ascending[middle - 1], ascending[middle])
        };
        Self {
            min_inertia: ascending[0],
            median_inertia: median,
            max_inertia: ascending[last],
            inertia,
            mean_ari: mean_pairwise_ari(clusterings),
            compared_restarts: clusterings.len(),
            compared_rows: clusterings.first().map_or(0, Vec::len),
        }
    }
}

/// `None` under two clusterings.
fn mean_pairwise_ari(clusterings: &[Vec<i32>]) -> Option<f64> {
    let together: Vec<u128> =
        clusterings.iter().map(|clusters| sum_of_squared_counts(clusters.clone())).collect();
    let mut sum = 0.0;
    let mut pairs = 0_u32;
    for (later, other) in clusterings.iter().enumerate() {
        for (earlier, one) in clusterings[..later].iter().enumerate() {
            let in_both = sum_of_squared_counts(one.iter().copied().zip(other.iter().copied()).collect());
            sum += adjusted_rand_index(one.len(), in_both, together[earlier], together[later]);
            pairs += 1;
        }
    }
    (pairs > 0).then(|| sum / f64::from(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ContingencyTable;

    #[test]
    fn the_mean_agreement_is_that_of_all_pairs_of_tables() {
        let clusterings: Vec<Vec<i32>> =
            [[0, 0, 1, 1, 2, 2, 2], [1, 1, 0, 0, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0]].map(Vec::from).into();
        let ari = |one: usize, other: usize| {
            let labels: Vec<_> =
                clusterings[one].iter().map(|cluster| Some(cluster.cast_unsigned())).collect();
            ContingencyTable::new(&labels, &clusterings[other]).unwrap().adjusted_rand_index().unwrap()
        };
        let restarts = Restarts::new(vec![3.0, 1.0, 2.0], &clusterings);
        let expected = (ari(0, 1) + ari(0, 2) + ari(1, 2)) / 3.0;
        assert!((restarts.mean_ari.unwrap() - expected).abs() < 1e-15, "{restarts:?}");
        assert!(expected < 0.5);
        assert_eq!((restarts.min_inertia, restarts.median_inertia, restarts.max_inertia), (1.0, 2.0, 3.0));
        assert_eq!((restarts.compared_restarts, restarts.compared_rows), (3, 7));
    }

    #[test]
    fn a_single_run_agrees_with_nothing_and_an_even_number_has_a_median_between() {
        let restarts = Restarts::new(vec![4.0], &[vec![0, 1]]);
        assert_eq!((restarts.mean_ari, restarts.median_inertia), (None, 4.0));
        let restarts = Restarts::new(vec![8.0, 1.0, 2.0, 4.0], &[vec![0, 1], vec![1, 0]]);
        assert_eq!((restarts.mean_ari, restarts.median_inertia), (Some(1.0), 3.0));
    }
}
