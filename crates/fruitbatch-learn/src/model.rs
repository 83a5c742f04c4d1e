//! The fitted chain, applied to new rows and written to files.
//!
//! A model is a folder of `manifest.json` and one `.npy` file for each array, which numpy opens:
//!
//! | file | shape | what |
//! |---|---|---|
//! | `scaler_mean.npy` | d | mean of each column |
//! | `scaler_scale.npy` | d | what each column is divided by (infinite for a column that becomes 0) |
//! | `pca_mean.npy` | d | subtracted from scaled rows before they are projected |
//! | `pca_components.npy` | k x d | components |
//! | `pca_explained_variance.npy` | min(n, d) | variance along all components |
//! | `kmeans_centres.npy` | c x k | centres; only of KMeans, spherical or not |
//! | `mixture_weights.npy` | c | shares of the components; only of a Gaussian mixture |
//! | `mixture_means.npy` | c x k | their means; likewise |
//! | `mixture_covariances.npy` | c x k x k | their covariances; likewise |
//! | `density_rows.npy` | m x k | core rows of DBSCAN, all rows of HDBSCAN; only of these |
//! | `density_clusters.npy` | m | their clusters, -1 for noise; likewise |
//! | `density_radii.npy` | m | how far from each a row may be to belong with it; likewise |
//! | `label_centres.npy` | l x k | mean of each label's rows; NaN for a label without rows; only with labels |
//!
//! The manifest holds the spec, the shape and sha256 of each file, versions, names of the labels and the lineage. Format
//! version 1 knew KMeans alone; it is read too.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use linfa::Float;
use linfa::traits::{Predict, Transformer};
use ndarray::{Array1, Array2, Array3, ArrayBase, ArrayView2, CowArray, Data, Ix2, IxDyn, aview1};
use serde::{Deserialize, Serialize};

use crate::array_files::{self, ArrayFiles, of_dimension, parse_manifest};
use crate::blocks::{ROWS_PER_BLOCK, block_count};
use crate::clusterer::Clusterer;
use crate::density::{DensityClusters, NOISE};
use crate::kmeans::KMeans;
use crate::mixture::{GaussianMixture, MAX_MIXTURE_WIDTH};
use crate::pca::{Pca, PcaSolver};
use crate::row_blocks::{RowBlocks, read_blocks};
use crate::rows::{UnitRows, check_finite, check_width, unit_rows};
use crate::scaler::StandardScaler;
use crate::spec::{Algorithm, LearnSpec};
use crate::{FitOptions, LearnError, ModelError, Scores};

/// Name of the manifest inside of a model folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The form of model folders that this crate writes. It reads this one and all before.
pub const MODEL_FORMAT_VERSION: u32 = 2;

/// Free facts about where a model comes from, such as the digest of the model that extracted the features.
pub type Lineage = BTreeMap<String, serde_json::Value>;

/// Scaler, PCA and the optional normalisations around them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Projection {
    normalize_features: bool,
    pub(crate) scaler: StandardScaler,
    pub(crate) pca: Pca,
    normalize: bool,
}

impl Projection {
    pub(crate) fn new(spec: &LearnSpec, scaler: StandardScaler, pca: Pca) -> Self {
        Self {
            normalize_features: spec.normalize_features,
            scaler,
            pca,
            normalize: spec.normalize || spec.algorithm == Algorithm::SphericalKMeans,
        }
    }

    /// Scores of checked rows, n x k, block by block. A row's scores don't depend on the rows around it.
    pub(crate) fn project<B: RowBlocks>(&self, rows: &B, options: &FitOptions) -> Result<Scores, LearnError> {
        Scores::of_rows(rows, self.pca.n_components(), options, |rows| {
            let scaled = if self.normalize_features {
                self.scaler.scale_rows(unit_rows(rows).view())
            } else {
                self.scaler.scale_rows(rows)
            };
            self.pca.project_rows(scaled)
        })
    }

