//! The number of clusters, chosen from the data.

use std::num::NonZeroUsize;

use linfa::DatasetBase;
use linfa::traits::Fit;
use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::metrics::{mean_silhouettes, sample_rows};
use crate::spec::KMeansSpec;

/// The largest number of clusters that is tried.
pub const MAX_CHOSEN_CLUSTERS: usize = 20;

/// Rows above which the choice is made on a random sample of so many.
pub const MAX_CHOICE_ROWS: usize = 5_000;

/// How the number of clusters was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterChoice {
    /// The number of highest mean silhouette, the lowest of equals.
    pub n_clusters: usize,
    /// Rows that the choice was made on: all rows fitted on, or a sample of [`MAX_CHOICE_ROWS`].
    pub rows: usize,
    /// Every number tried.
    pub tried: Vec<TriedClusters>,
}

/// What one number of clusters gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TriedClusters {
    /// Number of clusters.
    pub n_clusters: usize,
    /// Mean silhouette of the rows; `None` where it is undefined, as with fewer than two distinct rows.
    pub silhouette: Option<f64>,
    /// Sum of squared distances from the centres.
    pub inertia: f64,
}

/// Fits KMeans for every number from 2 to `min(20, rows - 1)` and takes the one of highest mean silhouette.
///
/// `points` are the rows to fit on (n x k), `kmeans` all parameters but the number of clusters.
///
/// # Errors
/// [`LearnError::TooFewRows`] under 3 rows, [`LearnError::NoClustersToChoose`] if all rows are equal, and those of KMeans.
pub fn choose_n_clusters(
    points: ArrayView2<'_, f64>,
    kmeans: &KMeansSpec,
    threads: NonZeroUsize,
) -> Result<ClusterChoice, LearnError> {
    if points.nrows() < 3 {
        return Err(LearnError::TooFewRows { rows: points.nrows(), needed: 3 });
    }
    let points = match sample_rows(points.nrows(), MAX_CHOICE_ROWS, kmeans.seed) {
        None => points.into(),
        Some(sample) => ndarray::CowArray::from(points.select(Axis(0), &sample)),
    };
    let dataset = DatasetBase::from(points.view());
    let mut clusterings = Vec::new();
    let mut inertias = Vec::new();
    for n_clusters in 2..=MAX_CHOSEN_CLUSTERS.min(points.nrows() - 1) {
        let fitted = kmeans.params(n_clusters, threads).fit(&dataset)?;
        clusterings.push(fitted.assign(points.view(), threads).clusters);
        inertias.push(fitted.inertia());
    }
    let views: Vec<&[u32]> = clusterings.iter().map(Vec::as_slice).collect();
    let tried: Vec<TriedClusters> = mean_silhouettes(points.view(), &views, threads)
        .into_iter()
        .zip(inertias)
        .zip(2..)
        .map(|((silhouette, inertia), n_clusters)| TriedClusters { n_clusters, silhouette, inertia })
        .collect();
    let mut best: Option<(usize, f64)> = None;
    for candidate in &tried {
        if let Some(silhouette) = candidate.silhouette
            && best.is_none_or(|(_, highest)| silhouette > highest)
        {
            best = Some((candidate.n_clusters, silhouette));
        }
    }
    let (n_clusters, _) = best.ok_or(LearnError::NoClustersToChoose)?;
    Ok(ClusterChoice { n_clusters, rows: points.nrows(), tried })
}
