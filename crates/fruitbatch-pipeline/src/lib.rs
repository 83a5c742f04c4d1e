//! A run: from a listing of photos to clusters, through chunks that are each committed once.
//!
//! [`RunConfig`] is what the user says, [`RunPlan`] the same after everything has been checked, and [`run()`] carries it out:
//!
//! 1. *list*: INPUT becomes a [`selection`](selection::Selection) of photos with labels and splits;
//! 2. *extract*: the photos that the [commit log](commit_log) doesn't know yet go through the engine in chunks; each chunk
//!    is a Ballista job, a features part and one entry of the log;
//! 3. *fit*: scaler, PCA and `KMeans` from `fruitbatch-learn` over all current rows, in path order;
//! 4. *write*: results, failures, model, metrics and lineage, and `_SUCCESS` last.
//!
//! Every listed photo ends in the results or in the failures, exactly once: each chunk is counted when it comes back
//! from the engine, and the whole once more before anything is written.
//!
//! ```
//! use fruitbatch_pipeline::RunConfig;
//!
//! let config = RunConfig { input: Some("photos".to_owned()), limit: Some(100), ..RunConfig::default() };
//! assert_eq!(config.model, "vgg16");
//! ```

pub mod access;
mod access_policy;
mod chunks;
pub mod claim;
mod classifier;
pub mod commit_log;
mod complete_output;
mod config;
mod driver;
mod engine;
mod error;
pub mod estimate;
mod events;
mod extract;
mod extracted;
pub mod features;
mod finish;
mod fleet_hours;
mod kept_model;
mod labels;
mod layout;
mod lineage;
mod measured_rate;
mod model_store;
pub mod outputs;
mod predictor;
pub mod prices;
mod processor;
mod progress_note;
mod publish;
mod quantize;
mod rate;
mod report;
mod retries;
mod run;
pub mod selection;
mod settle;
#[cfg(test)]
mod simulation;
mod stage_clock;
mod status;
mod tables;
mod watch;

pub use access_policy::{AccessPolicy, Places};
pub use classifier::CONFUSION_CSV;
pub use complete_output::CompleteOutput;
pub use config::{
    MaxFailures, OnError, PredictConfig, PredictionFormat, RunConfig, RunPlan, SchedulerChoice, SplitFrom,
    Steps, available_cores,
};
pub use driver::{Changes, RunSummary};
pub use error::{ConfigError, RunError};
pub use events::{Event, Observer, Stage, Unobserved};
pub use labels::{LabelSource, TRAINING_SPLIT, split_of};
pub use lineage::{FleetHost, GIT_COMMIT, Host, Lineage, Versions, available_memory_bytes};
pub use measured_rate::MeasuredRate;
pub use model_store::{FetchedModelFiles, ModelStore, for_executors};
pub use predictor::Predictor;
pub use prices::{Prices, PricesError};
pub use processor::Processor;
pub use progress_note::ProgressNote;
pub use quantize::{Fidelity, QuantizeOptions, QuantizeRunError, QuantizedModel, quantize};
pub use report::{MAP_PARQUET, PLOTS_FOLDER, REPORT};
pub use run::{refit, run};
pub use status::{RunState, RunStatus, status};
pub use watch::watch;
