//! The chain from features to clusters: scaler, PCA, optional normalisation, clusters, and the figures about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Instant;

use linfa::ParamGuard;
use serde::{Deserialize, Serialize};

use crate::chosen_rows::ChosenRows;
use crate::cluster_choice::{ClusterChoice, choose_n_clusters};
use crate::clusterer::{Clusterer, ClustererFit};
use crate::density::NOISE;
use crate::kmeans::{Assignment, Restarts};
use crate::metrics::{ContingencyTable, Dispersion, MAX_SILHOUETTE_ROWS, Silhouette, sampled_silhouette};
use crate::mixture::GaussianMixture;
use crate::model::{FitFigures, LearnModel, Projection, label_centres};
use crate::moments::{ColumnMoments, Moments};
use crate::pca::{Components, PcaSolver};
use crate::row_blocks::RowBlocks;
use crate::rows::{FiniteRows, UnitRows};
use crate::spec::{Algorithm, ClusterCount, LearnSpec};
use crate::{FitOptions, LearnError, Scores};

/// What [`fit`] returns.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// To be applied to new rows and to be kept.
    pub model: LearnModel,
    /// The rows' scores on the components, n x k, all rows. Before the normalisation, if that is on.
    pub projected: Scores,
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

impl Fitted {
    /// What clusters are made of: the scores of all rows, or their directions if the spec says so. Directions are made anew
    /// whenever they are read.
    pub fn points(&self) -> impl RowBlocks<Value = f64> {
        self.model.projection.points(&self.projected)
    }
}

