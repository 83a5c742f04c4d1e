//! The command line: flags, their help, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use fruitbatch_cluster::{EXECUTOR_PORT, SCHEDULER_PORT};
use fruitbatch_export::{TableName, Target};
use fruitbatch_net::TlsFiles;
use fruitbatch_pipeline::{OnError, PredictionFormat, RunConfig, SchedulerChoice, SplitFrom};
use fruitbatch_vision::{ImageSize, InputLayout, Preprocessing, ProviderChoice, WeightBits};
use serde::Serialize;

/// Photos in, clusters out: runs a vision model over the photos of a folder or an S3 prefix, and clusters what it sees.
#[derive(Debug, Parser)]
#[command(name = "fruitbatch", version, about, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Start with `fruitbatch doctor`: it says what is found, what is missing, and the command that mends it."
)]
pub(crate) struct Cli {
    /// Logs on stderr: text for people, json for machines. What is logged is set by RUST_LOG.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "FRUITBATCH_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<RunArgs>),
    Extract(Box<ExtractArgs>),
    Fit(Box<FitArgs>),
    Train(Box<TrainArgs>),
    Predict(Box<PredictArgs>),
    Retry(RetryArgs),
    Sql(Box<SqlArgs>),
    Scheduler(SchedulerArgs),
    Executor(ExecutorArgs),
    Export(ExportArgs),
    Links(LinksArgs),
    Status(StatusArgs),
    Health(HealthArgs),
    Samples(SamplesArgs),
    #[command(subcommand)]
    Model(ModelCommand),
    Doctor(Box<DoctorArgs>),
}

/// Photos to features to clusters: the whole job, resumed if it was begun before
///
/// Reads every photo under INPUT, runs the model on it, scales the features, finds principal components and clusters,
/// and writes results.csv, failures.csv, features/, model/, metrics.json and run.json to the output. The same command
/// again goes on where the last one stopped; photos that are done aren't computed twice.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "\
Every flag is also a key of a --config file (TOML, the same names) and an environment variable: --n-clusters is \
n-clusters there and FRUITBATCH_N_CLUSTERS here. Flags win over the environment, that over the file, that over the defaults.

Examples:
  fruitbatch run photos --output out
  fruitbatch run s3://bucket/fruits/ --output s3://bucket/clusters/ --glob '*.jpg' --n-clusters 4
  fruitbatch run s3://bucket/fruits/ --output s3://bucket/clusters/ --watch=1m
  fruitbatch run photos --output out --limit 100 --dry-run
  fruitbatch run s3://bucket/fruits/ --output s3://bucket/clusters/ --dry-run --rate 5 --instances 8

Exit codes: 0 done (also with some photos in failures.csv), 1 failed, 2 wrong usage or config, 3 every photo failed, \
130 interrupted; after 1 and 130 the same command goes on.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) extract: ExtractArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) learning: LearningArgs,
    /// Keep the model that an earlier run fitted in OUT: photos that have come since are assigned to its clusters, and labels keep
    /// their indices. Fits one if there is none [default: false]
    #[arg(long, env = "FRUITBATCH_INCREMENTAL", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    incremental: Option<bool>,
    /// Go on like --incremental whenever photos come, change or go: INPUT is listed again after each such time, until the
    /// command is stopped [30s if no time is said]
    #[arg(long, value_name = "TIME", env = "FRUITBATCH_WATCH", help_heading = "Running", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = humantime::parse_duration)]
    #[serde(skip)]
    pub(crate) watch: Option<Duration>,
}

/// The first half of a run: photos to features, committed chunk by chunk
///
/// Reads every photo under INPUT and runs the model on it. `fruitbatch fit OUT` learns from the features afterwards, as often as
/// you like; so does `fruitbatch run` with the same input and output.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = "\
Every flag is also a key of a --config file (TOML, the same names) and an environment variable: --image-size is image-size there \
and FRUITBATCH_IMAGE_SIZE here. Flags win over the environment, that over the file, that over the defaults.

Examples:
  fruitbatch extract photos --output out
  fruitbatch fit out --n-clusters 4

Exit codes: as those of `fruitbatch run`.")]
pub(crate) struct ExtractArgs {
    /// The photos: a folder, one file, a glob, file:// or s3://bucket/prefix/
    #[arg(value_name = "INPUT", env = "FRUITBATCH_INPUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    /// Where the results go: a folder or s3://bucket/prefix/, not equal to or above INPUT
    #[arg(long, short, value_name = "OUT", env = "FRUITBATCH_OUTPUT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    selection: SelectionArgs,