    /// What clusters are made of: the scores, or their directions.
    pub(crate) fn points<B: RowBlocks<Value = f64>>(&self, scores: B) -> UnitRows<B> {
        UnitRows::new(scores, self.normalize)
    }

    /// Whether clusters are made of directions.
    pub(crate) fn is_by_direction(&self) -> bool {
        self.normalize
    }
}

/// The mean of the rows fitted on of each label, in the space that clusters are made in; NaN where a label has none. `None` without
/// any label.
pub(crate) fn label_centres<B: RowBlocks<Value = f64>>(
    points: &B,
    labels: &[Option<u32>],
    fit_on: Option<&[bool]>,
) -> Result<Option<Array2<f64>>, LearnError> {
    let Some(&largest) = labels.iter().flatten().max() else { return Ok(None) };
    let label_count = largest as usize + 1;
    let mut centres = Array2::<f64>::zeros((label_count, points.width()));
    let mut sizes = vec![0_usize; label_count];
    for (block, rows) in read_blocks(points, 0..block_count(points.row_count())).enumerate() {
        for (row_index, row) in (block * ROWS_PER_BLOCK..).zip(rows?.rows()) {
            if let Some(label) = labels[row_index]
                && fit_on.is_none_or(|fit_on| fit_on[row_index])
            {
                let mut centre = centres.row_mut(label as usize);
                centre += &row;
                sizes[label as usize] += 1;
            }
        }
    }
    for (mut centre, size) in centres.rows_mut().into_iter().zip(sizes) {
        // 0 / 0 for a label without rows.
        centre /= size as f64;
    }
    Ok(Some(centres))
}

/// What a model says of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Scores on the components, n x k, before the normalisation.
    pub projected: Array2<f64>,
    /// The cluster of each row, or [`NOISE`].
    pub clusters: Vec<i32>,
    /// The Euclidean distance of each row, in the space that clusters are made in, from its cluster's centre or mean; by
    /// density from the nearest of the rows that the model keeps.
    pub distances: Vec<f64>,
    /// For each row the label whose mean is nearest in that space; `None` if the model was fitted without labels.
    pub nearest_labels: Option<Vec<u32>>,
}

/// What is known of the fit of a clusterer, as far as its algorithm has it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct FitFigures {
    pub(crate) inertia: Option<f64>,
    pub(crate) n_iter: Option<usize>,
    pub(crate) log_likelihood: Option<f64>,
}

/// A fitted chain.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnModel {
    pub(crate) spec: LearnSpec,
    pub(crate) projection: Projection,
    pub(crate) clusterer: Clusterer,
    pub(crate) figures: FitFigures,
    pub(crate) rows_fitted: usize,
    pub(crate) label_centres: Option<Array2<f64>>,
    pub(crate) label_names: Vec<String>,
    pub(crate) lineage: Lineage,
}

impl LearnModel {
    /// The spec it was fitted by.
    pub fn spec(&self) -> &LearnSpec {
        &self.spec
    }

    /// The scaler.
    pub fn scaler(&self) -> &StandardScaler {
        &self.projection.scaler
    }

    /// The principal components.
    pub fn pca(&self) -> &Pca {
        &self.projection.pca
    }

    /// What gives rows their clusters.
    pub fn clusterer(&self) -> &Clusterer {
        &self.clusterer
    }

    /// The centres of KMeans, spherical or not; `None` for another algorithm.
    pub fn kmeans(&self) -> Option<&KMeans> {
        match &self.clusterer {
            Clusterer::KMeans(kmeans) => Some(kmeans),
            Clusterer::GaussianMixture(_) | Clusterer::Density(_) => None,
        }
    }

    /// Width of the feature vectors that it takes.
    pub fn width(&self) -> usize {
        self.projection.scaler.width()
    }

    /// Rows it was fitted on.
    pub fn rows_fitted(&self) -> usize {
        self.rows_fitted
    }

    /// Mean of each label's rows (l x k) in the space that clusters are made in, NaN for a label without rows; `None` without labels.
    pub fn label_centres(&self) -> Option<&Array2<f64>> {
        self.label_centres.as_ref()
    }

