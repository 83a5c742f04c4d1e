//! What a run is told: one flat set of keys, named as the command line's flags are.
//!
//! [`RunConfig`] is what flags, environment and a TOML file add up to; [`RunConfig::plan`] turns it into a [`RunPlan`], in
//! which everything has been checked and has its own type. Nothing after that looks at text again.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use fruitbatch_learn::LearnSpec;
use fruitbatch_learn::classifier::ClassifierSpec;
use fruitbatch_net::{ClientTls, Connector, TlsFiles};
use fruitbatch_storage::{ListOptions, Location, OutputStore, PathGlob, Storage, StorageOptions};
use fruitbatch_vision::{Catalogue, EmbedOptions, EmbedSpec};
use serde::{Deserialize, Serialize};

use crate::commit_log::{CommitLog, FeatureIdentity};
use crate::error::{ConfigError, RunError};
use crate::labels::LabelSource;
use crate::lineage::Lineage;
use crate::outputs::LINEAGE;
use crate::predictor::Predictor;

/// All keys of a run with their values, defaults where nothing else was said. In TOML and on the command line the keys are
/// written with dashes: `n-components = "10"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line, on or off")]
pub struct RunConfig {
    /// The photos: a folder, one file, a glob, `file://` or `s3://bucket/prefix/`.
    pub input: Option<String>,
    /// Where the results go: a folder, `file://` or `s3://bucket/prefix/`.
    pub output: Option<String>,

    /// Whether folders below INPUT are looked into.
    pub recursive: bool,
    /// Only photos whose path matches; a pattern without `/` is matched against the file's name.
    pub glob: Option<String>,
    /// Only photos modified before this time (RFC 3339).
    pub modified_before: Option<DateTime<Utc>>,
    /// Only photos modified after this time (RFC 3339).
    pub modified_after: Option<DateTime<Utc>>,
    /// `parent`, `none`, `regex:RE` or a CSV file with the columns path and label.
    pub label: String,
    /// `none`, or `path`: a folder Training, Test or Validation in the path becomes the column `split`.
    pub split_from: SplitFrom,
    /// A file with the paths to take, one a line.
    pub files_from: Option<String>,
    /// At most this many photos, the first in path order.
    pub limit: Option<u64>,

    /// The model: a name in the catalogue.
    pub model: String,
    /// The side in pixels that photos are resized to, or `native`.
    pub image_size: String,
    /// `none`, `center` or `center:SHARE`.
    pub crop: String,
    /// `bicubic`, `bilinear` or `nearest`.
    pub resize: String,
    /// At native size, what the longer side of larger photos is scaled down to, in pixels; 512 unless said.
    pub max_side: Option<u32>,
    /// `max`, `avg` or `flatten`.
    pub pooling: String,
    /// `fp32`, `bf16` or `int8`.
    pub precision: String,
    /// `auto`, or what carries the arithmetic out: `cpu`, `openvino`, `cuda`, `tensorrt` or `coreml`.
    pub provider: String,
    /// `auto` or `direct`.
    pub convolution: String,
    /// Photos that go through the model at once; `None`: as many as have the pixels of 8 at 224, 32 at most.
    pub batch_size: Option<u32>,
    /// The largest photo in pixels; larger ones are booked as too large, by their header.
    pub max_pixels: Option<u64>,
    /// The largest photo file in bytes; larger ones are booked as too large, and not read.
    pub max_bytes: Option<u64>,
    /// The memory that making features may take in this process, such as `2GB`; no limit unless said. An executor has one of
    /// its own.
    pub memory_limit: Option<String>,

    /// `plain`, `spark-ml` or `cosine`: what the learning keys left unset stand for.
    pub preset: String,
    /// Principal components: a count such as `10`, or a share of the variance such as `0.95`.
    pub n_components: Option<String>,
    /// Clusters: a count, or `auto`. Without it: the number of labels if there are labels, else `auto`.
    pub n_clusters: Option<String>,
    /// How often `KMeans` starts anew; the best counts.
    pub n_init: Option<usize>,
    /// The most steps of one start of `KMeans`.
    pub max_iter: Option<usize>,
    /// `KMeans`'s relative tolerance, as scikit-learn's `tol`.
    pub tol: Option<f64>,
    /// Delta degrees of freedom of the scaler's standard deviation: 0 as scikit-learn, 1 as Spark.
    pub ddof: Option<u8>,
    /// Whether each principal component is divided by its standard deviation.
    pub whiten: Option<bool>,
    /// Whether rows are scaled to unit length before clustering.
    pub normalize: Option<bool>,
    /// Whether features are scaled to unit length before anything else.
    pub normalize_features: Option<bool>,
    /// `kmeans`, `spherical-kmeans`, `gaussian-mixture`, `dbscan` or `hdbscan`.
    pub algorithm: Option<String>,
    /// DBSCAN's distance up to which rows are neighbours.
    pub eps: Option<f64>,
    /// Neighbours that make a row a core row, for DBSCAN and HDBSCAN.
    pub min_samples: Option<usize>,
    /// The fewest rows that are a cluster, for HDBSCAN.
    pub min_cluster_size: Option<usize>,
    /// The seed of everything random.
    pub seed: u64,