    /// The model, by its name in the catalogue: see `fruitbatch model list` [default: vgg16]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_MODEL", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The side in pixels that photos are resized to, or native [default: 224]
    #[arg(long, value_name = "N|native", env = "FRUITBATCH_IMAGE_SIZE", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size: Option<String>,
    /// The part of each photo that is taken before it is resized: none (all of it), center (the largest square in the middle), or
    /// center:SHARE (a smaller one, such as center:0.8) [default: none]
    #[arg(long, value_name = "PART", env = "FRUITBATCH_CROP", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<String>,
    /// How photos are resized, as Pillow does it: bicubic, bilinear or nearest [default: bicubic]
    #[arg(long, value_name = "FILTER", env = "FRUITBATCH_RESIZE", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    resize: Option<String>,
    /// At native size, photos with a longer side are scaled down to so many pixels [default: 512]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MAX_SIDE", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_side: Option<u32>,
    /// How the model's last feature map becomes a vector: max, avg or flatten [default: max]
    #[arg(long, value_name = "KIND", env = "FRUITBATCH_POOLING", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pooling: Option<String>,
    /// The arithmetic: fp32; int8, for which `fruitbatch model quantize` makes the model; or bf16, which OpenVINO and TensorRT have [default: fp32]
    #[arg(long, value_name = "KIND", env = "FRUITBATCH_PRECISION", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    /// What carries the arithmetic out: cpu, openvino, cuda, tensorrt, coreml, or auto for the best that is installed here; all of
    /// a model runs on it, or the run stops [default: auto]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_PROVIDER", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// How 3x3 convolutions are computed: auto (a quarter of the multiplications, equally good features) or direct [default: auto]
    #[arg(long, value_name = "WAY", env = "FRUITBATCH_CONVOLUTION", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    convolution: Option<String>,
    /// Photos that go through the model at once: more take more memory [default: as many as have the pixels of 8 at 224, at most
    /// 32]; at native size, batches have the pixels of so many at 224
    #[arg(long, value_name = "N", env = "FRUITBATCH_BATCH_SIZE", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_size: Option<u32>,
    /// The largest photo in pixels: decoding takes some 6 bytes a pixel in each slot [default: 178956970]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MAX_PIXELS", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pixels: Option<u64>,
    /// The largest photo file in bytes [default: 268435456]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MAX_BYTES", help_heading = "Features")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,

    #[command(flatten)]
    #[serde(flatten)]
    running: RunningArgs,
    /// List the photos and say what would run and what it would take and cost on AWS, but run nothing
    #[arg(long, help_heading = "Running")]
    #[serde(skip)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) estimate: EstimateArgs,
    /// A TOML file with keys named as these flags
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_CONFIG", help_heading = "Running")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Print every key with its value and where that came from, but run nothing
    #[arg(long, help_heading = "Running")]
    #[serde(skip)]
    pub(crate) show_config: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) progress: ProgressArgs,
    /// Serve a page on which the run can be watched, on this address and port
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRUITBATCH_UI", help_heading = "Running")]
    #[serde(skip)]
    pub(crate) ui: Option<SocketAddr>,

    #[command(flatten)]
    #[serde(flatten)]
    aws: AwsArgs,
}

/// Which photos, and what is known of them by their paths.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SelectionArgs {
    /// Look into folders below INPUT [default: true]
    #[arg(long, env = "FRUITBATCH_RECURSIVE", help_heading = "Input", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    recursive: Option<bool>,
    /// Only photos whose path matches; without `/` in it the file name must match
    #[arg(long, value_name = "PATTERN", env = "FRUITBATCH_GLOB", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    glob: Option<String>,
    /// Only photos modified before this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", env = "FRUITBATCH_MODIFIED_BEFORE", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_before: Option<DateTime<Utc>>,
    /// Only photos modified after this time
    #[arg(long, value_name = "TIME", env = "FRUITBATCH_MODIFIED_AFTER", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_after: Option<DateTime<Utc>>,
    /// Where labels come from: parent (the photo's folder), none, regex:RE (its first group), or a CSV file with the
    /// columns path and label [default: parent]
    #[arg(long, value_name = "SOURCE", env = "FRUITBATCH_LABEL", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// path: a folder Training, Test or Validation in the path becomes the column split, and learning is fitted on
    /// Training alone [default: none]
    #[arg(long, value_name = "SOURCE", env = "FRUITBATCH_SPLIT_FROM", help_heading = "Input", value_parser = split_from)]
    #[serde(skip_serializing_if = "Option::is_none")]
    split_from: Option<SplitFrom>,
    /// Only the photos named in this file, one path a line, relative to INPUT; - is standard input
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_FILES_FROM", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    files_from: Option<String>,
    /// At most this many photos, the first in path order
    #[arg(long, value_name = "N", env = "FRUITBATCH_LIMIT", help_heading = "Input")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// Where and how the work is done.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunningArgs {
    /// The memory that making features may take, such as 2GB: batches shrink until they fit. A fleet's executors have a
    /// --memory-limit of their own [default: no limit]
    #[arg(long, value_name = "BYTES", env = "FRUITBATCH_MEMORY_LIMIT", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit: Option<String>,

    /// Where the work is done: local (a scheduler and an executor inside this process), or a fleet's scheduler,
    /// df://HOST:PORT; only that one port of it must be reachable [default: local]
    #[arg(long, value_name = "WHERE", env = "FRUITBATCH_SCHEDULER", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<String>,
    /// How long a fleet without a scheduler or without an executor is waited for, before the run stops, resumable
    /// [default: 600]
    #[arg(long, value_name = "SECONDS", env = "FRUITBATCH_CLUSTER_TIMEOUT", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_timeout: Option<u64>,
    /// The folder or s3://bucket/prefix/ by which a fleet's executors get the model [default: _fruitbatch/models in OUT]
    #[arg(long, value_name = "URI", env = "FRUITBATCH_MODEL_STORE", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model_store: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    tls: ClientTlsArgs,
    /// Tasks at a time [default: the cores of this process]
    #[arg(long, value_name = "N", env = "FRUITBATCH_SLOTS", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<NonZeroUsize>,
    /// Photos in a chunk, the unit that is committed [default: about 30 seconds of work]
    #[arg(long, value_name = "N", env = "FRUITBATCH_CHUNK_SIZE", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_size: Option<NonZeroUsize>,
    /// What becomes of a photo that can't be used: quarantine (into failures.csv) or fail (stop) [default: quarantine]
    #[arg(long, value_name = "WHAT", env = "FRUITBATCH_ON_ERROR", help_heading = "Running", value_parser = on_error)]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_error: Option<OnError>,
    /// Stop, resumable, once more photos than this have failed: a count, or a share of those listed such as 5%
    /// [default: no limit]
    #[arg(long, value_name = "N|P%", env = "FRUITBATCH_MAX_FAILURES", help_heading = "Running")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_failures: Option<String>,
    /// Stop, resumable, rather than mix features of different kernels (instruction sets, providers), which may differ in the last
    /// bits
    #[arg(long, env = "FRUITBATCH_REQUIRE_UNIFORM_CPU", help_heading = "Running", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    require_uniform_cpu: Option<bool>,
    /// Delete what an earlier run wrote to OUT, and start over
    #[arg(long, env = "FRUITBATCH_OVERWRITE", help_heading = "Running", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    overwrite: Option<bool>,
}