/// Fits the chain of `spec` on `features` (n x d) and applies it to all of them.
///
/// - `features`: a matrix (`matrix.view()`, `&matrix`), or any other source of rows (`&source`), which is read twice.
/// - `fit_on`: the rows to fit on, such as those of a Training split; all without it. The other rows are projected and
///   assigned like new ones.
/// - `labels`: the number of each row's label (numbers from 0 without large gaps), `None` for a row without one. Labels don't
///   influence the clusters; they are compared with them, and the model keeps the mean of each label's rows.
/// - `options`: threads, memory and the place for what doesn't fit into it; a number of threads is enough. No result depends on
///   them, nor on the source that the features come from.
///
/// # Memory and time
/// Features are read in two passes, for the moments and for the scores, and are held block by block: 12 KiB a column for
/// each thread, twice that with [`LearnSpec::normalize_features`] or `fit_on`. Only the Gram way (see [`pca`](crate::pca)), which
/// takes few rows, gathers those to fit on. Beside them, for n rows, d columns, k components, c clusters and t threads:
///
/// - Scores: 8 n k bytes up to [`FitOptions::memory_budget_bytes`], else a scratch file of that size, which is read again and again:
///   the system keeps it in memory that it has to spare, and gives that up when somebody asks for it.
/// - For each row 12 bytes of clusters and distances, and for each KMeans run at work (up to t of the `n_init`) `8 (4 + ln c)` bytes for
///   k-means++ and 8 bytes in its rounds; for the figures 8 bytes. 5 million rows with 131 clusters: 0.3 GB for each run at work,
///   and 0.1 GB.
/// - Moments: about 8 d^2 (4 + t log2(n / 1024)) bytes at most (512 columns: 100 MB; 4096 columns: some GB).
/// - A Gaussian mixture takes 8 n (k + c) bytes for the rows fitted on, and is refused where they are more than the budget. Clusters by
///   density take a copy of the rows fitted on, of which there may be few.
/// - Silhouettes and the choice of the number of clusters take a copy of their samples.
///
/// Time: n d^2 for the moments, d^3 for the components (0.02 s for 512 columns, 11 s for 4096), n k times the number of
/// clusters, rounds and runs for KMeans, which also reads the scores once for each cluster, round and run. By the Gram way
/// n^2 takes the place of d^2 and n^3 that of d^3.
///
/// # Errors
/// See [`LearnError`]: values out of range, lengths that differ, features that aren't finite or can't be read, too few rows, too
/// many clusters or components, features too wide, no room for the scratch file.
pub fn fit<B: RowBlocks<Value = f32>>(
    features: B,
    fit_on: Option<&[bool]>,
    labels: Option<&[Option<u32>]>,
    spec: &LearnSpec,
    options: impl Into<FitOptions>,
) -> Result<Fitted, LearnError> {
    let options = options.into();
    let threads = options.threads;
    spec.check()?;
    let (row_count, width) = (features.row_count(), features.width());
    let features = FiniteRows(features);
    let rows = ChosenRows::new(UnitRows::new(&features, spec.normalize_features), fit_on)?;
    if let Some(labels) = labels {
        check_labels(labels, row_count)?;
    }
    let rows_fitted = rows.row_count();
    check_enough(rows_fitted, width, spec)?;
    let pca_solver = PcaSolver::for_size(rows_fitted, width)?;
    // Before any work, as far as the numbers are known by now.
    let least_components = match spec.pca.n_components {
        Components::Count(count) => count,
        Components::VarianceShare(_) => 1,
    };
    check_memory(
        rows_fitted,
        least_components,
        *spec.kmeans.n_clusters.candidates().start(),
        spec,
        &options,
    )?;
    let mut timings = FitTimings::default();

    let start = Instant::now();
    let scaler_params = spec.scaler.params().check()?;
    let pca_params = spec.pca.params().check()?;
    let (scaler, pca) = match pca_solver {
        PcaSolver::Covariance => {
            let moments = Moments::of_rows(&rows, threads)?;
            let scaler = scaler_params.fit_moments(&moments.columns())?;
            let pca = pca_params.fit_moments(&scaler.scale_moments(moments))?;
            (scaler, pca)
        }
        PcaSolver::Gram => {
            let scaler = scaler_params.fit_moments(&ColumnMoments::of_rows(&rows, threads)?)?;
            let pca = pca_params.fit_gram(&rows, &scaler, threads)?;
            (scaler, pca)
        }
    };
    timings.components_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let projection = Projection::new(spec, scaler, pca);
    let projected = projection.project(&features, &options)?;
    let points = projection.points(&projected);
    timings.projection_seconds = start.elapsed().as_secs_f64();

    let points_to_fit = ChosenRows::new(&points, fit_on)?;
    let start = Instant::now();
    let (n_clusters, n_clusters_choice) = match spec.kmeans.n_clusters {
        ClusterCount::Range { .. } | ClusterCount::Auto if spec.algorithm.takes_n_clusters() => {
            let choice = choose_n_clusters(&points_to_fit, spec, threads)?;
            timings.cluster_choice_seconds = start.elapsed().as_secs_f64();
            (choice.n_clusters, Some(choice))
        }
        given => (*given.candidates().start(), None),
    };
    check_memory(rows_fitted, points.width(), n_clusters, spec, &options)?;
    let start = Instant::now();
    let ClustererFit { clusterer, inertia, n_iter, log_likelihood, restarts } =
        Clusterer::fit(&points_to_fit, spec, n_clusters, threads)?;
    timings.clustering_seconds = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let scored = Scored::of(&clusterer, &points, labels, spec.kmeans.seed, threads)?;
    let label_centres = match labels {
        Some(labels) => label_centres(&points, labels, fit_on)?,
        None => None,
    };
    timings.scoring_seconds = start.elapsed().as_secs_f64();

    let report = scored.report(FitReport {
        rows_fitted,
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
/// for the fit itself, whose figures are those of `fitted`, the report that it gave. `features`, read once, `labels` and `options` are
/// as there; numbers of labels may have gaps.
///
/// Memory and time: those of [`fit`] without the moments and without making clusters.
///
/// # Errors
/// See [`LearnError`]: no rows, lengths that differ, features that aren't finite, can't be read or have another width than the model's.
pub fn evaluate<B: RowBlocks<Value = f32>>(
    model: LearnModel,
    features: B,
    labels: Option<&[Option<u32>]>,
    fitted: &FitReport,
    options: impl Into<FitOptions>,
) -> Result<Fitted, LearnError> {
    let options = options.into();
    if features.row_count() == 0 {
        return Err(LearnError::NoRows);
    }
    if features.width() != model.width() {
        return Err(LearnError::WidthMismatch { got: features.width(), expected: model.width() });
    }
    let mut timings = FitTimings::default();
    let start = Instant::now();
    let projected = model.projection.project(&FiniteRows(features), &options)?;
    let points = model.projection.points(&projected);
    timings.projection_seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let scored = Scored::of(&model.clusterer, &points, labels, model.spec.kmeans.seed, options.threads)?;
    timings.scoring_seconds = start.elapsed().as_secs_f64();
    let report = scored.report(fitted.clone());
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
    fn of<P: RowBlocks<Value = f64>>(
        clusterer: &Clusterer,
        points: &P,
        labels: Option<&[Option<u32>]>,
        seed: u64,
        threads: NonZeroUsize,
    ) -> Result<Self, LearnError> {
        let assignment = clusterer.assign(points, threads)?;
        let n_clusters = clusterer.n_clusters();
        let is_clustered: Vec<bool> = assignment.clusters.iter().map(|&cluster| cluster != NOISE).collect();
        let clustered_points = ChosenRows::new(points, Some(&is_clustered))?;
        let clustered = if is_clustered.contains(&false) {
            Cow::Owned(assignment.clusters.iter().copied().filter(|&cluster| cluster != NOISE).collect())
        } else {
            Cow::Borrowed(&assignment.clusters)
        };
        let silhouette =
            sampled_silhouette(&clustered_points, &clustered, MAX_SILHOUETTE_ROWS, seed, threads)?;
        let dispersion = Dispersion::new(&clustered_points, &clustered, threads)?;
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
        Ok(Self { assignment, n_clusters, silhouette, dispersion, cluster_sizes, contingency })
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

/// Refuses a Gaussian mixture that takes more memory than the fit may.
fn check_memory(
    rows: usize,
    n_components: usize,
    n_clusters: usize,
    spec: &LearnSpec,
    options: &FitOptions,
) -> Result<(), LearnError> {
    let (needed_bytes, budget_bytes) =
        (GaussianMixture::bytes_needed(rows, n_components, n_clusters), options.memory_budget_bytes);
    if spec.algorithm == Algorithm::GaussianMixture && needed_bytes > budget_bytes {
        return Err(LearnError::MixtureBeyondMemory { needed_bytes, budget_bytes });
    }
    Ok(())
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