    /// Whether a classifier head is trained on the labels.
    pub classifier: bool,
    /// The share of each label's photos that the head is tested on.
    pub test_share: f64,

    /// Whether report.html, plots/ and tsne.parquet are written.
    pub report: bool,

    /// `local`: a scheduler and an executor inside this process; or a fleet's scheduler, `df://HOST:PORT`.
    pub scheduler: String,
    /// Seconds that a fleet without a scheduler, or without an executor, is waited for before the run stops, resumable.
    pub cluster_timeout: u64,
    /// The folder or prefix by which a fleet's executors get the model; a folder below OUT unless said.
    pub model_store: Option<String>,
    /// A certificate by which a fleet's scheduler knows this driver, PEM; with `tls-key`.
    pub tls_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    pub tls_key: Option<PathBuf>,
    /// The authority that the scheduler's certificate must be signed by, PEM: makes connections go over TLS.
    pub tls_ca: Option<PathBuf>,
    /// The name that the scheduler's certificate must be for; the one in its address unless said.
    pub tls_server_name: Option<String>,
    /// Tasks at a time; as many as there are cores unless said.
    pub slots: Option<NonZeroUsize>,
    /// Photos in a chunk; as many as take about half a minute unless said.
    pub chunk_size: Option<NonZeroUsize>,
    /// `quarantine`: photos that can't be used are booked in failures.csv; `fail`: the first one stops the run.
    pub on_error: OnError,
    /// A count such as `100`, or a share of the listed photos such as `5%`: once more photos than this are booked as failed,
    /// the run stops. No limit unless said.
    pub max_failures: Option<String>,
    /// Whether features by other kernels than those there are (another instruction set, say) stop the run.
    pub require_uniform_cpu: bool,
    /// Deletes what an earlier run wrote to OUT and starts over.
    pub overwrite: bool,
    /// Keeps the model that an earlier run fitted in OUT, and assigns photos to its clusters; fits one if there is none.
    pub incremental: bool,

    /// What is asked of a fitted model, where the run is one of `fruitbatch predict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predict: Option<PredictConfig>,

    /// The AWS profile.
    pub profile: Option<String>,
    /// The AWS region.
    pub region: Option<String>,
    /// The endpoint of an S3-compatible server.
    pub endpoint_url: Option<String>,
    /// Requests are not signed: for public buckets.
    pub no_sign_request: bool,
    /// `requester`: requests are paid by the requester.
    pub request_payer: Option<String>,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            input: None,
            output: None,
            recursive: true,
            glob: None,
            modified_before: None,
            modified_after: None,
            label: "parent".to_owned(),
            split_from: SplitFrom::None,
            files_from: None,
            limit: None,
            model: "vgg16".to_owned(),
            image_size: "224".to_owned(),
            crop: "none".to_owned(),
            resize: "bicubic".to_owned(),
            max_side: None,
            pooling: "max".to_owned(),
            precision: "fp32".to_owned(),
            provider: "auto".to_owned(),
            convolution: "auto".to_owned(),
            batch_size: None,
            max_pixels: None,
            max_bytes: None,
            memory_limit: None,
            preset: "plain".to_owned(),
            n_components: None,
            n_clusters: None,
            n_init: None,
            max_iter: None,
            tol: None,
            ddof: None,
            whiten: None,
            normalize: None,
            normalize_features: None,
            algorithm: None,
            eps: None,
            min_samples: None,
            min_cluster_size: None,
            seed: 0,
            classifier: false,
            test_share: ClassifierSpec::default().test_share,
            report: true,
            scheduler: "local".to_owned(),
            cluster_timeout: 600,
            model_store: None,
            tls_cert: None,
            tls_key: None,
            tls_ca: None,
            tls_server_name: None,
            slots: None,
            chunk_size: None,
            on_error: OnError::Quarantine,
            max_failures: None,
            require_uniform_cpu: false,
            overwrite: false,
            incremental: false,
            predict: None,
            profile: None,
            region: None,
            endpoint_url: None,
            no_sign_request: false,
            request_payer: None,
        }
    }
}