/// A run that there was, and how its output is reached.
#[derive(Debug, Args)]
pub(crate) struct OutArgs {
    /// The output of the run: a folder or s3://bucket/prefix/
    #[arg(value_name = "OUT")]
    pub(crate) output: String,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

/// How people and programs follow a command.
#[derive(Debug, Args)]
pub(crate) struct ProgressArgs {
    /// How progress is told, on stderr: bar, json (an event a line) or none
    #[arg(long = "progress", value_enum, default_value_t = ProgressStyle::Bar, env = "FRUITBATCH_PROGRESS", help_heading = "Running")]
    pub(crate) style: ProgressStyle,
}

/// How features become clusters.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LearningArgs {
    /// What the flags below stand for when left out: plain (as scikit-learn), spark-ml (as Spark
    /// ML), or cosine (directions rather than distances: see docs/clustering.md) [default: plain]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_PRESET", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    preset: Option<String>,
    /// Principal components: a count, or a share of the variance such as 0.95 [default: 10]
    #[arg(long, value_name = "N|SHARE", env = "FRUITBATCH_N_COMPONENTS", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_components: Option<String>,
    /// Clusters: a count, or a range such as 2..20 (auto) of which the best silhouette is taken [default: the number of labels, else
    /// auto]
    #[arg(long, value_name = "K|A..B|auto", env = "FRUITBATCH_N_CLUSTERS", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_clusters: Option<String>,
    /// How often KMeans starts anew; the best counts [default: 10]
    #[arg(long, value_name = "N", env = "FRUITBATCH_N_INIT", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    n_init: Option<usize>,
    /// The most steps of one start of KMeans [default: 300]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MAX_ITER", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_iter: Option<usize>,
    /// KMeans's relative tolerance [default: 0.0001]
    #[arg(long, value_name = "TOL", env = "FRUITBATCH_TOL", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tol: Option<f64>,
    /// Delta degrees of freedom of the scaler: 0 as scikit-learn, 1 as Spark [default: the preset's]
    #[arg(long, value_name = "0|1", env = "FRUITBATCH_DDOF", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ddof: Option<u8>,
    /// Divide each principal component by its standard deviation [default: false]
    #[arg(long, env = "FRUITBATCH_WHITEN", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    whiten: Option<bool>,
    /// Divide each row of principal components by its length before clustering [default: false]
    #[arg(long, env = "FRUITBATCH_NORMALIZE", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
    /// Divide each photo's features by their length before anything else [default: the preset's]
    #[arg(long, env = "FRUITBATCH_NORMALIZE_FEATURES", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize_features: Option<bool>,
    /// What makes the clusters: kmeans, spherical-kmeans, gaussian-mixture, dbscan or hdbscan; the last two find their number by
    /// themselves, and leave noise, cluster -1 [default: the preset's]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_ALGORITHM", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    /// For dbscan: the distance up to which photos are neighbours [default: 0.5]
    #[arg(long, value_name = "DISTANCE", env = "FRUITBATCH_EPS", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    eps: Option<f64>,
    /// For dbscan and hdbscan: neighbours that make a photo one of a cluster's core, itself counted [default: 5, and for
    /// hdbscan --min-cluster-size]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MIN_SAMPLES", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_samples: Option<usize>,
    /// For hdbscan: the fewest photos that are a cluster [default: 5]
    #[arg(long, value_name = "N", env = "FRUITBATCH_MIN_CLUSTER_SIZE", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_cluster_size: Option<usize>,
    /// Write report.html, plots/ and tsne.parquet: a map of the photos, the photos in each cluster, and all figures [default: true]
    #[arg(long, env = "FRUITBATCH_REPORT", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<bool>,
    /// Train a classifier of the labels as well, which `fruitbatch predict` then asks: see `fruitbatch train` [default: false]
    #[arg(long, env = "FRUITBATCH_CLASSIFIER", help_heading = "Learning", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classifier: Option<bool>,
    /// The share of each label's photos that the classifier is tested on, and not trained on [default: 0.2]
    #[arg(long, value_name = "SHARE", env = "FRUITBATCH_TEST_SHARE", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    test_share: Option<f64>,
    /// The seed of everything random [default: 0]
    #[arg(long, value_name = "N", env = "FRUITBATCH_SEED", help_heading = "Learning")]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// Learn anew from the features of a run, with other settings
///
/// Scaler, principal components and clusters are fitted again on what the last run on OUT extracted, and results.csv, model/,
/// metrics.json and run.json are written anew. Photos aren't read, the model isn't needed. What isn't said stays as that run
/// was told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch fit out --n-clusters 12
  fruitbatch fit out --n-clusters 2..20 --n-components 0.9
  fruitbatch fit s3://bucket/clusters/ --preset spark-ml

Exit codes: as those of `fruitbatch run`.")]
pub(crate) struct FitArgs {
    #[command(flatten)]
    pub(crate) run: OutArgs,
    #[command(flatten)]
    pub(crate) learning: LearningArgs,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
}

/// Show new photos to the model of a run: cluster, distance, membership, and what the nearest known photos are
///
/// Makes features of the photos just as that run did, and places them by its model/. A row a photo goes to standard output, or
/// with --output to a folder or prefix where the run can be resumed like any other (photos that can't be used are in its
/// failures.csv).
#[derive(Debug, Args)]
#[command(after_help = "\
Columns: label and probability (where a classifier was trained), and path, cluster, distance (from the cluster's centre), membership (0 to 1), nearest_label and nearest_label_share (by votes of \
the nearest photos that the model was fitted on), nearest_path, nearest_distance.

Examples:
  fruitbatch predict --model-dir out/model new.jpg
  fruitbatch predict --model-dir out/model new-photos --format jsonl | jq .nearest_label
  fruitbatch predict --model-dir s3://bucket/clusters/model s3://bucket/new/ --output s3://bucket/placed/ --format parquet

Exit codes: as those of `fruitbatch run`.")]
pub(crate) struct PredictArgs {
    /// The photos: a folder, one file, a glob, file:// or s3://bucket/prefix/
    #[arg(value_name = "INPUT")]
    pub(crate) input: String,
    /// The folder model/ of a run's output, or a copy of it
    #[arg(long, value_name = "DIR", env = "FRUITBATCH_MODEL_DIR")]
    pub(crate) model_dir: String,
    /// Where predictions.csv, failures.csv and what is needed to resume go: a folder or s3://bucket/prefix/ [default: rows to
    /// standard output, and nothing is kept]
    #[arg(long, short, value_name = "OUT", env = "FRUITBATCH_OUTPUT")]
    pub(crate) output: Option<String>,
    /// What the rows are written as; parquet needs --output
    #[arg(long, value_enum, default_value_t = FormatArg::Csv)]
    pub(crate) format: FormatArg,
    /// How many of the nearest known photos vote for the label
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) n_neighbors: u16,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) running: RunningArgs,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FormatArg {
    Csv,
    Jsonl,
    Parquet,
}

impl From<FormatArg> for PredictionFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Csv => Self::Csv,
            FormatArg::Jsonl => Self::Jsonl,
            FormatArg::Parquet => Self::Parquet,
        }
    }
}

