//! What can go wrong while fitting or applying a model, and what to do about it.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::density::MAX_DENSITY_ROWS;
use crate::mixture::MAX_MIXTURE_WIDTH;
use crate::pca::{MAX_COVARIANCE_WIDTH, MAX_GRAM_ROWS};

/// Why a fit, or the use of a fitted model on new rows, was refused.
///
/// Every message ends with what to change. Row numbers count from 0 in the features handed in, so the caller, who knows
/// which photo a row is, can name it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// There is no row to fit on.
    #[error(
        "there are no rows to fit on; give at least two photos that can be read (or a split that selects some)"
    )]
    NoRows,
    /// Too few rows for a variance.
    #[error("there are {rows} rows to fit on, but {needed} are needed; add photos")]
    TooFewRows {
        /// Rows to fit on.
        rows: usize,
        /// The least number that works.
        needed: usize,
    },
    /// The rows have no columns.
    #[error("the feature vectors have width 0; extract features with a model whose output isn't empty")]
    NoColumns,
    /// More clusters than rows.
    #[error(
        "{n_clusters} clusters were asked for, but there are only {rows} rows to fit on; ask for at most {rows} clusters or add photos"
    )]
    MoreClustersThanRows {
        /// Rows to fit on.
        rows: usize,
        /// Clusters asked for.
        n_clusters: usize,
    },
    /// More principal components than the data can have.
    #[error(
        "{requested} components were asked for, but {rows} rows of width {width} have at most {most}; ask for at most {most} components, or for a share of variance such as 0.95"
    )]
    TooManyComponents {
        /// Components asked for.
        requested: usize,
        /// `min(rows, width)`.
        most: usize,
        /// Rows to fit on.
        rows: usize,
        /// Width of a row.
        width: usize,
    },
    /// Neither exact way of finding the components fits in its bound.
    #[error(
        "features of width {width} are too wide for {rows} rows: exact PCA takes up to {MAX_COVARIANCE_WIDTH} columns, or up to {MAX_GRAM_ROWS} rows of any width; use max or avg pooling instead of flatten, or fit on at most {MAX_GRAM_ROWS} photos"
    )]
    TooWide {
        /// Width of a row.
        width: usize,
        /// Rows to fit on.
        rows: usize,
    },
    /// A feature is NaN or infinite.
    #[error(
        "row {row}, column {column} holds {value}, which is no finite number; extract that photo's features again or leave it out"
    )]
    NotFinite {
        /// Row in the features handed in, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// New rows don't have the width that the model was fitted on.
    #[error(
        "rows of width {got} were given to a model of width {expected}; extract the features with the model that it was fitted on"
    )]
    WidthMismatch {
        /// Width of the rows handed in.
        got: usize,
        /// Width that the model was fitted on.
        expected: usize,
    },
    /// Two inputs that describe the same rows differ in length.
    #[error("{what} has {got} entries, but there are {expected} rows; give one entry for each row")]
    LengthMismatch {
        /// The input that is too long or too short.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The number of rows.
        expected: usize,
    },
    /// A parameter is outside of its range.
    #[error("{name} is {value}, but must be {allowed}")]
    InvalidParameter {
        /// The parameter's name as in the spec.
        name: &'static str,
        /// Its value.
        value: String,
        /// The range in words.
        allowed: &'static str,
    },
    /// A share of a variance that is zero.
    #[error(
        "all rows to fit on are equal, so no number of components keeps a share of the variance; give the number of components as a count"
    )]
    NoVariance,
    /// Components too many for the covariances of a Gaussian mixture.
    #[error(
        "{width} components are too many for a Gaussian mixture, which takes up to {MAX_MIXTURE_WIDTH}; ask for fewer components"
    )]
    TooWideForMixture {
        /// Components kept.
        width: usize,
    },
    /// A component of a Gaussian mixture has shrunk to fewer dimensions than the rows have.
    #[error(
        "a component of the Gaussian mixture lies in fewer dimensions than there are components of the features (reg_covar {reg_covar}); ask for fewer components or clusters, or raise reg_covar"
    )]
    MixtureCollapsed {
        /// What was added to the variances.
        reg_covar: f64,
    },
    /// Too many rows to compare all pairs of them.
    #[error(
        "{rows} rows are too many for clusters by density, which take up to {MAX_DENSITY_ROWS}; use KMeans, or fit on a split"
    )]
    TooManyRows {
        /// Rows to fit on.
        rows: usize,
    },
    /// Clusters by density that aren't there.
    #[error(
        "all rows are noise: nowhere do rows lie close enough together; raise eps (for DBSCAN) or lower min_samples or min_cluster_size"
    )]
    OnlyNoise,
    /// The silhouette is undefined for every number of clusters tried.
    #[error(
        "no number of clusters could be chosen: the rows to fit on don't fall apart into two groups; give the number of clusters"
    )]
    NoClustersToChoose,
    /// The same block of rows was added to a sum twice.
    #[error("block {block} was added twice; add each block of rows once")]
    BlockAddedTwice {
        /// First of the doubled blocks, from 0.
        block: u64,
    },
    /// The source of the rows failed.
    #[error("the rows can't be read: {source}; see to it and run again")]
    Unread {
        /// What the source says.
        source: Cause,
    },
    /// A source of rows gives other blocks than it says.
    #[error(
        "block {block} of the rows is {} x {} instead of {} x {}; read the same files, whole, in every pass",
        got.0, got.1, expected.0, expected.1
    )]
    BlockShape {
        /// The block, from 0.
        block: usize,
        /// Rows and columns of what was read; 0 x 0 for no block at all.
        got: (usize, usize),
        /// Rows and columns that it should have.
        expected: (usize, usize),
    },
    /// A row is of another width than all are said to be.
    #[error("row {row} has {got} values instead of {expected}; give rows of one width")]
    RowWidth {
        /// Row in the features handed in, from 0.
        row: usize,
        /// Its width.
        got: usize,
        /// The width of all rows.
        expected: usize,
    },
    /// Scores that don't fit into the memory budget can't be kept in a file either.
    #[error(
        "the scores can't be kept in a scratch file in `{}`: {source}; make room there, name another folder, or give the fit more memory",
        folder.display()
    )]
    Scratch {
        /// The folder of the file.
        folder: PathBuf,
        /// What the operating system says.
        source: Cause,
    },
    /// A Gaussian mixture that doesn't fit into the memory budget.
    #[error(
        "a Gaussian mixture of these rows takes {needed_bytes} bytes in memory, the budget is {budget_bytes}; use KMeans, which takes any number of rows, or keep fewer components, fit on a split, or give the fit more memory"
    )]
    MixtureBeyondMemory {
        /// 8 bytes for each row fitted on and each component of the features and of the mixture.
        needed_bytes: u64,
        /// What the fit may take.
        budget_bytes: u64,
    },
    /// The eigenvalue iteration did not converge, which finite symmetric matrices don't show in practice.
    #[error(
        "the eigenvalues of a {size} x {size} covariance matrix could not be found; please report it together with the features"
    )]
    EigenvaluesNotFound {
        /// Rows (and columns) of the matrix.
        size: usize,
    },
    /// There is nothing to tell apart.
    #[error("the rows to train on have {labels} labels, but 2 are needed; add photos of another label")]
    TooFewLabels {
        /// Labels of the rows to train on.
        labels: usize,
    },
    /// A label has too few rows to train and to test on.
    #[error("label {label} has {rows} rows, but {needed} are needed; add photos of it or leave it out")]
    TooFewRowsOfLabel {
        /// The label's number.
        label: u32,
        /// Rows with that label.
        rows: usize,
        /// The least number that works.
        needed: usize,
    },
    /// The descent of a classifier's loss stopped with an error, which finite features don't show in practice.
    #[error("the classifier couldn't be trained: {reason}; please report it together with the features")]
    DescentFailed {
        /// What the optimiser says.
        reason: String,
    },
    /// The operating system refused a thread.
    #[error("a thread couldn't be started: {reason}; allow this process more threads")]
    ThreadNotStarted {
        /// What the operating system says.
        reason: String,
    },
    /// linfa's own checks; its traits ask for this conversion.
    #[error("linfa refused the data: {0}")]
    Linfa(String),
}

