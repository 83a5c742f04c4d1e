//! The chain from features to clusters: scaler, PCA, optional normalisation, clusters, and the figures about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

use linfa::ParamGuard;
use ndarray::{Array2, ArrayView2, Axis, CowArray};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::cluster_choice::{ClusterChoice, choose_n_clusters};
use crate::clusterer::{Clusterer, ClustererFit};
use crate::density::NOISE;
use crate::kmeans::{Assignment, Restarts};
use crate::metrics::{ContingencyTable, Dispersion, MAX_SILHOUETTE_ROWS, Silhouette, sampled_silhouette};
use crate::model::{FitFigures, LearnModel, Projection, label_centres};
use crate::moments::{ColumnMoments, Moments};
use crate::pca::PcaSolver;
use crate::rows::{SelectedRows, check_finite, check_width, unit_rows};
use crate::spec::{ClusterCount, LearnSpec};

/// What [`fit`] returns.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// To be applied to new rows and to be kept.
    pub model: LearnModel,
    /// The rows' scores on the components, n x k, all rows. Before the normalisation, if that is on.
    pub projected: Array2<f64>,
    /// The cluster of each row, or [`NOISE`].
    pub clusters: Vec<i32>,
    /// The Euclidean distance of each row, in the space that clusters are made in, from its cluster's centre or mean; by
    /// density from the nearest of the rows that the model keeps.
    pub distances: Vec<f64>,
    /// The figures.
    pub report: FitReport,
    /// The silhouettes that the report's figures are of, noise left out; `None` where they are undefined.
    pub silhouette: Option<Silhouette>,
    /// Seconds by stage.
    pub timings: FitTimings,
}

/// The figures about a fit. The same input gives the same figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitReport {
    /// Rows fitted on.
    pub rows_fitted: usize,
    /// Columns without variance among the rows fitted on.
    pub constant_columns: usize,
    /// The exact way by which the components were found.
    pub pca_solver: PcaSolver,
    /// Components kept.
    pub n_components: usize,
    /// Variance (ddof 1) of the scaled rows along all `min(rows_fitted, width)` components; further ones have none.
    pub explained_variance: Vec<f64>,
    /// The same as shares of the total.
    pub explained_variance_ratio: Vec<f64>,
    /// Number of clusters, without noise.
    pub n_clusters: usize,
    /// How that number was chosen; null if it was given, or found with the clusters.
    pub n_clusters_choice: Option<ClusterChoice>,
    /// Rows in each cluster, all rows.
    pub cluster_sizes: Vec<usize>,
    /// Rows in no cluster, all rows; only by density are there any.
    #[serde(default)]
    pub noise_rows: usize,
    /// Sum of the squared distances of the rows fitted on from their centres; null for an algorithm without centres.
    pub inertia: Option<f64>,
    /// Rounds of the winning run; null for an algorithm without rounds.
    pub n_iter: Option<usize>,
    /// Mean logarithm of the density of the rows fitted on; null but for a Gaussian mixture.
    #[serde(default)]
    pub log_likelihood: Option<f64>,
    /// How far the runs agree that the clustering was taken from; null but for KMeans.
    #[serde(default)]
    pub restarts: Option<Restarts>,
    /// Mean silhouette; null where it is undefined. Rows in no cluster don't count, here
    /// and in the figures up to `davies_bouldin`.
    pub silhouette: Option<f64>,
    /// Rows that the silhouette was taken over: all in clusters, or a sample of [`MAX_SILHOUETTE_ROWS`].
    pub silhouette_rows: usize,
    /// Mean silhouette of each cluster's rows, of the same rows; null for a cluster that has none among them.
    #[serde(default)]
    pub silhouette_by_cluster: Vec<Option<f64>>,
    /// Caliński and Harabasz's score of all rows in clusters (the higher the better); null where it is undefined.
    #[serde(default)]
    pub calinski_harabasz: Option<f64>,
    /// Davies and Bouldin's score of all rows in clusters (the lower the better); null where it is undefined.
    #[serde(default)]
    pub davies_bouldin: Option<f64>,
    /// Adjusted Rand index over all rows that have a label, fitted on or not; null without labels. Rows in no cluster are one
    /// more cluster here and below, as in scikit-learn.
    pub ari: Option<f64>,
    /// Normalised mutual information (arithmetic mean) over the same rows; null without labels.
    pub nmi: Option<f64>,
    /// How far each cluster holds one label alone, from 0 to 1, over the same rows; null without labels.
    #[serde(default)]
    pub homogeneity: Option<f64>,
    /// How far each label is in one cluster alone, from 0 to 1, over the same rows; null without labels.
    #[serde(default)]
    pub completeness: Option<f64>,
    /// Share of the same rows that bear the most frequent label of their cluster; null without labels.
    #[serde(default)]
    pub purity: Option<f64>,
    /// Rows that have a label.
    pub labelled_rows: usize,
    /// Label by cluster over the same rows; null without labels.
    pub contingency: Option<ContingencyTable>,
}