/// Train a classifier of the labels on the features of a run
///
/// Multinomial logistic regression on the features of all labelled photos but a share of each label, on which it is tested: accuracy,
/// precision, recall and F1 by label go to metrics.json and the report, the confusion matrix to confusion.csv, and the head to
/// model/, where `fruitbatch predict` finds it. Everything else is fitted as `fruitbatch fit` does. A later `run` on OUT trains it
/// again only with --classifier; `fit` does by itself.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch train out
  fruitbatch train out --test-share 0.3 --seed 7
  fruitbatch predict --model-dir out/model new-photos --format jsonl | jq '[.label, .probability]'

Exit codes: as those of `fruitbatch run`.")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) fit: FitArgs,
}

/// What `--dry-run` estimates with.
#[derive(Debug, Args)]
pub(crate) struct EstimateArgs {
    /// Photos a second that a core does [default: what `fruitbatch doctor --bench` measured for this model and size]
    #[arg(long, value_name = "N", requires = "dry_run", help_heading = "Estimate", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Executors, an instance each
    #[arg(long, value_name = "N", requires = "dry_run", help_heading = "Estimate", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) instances: u32,
    /// A price table in place of the one that is compiled in, configs/prices.toml
    #[arg(long, value_name = "FILE", requires = "dry_run", help_heading = "Estimate")]
    pub(crate) prices: Option<PathBuf>,
}

