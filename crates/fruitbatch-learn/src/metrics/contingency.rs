//! Clusters against labels.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::LearnError;

/// How many rows of each label fell into each cluster.
///
/// ```
/// use fruitbatch_learn::metrics::ContingencyTable;
///
/// let labels = [Some(0), Some(0), Some(1), Some(1), None];
/// let table = ContingencyTable::new(&labels, &[1, 1, 0, 0, 0])?;
/// assert_eq!(table.counts, [[0, 2], [2, 0]]);
/// assert_eq!(table.adjusted_rand_index(), Some(1.0));
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContingencyTable {
    /// The labels that occur, rising: one row of `counts` each.
    pub labels: Vec<u32>,
    /// The clusters that occur on rows with a label, rising: one column of `counts` each.
    pub clusters: Vec<i32>,
    /// Rows with that label in that cluster.
    pub counts: Vec<Vec<u64>>,
}

impl ContingencyTable {
    /// Counts the rows that have a label; the others are left out.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] if the two differ in length.
    pub fn new(labels: &[Option<u32>], clusters: &[i32]) -> Result<Self, LearnError> {
        if labels.len() != clusters.len() {
            return Err(LearnError::LengthMismatch {
                what: "labels",
                got: labels.len(),
                expected: clusters.len(),
            });
        }
        let pairs = || labels.iter().zip(clusters).filter_map(|(label, &cluster)| Some(((*label)?, cluster)));
        let seen_labels: BTreeSet<u32> = pairs().map(|(label, _)| label).collect();
        let seen_clusters: BTreeSet<i32> = pairs().map(|(_, cluster)| cluster).collect();
        let label_rows: BTreeMap<u32, usize> = seen_labels.iter().copied().zip(0..).collect();
        let cluster_columns: BTreeMap<i32, usize> = seen_clusters.iter().copied().zip(0..).collect();
        let mut counts = vec![vec![0; seen_clusters.len()]; seen_labels.len()];
        for (label, cluster) in pairs() {
            counts[label_rows[&label]][cluster_columns[&cluster]] += 1;
        }
        Ok(Self {
            labels: seen_labels.into_iter().collect(),
            clusters: seen_clusters.into_iter().collect(),
            counts,
        })
    }