    /// Names of the labels by number; empty if none were given.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Gives the labels their names, in the order of their numbers.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] unless there is one name for each label number up to the largest one fitted with.
    pub fn with_label_names(mut self, label_names: Vec<String>) -> Result<Self, LearnError> {
        let expected = self.label_centres.as_ref().map_or(0, Array2::nrows);
        if label_names.len() != expected {
            return Err(LearnError::LengthMismatch { what: "label_names", got: label_names.len(), expected });
        }
        self.label_names = label_names;
        Ok(self)
    }

    /// Where the model comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Says where the model comes from.
    #[must_use]
    pub fn with_lineage(mut self, lineage: Lineage) -> Self {
        self.lineage = lineage;
        self
    }

    /// Scores, cluster, distance and nearest label of rows (n x d). The rows fitted on get exactly what the fit said of them,
    /// in any company. Threads change nothing but the time.
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    pub fn predict_rows<F: Float>(
        &self,
        rows: ArrayView2<'_, F>,
        threads: NonZeroUsize,
    ) -> Result<Predictions, LearnError> {
        check_width(&rows, self.width())?;
        check_finite(rows)?;
        let projected = self.projection.project(&rows, &threads.into())?.into_matrix()?;
        let points = self.clustering_points(&projected);
        let assignment = self.clusterer.assign(&*points, threads)?;
        let nearest_labels = self
            .label_centres
            .as_ref()
            .map(|centres| points.rows().into_iter().map(|row| nearest_label(row, centres)).collect());
        drop(points);
        Ok(Predictions {
            projected,
            clusters: assignment.clusters,
            distances: assignment.distances,
            nearest_labels,
        })
    }
}

/// The number of the nearest label; one without a centre is never it.
fn nearest_label(row: ndarray::ArrayView1<'_, f64>, centres: &Array2<f64>) -> u32 {
    let mut nearest = (0, f64::INFINITY);
    for (label, centre) in centres.rows().into_iter().enumerate() {
        let squared_distance: f64 = row.iter().zip(centre).map(|(left, right)| (left - right).powi(2)).sum();
        if squared_distance < nearest.1 {
            nearest = (label as u32, squared_distance);
        }
    }
    nearest.0
}

impl<F: Float, D: Data<Elem = F>> Transformer<&ArrayBase<D, Ix2>, Result<Array2<f64>, LearnError>>
    for LearnModel
{
    /// Scores of rows (n x d) on the components, n x k.
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn transform(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array2<f64>, LearnError> {
        check_width(&rows.view(), self.width())?;
        check_finite(rows.view())?;
        self.projection.project(&rows.view(), &NonZeroUsize::MIN.into())?.into_matrix()
    }
}

impl<F: Float, D: Data<Elem = F>> Predict<&ArrayBase<D, Ix2>, Result<Array1<i32>, LearnError>>
    for LearnModel
{
    /// Clusters of rows (n x d), or [`NOISE`].
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    fn predict(&self, rows: &ArrayBase<D, Ix2>) -> Result<Array1<i32>, LearnError> {
        Ok(self.predict_rows(rows.view(), NonZeroUsize::MIN)?.clusters.into())
    }
}

/// What `manifest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    /// Version of this crate that wrote the model.
    crate_version: String,
    /// Width of a feature vector.
    width: usize,
    spec: LearnSpec,
    rows_fitted: usize,
    constant_columns: usize,
    pca_solver: PcaSolver,
    inertia: Option<f64>,
    n_iter: Option<usize>,
    #[serde(default)]
    log_likelihood: Option<f64>,
    label_names: Vec<String>,
    lineage: Lineage,
    files: ArrayFiles,
}

impl Manifest {
    fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        parse_manifest(MANIFEST_FILE, bytes, MODEL_FORMAT_VERSION)
    }
}

/// Names of the files that a model's manifest asks for, without the manifest itself.
///
/// # Errors
/// [`ModelError::Manifest`] and [`ModelError::FormatVersion`].
pub fn array_file_names(manifest: &[u8]) -> Result<Vec<String>, ModelError> {
    Ok(Manifest::parse(manifest)?.files.into_keys().collect())
}