/// By which certificates connections to a fleet are made.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::struct_field_names, reason = "flags are named after them")]
pub(crate) struct ClientTlsArgs {
    /// Who I am: a certificate and those between it and its authority, PEM; read again when it changes
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_TLS_CERT", help_heading = "TLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_TLS_KEY", help_heading = "TLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authority that the certificates of those I connect to must be signed by, PEM; makes it TLS
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_TLS_CA", help_heading = "TLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The name that their certificates must be for [default: the one they are called by]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_TLS_SERVER_NAME", help_heading = "TLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,
}

impl ClientTlsArgs {
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            ca: self.tls_ca.clone(),
            client_ca: None,
            server_name: self.tls_server_name.clone(),
        }
    }
}

/// The certificates of those who serve and connect to others that serve: all of a fleet's connections go over TLS, or none.
#[derive(Debug, Args)]
pub(crate) struct RoleTlsArgs {
    #[command(flatten)]
    client: ClientTlsArgs,
    /// The authority that the certificates of whoever connects to me must be signed by, PEM: nobody gets in without one
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_TLS_CLIENT_CA", help_heading = "TLS")]
    tls_client_ca: Option<PathBuf>,
}

impl RoleTlsArgs {
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles { client_ca: self.tls_client_ca.clone(), ..self.client.files() }
    }
}

/// How S3 is reached.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AwsArgs {
    /// The AWS profile [default: the AWS chain's]
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_PROFILE", help_heading = "AWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The AWS region [default: the AWS chain's]
    #[arg(long, value_name = "REGION", env = "FRUITBATCH_REGION", help_heading = "AWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The endpoint of an S3-compatible server [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(long, value_name = "URL", env = "FRUITBATCH_ENDPOINT_URL", help_heading = "AWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_url: Option<String>,
    /// Do not sign requests: for public buckets
    #[arg(long, env = "FRUITBATCH_NO_SIGN_REQUEST", help_heading = "AWS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_sign_request: Option<bool>,
    /// requester: pay for the requests to a requester-pays bucket
    #[arg(long, value_name = "requester", env = "FRUITBATCH_REQUEST_PAYER", help_heading = "AWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_payer: Option<String>,
}

/// How OUT is reached, with everything else as it is by default.
impl From<&AwsArgs> for RunConfig {
    fn from(aws: &AwsArgs) -> Self {
        Self {
            profile: aws.profile.clone(),
            region: aws.region.clone(),
            endpoint_url: aws.endpoint_url.clone(),
            no_sign_request: aws.no_sign_request.unwrap_or_default(),
            request_payer: aws.request_payer.clone(),
            ..Self::default()
        }
    }
}

/// Take the photos in failures.csv again, and everything else that a run left undone
///
/// Goes on with the last run that was started on OUT, with that run's own settings, from wherever it is called.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch retry out                                after the bad photos were mended
  fruitbatch retry s3://bucket/clusters/ --profile p  after they were restored from the archive

Exit codes: as those of `fruitbatch run`.")]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) run: OutArgs,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Serve a page on which the run can be watched, on this address and port
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRUITBATCH_UI")]
    pub(crate) ui: Option<SocketAddr>,
}

/// Make links by which anybody sees the photos of a run for a while
///
/// Writes a CSV file path,url with a presigned URL of S3 for each photo in the results. A link is a credential: the file is made
/// with mode 0600, never in the output, and never over another file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch links s3://bucket/clusters/ --expires 1h
  fruitbatch links s3://bucket/clusters/ --expires 7d --to for-the-labellers.csv

Exit codes: 0 written, 1 failed, 2 wrong usage, or OUT is not complete.")]
pub(crate) struct LinksArgs {
    #[command(flatten)]
    pub(crate) run: OutArgs,
    /// How long they are good, such as 30m, 1h or 7d (the most that S3 allows), and no longer than the credentials they are made
    /// with
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) expires: Duration,
    /// The file they are written to
    #[arg(long, value_name = "FILE", default_value = "links.csv")]
    pub(crate) to: PathBuf,
}

/// Put the results of a run into a table of PostgreSQL or DynamoDB
///
/// Each row of results.parquet is inserted or updated by its path; exporting twice changes nothing. In PostgreSQL all of it is one
/// transaction. Passwords come from PGPASSFILE, ~/.pgpass or PGPASSWORD: a URL with one in it is refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch export out --to postgres://ana@db.example.com/fruits
  fruitbatch export out --to 'postgres://ana@db.example.com/fruits?sslmode=verify-full' --table lab.clusters --prune
  fruitbatch export s3://bucket/clusters/ --to 'dynamodb://clusters?region=eu-west-3' --create-table

Exit codes: 0 exported, 1 failed, 2 wrong usage, or OUT is not complete.")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) run: OutArgs,
    /// Where to: postgres://USER@HOST:PORT/DATABASE or dynamodb://TABLE
    #[arg(long, value_name = "URL")]
    pub(crate) to: Target,
    /// The table in PostgreSQL, TABLE or SCHEMA.TABLE; made if it isn't there [default: fruitbatch_results]
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<TableName>,
    /// Make the table in DynamoDB if it isn't there, paid by request
    #[arg(long)]
    pub(crate) create_table: bool,
    /// Remove rows of photos that aren't in the results any more
    #[arg(long)]
    pub(crate) prune: bool,
}

/// How far a run is, read from its commit log, from anywhere
///
/// Reads OUT and nothing else: it can be asked from any machine, and disturbs nobody.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch status out
  fruitbatch status s3://bucket/clusters/ --json | jq .rate

