//! What to fit: every choice that decides the result, in one place that can be written down and compared.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

use linfa::ParamGuard;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kmeans::{KMeans, KMeansInit, KMeansParams};
use crate::pca::{Components, Pca, PcaParams, PcaSolver};
use crate::scaler::{ConstantColumns, StandardScaler, StandardScalerParams};
use crate::{LearnError, MAX_CHOSEN_CLUSTERS};

/// The whole chain: scaler, PCA, optional normalisation, clusters.
///
/// Threads are no part of it, because they don't change the result. Unknown keys are refused.
///
/// ```
/// use fruitbatch_learn::{Components, LearnSpec, Preset};
///
/// let spec: LearnSpec = serde_json::from_str(r#"{"pca": {"n_components": 0.95}, "kmeans": {"n_clusters": 4}}"#)?;
/// assert_eq!(spec.pca.n_components, Components::VarianceShare(0.95));
/// assert!(spec.scaler.with_mean);
/// assert!(!LearnSpec::preset(Preset::SparkMl).scaler.with_mean);
/// assert!(serde_json::from_str::<LearnSpec>(r#"{"kmean": {}}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearnSpec {
    /// Before the first step, off by default: each row of features is divided by its Euclidean length (scikit-learn's
    /// `Normalizer`). Rows of zeros stay.
    pub normalize_features: bool,
    /// First step: the columns' means and scales.
    pub scaler: ScalerSpec,
    /// Second step: principal components of the scaled rows.
    pub pca: PcaSpec,
    /// Third step, off by default: each row of scores (whitened, if that is on) is divided by its Euclidean length, so that
    /// clusters and distances compare directions. Rows of zeros stay. The scores that are reported are those before it.
    /// [`Algorithm::SphericalKMeans`] always has it.
    pub normalize: bool,
    /// Last step: clusters of the rows of scores, and by what.
    pub algorithm: Algorithm,
    /// KMeans' choices. Those of numbers and seed are every algorithm's that has them.
    pub kmeans: KMeansSpec,
    /// The Gaussian mixture's choices.
    pub gaussian_mixture: GaussianMixtureSpec,
    /// DBSCAN's choices.
    pub dbscan: DbscanSpec,
    /// HDBSCAN's choices.
    pub hdbscan: HdbscanSpec,
}

/// How rows of scores become clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The nearest of k centres.
    #[default]
    #[serde(rename = "kmeans")]
    KMeans,
    /// The nearest of k directions: rows and centres have length 1.
    #[serde(rename = "spherical-kmeans")]
    SphericalKMeans,
    /// The most probable of k normal distributions with full covariances.
    GaussianMixture,
    /// As many clusters as there are dense places of one density; the rest is noise.
    Dbscan,
    /// As many clusters as there are dense places of any density; the rest is noise.
    Hdbscan,
}

/// The Gaussian mixture's part of a [`LearnSpec`]: scikit-learn's defaults. It starts from the clusters of KMeans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianMixtureSpec {
    /// The gain in the mean logarithm of the rows' densities at which a fit stops.
    pub tol: f64,
    /// The most rounds.
    pub max_iter: usize,
    /// Added to each variance, so that covariances keep an inverse.
    pub reg_covar: f64,
}

/// DBSCAN's part of a [`LearnSpec`]: scikit-learn's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DbscanSpec {
    /// The Euclidean distance up to which rows are neighbours, in the space of the scores (between 0 and 2 if they are
    /// normalised).
    pub eps: f64,
    /// Neighbours that make a row a core row, itself counted.
    pub min_samples: usize,
}

/// HDBSCAN's part of a [`LearnSpec`]: scikit-learn's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdbscanSpec {
    /// The fewest rows that are a cluster, from 2 up.
    pub min_cluster_size: usize,
    /// The neighbour, the row itself counted, whose distance is a row's own measure of density; `min_cluster_size` if null.
    pub min_samples: Option<usize>,
}

/// The scaler's part of a [`LearnSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScalerSpec {
    /// Subtract each column's mean.
    pub with_mean: bool,
    /// Divide by each column's standard deviation.
    pub with_std: bool,
    /// The variance divides by `rows - ddof`; 0 or 1.
    pub ddof: u8,
    /// What becomes of columns without variance.
    pub constant_columns: ConstantColumns,
}

/// PCA's part of a [`LearnSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PcaSpec {
    /// How many components to keep: a count or a share of variance.
    pub n_components: Components,
    /// Divide each column of scores by its standard deviation.
    pub whiten: bool,
    /// Subtract the mean of the scaled rows before projecting them.
    pub centre: bool,
}