impl LearnError {
    /// The error of a source of rows that can't be read, for [`RowBlocks::read`](crate::RowBlocks::read).
    pub fn unread(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unread { source: Cause::new(error) }
    }
}

/// An error of someone else's, which a [`LearnError`] is made of: two are equal if they say the same.
#[derive(Debug, Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The error itself, to be asked what it is.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl From<linfa::Error> for LearnError {
    fn from(error: linfa::Error) -> Self {
        Self::Linfa(error.to_string())
    }
}

/// Why files could not be read as a fitted model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file that the manifest names, or the manifest itself, isn't there.
    #[error("`{file}` is missing from the model; copy the whole model folder or fit again")]
    MissingFile {
        /// Name inside of the model folder.
        file: String,
    },
    /// The manifest is no valid JSON of the expected form.
    #[error(
        "`{file}` can't be read as a model manifest: {reason}; copy the whole model folder again or fit again"
    )]
    Manifest {
        /// Name of the manifest inside of the model folder.
        file: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// The model was written in a form that this version doesn't know.
    #[error(
        "the model has format version {found}, this program reads up to version {supported}; use the program version {written_by} that wrote it, or fit again"
    )]
    FormatVersion {
        /// The version in the manifest.
        found: u32,
        /// The version that this crate writes, and the last that it reads.
        supported: u32,
        /// The crate version that wrote the manifest.
        written_by: String,
    },
    /// A file isn't the one that the manifest was written for.
    #[error(
        "`{file}` has sha256 {found}, the manifest says {expected}; the file was changed: copy the whole model folder again or fit again"
    )]
    Digest {
        /// Name inside of the model folder.
        file: String,
        /// Digest of the bytes found, in hex.
        found: String,
        /// Digest in the manifest, in hex.
        expected: String,
    },
    /// A file isn't an array of the form that this crate writes.
    #[error(
        "`{file}` isn't the array that the manifest describes: {reason}; copy the whole model folder again or fit again"
    )]
    Array {
        /// Name inside of the model folder.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The arrays don't fit together.
    #[error("the model's parts don't fit together: {reason}; fit again")]
    Inconsistent {
        /// What doesn't fit.
        reason: String,
    },
}