Exit codes: 0 told, 1 OUT can't be read, 2 wrong usage, or no run was ever started on OUT.")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) run: OutArgs,
    /// One JSON object on stdout, for scripts
    #[arg(long)]
    pub(crate) json: bool,
}

/// Ask questions about photos, features and results in SQL
///
/// A query reads the photos of images('PLACE') and the outputs of complete runs, features('OUT') and results('OUT'). Beside
/// the usual functions there are embed(content, 'MODEL'), cosine_similarity(a, b), cluster_of(features, 'OUT'),
/// distance_of(features, 'OUT') and nearest_label_of(features, 'OUT'). docs/sql.md has all of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch sql \"SELECT cluster, label, count(*) FROM results('out') GROUP BY ALL ORDER BY ALL\"
  fruitbatch sql \"SELECT label, count(*), avg(length) FROM images('photos') GROUP BY label\"
  fruitbatch sql \"SELECT b.path, cosine_similarity(a.features, b.features) AS similarity FROM features('out') a,
                  features('out') b WHERE a.path = 'Orange/0_100.jpg' ORDER BY similarity DESC LIMIT 10\"
  fruitbatch sql \"SELECT path, cluster_of(embed(content, 'vgg16'), 'out') AS cluster FROM images('new photos')\" -o new.csv

Exit codes: 0 answered, 1 failed, 2 wrong usage (a query that can't be read or planned, an OUT without a run), 130 interrupted.")]
pub(crate) struct SqlArgs {
    /// The query, or - for standard input
    #[arg(value_name = "QUERY")]
    pub(crate) query: String,
    /// Write the whole answer to this file, in the format that its name ends in: .csv, .json, .jsonl or .parquet
    #[arg(long, short, value_name = "FILE", help_heading = "Answer")]
    pub(crate) output: Option<PathBuf>,
    /// How the answer is written [default: table, or what the file's name says]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Answer")]
    pub(crate) format: Option<AnswerFormat>,
    /// A table has at most this many rows, and no more are computed; files have all
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Answer")]
    pub(crate) max_rows: usize,
    /// Where the work is done: local (a scheduler and an executor inside this process), or a fleet's scheduler,
    /// df://HOST:PORT
    #[arg(
        long,
        value_name = "WHERE",
        env = "FRUITBATCH_SCHEDULER",
        default_value = "local",
        help_heading = "Running"
    )]
    pub(crate) scheduler: SchedulerChoice,
    /// How long a fleet without an executor is waited for
    #[arg(
        long,
        value_name = "SECONDS",
        env = "FRUITBATCH_CLUSTER_TIMEOUT",
        default_value_t = 60,
        help_heading = "Running"
    )]
    pub(crate) cluster_timeout: u64,
    /// The folder or s3://bucket/prefix/ by which a fleet's executors get models, and listings of more than 10,000 photos
    /// [default: none, only models that the executors' machines have]
    #[arg(long, value_name = "URI", env = "FRUITBATCH_MODEL_STORE", help_heading = "Running")]
    pub(crate) model_store: Option<String>,
    /// Tasks at a time [default: the cores of this process]
    #[arg(long, value_name = "N", env = "FRUITBATCH_SLOTS", help_heading = "Running")]
    pub(crate) slots: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) tls: ClientTlsArgs,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    Table,
    Csv,
    Json,
    Jsonl,
    Parquet,
}

/// Ask a scheduler or an executor whether it is healthy: for the health checks of containers
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch health                                  whether the scheduler on this machine lives
  fruitbatch health --address 127.0.0.1:50051 --ready  whether this executor has joined

Exit codes: 0 healthy, 1 not, 2 wrong usage.")]
pub(crate) struct HealthArgs {
    /// Whom to ask
    #[arg(long, value_name = "HOST:PORT", env = "FRUITBATCH_ADDRESS", default_value = "127.0.0.1:50050")]
    pub(crate) address: String,
    /// Whether it is of use (a scheduler with an executor, an executor that has joined), not only alive
    #[arg(long)]
    pub(crate) ready: bool,
    #[command(flatten)]
    pub(crate) tls: ClientTlsArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    Bar,
    Json,
    None,
}

/// Start a scheduler: the one place that executors and drivers of a fleet must reach
///
/// It plans jobs, gives their tasks to executors, and passes results on to drivers; it reads no photo and keeps nothing.
/// When it goes away, executors and drivers wait for it to come back.
#[derive(Debug, Args)]
#[command(after_help = "\
Over HTTP on the same port: /healthz (it lives), /readyz (it has an executor) and /metrics (for Prometheus).

