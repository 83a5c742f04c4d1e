//! What to fit: every choice that decides the result, in one place that can be written down and compared.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use linfa::ParamGuard;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kmeans::{KMeans, KMeansInit, KMeansParams};
use crate::pca::{Components, Pca, PcaParams, PcaSolver};
use crate::scaler::{ConstantColumns, StandardScaler, StandardScalerParams};
use crate::{LearnError, MAX_CHOSEN_CLUSTERS};

/// The whole chain: scaler, PCA, optional normalisation, KMeans.
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
    /// First step: the columns' means and scales.
    pub scaler: ScalerSpec,
    /// Second step: principal components of the scaled rows.
    pub pca: PcaSpec,
    /// Third step, off by default: each row of scores (whitened, if that is on) is divided by its Euclidean length, so that
    /// KMeans and the distances compare directions. Rows of zeros stay. The scores that are reported are those before it.
    pub normalize: bool,
    /// Last step: clusters of the rows of scores.
    pub kmeans: KMeansSpec,
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
    /// Number of clusters, or `auto`.
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

/// A number of clusters, or the wish to have it chosen. As text: `4` or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterCount {
    /// So many.
    Count(usize),
    /// Chosen by [`choose_n_clusters`](crate::choose_n_clusters).
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
        }
    }

    /// Checks every value by itself, before there are any rows.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] with the first value that is out of its range.
    pub fn check(&self) -> Result<(), LearnError> {
        self.scaler.params().check_ref()?;
        self.pca.params().check_ref()?;
        let n_clusters = match self.kmeans.n_clusters {
            ClusterCount::Count(n_clusters) => n_clusters,
            ClusterCount::Auto => MAX_CHOSEN_CLUSTERS,
        };
        self.kmeans.params(n_clusters, NonZeroUsize::MIN).check_ref()?;
        Ok(())
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

impl fmt::Display for ClusterCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Auto => formatter.write_str("auto"),
        }
    }
}

impl FromStr for ClusterCount {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(count)) if count > 0 => Ok(Self::Count(count)),
            _ => Err(LearnError::InvalidParameter {
                name: "n_clusters",
                value: text.to_owned(),
                allowed: "a whole number from 1, or `auto`",
            }),
        }
    }
}

/// In a spec, a count is a number and `auto` a string.
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
            Self::Auto => ClusterCountText::Name(self.to_string()),
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

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::SparkMl => "spark-ml",
        })
    }
}

impl FromStr for Preset {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self, LearnError> {
        match text {
            "plain" => Ok(Self::Plain),
            "spark-ml" => Ok(Self::SparkMl),
            _ => Err(LearnError::InvalidParameter {
                name: "preset",
                value: text.to_owned(),
                allowed: "`plain` or `spark-ml`",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_read_as_it_was_written() {
        for preset in [Preset::Plain, Preset::SparkMl] {
            for n_clusters in [ClusterCount::Auto, ClusterCount::Count(131)] {
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
            r#"{"kmeans": {"init": "k-means||"}}"#,
            r#"{"pca": {"n_components": "all"}}"#,
        ] {
            assert!(serde_json::from_str::<LearnSpec>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn words_on_a_command_line_are_parsed_and_printed() {
        for text in ["4", "auto"] {
            assert_eq!(text.parse::<ClusterCount>().unwrap().to_string(), text);
        }
        for text in ["plain", "spark-ml"] {
            assert_eq!(text.parse::<Preset>().unwrap().to_string(), text);
        }
        for text in ["10", "0.95"] {
            assert_eq!(text.parse::<Components>().unwrap().to_string(), text);
        }
        for text in ["0", "-1", "4.5", "", "Auto"] {
            assert!(text.parse::<ClusterCount>().is_err(), "{text}");
        }
        for text in ["0", "1.0", "0.0", "-3", "NaN", "inf", "ten"] {
            assert!(text.parse::<Components>().is_err(), "{text}");
        }
    }
}