/// Seconds that the stages of a fit took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FitTimings {
    /// Moments, scaler and components.
    pub components_seconds: f64,
    /// Scores of all rows.
    pub projection_seconds: f64,
    /// Trying numbers of clusters; 0 if the number was given.
    pub cluster_choice_seconds: f64,
    /// Making the clusters.
    pub clustering_seconds: f64,
    /// Clusters of all rows and the figures about them.
    pub scoring_seconds: f64,
}

/// Fits the chain of `spec` on `features` (n x d) and applies it to all of them.
///
/// - `fit_on`: the rows to fit on, such as those of a Training split; all without it. The other rows are projected and
///   assigned like new ones.
/// - `labels`: the number of each row's label (numbers from 0 without large gaps), `None` for a row without one. Labels don't
///   influence the clusters; they are compared with them, and the model keeps the mean of each label's rows.
/// - `threads`: no result depends on it.
///
/// # Memory and time
/// Held beside the features: the scores (8 n k bytes, twice with `fit_on`, normalisation or KMeans, which works on a copy;
/// see [`mixture`](crate::mixture) and [`density`](crate::density) for those),
/// about 8 d^2 (4 + t log2(n / 1024)) bytes at most for the moments on t threads (512 columns: below 100 MB; 4096 columns:
/// some GB), and some 100 bytes a row for each KMeans run at work. Features are copied as a whole only where
/// [`LearnSpec::normalize_features`] is on. Time: n d^2 for
/// the moments, d^3 for the components (0.02 s for 512 columns, 11 s for 4096), n k times the number of clusters, rounds and
/// runs for KMeans. By the Gram way (see [`pca`](crate::pca)) n^2 takes the place of d^2 and n^3 that of d^3.
///
/// # Errors
/// See [`LearnError`]: values out of range, lengths that differ, features that aren't finite, too few rows, too many clusters or
/// components, features too wide.
pub fn fit(
    features: ArrayView2<'_, f32>,
    fit_on: Option<&[bool]>,
    labels: Option<&[Option<u32>]>,
    spec: &LearnSpec,
    threads: NonZeroUsize,
) -> Result<Fitted, LearnError> {
    spec.check()?;
    let (row_count, width) = features.dim();
    let unit_features = spec.normalize_features.then(|| unit_rows(features));
    let rows = SelectedRows::new(unit_features.as_ref().map_or(features.view(), Array2::view), fit_on)?;
    if let Some(labels) = labels {
        check_labels(labels, row_count)?;
    }
    check_enough(rows.len(), width, spec)?;
    let pca_solver = PcaSolver::for_size(rows.len(), width)?;
    check_finite(features)?;
    let mut timings = FitTimings::default();

    let start = Instant::now();
    let scaler_params = spec.scaler.params().check()?;
    let pca_params = spec.pca.params().check()?;
    let (scaler, pca) = match pca_solver {
        PcaSolver::Covariance => {
            let moments = Moments::of_rows(&rows, threads);
            let scaler = scaler_params.fit_moments(&moments.columns())?;
            let pca = pca_params.fit_moments(&scaler.scale_moments(moments))?;
            (scaler, pca)
        }
        PcaSolver::Gram => {
            let scaler = scaler_params.fit_moments(&ColumnMoments::of_rows(&rows, threads))?;
            let pca = pca_params.fit_gram(&rows, &scaler, threads)?;
            (scaler, pca)
        }
    };
    timings.components_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let projection = Projection::new(spec, scaler, pca);
    let projected = projection.project(features, threads);
    let points = projection.clustering_points(&projected);
    timings.projection_seconds = start.elapsed().as_secs_f64();

    let points_to_fit = rows.choose_from(&points);
    let start = Instant::now();
    let (n_clusters, n_clusters_choice) = match spec.kmeans.n_clusters {
        ClusterCount::Range { .. } | ClusterCount::Auto if spec.algorithm.takes_n_clusters() => {
            let choice = choose_n_clusters(points_to_fit.view(), spec, threads)?;
            timings.cluster_choice_seconds = start.elapsed().as_secs_f64();
            (choice.n_clusters, Some(choice))
        }
        given => (*given.candidates().start(), None),
    };
    let start = Instant::now();
    let ClustererFit { clusterer, inertia, n_iter, log_likelihood, restarts } =
        Clusterer::fit(points_to_fit.view(), spec, n_clusters, threads)?;
    timings.clustering_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let scored = Scored::of(&clusterer, points.view(), labels, spec.kmeans.seed, threads)?;
    timings.scoring_seconds = start.elapsed().as_secs_f64();

    let report = scored.report(FitReport {
        rows_fitted: rows.len(),
        constant_columns: projection.scaler.constant_columns(),
        pca_solver,
        n_components: projection.pca.n_components(),
        explained_variance: projection.pca.explained_variance().to_vec(),
        explained_variance_ratio: projection.pca.explained_variance_ratio().to_vec(),
        n_clusters_choice,
        inertia,
        n_iter,
        log_likelihood,
        restarts,
        ..FitReport::default()
    });
    let label_centres = labels.and_then(|labels| label_centres(&points, labels, fit_on));
    drop(points_to_fit);
    drop(points);
    let model = LearnModel {
        spec: spec.clone(),
        projection,
        figures: FitFigures { inertia, n_iter, log_likelihood },
        clusterer,
        rows_fitted: report.rows_fitted,
        label_centres,
        label_names: Vec::new(),
        lineage: BTreeMap::new(),
    };
    Ok(Fitted {
        model,
        projected,
        clusters: scored.assignment.clusters,
        distances: scored.assignment.distances,
        report,
        silhouette: scored.silhouette,
        timings,
    })
}