const SCALER_MEAN: &str = "scaler_mean.npy";
const SCALER_SCALE: &str = "scaler_scale.npy";
const PCA_MEAN: &str = "pca_mean.npy";
const PCA_COMPONENTS: &str = "pca_components.npy";
const PCA_EXPLAINED_VARIANCE: &str = "pca_explained_variance.npy";
const KMEANS_CENTRES: &str = "kmeans_centres.npy";
const MIXTURE_WEIGHTS: &str = "mixture_weights.npy";
const MIXTURE_MEANS: &str = "mixture_means.npy";
const MIXTURE_COVARIANCES: &str = "mixture_covariances.npy";
const DENSITY_ROWS: &str = "density_rows.npy";
const DENSITY_CLUSTERS: &str = "density_clusters.npy";
const DENSITY_RADII: &str = "density_radii.npy";
const LABEL_CENTRES: &str = "label_centres.npy";

impl LearnModel {
    /// The model as files: name and content, the manifest last. Equal models give equal bytes.
    #[allow(clippy::missing_panics_doc, reason = "it can't")]
    pub fn to_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut arrays: Vec<(&str, CowArray<'_, f64, IxDyn>)> = vec![
            (SCALER_MEAN, self.scaler().mean.view().into_dyn().into()),
            (SCALER_SCALE, self.scaler().scale.view().into_dyn().into()),
            (PCA_MEAN, self.pca().mean.view().into_dyn().into()),
            (PCA_COMPONENTS, self.pca().components.view().into_dyn().into()),
            (PCA_EXPLAINED_VARIANCE, self.pca().explained_variance.view().into_dyn().into()),
        ];
        match &self.clusterer {
            Clusterer::KMeans(kmeans) => {
                arrays.push((KMEANS_CENTRES, kmeans.centres.view().into_dyn().into()));
            }
            Clusterer::GaussianMixture(mixture) => arrays.extend([
                (MIXTURE_WEIGHTS, mixture.weights.view().into_dyn().into()),
                (MIXTURE_MEANS, mixture.means.view().into_dyn().into()),
                (MIXTURE_COVARIANCES, mixture.covariances.view().into_dyn().into()),
            ]),
            Clusterer::Density(density) => arrays.extend([
                (DENSITY_ROWS, density.rows.view().into_dyn().into()),
                (
                    DENSITY_CLUSTERS,
                    density
                        .clusters
                        .iter()
                        .copied()
                        .map(f64::from)
                        .collect::<Array1<f64>>()
                        .into_dyn()
                        .into(),
                ),
                (DENSITY_RADII, aview1(&density.radii).into_dyn().into()),
            ]),
        }
        if let Some(label_centres) = &self.label_centres {
            arrays.push((LABEL_CENTRES, label_centres.view().into_dyn().into()));
        }
        let (mut files, entries) = array_files::write(&arrays);
        let manifest = Manifest {
            format_version: MODEL_FORMAT_VERSION,
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            width: self.width(),
            spec: self.spec.clone(),
            rows_fitted: self.rows_fitted,
            constant_columns: self.scaler().constant_columns,
            pca_solver: self.pca().solver,
            inertia: self.figures.inertia,
            n_iter: self.figures.n_iter,
            log_likelihood: self.figures.log_likelihood,
            label_names: self.label_names.clone(),
            lineage: self.lineage.clone(),
            files: entries,
        };
        let mut manifest = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
        manifest.push(b'\n');
        files.push((MANIFEST_FILE.to_owned(), manifest));
        files
    }

    /// The model in these files, exactly as it was written. Files that the manifest doesn't name are ignored.
    ///
    /// # Errors
    /// [`ModelError`] with the first thing that isn't as the manifest says.
    pub fn from_files(files: &[(String, Vec<u8>)]) -> Result<Self, ModelError> {
        let manifest = Manifest::parse(array_files::content(files, MANIFEST_FILE)?)?;
        let array = |file: &str| array_files::read(files, MANIFEST_FILE, &manifest.files, file);
        let scaler = StandardScaler {
            mean: of_dimension(SCALER_MEAN, array(SCALER_MEAN)?)?,
            scale: of_dimension(SCALER_SCALE, array(SCALER_SCALE)?)?,
            with_mean: manifest.spec.scaler.with_mean,
            constant_columns: manifest.constant_columns,
        };
        let pca = Pca {
            mean: of_dimension(PCA_MEAN, array(PCA_MEAN)?)?,
            components: of_dimension(PCA_COMPONENTS, array(PCA_COMPONENTS)?)?,
            explained_variance: of_dimension(PCA_EXPLAINED_VARIANCE, array(PCA_EXPLAINED_VARIANCE)?)?,
            whiten: manifest.spec.pca.whiten,
            solver: manifest.pca_solver,
        };
        let figures = FitFigures {
            inertia: manifest.inertia,
            n_iter: manifest.n_iter,
            log_likelihood: manifest.log_likelihood,
        };
        let clusterer = match manifest.spec.algorithm {
            Algorithm::KMeans | Algorithm::SphericalKMeans => {
                let (Some(inertia), Some(n_iter)) = (figures.inertia, figures.n_iter) else {
                    return Err(ModelError::Manifest {
                        file: MANIFEST_FILE,
                        reason: "KMeans without inertia or n_iter".to_owned(),
                    });
                };
                let centres = of_dimension(KMEANS_CENTRES, array(KMEANS_CENTRES)?)?;
                Clusterer::KMeans(KMeans { centres, inertia, n_iter })
            }
            Algorithm::GaussianMixture => Clusterer::GaussianMixture(read_mixture(
                of_dimension(MIXTURE_WEIGHTS, array(MIXTURE_WEIGHTS)?)?,
                of_dimension(MIXTURE_MEANS, array(MIXTURE_MEANS)?)?,
                of_dimension(MIXTURE_COVARIANCES, array(MIXTURE_COVARIANCES)?)?,
            )?),
            Algorithm::Dbscan | Algorithm::Hdbscan => Clusterer::Density(read_density(
                of_dimension(DENSITY_ROWS, array(DENSITY_ROWS)?)?,
                &of_dimension(DENSITY_CLUSTERS, array(DENSITY_CLUSTERS)?)?,
                &of_dimension(DENSITY_RADII, array(DENSITY_RADII)?)?,
            )?),
        };
        let label_centres = if manifest.files.contains_key(LABEL_CENTRES) {
            Some(of_dimension(LABEL_CENTRES, array(LABEL_CENTRES)?)?)
        } else {
            None
        };
        let model = Self {
            projection: Projection::new(&manifest.spec, scaler, pca),
            spec: manifest.spec,
            clusterer,
            figures,
            rows_fitted: manifest.rows_fitted,
            label_centres,
            label_names: manifest.label_names,
            lineage: manifest.lineage,
        };
        model.check_parts(manifest.width)?;
        Ok(model)
    }

    /// Checks that the arrays fit together, so that nothing can go wrong when they are applied.
    fn check_parts(&self, width: usize) -> Result<(), ModelError> {
        let (scaler, pca) = (self.scaler(), self.pca());
        let n_components = pca.n_components();
        let (clusters_file, clusters) = match &self.clusterer {
            Clusterer::KMeans(kmeans) => (KMEANS_CENTRES, &kmeans.centres),
            Clusterer::GaussianMixture(mixture) => (MIXTURE_MEANS, &mixture.means),
            Clusterer::Density(density) => (DENSITY_ROWS, &density.rows),
        };
        let lengths = [
            (SCALER_MEAN, scaler.mean.len(), width),
            (SCALER_SCALE, scaler.scale.len(), width),
            (PCA_MEAN, pca.mean.len(), width),
            (PCA_COMPONENTS, pca.components.ncols(), width),
            (clusters_file, clusters.ncols(), n_components),
            (LABEL_CENTRES, self.label_centres.as_ref().map_or(n_components, Array2::ncols), n_components),
        ];
        for (file, found, expected) in lengths {
            if found != expected {
                return Err(inconsistent(format!("`{file}` has {found} columns instead of {expected}")));
            }
        }
        let label_count = self.label_centres.as_ref().map_or(0, Array2::nrows);
        if !self.label_names.is_empty() && self.label_names.len() != label_count {
            return Err(inconsistent(format!(
                "{} label names for {label_count} labels",
                self.label_names.len()
            )));
        }
        if width == 0 || n_components == 0 || self.clusterer.n_clusters() == 0 {
            return Err(inconsistent("it has no columns, components or clusters".to_owned()));
        }
        if pca.explained_variance.len() < n_components {
            return Err(inconsistent(format!(
                "`{PCA_EXPLAINED_VARIANCE}` is shorter than the {n_components} components"
            )));
        }
        let numbers = [
            (SCALER_MEAN, scaler.mean.iter().all(|value| value.is_finite())),
            (SCALER_SCALE, scaler.scale.iter().all(|&value| value > 0.0)),
            (PCA_MEAN, pca.mean.iter().all(|value| value.is_finite())),
            (PCA_COMPONENTS, pca.components.iter().all(|value| value.is_finite())),
            (
                PCA_EXPLAINED_VARIANCE,
                pca.explained_variance.iter().all(|&value| value >= 0.0 && value.is_finite()),
            ),
            (clusters_file, clusters.iter().all(|value| value.is_finite())),
        ];
        match numbers.iter().find(|(_, sound)| !sound) {
            Some((file, _)) => Err(inconsistent(format!("`{file}` holds a number that it can't hold"))),
            None => Ok(()),
        }
    }
}

