//! Logs go to stderr; by default only warnings, so that progress and summary stay readable.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// What is logged unless RUST_LOG says otherwise: our own warnings, and nothing but errors of the engine, whose warnings
/// are about things that a run handles by itself.
const DEFAULT_FILTER: &str =
    "error,fruitbatch=warn,fruitbatch_pipeline=warn,fruitbatch_storage=warn,fruitbatch_vision=warn";

/// The same for a scheduler or an executor, whose logs are all that is seen of them.
const ROLE_FILTER: &str = "error,fruitbatch=info,fruitbatch_cluster=info,fruitbatch_pipeline=info,fruitbatch_storage=warn,fruitbatch_vision=info";

/// Starts logging.
pub(crate) fn start(format: LogFormat, is_role: bool) {
    let default = if is_role { ROLE_FILTER } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}