/// KMeans' part of a [`LearnSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KMeansSpec {
    /// Number of clusters, a range to choose from, or `auto`.
    pub n_clusters: ClusterCount,
    /// How first centres are drawn.
    pub init: KMeansInit,
    /// Runs with different first centres.
    pub n_init: usize,
    /// The most rounds of a run.
    pub max_iter: usize,
    /// The squared shift of all centres at which a run stops, as a share of the columns' mean variance.
    pub tol: f64,
    /// Start of the random numbers, also of those that draw samples for silhouettes.
    pub seed: u64,
}

/// A number of clusters, or numbers to choose from. As text: `4`, `2..20` (both ends included) or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterCount {
    /// So many.
    Count(usize),
    /// Chosen by [`choose_n_clusters`](crate::choose_n_clusters) from these and all between them.
    Range {
        /// The least number tried, from 2 up.
        least: usize,
        /// The greatest number tried, up to [`MAX_CHOSEN_CLUSTERS`].
        most: usize,
    },
    /// The range 2 to 20.
    #[default]
    Auto,
}

/// A named set of choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// scikit-learn's `StandardScaler()`, `PCA(n_components=10)`, `KMeans(n_init=10)`.
    #[default]
    Plain,
    /// What `pyspark.ml.feature.StandardScaler()`, `PCA(k=10)` and KMeans give: columns scaled with ddof 1 but not
    /// centred, constant columns 0, components of the centred covariance but rows projected uncentred. KMeans has the same
    /// aim in both; ours starts from k-means++ and keeps the best of `n_init` runs, where Spark's k-means|| runs once.
    SparkMl,
    /// Photos compared by cosine: components that keep 80 % of the variance, clusters of directions (spherical KMeans,
    /// the best of 20 runs). For
    /// photos of one thing each, whose features differ in strength as much as in kind: docs/clustering.md has what it gains.
    Cosine,
}

impl LearnSpec {
    /// The choices of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Plain => Self::default(),
            Preset::SparkMl => Self {
                scaler: ScalerSpec {
                    with_mean: false,
                    with_std: true,
                    ddof: 1,
                    constant_columns: ConstantColumns::Zeroed,
                },
                pca: PcaSpec { centre: false, ..PcaSpec::default() },
                ..Self::default()
            },
            Preset::Cosine => Self {
                pca: PcaSpec { n_components: Components::VarianceShare(0.8), ..PcaSpec::default() },
                algorithm: Algorithm::SphericalKMeans,
                kmeans: KMeansSpec { n_init: 20, ..KMeansSpec::default() },
                ..Self::default()
            },
        }
    }

    /// Checks every value by itself, before there are any rows.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] with the first value that is out of its range.
    pub fn check(&self) -> Result<(), LearnError> {
        self.scaler.params().check_ref()?;
        self.pca.params().check_ref()?;
        self.kmeans.n_clusters.check()?;
        self.kmeans.params(1, NonZeroUsize::MIN).check_ref()?;
        let from_zero = |value: f64| value >= 0.0 && value.is_finite();
        let (mixture, dbscan, hdbscan) = (&self.gaussian_mixture, &self.dbscan, &self.hdbscan);
        let rules = [
            ("tol", mixture.tol.to_string(), from_zero(mixture.tol), "a finite number from 0 up"),
            ("max_iter", mixture.max_iter.to_string(), mixture.max_iter > 0, "at least 1"),
            (
                "reg_covar",
                mixture.reg_covar.to_string(),
                from_zero(mixture.reg_covar),
                "a finite number from 0 up",
            ),
            (
                "eps",
                dbscan.eps.to_string(),
                from_zero(dbscan.eps) && dbscan.eps > 0.0,
                "a finite number above 0",
            ),
            ("min_samples", dbscan.min_samples.to_string(), dbscan.min_samples > 0, "at least 1"),
            (
                "min_cluster_size",
                hdbscan.min_cluster_size.to_string(),
                hdbscan.min_cluster_size > 1,
                "at least 2",
            ),
            (
                "min_samples",
                hdbscan.min_samples.unwrap_or(1).to_string(),
                hdbscan.min_samples != Some(0),
                "at least 1",
            ),
        ];
        match rules.into_iter().find(|(_, _, is_sound, _)| !is_sound) {
            Some((name, value, _, allowed)) => Err(LearnError::InvalidParameter { name, value, allowed }),
            None => Ok(()),
        }
    }

    /// Whether features of this width can be fitted exactly, to be asked before any are extracted: by which way, or why not.
    /// `rows` is the most rows that there can be, such as the number of photos listed.
    ///
    /// # Errors
    /// [`LearnError::TooWide`] if not, [`LearnError::NoColumns`] for a width of 0.
    pub fn check_width(width: usize, rows: usize) -> Result<PcaSolver, LearnError> {
        if width == 0 { Err(LearnError::NoColumns) } else { PcaSolver::for_size(rows, width) }
    }
}

