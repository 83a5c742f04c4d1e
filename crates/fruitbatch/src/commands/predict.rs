//! `fruitbatch predict`: new photos, shown to a fitted model.

use std::io::Write;

use fruitbatch_pipeline::{PredictConfig, PredictionFormat, RunConfig, RunPlan};
use fruitbatch_vision::Catalogue;

use crate::cli::{FormatArg, PredictArgs};
use crate::commands::block_on;
use crate::commands::run::{carry_out, outcome_of};
use crate::config_layers::with_flags;
use crate::exit::{CommandError, Done};
use crate::summary;

/// Places photos by a model, on standard output or in an output of their own.
pub(crate) fn predict(args: &PredictArgs) -> Result<Done, CommandError> {
    let kept_nowhere = match (&args.output, args.format) {
        (Some(_), _) => None,
        (None, FormatArg::Parquet) => return Err(CommandError::ParquetToStdout),
        // It goes the way of any run, and is forgotten at the end.
        (None, _) => Some(tempfile::tempdir().map_err(CommandError::Scratch)?),
    };
    let output = match (&args.output, &kept_nowhere) {
        (Some(output), _) => output.clone(),
        (None, Some(folder)) => folder.path().display().to_string(),
        (None, None) => unreachable!("one of the two was made above"),
    };
    let config = RunConfig {
        input: Some(args.input.clone()),
        output: Some(output),
        predict: Some(PredictConfig {
            model_dir: args.model_dir.clone(),
            n_neighbors: args.n_neighbors.into(),
            format: args.format.into(),
        }),
        ..RunConfig::from(&args.aws)
    };
    let config = with_flags(&with_flags(&config, &args.selection), &args.running);
    let catalogue = Catalogue::load()?;
    block_on(async {
        let plan = RunPlan::predict(&config).await?;
        let finished = carry_out(&plan, catalogue, args.progress.style, None).await?;
        match &kept_nowhere {
            None => summary::print(&mut std::io::stdout().lock(), &plan, &finished),
            Some(folder) => {
                let file = folder.path().join(PredictionFormat::from(args.format).file_name());
                match std::fs::read(&file) {
                    Ok(rows) => std::io::stdout().lock().write_all(&rows),
                    // Not one photo could be used.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                    Err(source) => {
                        return Err(CommandError::ReadFile { file: file.display().to_string(), source });
                    }
                }
                .and_then(|()| summary::print_failures(&mut std::io::stderr().lock(), &finished))
            }
        }
        .map_err(CommandError::Stdout)?;
        Ok(outcome_of(&finished))
    })
}