/// Where the column `split` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitFrom {
    /// There is no split.
    None,
    /// A folder called Training, Test or Validation in the photo's path.
    Path,
}

/// What is asked of a fitted model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PredictConfig {
    /// The folder of the model: a folder or `s3://bucket/prefix/`.
    pub model_dir: String,
    /// How many of the nearest photos vote.
    pub n_neighbors: usize,
    /// What the predictions are written as.
    pub format: PredictionFormat,
}

/// What predictions are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PredictionFormat {
    /// Comma-separated, with a header.
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Parquet.
    Parquet,
}

/// Which steps of a run are taken.
#[derive(Debug, Clone, Default)]
pub enum Steps {
    /// All: list, extract, fit, write.
    #[default]
    All,
    /// All but learning: photos become features.
    Extract,
    /// All, but that a model which is in OUT is kept: photos are assigned to its clusters. Where there is none, one is fitted.
    Assign,
    /// Learning alone, on what the last run extracted: INPUT isn't listed.
    Fit,
    /// Photos become features, and those are shown to a fitted model.
    Predict(Arc<Predictor>),
}

/// What happens when a photo can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It is booked in failures.csv and the run goes on.
    Quarantine,
    /// The run stops.
    Fail,
}

/// Where the work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchedulerChoice {
    /// In a cluster inside this process.
    Local,
    /// By the executors of this scheduler, `df://HOST:PORT`.
    Fleet(String),
}

impl std::str::FromStr for SchedulerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            address if address.starts_with("df://") => Ok(Self::Fleet(address.to_owned())),
            other => {
                Err(format!("`{other}` is neither local nor the address of a scheduler, df://HOST:PORT"))
            }
        }
    }
}

/// The most photos that may fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// So many.
    Count(u64),
    /// This part of the listed photos, 0 to 1.
    Share(f64),
}

impl MaxFailures {
    /// Whether `failures` of `listed` photos are too many.
    pub fn is_exceeded_by(self, failures: usize, listed: usize) -> bool {
        match self {
            Self::Count(most) => failures as u64 > most,
            Self::Share(share) => failures as f64 > share * listed as f64,
        }
    }
}

impl std::str::FromStr for MaxFailures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.strip_suffix('%').map(|percent| {
            percent.trim().parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))
        });
        match share {
            Some(Some(percent)) => Ok(Self::Share(percent / 100.0)),
            Some(None) => Err(format!("`{text}` is no share: 0% to 100%")),
            None => text
                .parse()
                .map(Self::Count)
                .map_err(|_| format!("`{text}` is neither a count such as 100 nor a share such as 5%")),
        }
    }
}

/// A run that has been checked: what [`crate::run()`] carries out.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The configuration this plan was made from, for the lineage.
    pub config: RunConfig,
    /// INPUT.
    pub input: Location,
    /// OUT.
    pub output: Location,
    /// How storage is reached.
    pub storage_options: StorageOptions,
    /// Where the work is done.
    pub scheduler: SchedulerChoice,
    /// How connections to a fleet's scheduler are made.
    pub connector: Connector,
    /// How long a fleet without a scheduler, or without an executor, is waited for.
    pub cluster_timeout: Duration,
    /// Which photos are listed.
    pub list_options: ListOptions,
    /// Where labels come from.
    pub label_source: LabelSource,
    /// What is done with each photo.
    pub embedding: EmbedSpec,
    /// The memory, in bytes, that making features may take in this process.
    pub memory_limit: Option<u64>,
    /// How clusters are made; `n_clusters` may still depend on the labels.
    pub learning: LearnSpec,
    /// The classifier head to train, if one is asked for.
    pub classifier: Option<ClassifierSpec>,
    /// Whether `--n-clusters` was left out, so that the labels decide.
    pub n_clusters_from_labels: bool,
    /// Tasks at a time.
    pub slots: NonZeroUsize,
    /// The most photos that may fail, if there is a limit.
    pub max_failures: Option<MaxFailures>,
    /// Whether photos that are booked as failed are taken again.
    pub retry_failed: bool,
    /// Which steps are taken.
    pub steps: Steps,
}