impl ScalerSpec {
    pub(crate) fn params(&self) -> StandardScalerParams {
        StandardScaler::params()
            .with_mean(self.with_mean)
            .with_std(self.with_std)
            .ddof(self.ddof)
            .constant_columns(self.constant_columns)
    }
}

impl PcaSpec {
    pub(crate) fn params(&self) -> PcaParams {
        Pca::params(self.n_components).whiten(self.whiten).centre(self.centre)
    }
}

impl KMeansSpec {
    pub(crate) fn params(&self, n_clusters: usize, threads: NonZeroUsize) -> KMeansParams {
        KMeans::params(n_clusters)
            .init(self.init)
            .n_init(self.n_init)
            .max_iter(self.max_iter)
            .tol(self.tol)
            .seed(self.seed)
            .threads(threads)
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::KMeans, Self::SphericalKMeans, Self::GaussianMixture, Self::Dbscan, Self::Hdbscan];

    /// Whether it is told a number of clusters; the others find theirs.
    pub fn takes_n_clusters(self) -> bool {
        match self {
            Self::KMeans | Self::SphericalKMeans | Self::GaussianMixture => true,
            Self::Dbscan | Self::Hdbscan => false,
        }
    }
}

impl Default for GaussianMixtureSpec {
    fn default() -> Self {
        Self { tol: 1e-3, max_iter: 100, reg_covar: 1e-6 }
    }
}

impl Default for DbscanSpec {
    fn default() -> Self {
        Self { eps: 0.5, min_samples: 5 }
    }
}

impl Default for HdbscanSpec {
    fn default() -> Self {
        Self { min_cluster_size: 5, min_samples: None }
    }
}

impl Default for ScalerSpec {
    fn default() -> Self {
        Self { with_mean: true, with_std: true, ddof: 0, constant_columns: ConstantColumns::Unscaled }
    }
}

impl Default for PcaSpec {
    fn default() -> Self {
        Self { n_components: Components::default(), whiten: false, centre: true }
    }
}

impl Default for KMeansSpec {
    fn default() -> Self {
        Self {
            n_clusters: ClusterCount::Auto,
            init: KMeansInit::KMeansPlusPlus,
            n_init: 10,
            max_iter: 300,
            tol: 1e-4,
            seed: 0,
        }
    }
}

impl ClusterCount {
    /// The numbers to choose from, both ends included; a given number alone.
    pub fn candidates(self) -> RangeInclusive<usize> {
        match self {
            Self::Count(count) => count..=count,
            Self::Range { least, most } => least..=most,
            Self::Auto => 2..=20,
        }
    }

    /// Checks the range of the numbers themselves.
    fn check(self) -> Result<(), LearnError> {
        let is_sound = match self {
            Self::Count(count) => count > 0,
            Self::Range { least, most } => 2 <= least && least <= most && most <= MAX_CHOSEN_CLUSTERS,
            Self::Auto => true,
        };
        if is_sound { Ok(()) } else { Err(invalid_cluster_count(self.to_string())) }
    }

    /// Checks that the least number to choose from leaves fewer clusters than rows, as a silhouette needs.
    pub(crate) fn check_rows(self, rows: usize) -> Result<(), LearnError> {
        let needed = self.candidates().start() + 1;
        match self {
            Self::Range { .. } | Self::Auto if rows < needed => Err(LearnError::TooFewRows { rows, needed }),
            _ => Ok(()),
        }
    }
}

fn invalid_cluster_count(value: String) -> LearnError {
    LearnError::InvalidParameter {
        name: "n_clusters",
        value,
        allowed: "a whole number from 1, a range such as 2..20 (both ends included, between 2 and 200), or `auto`",
    }
}

impl fmt::Display for ClusterCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Range { least, most } => write!(formatter, "{least}..{most}"),
            Self::Auto => formatter.write_str("auto"),
        }
    }
}

