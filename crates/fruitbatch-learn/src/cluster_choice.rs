//! The number of clusters, chosen from the data.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::clusterer::Clusterer;
use crate::metrics::{Dispersion, mean_silhouettes, sample_rows};
use crate::row_blocks::RowBlocks;
use crate::spec::LearnSpec;

/// The largest number of clusters that may be tried. With all numbers up to it, the silhouettes hold 20 MiB on each thread.
pub const MAX_CHOSEN_CLUSTERS: usize = 200;

/// Rows above which the choice is made on a random sample of so many.
pub const MAX_CHOICE_ROWS: usize = 5_000;

/// How the number of clusters was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterChoice {
    /// The number of highest mean silhouette, the lowest of equals.
    pub n_clusters: usize,
    /// Rows that the choice was made on: all rows fitted on, or a sample of [`MAX_CHOICE_ROWS`].
    pub rows: usize,
    /// Every number tried, rising.
    pub tried: Vec<TriedClusters>,
    /// The reason in one sentence, with the figures of the chosen number and of those that came next.
    #[serde(default)]
    pub why: String,
}

/// What one number of clusters gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TriedClusters {
    /// Number of clusters.
    pub n_clusters: usize,
    /// Mean silhouette of the rows; `None` where it is undefined, as with fewer than two distinct rows.
    pub silhouette: Option<f64>,
    /// Sum of squared distances from the centres; `None` for an algorithm without.
    pub inertia: Option<f64>,
    /// Caliński and Harabasz's score (the higher the better); `None` where it is undefined.
    #[serde(default)]
    pub calinski_harabasz: Option<f64>,
    /// Davies and Bouldin's score (the lower the better); `None` where it is undefined.
    #[serde(default)]
    pub davies_bouldin: Option<f64>,
}

/// Fits the algorithm of `spec` for each number of clusters that its `kmeans.n_clusters` names, as far as it is below the number of rows, and takes
/// the one of highest mean silhouette. The other figures are for the reader to compare.
///
/// `points` are the rows to fit on (n x k). No more than [`MAX_CHOICE_ROWS`] of them are held.
///
/// # Errors
/// [`LearnError::InvalidParameter`] for an algorithm that finds its number of clusters itself, [`LearnError::TooFewRows`] if the
/// least number isn't below the number of rows, [`LearnError::NoClustersToChoose`] if all
/// rows are equal, and those of the algorithm and of the points.
pub fn choose_n_clusters<B: RowBlocks<Value = f64>>(
    points: B,
    spec: &LearnSpec,
    threads: NonZeroUsize,
) -> Result<ClusterChoice, LearnError> {
    if !spec.algorithm.takes_n_clusters() {
        return Err(LearnError::InvalidParameter {
            name: "algorithm",
            value: spec.algorithm.to_string(),
            allowed: "one that is told a number of clusters, to have that number chosen",
        });
    }
    let n_clusters = spec.kmeans.n_clusters;
    n_clusters.check_rows(points.row_count())?;
    let points = match sample_rows(points.row_count(), MAX_CHOICE_ROWS, spec.kmeans.seed) {
        None => points.to_matrix()?,
        Some(sample) => points.select(&sample)?.into(),
    };
    let candidates = n_clusters.candidates();
    let mut clusterings = Vec::new();
    let mut tried = Vec::new();
    for n_clusters in *candidates.start()..=*candidates.end().min(&(points.nrows() - 1)) {
        let fitted = Clusterer::fit(&points, spec, n_clusters, threads)?;
        let clusters = fitted.clusterer.assign(&points, threads)?.clusters;
        let dispersion = Dispersion::new(&points, &clusters, threads)?;
        clusterings.push(clusters);
        tried.push(TriedClusters {
            n_clusters,
            silhouette: None,
            inertia: fitted.inertia,
            calinski_harabasz: dispersion.calinski_harabasz(),
            davies_bouldin: dispersion.davies_bouldin(),
        });
    }
    let views: Vec<&[i32]> = clusterings.iter().map(Vec::as_slice).collect();
    for (tried, silhouette) in tried.iter_mut().zip(mean_silhouettes(points.view(), &views, threads)) {
        tried.silhouette = silhouette;
    }
    let mut by_silhouette: Vec<(usize, f64)> =
        tried.iter().filter_map(|tried| Some((tried.n_clusters, tried.silhouette?))).collect();
    // Stable: of equals the lowest number stays first.
    by_silhouette.sort_by(|left, right| right.1.total_cmp(&left.1));
    let (&(n_clusters, _), runners_up) = by_silhouette.split_first().ok_or(LearnError::NoClustersToChoose)?;
    let why = reason(by_silhouette[0], runners_up, &tried);
    Ok(ClusterChoice { n_clusters, rows: points.nrows(), tried, why })
}

/// Such as `4 clusters have the highest mean silhouette of 2..20, 0.3484; next come 5 with 0.3310 and 3 with 0.2987`.
fn reason(best: (usize, f64), runners_up: &[(usize, f64)], tried: &[TriedClusters]) -> String {
    let range = match tried {
        [only] => format!("{0}..{0}", only.n_clusters),
        [first, .., last] => format!("{}..{}", first.n_clusters, last.n_clusters),
        [] => String::new(),
    };
    let next: Vec<String> = runners_up
        .iter()
        .take(2)
        .map(|(count, silhouette)| format!("{count} with {silhouette:.4}"))
        .collect();
    let next = match next.as_slice() {
        [] => "no other number has one".to_owned(),
        [one] => format!("next comes {one}"),
        some => format!("next come {}", some.join(" and ")),
    };
    format!("{} clusters have the highest mean silhouette of {range}, {:.4}; {next}", best.0, best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_choice_and_what_comes_next() {
        let tried = |n_clusters| TriedClusters {
            n_clusters,
            silhouette: None,
            inertia: None,
            calinski_harabasz: None,
            davies_bouldin: None,
        };
        let all: Vec<TriedClusters> = (2..=9).map(tried).collect();
        assert_eq!(
            reason((4, 0.34839), &[(5, 0.331), (3, 0.2987), (9, 0.1)], &all),
            "4 clusters have the highest mean silhouette of 2..9, 0.3484; next come 5 with 0.3310 and 3 with 0.2987"
        );
        assert_eq!(
            reason((3, 0.5), &[], &all[1..2]),
            "3 clusters have the highest mean silhouette of 3..3, 0.5000; no other number has one"
        );
    }
}