impl RunConfig {
    /// Checks every value and resolves the model against `catalogue`.
    ///
    /// # Errors
    /// [`RunError::Config`] naming the key, what is wrong with it and what would be right; model errors as they are.
    pub fn plan(&self, catalogue: &Catalogue) -> Result<RunPlan, RunError> {
        self.plan_with(self.embedding(catalogue)?)
    }

    /// The same for photos with which this is done.
    fn plan_with(&self, embedding: EmbedSpec) -> Result<RunPlan, RunError> {
        let input = location("input", self.input.as_deref())?;
        let output = self.output_location()?;
        if output.is_same_or_above(&input) {
            return Err(ConfigError::OutputAboveInput {
                input: input.to_string(),
                output: output.to_string(),
            }
            .into());
        }
        let glob = self
            .glob
            .as_deref()
            .map(str::parse::<PathGlob>)
            .transpose()
            .map_err(|error| ConfigError::invalid("glob", error))?;
        let scheduler: SchedulerChoice = parse("scheduler", &self.scheduler)?;
        let memory_limit = self.memory_limit.as_deref().map(|text| parse::<ByteSize>("memory-limit", text));
        Ok(RunPlan {
            list_options: ListOptions {
                recursive: self.recursive,
                glob,
                modified_before: self.modified_before,
                modified_after: self.modified_after,
                exclude: Some(output.clone()),
            },
            storage_options: self.storage_options()?,
            scheduler,
            memory_limit: memory_limit.transpose()?.map(|limit| limit.as_u64()),
            connector: self.connector()?,
            cluster_timeout: Duration::from_secs(self.cluster_timeout),
            label_source: self.label.parse()?,
            learning: self.learning()?,
            n_clusters_from_labels: self.n_clusters.is_none(),
            classifier: self.classifier_spec()?,
            slots: self.slots.unwrap_or_else(available_cores),
            max_failures: self.max_failures.as_deref().map(|text| parse("max-failures", text)).transpose()?,
            retry_failed: false,
            steps: if self.incremental { Steps::Assign } else { Steps::All },
            config: self.clone(),
            input,
            output,
            embedding,
        })
    }

    /// What is done with each photo.
    fn embedding(&self, catalogue: &Catalogue) -> Result<EmbedSpec, RunError> {
        let scheduler: SchedulerChoice = parse("scheduler", &self.scheduler)?;
        let options = EmbedOptions {
            image_size: parse("image-size", &self.image_size)?,
            crop: parse("crop", &self.crop)?,
            resize: parse("resize", &self.resize)?,
            max_side: self.max_side,
            pooling: parse("pooling", &self.pooling)?,
            precision: parse("precision", &self.precision)?,
            provider: parse("provider", &self.provider)?,
            on_this_machine: scheduler == SchedulerChoice::Local,
            convolution: parse("convolution", &self.convolution)?,
            batch_size: self.batch_size,
            max_pixels: self.max_pixels,
            max_bytes: self.max_bytes,
            ..EmbedOptions::new(&self.model)
        };
        Ok(EmbedSpec::resolve(catalogue, &options)?)
    }

    pub(crate) fn output_location(&self) -> Result<Location, ConfigError> {
        location("output", self.output.as_deref())
    }

    /// How storage is reached.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for a `request-payer` that isn't one.
    pub fn storage_options(&self) -> Result<StorageOptions, ConfigError> {
        let request_payer = match self.request_payer.as_deref() {
            None => false,
            Some("requester") => true,
            Some(other) => {
                return Err(ConfigError::invalid("request-payer", format!("`{other}` is not: requester")));
            }
        };
        Ok(StorageOptions {
            endpoint_url: self.endpoint_url.clone(),
            region: self.region.clone(),
            profile: self.profile.clone(),
            no_sign_request: self.no_sign_request,
            request_payer,
            ..StorageOptions::default()
        })
    }

    fn connector(&self) -> Result<Connector, ConfigError> {
        let files = TlsFiles {
            cert: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            ca: self.tls_ca.clone(),
            client_ca: None,
            server_name: self.tls_server_name.clone(),
        };
        let tls = ClientTls::new(&files).map_err(|error| ConfigError::invalid("tls", error))?;
        Ok(Connector::new(tls))
    }