/// Applies a model to rows that it was not, or not all, fitted on, and compares them with its clusters: what [`fit`] returns, but
/// for the fit itself, whose figures are those of `fitted`, the report that it gave. `features` and `labels` are as there; numbers of
/// labels may have gaps.
///
/// Memory and time: those of [`fit`] without the moments and without making clusters.
///
/// # Errors
/// See [`LearnError`]: lengths that differ, features that aren't finite or have another width than the model's.
pub fn evaluate(
    model: LearnModel,
    features: ArrayView2<'_, f32>,
    labels: Option<&[Option<u32>]>,
    fitted: &FitReport,
    threads: NonZeroUsize,
) -> Result<Fitted, LearnError> {
    if features.nrows() == 0 {
        return Err(LearnError::NoRows);
    }
    check_width(&features, model.width())?;
    check_finite(features)?;
    let mut timings = FitTimings::default();
    let start = Instant::now();
    let projected = model.projection.project(features, threads);
    let points = model.projection.clustering_points(&projected);
    timings.projection_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let scored = Scored::of(&model.clusterer, points.view(), labels, model.spec.kmeans.seed, threads)?;
    timings.scoring_seconds = start.elapsed().as_secs_f64();
    let report = scored.report(fitted.clone());
    drop(points);
    Ok(Fitted {
        model,
        projected,
        clusters: scored.assignment.clusters,
        distances: scored.assignment.distances,
        report,
        silhouette: scored.silhouette,
        timings,
    })
}

/// The clusters of all rows, and how good they are.
struct Scored {
    assignment: Assignment,
    n_clusters: usize,
    silhouette: Option<Silhouette>,
    dispersion: Dispersion,
    cluster_sizes: Vec<usize>,
    contingency: Option<ContingencyTable>,
}