    /// Number of rows counted.
    pub fn rows(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    fn label_totals(&self) -> Vec<u64> {
        self.counts.iter().map(|row| row.iter().sum()).collect()
    }

    fn cluster_totals(&self) -> Vec<u64> {
        (0..self.clusters.len()).map(|column| self.counts.iter().map(|row| row[column]).sum()).collect()
    }

    /// Hubert and Arabie's adjusted Rand index: 1 for the same partition, about 0 for a random one. `None` without rows.
    ///
    /// From the counts of pairs of rows, as scikit-learn's `adjusted_rand_score`, which is 1 too where both partitions are
    /// trivial.
    pub fn adjusted_rand_index(&self) -> Option<f64> {
        if self.rows() == 0 {
            return None;
        }
        let sum_of_squares = |counts: &mut dyn Iterator<Item = u64>| -> u128 {
            counts.map(|count| u128::from(count).pow(2)).sum()
        };
        Some(adjusted_rand_index(
            self.rows() as usize,
            sum_of_squares(&mut self.counts.iter().flatten().copied()),
            sum_of_squares(&mut self.label_totals().into_iter()),
            sum_of_squares(&mut self.cluster_totals().into_iter()),
        ))
    }

    /// Mutual information over the arithmetic mean of the two entropies, as scikit-learn's
    /// `normalized_mutual_info_score`: 1 for the same partition, 0 for independent ones. `None` without rows.
    ///
    /// It is the V-measure too: the harmonic mean of [homogeneity](Self::homogeneity) and
    /// [completeness](Self::completeness).
    pub fn normalized_mutual_information(&self) -> Option<f64> {
        if self.rows() == 0 {
            return None;
        }
        match (self.labels.len(), self.clusters.len()) {
            (1, 1) => return Some(1.0),
            (1, _) | (_, 1) => return Some(0.0),
            _ => {}
        }
        let mutual_information = self.mutual_information();
        if mutual_information == 0.0 {
            return Some(0.0);
        }
        let mean_entropy =
            f64::midpoint(self.entropy(&self.label_totals()), self.entropy(&self.cluster_totals()));
        // Rounding can lift the same partition a little above 1.
        Some((mutual_information / mean_entropy).min(1.0))
    }

    /// Rosenberg and Hirschberg's homogeneity: the share of the labels' entropy that the clusters explain, 1 where each
    /// cluster holds one label alone. As scikit-learn's `homogeneity_score`; `None` without rows.
    pub fn homogeneity(&self) -> Option<f64> {
        (self.rows() > 0).then(|| self.explained_share(&self.label_totals()))
    }

    /// Rosenberg and Hirschberg's completeness: the share of the clusters' entropy that the labels explain, 1 where each label
    /// is in one cluster alone. As scikit-learn's `completeness_score`; `None` without rows.
    pub fn completeness(&self) -> Option<f64> {
        (self.rows() > 0).then(|| self.explained_share(&self.cluster_totals()))
    }

    /// The share of rows that bear the most frequent label of their cluster: between 0 and 1, and easily high with many
    /// clusters. `None` without rows.
    pub fn purity(&self) -> Option<f64> {
        let most_frequent = (0..self.clusters.len())
            .map(|column| self.counts.iter().map(|row| row[column]).max().unwrap_or(0))
            .sum::<u64>();
        (self.rows() > 0).then(|| most_frequent as f64 / self.rows() as f64)
    }

    /// The mutual information over the entropy of these totals; 1 where they have none.
    fn explained_share(&self, totals: &[u64]) -> f64 {
        if totals.len() == 1 {
            return 1.0;
        }
        (self.mutual_information() / self.entropy(totals)).min(1.0)
    }

    /// Of labels and clusters, in nats; 0 where it is no more than rounding. There must be rows.
    fn mutual_information(&self) -> f64 {
        let rows = self.rows() as f64;
        let (label_totals, cluster_totals) = (self.label_totals(), self.cluster_totals());
        let mut mutual_information = 0.0;
        for (counts, &label_total) in self.counts.iter().zip(&label_totals) {
            for (&count, &cluster_total) in counts.iter().zip(&cluster_totals) {
                if count > 0 {
                    let count = count as f64;
                    let expected = label_total as f64 * cluster_total as f64 / rows;
                    mutual_information += count / rows * (count / expected).ln();
                }
            }
        }
        if mutual_information < f64::EPSILON { 0.0 } else { mutual_information }
    }

    /// Of a partition into parts of these sizes, in nats.
    fn entropy(&self, totals: &[u64]) -> f64 {
        let rows = self.rows() as f64;
        totals.iter().map(|&total| total as f64 / rows).map(|share| -share * share.ln()).sum()
    }
}

/// The adjusted Rand index from sums of squared counts of rows: of those together in both partitions, in the one and in the
/// other. There must be rows.
pub(crate) fn adjusted_rand_index(rows: usize, both: u128, same_label: u128, same_cluster: u128) -> f64 {
    let rows = rows as u128;
    // Ordered pairs that are together in both, in the clusters alone, in the labels alone, in neither.
    let true_positive = (both - rows) as f64;
    let false_positive = (same_cluster - both) as f64;
    let false_negative = (same_label - both) as f64;
    let true_negative = (rows * rows + both - same_cluster - same_label) as f64;
    if false_positive == 0.0 && false_negative == 0.0 {
        return 1.0;
    }
    let numerator = 2.0 * (true_positive * true_negative - false_negative * false_positive);
    let denominator = (true_positive + false_negative) * (false_negative + true_negative)
        + (true_positive + false_positive) * (false_positive + true_negative);
    numerator / denominator
}

/// The sum over the distinct values of the square of how often each occurs.
pub(crate) fn sum_of_squared_counts<T: Ord>(mut values: Vec<T>) -> u128 {
    values.sort_unstable();
    values.chunk_by(T::eq).map(|equal| (equal.len() as u128).pow(2)).sum()
}
