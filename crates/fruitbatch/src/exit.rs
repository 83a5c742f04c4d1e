//! From the outcome of a command to text on stderr and an exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use fruitbatch_cluster::ClusterError;
use fruitbatch_export::ExportError;
use fruitbatch_net::{HealthError, TlsError};
use fruitbatch_pipeline::{PricesError, QuantizeRunError, RunError};
use fruitbatch_samples::SampleError;
use fruitbatch_sql::SqlError;
use fruitbatch_vision::fetch::FetchError;
use fruitbatch_vision::{CatalogueError, ImportError, InspectError, RuntimeError};

use crate::config_layers::LayerError;

/// What a command that did not fail ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// All is well.
    Fine,
    /// The run is complete, but not one photo could be used.
    EveryPhotoFailed,
    /// `doctor` found something missing.
    SomethingMissing,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(
        "`{file}` lies in the output, which others may read, and links are credentials: name another file with --to"
    )]
    LinksInOutput { file: String },
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("--table names a table of PostgreSQL; that of DynamoDB stands in its URL, dynamodb://TABLE")]
    TableOfDynamoDb,
    #[error("Parquet can't go to standard output: give --output a folder, or take --format csv or jsonl")]
    ParquetToStdout,
    #[error("no temporary folder can be made: {0}; set TMPDIR")]
    Scratch(std::io::Error),
    #[error("`{address}` doesn't answer within {seconds} s")]
    NoAnswer { address: String, seconds: u64 },
    #[error("{0}")]
    OnnxRuntime(RuntimeError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Samples(#[from] SampleError),
    #[error(transparent)]
    Quantize(#[from] QuantizeRunError),
    #[error(transparent)]
    Prices(#[from] PricesError),
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error("{0}")]
    AnswerPlace(String),
    #[error("interrupted: the query was cancelled")]
    QueryInterrupted,
    #[error("`{file}` can't be read: {source}")]
    ReadFile { file: String, source: std::io::Error },
    #[error("`{file}` can't be written: {source}")]
    WriteFile { file: String, source: std::io::Error },
    #[error("there is no cache folder: {0}; set FRUITBATCH_CACHE_DIR")]
    Cache(std::io::Error),
    #[error("can't write the answer: {0}")]
    Stdout(std::io::Error),
    #[error("can't start the program's threads: {0}")]
    Runtime(std::io::Error),
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const EVERY_PHOTO_FAILED: u8 = 3;
/// 128 + SIGINT, as shells count it.
const INTERRUPTED: u8 = 130;

/// Tells an error on stderr and returns the exit code that scripts rely on.
pub(crate) fn code_of(outcome: Result<Done, CommandError>) -> ExitCode {
    let error = match outcome {
        Ok(Done::Fine) => return ExitCode::SUCCESS,
        Ok(Done::EveryPhotoFailed) => return ExitCode::from(EVERY_PHOTO_FAILED),
        Ok(Done::SomethingMissing) => return ExitCode::from(FAILED),
        // Whoever read our output has seen enough: `fruitbatch model list | head -1`.
        Err(CommandError::Stdout(error)) if error.kind() == ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(error) => error,
    };
    let code = match &error {
        CommandError::Run(RunError::Interrupted { .. }) | CommandError::QueryInterrupted => INTERRUPTED,
        CommandError::Run(run_error) if run_error.is_usage() => USAGE,
        CommandError::Quantize(error) if error.is_usage() => USAGE,
        CommandError::Sql(error) if error.is_usage() => USAGE,
        CommandError::Layer(_)
        | CommandError::LinksInOutput { .. }
        | CommandError::ParquetToStdout
        | CommandError::TableOfDynamoDb
        | CommandError::Catalogue(_)
        | CommandError::Prices(_)
        | CommandError::AnswerPlace(_)
        | CommandError::Tls(_)
        | CommandError::Cluster(ClusterError::Tls(_)) => USAGE,
        _ => FAILED,
    };
    let style = if code == INTERRUPTED { "" } else { "error: " };
    eprintln!("{style}{error}");
    ExitCode::from(code)
}