impl Scored {
    fn of(
        clusterer: &Clusterer,
        points: ArrayView2<'_, f64>,
        labels: Option<&[Option<u32>]>,
        seed: u64,
        threads: NonZeroUsize,
    ) -> Result<Self, LearnError> {
        let assignment = clusterer.assign(points, threads);
        let n_clusters = clusterer.n_clusters();
        let in_clusters: Vec<usize> =
            (0..points.nrows()).filter(|&row| assignment.clusters[row] != NOISE).collect();
        let (clustered_points, clustered) = if in_clusters.len() == points.nrows() {
            (CowArray::from(points), Cow::Borrowed(&assignment.clusters))
        } else {
            let clusters = in_clusters.iter().map(|&row| assignment.clusters[row]).collect();
            (points.select(Axis(0), &in_clusters).into(), Cow::Owned(clusters))
        };
        let silhouette =
            sampled_silhouette(clustered_points.view(), &clustered, MAX_SILHOUETTE_ROWS, seed, threads)?;
        let dispersion = Dispersion::new(clustered_points.view(), &clustered, threads)?;
        let mut cluster_sizes = vec![0; n_clusters];
        for &cluster in clustered.iter() {
            cluster_sizes[cluster as usize] += 1;
        }
        let contingency = match labels {
            Some(labels) => {
                Some(ContingencyTable::new(labels, &assignment.clusters)?).filter(|table| table.rows() > 0)
            }
            None => None,
        };
        Ok(Self { n_clusters, silhouette, dispersion, cluster_sizes, contingency, assignment })
    }

    /// The figures of a fit, with those of these rows.
    fn report(&self, fitted: FitReport) -> FitReport {
        let silhouette = self.silhouette.as_ref();
        let contingency = self.contingency.as_ref();
        FitReport {
            n_clusters: self.n_clusters,
            cluster_sizes: self.cluster_sizes.clone(),
            noise_rows: self.assignment.clusters.len() - self.cluster_sizes.iter().sum::<usize>(),
            silhouette: silhouette.map(|silhouette| silhouette.mean),
            silhouette_rows: silhouette.map_or(0, |silhouette| silhouette.values.len()),
            silhouette_by_cluster: silhouette.map_or_else(Vec::new, |silhouette| {
                let clusters = 0..self.n_clusters as i32;
                clusters.map(|cluster| silhouette.by_cluster.get(&cluster).copied()).collect()
            }),
            calinski_harabasz: self.dispersion.calinski_harabasz(),
            davies_bouldin: self.dispersion.davies_bouldin(),
            ari: contingency.and_then(ContingencyTable::adjusted_rand_index),
            nmi: contingency.and_then(ContingencyTable::normalized_mutual_information),
            homogeneity: contingency.and_then(ContingencyTable::homogeneity),
            completeness: contingency.and_then(ContingencyTable::completeness),
            purity: contingency.and_then(ContingencyTable::purity),
            labelled_rows: contingency.map_or(0, |table| table.rows() as usize),
            contingency: self.contingency.clone(),
            ..fitted
        }
    }
}

fn check_enough(rows: usize, width: usize, spec: &LearnSpec) -> Result<(), LearnError> {
    match (rows, spec.kmeans.n_clusters) {
        _ if width == 0 => Err(LearnError::NoColumns),
        (0, _) => Err(LearnError::NoRows),
        (1, _) => Err(LearnError::TooFewRows { rows, needed: 2 }),
        _ if !spec.algorithm.takes_n_clusters() => Ok(()),
        (_, ClusterCount::Count(n_clusters)) if n_clusters > rows => {
            Err(LearnError::MoreClustersThanRows { rows, n_clusters })
        }
        (_, n_clusters) => n_clusters.check_rows(rows),
    }
}

fn check_labels(labels: &[Option<u32>], rows: usize) -> Result<(), LearnError> {
    if labels.len() != rows {
        return Err(LearnError::LengthMismatch { what: "labels", got: labels.len(), expected: rows });
    }
    match labels.iter().flatten().find(|&&label| label as usize >= rows) {
        Some(label) => Err(LearnError::InvalidParameter {
            name: "label",
            value: label.to_string(),
            allowed: "a number from 0 up, below the number of rows",
        }),
        None => Ok(()),
    }
}