Examples:
  fruitbatch scheduler                        for executors on this machine
  fruitbatch scheduler --bind 0.0.0.0:50050   for a network that you trust

Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage.")]
pub(crate) struct SchedulerArgs {
    /// The address and port to listen on; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRUITBATCH_BIND", default_value_t = (Ipv4Addr::LOCALHOST, SCHEDULER_PORT).into())]
    pub(crate) bind: SocketAddr,
    /// An executor silent for so long is lost, and its work is given to others; the same as the executors'
    #[arg(long, value_name = "SECONDS", env = "FRUITBATCH_EXECUTOR_TIMEOUT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..))]
    pub(crate) executor_timeout: u32,
    /// The jobs of a driver silent for so long are cancelled
    #[arg(long, value_name = "SECONDS", env = "FRUITBATCH_DRIVER_TIMEOUT", default_value_t = 60, value_parser = clap::value_parser!(u32).range(3..))]
    pub(crate) driver_timeout: u32,
    /// Serve a page on which the fleet can be watched, on this address and port, to whoever reaches it
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRUITBATCH_UI")]
    pub(crate) ui: Option<SocketAddr>,
    /// A TOML file: the keys of its table `scheduler`, and those outside of any table, are named as these flags
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: RoleTlsArgs,
}

/// Start an executor: it reads photos and runs the model for the scheduler it joins
///
/// It stays with its scheduler, and waits for it when it isn't there. SIGTERM makes it leave in peace: it takes no new
/// task, ends those that run, hands out their results, and goes.
#[derive(Debug, Args)]
#[command(after_help = "\
Over HTTP on the same port: /healthz (it lives), /readyz (it has joined) and /metrics (for Prometheus). The scheduler
must reach that port.

Examples:
  fruitbatch executor --scheduler 127.0.0.1:50050
  fruitbatch executor --scheduler scheduler.internal:50050 --bind 0.0.0.0:50051 --slots 8

Exit codes: 0 left after a signal, 1 failed or refused, 2 wrong usage.")]
pub(crate) struct ExecutorArgs {
    /// The scheduler to join
    #[arg(long, value_name = "HOST:PORT", env = "FRUITBATCH_SCHEDULER")]
    pub(crate) scheduler: String,
    /// The address and port to listen on; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRUITBATCH_BIND", default_value_t = (Ipv4Addr::LOCALHOST, EXECUTOR_PORT).into())]
    pub(crate) bind: SocketAddr,
    /// The name by which the scheduler reaches it [default: the address it listens on, or comes from]
    #[arg(long, value_name = "HOST", env = "FRUITBATCH_ADVERTISE_HOST")]
    pub(crate) advertise_host: Option<String>,
    /// Tasks at a time [default: the cores this process may use]
    #[arg(long, value_name = "N", env = "FRUITBATCH_SLOTS")]
    pub(crate) slots: Option<NonZeroUsize>,
    /// Threads of the model, shared by all slots [default: the slots, and the cores at most]
    #[arg(long, value_name = "N", env = "FRUITBATCH_THREADS")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What runs that ask for more than cpu find here: openvino, cuda, tensorrt, coreml, or auto: a GPU if there is one that can be
    /// used
    #[arg(long, value_name = "NAME", env = "FRUITBATCH_PROVIDER", default_value = "auto")]
    pub(crate) provider: ProviderChoice,
    /// The memory that making features may take, such as 2GB: batches shrink until they fit [default: no limit]
    #[arg(long, value_name = "BYTES", env = "FRUITBATCH_MEMORY_LIMIT")]
    pub(crate) memory_limit: Option<ByteSize>,
    /// The folder in which intermediate results lie [default: the system's for temporary files]
    #[arg(long, value_name = "DIR", env = "FRUITBATCH_WORK_DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// How long leaving in peace may take
    #[arg(long, value_name = "SECONDS", env = "FRUITBATCH_DRAIN_TIMEOUT", default_value_t = 100)]
    pub(crate) drain_timeout: u32,
    /// Silent for so long, it takes itself for lost and joins anew; the same as the scheduler's
    #[arg(long, value_name = "SECONDS", env = "FRUITBATCH_EXECUTOR_TIMEOUT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..))]
    pub(crate) executor_timeout: u32,
    /// The most bytes of fetched models that stay in the cache folder; one model always does
    #[arg(long, value_name = "N", env = "FRUITBATCH_MODEL_CACHE_BYTES", default_value_t = 10 << 30)]
    pub(crate) model_cache_bytes: u64,
    /// Leave in peace when EC2 says that this instance is about to go: its spot interruption notice, or the termination by
    /// its Auto Scaling group
    #[arg(long, env = "FRUITBATCH_EC2_NOTICES")]
    pub(crate) ec2_notices: bool,
    /// A TOML file: the keys of its table `executor`, and those outside of any table, are named as these flags
    #[arg(long, value_name = "FILE", env = "FRUITBATCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: RoleTlsArgs,
}

/// What is found, what is missing, and the command that mends it
///
/// With --bench it measures how many photos a second this machine does. With --input and --output it tries whether a run may
/// list, read, write and delete there, and prints the smallest IAM policies with which it may.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fruitbatch doctor
  fruitbatch doctor --bench
  fruitbatch doctor --input s3://bucket/fruits/ --output s3://bucket/clusters/