impl FromStr for ClusterCount {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        let invalid = || invalid_cluster_count(text.to_owned());
        let number = |text: &str| text.parse().map_err(|_| invalid());
        let n_clusters = match text.split_once("..") {
            _ if text == "auto" => Self::Auto,
            Some((least, most)) => Self::Range { least: number(least)?, most: number(most)? },
            None => Self::Count(number(text)?),
        };
        n_clusters.check().map_err(|_| invalid())?;
        Ok(n_clusters)
    }
}

/// In a spec, a count is a number, a range and `auto` are strings.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ClusterCountText {
    Count(usize),
    Name(String),
}

impl Serialize for ClusterCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => ClusterCountText::Count(*count),
            Self::Range { .. } | Self::Auto => ClusterCountText::Name(self.to_string()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClusterCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ClusterCountText::deserialize(deserializer)? {
            ClusterCountText::Count(count) => Ok(Self::Count(count)),
            ClusterCountText::Name(name) => name.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::KMeans => "kmeans",
            Self::SphericalKMeans => "spherical-kmeans",
            Self::GaussianMixture => "gaussian-mixture",
            Self::Dbscan => "dbscan",
            Self::Hdbscan => "hdbscan",
        })
    }
}

impl FromStr for Algorithm {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        Self::ALL.into_iter().find(|algorithm| algorithm.to_string() == text).ok_or_else(|| {
            LearnError::InvalidParameter {
                name: "algorithm",
                value: text.to_owned(),
                allowed: "`kmeans`, `spherical-kmeans`, `gaussian-mixture`, `dbscan` or `hdbscan`",
            }
        })
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::SparkMl => "spark-ml",
            Self::Cosine => "cosine",
        })
    }
}

impl FromStr for Preset {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        match text {
            "plain" => Ok(Self::Plain),
            "spark-ml" => Ok(Self::SparkMl),
            "cosine" => Ok(Self::Cosine),
            _ => Err(LearnError::InvalidParameter {
                name: "preset",
                value: text.to_owned(),
                allowed: "`plain`, `spark-ml` or `cosine`",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_read_as_it_was_written() {
        for preset in [Preset::Plain, Preset::SparkMl, Preset::Cosine] {
            let range = ClusterCount::Range { least: 2, most: 9 };
            for n_clusters in [ClusterCount::Auto, ClusterCount::Count(131), range] {
                for n_components in [Components::Count(1), Components::VarianceShare(0.95)] {
                    let mut spec = LearnSpec::preset(preset);
                    spec.kmeans.n_clusters = n_clusters;
                    spec.pca.n_components = n_components;
                    let text = serde_json::to_string(&spec).unwrap();
                    assert_eq!(serde_json::from_str::<LearnSpec>(&text).unwrap(), spec, "{text}");
                }
            }
        }
    }

    #[test]
    fn unknown_keys_and_words_are_refused() {
        for text in [
            r#"{"scalar": {}}"#,
            r#"{"scaler": {"with_men": true}}"#,
            r#"{"kmeans": {"n_clusters": "many"}}"#,
            r#"{"kmeans": {"n_clusters": "9..3"}}"#,
            r#"{"kmeans": {"init": "k-means||"}}"#,
            r#"{"pca": {"n_components": "all"}}"#,
        ] {
            assert!(serde_json::from_str::<LearnSpec>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_on_a_command_line_are_parsed_and_printed() {
        for text in ["4", "auto", "2..20", "7..7", "2..200"] {
            assert_eq!(text.parse::<ClusterCount>().unwrap().to_string(), text);
        }
        for text in ["plain", "spark-ml", "cosine"] {
            assert_eq!(text.parse::<Preset>().unwrap().to_string(), text);
        }
        for algorithm in Algorithm::ALL {
            let text = algorithm.to_string();
            assert_eq!(text.parse(), Ok(algorithm));
            assert_eq!(
                serde_json::to_value(algorithm).unwrap(),
                text,
                "one word in a spec and on a command line"
            );
        }
        assert!("k-means".parse::<Algorithm>().is_err());
        for text in ["10", "0.95"] {
            assert_eq!(text.parse::<Components>().unwrap().to_string(), text);
        }
        for text in ["0", "-1", "4.5", "", "Auto", "1..4", "5..4", "2..201", "2..", "..", "2..=4", "2...4"] {
            assert!(text.parse::<ClusterCount>().is_err(), "{text}");
        }
        for text in ["0", "1.0", "0.0", "-3", "NaN", "inf", "ten"] {
            assert!(text.parse::<Components>().is_err(), "{text}");
        }
    }
}