    fn classifier_spec(&self) -> Result<Option<ClassifierSpec>, ConfigError> {
        let spec =
            ClassifierSpec { test_share: self.test_share, seed: self.seed, ..ClassifierSpec::default() };
        spec.check().map_err(|error| ConfigError::invalid("test-share", error))?;
        Ok(self.classifier.then_some(spec))
    }

    fn learning(&self) -> Result<LearnSpec, ConfigError> {
        let mut spec = LearnSpec::preset(parse("preset", &self.preset)?);
        spec.kmeans.seed = self.seed;
        if let Some(n_components) = &self.n_components {
            spec.pca.n_components = parse("n-components", n_components)?;
        }
        if let Some(n_clusters) = &self.n_clusters {
            spec.kmeans.n_clusters = parse("n-clusters", n_clusters)?;
        }
        if let Some(n_init) = self.n_init {
            spec.kmeans.n_init = n_init;
        }
        if let Some(max_iter) = self.max_iter {
            spec.kmeans.max_iter = max_iter;
        }
        if let Some(tol) = self.tol {
            spec.kmeans.tol = tol;
        }
        if let Some(ddof) = self.ddof {
            spec.scaler.ddof = ddof;
        }
        if let Some(whiten) = self.whiten {
            spec.pca.whiten = whiten;
        }
        if let Some(normalize) = self.normalize {
            spec.normalize = normalize;
        }
        if let Some(normalize_features) = self.normalize_features {
            spec.normalize_features = normalize_features;
        }
        if let Some(algorithm) = &self.algorithm {
            spec.algorithm = parse("algorithm", algorithm)?;
        }
        if let Some(eps) = self.eps {
            spec.dbscan.eps = eps;
        }
        if let Some(min_samples) = self.min_samples {
            spec.dbscan.min_samples = min_samples;
            spec.hdbscan.min_samples = Some(min_samples);
        }
        if let Some(min_cluster_size) = self.min_cluster_size {
            spec.hdbscan.min_cluster_size = min_cluster_size;
        }
        spec.check().map_err(|error| ConfigError::invalid("learning", error))?;
        Ok(spec)
    }
}

impl RunConfig {
    /// What the last run on OUT was told, as it reads from here, what its features are, and OUT.
    async fn of_last_run(
        output: &str,
        access: &Self,
    ) -> Result<(Self, FeatureIdentity, OutputStore), RunError> {
        let place = location("output", Some(output))?;
        let store = Storage::new(access.storage_options()?).output(&place).await?;
        let log = CommitLog::open(store.clone()).await?;
        let Some(claim) = &log.state().claim else {
            return Err(RunError::NoRun { output: place.to_string() });
        };
        let config = (*claim.claim.config).clone();
        let config = Self {
            // The name that it has from here.
            output: Some(output.to_owned()),
            profile: access.profile.clone().or(config.profile),
            region: access.region.clone().or(config.region),
            endpoint_url: access.endpoint_url.clone().or(config.endpoint_url),
            no_sign_request: config.no_sign_request || access.no_sign_request,
            request_payer: access.request_payer.clone().or(config.request_payer),
            ..config
        };
        Ok((config, claim.claim.features.clone(), store))
    }
}

impl RunPlan {
    /// The plan that goes on with the last run on OUT and takes its failed photos again. `access` says how OUT is
    /// reached, and stands above what that run was told about it.
    ///
    /// # Errors
    /// [`RunError::NoRun`] if there was none; otherwise as [`RunConfig::plan`].
    pub async fn retry_of(output: &str, access: &RunConfig, catalogue: &Catalogue) -> Result<Self, RunError> {
        let (config, ..) = RunConfig::of_last_run(output, access).await?;
        if config.predict.is_some() {
            return Ok(Self { retry_failed: true, ..Self::predict(&config).await? });
        }
        if config.files_from.as_deref() == Some(STANDARD_INPUT) {
            return Err(ConfigError::invalid(
                "files-from",
                "the run took its photos from standard input, which can't be read again: run it again with the list in a file",
            )
            .into());
        }
        Ok(Self { retry_failed: true, ..config.plan(catalogue)? })
    }

