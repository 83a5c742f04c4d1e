//! One module a command.

use crate::exit::CommandError;

pub(crate) mod doctor;
mod doctor_bench;
mod doctor_probes;
mod dry_run;
pub(crate) mod export;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod links;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod run;
pub(crate) mod samples;
pub(crate) mod sql;
pub(crate) mod status;

/// Carries an asynchronous command out.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let outcome = runtime.block_on(command);
    // Whatever a cancelled job still computes isn't waited for: nothing of it would be committed.
    runtime.shutdown_background();
    outcome
}