/// The mixture of these arrays, if they make one.
fn read_mixture(
    weights: Array1<f64>,
    means: Array2<f64>,
    covariances: Array3<f64>,
) -> Result<GaussianMixture, ModelError> {
    let (components, width) = means.dim();
    if weights.len() != components || covariances.dim() != (components, width, width) {
        return Err(inconsistent("the mixture's arrays are of different components or columns".to_owned()));
    }
    if width > MAX_MIXTURE_WIDTH {
        return Err(inconsistent(format!("`{MIXTURE_MEANS}` has more than {MAX_MIXTURE_WIDTH} columns")));
    }
    if !weights.iter().all(|&weight| weight >= 0.0 && weight.is_finite()) {
        return Err(inconsistent(format!("`{MIXTURE_WEIGHTS}` holds a number that it can't hold")));
    }
    GaussianMixture::from_parts(weights, means, covariances)
        .ok_or_else(|| inconsistent(format!("`{MIXTURE_COVARIANCES}` holds a matrix that is no covariance")))
}

/// The clusters by density of these arrays, if they make some.
fn read_density(
    rows: Array2<f64>,
    clusters: &Array1<f64>,
    radii: &Array1<f64>,
) -> Result<DensityClusters, ModelError> {
    let row_count = rows.nrows();
    if clusters.len() != row_count || radii.len() != row_count {
        return Err(inconsistent("the arrays of clusters by density are of different rows".to_owned()));
    }
    let numbers = f64::from(NOISE)..row_count as f64;
    if !clusters.iter().all(|cluster| cluster.fract() == 0.0 && numbers.contains(cluster)) {
        return Err(inconsistent(format!("`{DENSITY_CLUSTERS}` holds a number that is no cluster's")));
    }
    if !radii.iter().all(|&radius| radius >= 0.0 && radius.is_finite()) {
        return Err(inconsistent(format!("`{DENSITY_RADII}` holds a number that it can't hold")));
    }
    let clusters = clusters.iter().map(|&cluster| cluster as i32).collect();
    Ok(DensityClusters { rows, clusters, radii: radii.to_vec() })
}

fn inconsistent(reason: String) -> ModelError {
    ModelError::Inconsistent { reason }
}