Exit codes: 0 all is well, 1 something is missing or denied, 2 wrong usage.")]
pub(crate) struct DoctorArgs {
    /// Measure photos a second, and keep the figure in the cache folder for `fruitbatch run --dry-run`
    #[arg(long, help_heading = "Measuring")]
    pub(crate) bench: bool,
    /// The model
    #[arg(
        long,
        value_name = "NAME",
        env = "FRUITBATCH_MODEL",
        help_heading = "Measuring",
        default_value = "vgg16"
    )]
    pub(crate) model: String,
    /// The side in pixels that photos are resized to, or native
    #[arg(
        long,
        value_name = "N|native",
        env = "FRUITBATCH_IMAGE_SIZE",
        help_heading = "Measuring",
        default_value = "224"
    )]
    pub(crate) image_size: ImageSize,
    /// Tasks at a time [default: the cores of this process]
    #[arg(long, value_name = "N", env = "FRUITBATCH_SLOTS", help_heading = "Measuring")]
    pub(crate) slots: Option<NonZeroUsize>,
    /// How long, once the model is loaded
    #[arg(long, value_name = "N", requires = "bench", help_heading = "Measuring", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// A place for photos to try: a folder, one file, a glob, file:// or s3://bucket/prefix/
    #[arg(long, value_name = "INPUT", help_heading = "Access")]
    pub(crate) input: Option<String>,
    /// A place for results to try: a folder or s3://bucket/prefix/; it is left as it was
    #[arg(long, short, value_name = "OUT", help_heading = "Access")]
    pub(crate) output: Option<String>,
    /// The place for models that the policies are about [default: _fruitbatch/models in OUT]
    #[arg(long, value_name = "URI", help_heading = "Access")]
    pub(crate) model_store: Option<String>,
    #[command(flatten)]
    pub(crate) aws: AwsArgs,
}

/// Draw a small labelled set of fruit photos: four labels, each fruit turned through 360 degrees
#[derive(Debug, Args)]
pub(crate) struct SamplesArgs {
    /// The folder they are written to
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Photos a label
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) per_label: usize,
    /// The side of a photo in pixels
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) size: u32,
    /// The seed: the same seed draws the same photos
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

/// The models: list, fetch, import, inspect
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// The models of the catalogue, and which of them are here
    List,
    /// Get a model of the catalogue by its recipe, and check it
    Fetch {
        /// Its name in the catalogue
        name: String,
    },
    Import(ImportArgs),
    Quantize(QuantizeArgs),
    /// What a model takes, gives and consists of
    Inspect {
        /// A name in the catalogue, a digest, or an ONNX file
        model: String,
    },
}

/// Make a model whose convolutions compute in 8-bit integers: several times as fast, and nearly the same features
///
/// Runs the model on some of your photos to see what its numbers range over, enters the result in your catalogue, and says on other
/// photos of yours how far its features are from the original's. After that `fruitbatch run --model MODEL --precision int8` uses it.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The model: a name in the catalogue
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// A folder or an s3:// prefix with photos of the kind that will be run
    #[arg(long, value_name = "INPUT")]
    pub(crate) calibrate: String,
    /// So many photos are calibrated with, and as many others compared
    #[arg(long, value_name = "N", default_value = "128")]
    pub(crate) samples: NonZeroUsize,
    /// The side in pixels that photos are resized to, or native
    #[arg(long, value_name = "N|native", default_value = "224")]
    pub(crate) image_size: ImageSize,
    /// How fine weights are: 8, or 7 for processors that can't multiply bytes exactly [default: what this one can]
    #[arg(long, value_name = "7|8", value_parser = weight_bits)]
    pub(crate) weight_bits: Option<WeightBits>,
    /// What the result is called [default: MODEL-int8]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

fn weight_bits(text: &str) -> Result<WeightBits, String> {
    let bits: i64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    WeightBits::try_from(bits)
}

/// Turn an ONNX classifier into a feature extractor and enter it in your catalogue
///
/// Cuts the head off behind the last spatial tensor (or the one named by --cut), frees batch and image size, makes the
/// layout NCHW, and stores the result by its digest. After that `fruitbatch run --model NAME` uses it.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The model, an ONNX file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its name in the catalogue
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The tensor behind which the head is cut off [default: the last spatial one]
    #[arg(long, value_name = "TENSOR")]
    pub(crate) cut: Option<String>,
    /// What happens to pixels before the model: caffe (BGR, mean off), torch (0..1, ImageNet's mean and deviation), tf
    /// (-1..1) or none (RGB, 0..255)
    #[arg(long, value_name = "NAME", default_value = "torch")]
    pub(crate) preprocessing: Preprocessing,
    /// Where the model's input has its channels: nchw, nhwc, or auto to find out
    #[arg(long, value_name = "LAYOUT", default_value = "auto")]
    pub(crate) input_layout: InputLayout,
    /// One line about it, for the catalogue
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// The licence of the weights, for the catalogue
    #[arg(long, value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// Whom the licence wants named, for the catalogue
    #[arg(long, value_name = "TEXT")]
    pub(crate) attribution: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no positive number"))
}

fn split_from(text: &str) -> Result<SplitFrom, String> {
    match text {
        "none" => Ok(SplitFrom::None),
        "path" => Ok(SplitFrom::Path),
        other => Err(format!("`{other}` is none of: none, path")),
    }
}

fn on_error(text: &str) -> Result<OnError, String> {
    match text {
        "quarantine" => Ok(OnError::Quarantine),
        "fail" => Ok(OnError::Fail),
        other => Err(format!("`{other}` is none of: quarantine, fail")),
    }
}