    /// The plan of a configuration that asks a fitted model: features are made just as when it was fitted.
    ///
    /// # Errors
    /// [`RunError::NoModel`] and [`RunError::Model`] if there is none, or none that can be used; otherwise as [`RunConfig::plan`].
    pub async fn predict(config: &RunConfig) -> Result<Self, RunError> {
        let predict = config.predict.as_ref().ok_or(ConfigError::Missing { key: "model-dir" })?;
        let predictor = Arc::new(Predictor::open(predict, config).await?);
        let plan = config.plan_with(predictor.embedding.clone())?;
        Ok(Self { steps: Steps::Predict(predictor), ..plan })
    }

    /// The plan that learns anew from what the last run on OUT extracted, to be carried out by [`refit`](crate::refit). `adjust` changes
    /// what that run was told about learning; `access` is as in [`RunPlan::retry_of`].
    ///
    /// # Errors
    /// [`RunError::NoRun`] if there was no run, [`RunError::NothingExtracted`] if it stopped before its end; otherwise as
    /// [`RunConfig::plan`].
    pub async fn refit_of(
        output: &str,
        access: &RunConfig,
        adjust: impl FnOnce(RunConfig) -> RunConfig,
    ) -> Result<Self, RunError> {
        let (config, features, store) = RunConfig::of_last_run(output, access).await?;
        let nothing = || RunError::NothingExtracted { output: output.to_owned() };
        let lineage = store.get(LINEAGE).await?.ok_or_else(nothing)?;
        let lineage: Lineage = serde_json::from_slice(&lineage).map_err(|_| nothing())?;
        // As it was resolved where the features were made, which may be another machine with another catalogue.
        let embedding = lineage.embedding.parse()?;
        // What the photos' paths are relative to, where INPUT was a glob.
        let input = location("input", Some(&features.input))?;
        let config = RunConfig { overwrite: false, incremental: false, ..adjust(config) };
        Ok(Self { steps: Steps::Fit, input, ..config.plan_with(embedding)? })
    }

    /// The configuration with which another process, wherever it is started, goes on with this run.
    pub(crate) fn config_to_go_on(&self) -> RunConfig {
        let config = &self.config;
        let is_label_table = matches!(self.label_source, LabelSource::Table(_));
        RunConfig {
            input: config.input.as_deref().map(absolute),
            output: config.output.as_deref().map(absolute),
            label: if is_label_table { absolute(&config.label) } else { config.label.clone() },
            predict: config
                .predict
                .clone()
                .map(|predict| PredictConfig { model_dir: absolute(&predict.model_dir), ..predict }),
            model_store: config.model_store.as_deref().map(absolute),
            tls_cert: config.tls_cert.as_deref().map(absolute_file),
            tls_key: config.tls_key.as_deref().map(absolute_file),
            tls_ca: config.tls_ca.as_deref().map(absolute_file),
            files_from: config.files_from.as_deref().map(|file| match file {
                STANDARD_INPUT => STANDARD_INPUT.to_owned(),
                file => absolute(file),
            }),
            overwrite: false,
            ..config.clone()
        }
    }
}

/// The value of `files-from` that means standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// A local path made absolute; anything else as it is.
fn absolute(place: &str) -> String {
    if place.contains("://") {
        return place.to_owned();
    }
    std::path::absolute(place)
        .ok()
        .and_then(|path| path.to_str().map(str::to_owned))
        .unwrap_or_else(|| place.to_owned())
}

fn absolute_file(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// The cores this process may really use (affinity and cgroup limits counted in).
pub fn available_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn location(key: &'static str, text: Option<&str>) -> Result<Location, ConfigError> {
    text.ok_or(ConfigError::Missing { key })?.parse().map_err(|source| ConfigError::Location { key, source })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &'static str,
    text: &str,
) -> Result<T, ConfigError> {
    text.parse().map_err(|error| ConfigError::invalid(key, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_failures_are_a_count_or_a_share() {
        assert_eq!("100".parse(), Ok(MaxFailures::Count(100)));
        assert_eq!("2.5%".parse(), Ok(MaxFailures::Share(0.025)));
        for wrong in ["", "-1", "101%", "x%", "NaN%", "1.5"] {
            assert!(wrong.parse::<MaxFailures>().is_err(), "{wrong}");
        }
        assert!(!MaxFailures::Count(0).is_exceeded_by(0, 10));
        assert!(MaxFailures::Count(0).is_exceeded_by(1, 10));
        assert!(!MaxFailures::Share(0.1).is_exceeded_by(1, 10));
        assert!(MaxFailures::Share(0.1).is_exceeded_by(2, 10));
    }
}
