//! Scaler, PCA, KMeans and their figures over feature vectors: numbers in, numbers out.
//!
//! [`fit`] runs the whole chain and returns a [`LearnModel`] with the scores, clusters and figures of all rows:
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use fruitbatch_learn::{ClusterCount, Components, LearnModel, LearnSpec, fit};
//! use ndarray::Array2;
//!
//! // Two groups of ten rows, far from each other.
//! let features = Array2::from_shape_fn((20, 3), |(row, column)| {
//!     (100 * (row / 10) + (row * 7 + column * 5) % 11) as f32
//! });
//! let mut spec = LearnSpec::default();
//! spec.pca.n_components = Components::Count(2);
//! spec.kmeans.n_clusters = ClusterCount::Count(2);
//! let labels: Vec<Option<u32>> = (0..20).map(|row| Some(row / 10)).collect();
//!
//! let fitted = fit(features.view(), None, Some(&labels), &spec, NonZeroUsize::MIN)?;
//! assert_eq!(fitted.report.ari, Some(1.0));
//! assert_eq!(fitted.report.explained_variance_ratio.len(), 3);
//!
//! // Kept as files, read again, applied to new rows.
//! let model = LearnModel::from_files(&fitted.model.to_files())?;
//! let predictions = model.predict_rows(features.view(), NonZeroUsize::MIN)?;
//! assert_eq!(predictions.clusters, fitted.clusters);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The steps
//! | step | type | as |
//! |---|---|---|
//! | scaler | [`StandardScaler`] | scikit-learn's or Spark ML's |
//! | components | [`Pca`] | exact, whole spectrum |
//! | clusters | [`KMeans`] | scikit-learn's start and stopping rule; also by direction (spherical) |
//! | | [`GaussianMixture`] | full covariances, scikit-learn's steps |
//! | | [`DensityClusters`] | DBSCAN and HDBSCAN, with noise |
//! | number of clusters | [`choose_n_clusters`] | highest mean silhouette |
//! | figures | [`metrics`] | scikit-learn's values |
//!
//! Beside the chain, [`tsne`] shows scores in the plane, and [`classifier`] learns labels from features.
//!
//! Each step stands by itself behind linfa's traits: parameters are checked by [`linfa::ParamGuard`], fitted by
//! [`linfa::traits::Fit`], applied by [`linfa::traits::Transformer`] and [`linfa::traits::Predict`] (which return a `Result`
//! here, because rows may be of the wrong width or not finite). Inputs are f32 or f64; all arithmetic is f64.
//!
//! ```
//! use fruitbatch_learn::KMeans;
//! use linfa::traits::{Fit, Predict};
//! use ndarray::array;
//!
//! let rows = linfa::DatasetBase::from(array![[0.0], [0.5], [10.0], [10.5], [11.0]]);
//! let kmeans = KMeans::params(2).seed(7).fit(&rows)?;
//! // Cluster 0 is the largest.
//! assert_eq!(kmeans.predict(&rows.records)?, array![1, 1, 0, 0, 0]);
//! # Ok::<(), fruitbatch_learn::LearnError>(())
//! ```
//!
//! # The same bits, however it is run
//! Sums that decide results go over fixed blocks of rows that are merged in a fixed tree (see [`blocks`]), and all random
//! numbers come from the spec's seed. So the same rows in the same order give the same bits on one kind of processor, whatever
//! the number of threads and however [`moments`] were dealt out to executors.
//!
//! # Features beyond memory
//! [`fit`] takes its features from a [`RowBlocks`]: a matrix, rows that lie apart ([`RowsByNumber`]), or whatever reads them block
//! by block from elsewhere, twice. Scores beyond a budget ([`FitOptions`]) lie in a scratch file ([`Scores`]). There is one way
//! for all of them, and so the same bits.
//!
//! # Why not `linfa_reduction::Pca`
//! Version 0.8.1 finds a few components by LOBPCG: it panics for k = 2 on common data, is off by up to 62 % for k above a
//! fifth of the width, its ratios cover only what it kept, and its `explained_variance` divides by `k - 1` where the number
//! of rows belongs. Where it is right, the tests compare with it.

mod array_files;
pub mod blocks;
mod chosen_rows;
pub mod classifier;
mod cluster_choice;
mod clusterer;
pub mod density;
mod eigen;
mod error;
mod fit;
mod fit_options;
pub mod kmeans;
mod membership;
pub mod metrics;
pub mod mixture;
pub mod model;
pub mod moments;
pub mod neighbours;
mod npy;
pub mod pca;
mod row_blocks;
mod rows;
pub mod scaler;
mod scores;
pub mod spec;
pub mod tsne;

pub use cluster_choice::{
    ClusterChoice, MAX_CHOICE_ROWS, MAX_CHOSEN_CLUSTERS, TriedClusters, choose_n_clusters,
};
pub use clusterer::Clusterer;
pub use density::{DensityClusters, NOISE};
pub use error::{Cause, LearnError, ModelError};
pub use fit::{FitReport, FitTimings, Fitted, evaluate, fit};
pub use fit_options::FitOptions;
pub use kmeans::{KMeans, KMeansInit, KMeansParams, KMeansValidParams, Restarts};
pub use membership::fuzzy_membership;
pub use mixture::GaussianMixture;
pub use model::{LearnModel, Lineage, Predictions};
pub use pca::{Components, Pca, PcaParams, PcaSolver, PcaValidParams};
pub use row_blocks::{RowBlocks, RowsByNumber};
pub use scaler::{ConstantColumns, StandardScaler, StandardScalerParams, StandardScalerValidParams};
pub use scores::Scores;
pub use spec::{
    Algorithm, ClusterCount, DbscanSpec, GaussianMixtureSpec, HdbscanSpec, KMeansSpec, LearnSpec, PcaSpec,
    Preset, ScalerSpec,
};
