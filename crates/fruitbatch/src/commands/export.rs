//! `fruitbatch export`: the results of a run, as rows of somebody's table.

use std::io::Write;

use arrow::record_batch::RecordBatchReader;
use fruitbatch_export::{
    DynamoDbOptions, ExportSummary, PostgresOptions, Target, export_to_dynamodb, export_to_postgres,
};
use fruitbatch_pipeline::{CompleteOutput, RunConfig, RunError};
use fruitbatch_storage::{StorageOptions, sdk_config};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::cli::ExportArgs;
use crate::commands::block_on;
use crate::exit::{CommandError, Done};

/// Upserts the rows of results.parquet, keyed by path.
pub(crate) fn export(args: &ExportArgs) -> Result<Done, CommandError> {
    if args.table.is_some() && matches!(args.to, Target::DynamoDb(_)) {
        return Err(CommandError::TableOfDynamoDb);
    }
    block_on(async {
        let access = RunConfig::from(&args.run.aws);
        let output = CompleteOutput::open(&args.run.output, &access).await?;
        let results = output.results().await?;
        let schema = results.schema();
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {human_pos} rows, {per_sec}")
                .expect("the template is valid"),
        );
        let tell = |rows| bar.set_position(rows);
        let batches = futures::stream::iter(results);
        let summary = match &args.to {
            Target::Postgres(target) => {
                let options =
                    PostgresOptions { table: args.table.clone().unwrap_or_default(), prune: args.prune };
                export_to_postgres(target, &options, &schema, batches, &tell).await
            }
            Target::DynamoDb(target) => {
                let storage = access.storage_options().map_err(RunError::from)?;
                // An endpoint of S3 is not one of DynamoDB.
                let sdk_config = sdk_config(&StorageOptions {
                    endpoint_url: target.endpoint_url().map(str::to_owned),
                    region: target.region().map(str::to_owned).or(storage.region),
                    ..storage
                })
                .await;
                let options = DynamoDbOptions { create_table: args.create_table, prune: args.prune };
                export_to_dynamodb(target, &sdk_config, &options, &schema, batches, &tell).await
            }
        };
        bar.finish_and_clear();
        tell_summary(&mut std::io::stdout().lock(), args, &summary?).map_err(CommandError::Stdout)?;
        Ok(Done::Fine)
    })
}

fn tell_summary(out: &mut impl Write, args: &ExportArgs, summary: &ExportSummary) -> std::io::Result<()> {
    write!(out, "{} rows in {}", HumanCount(summary.rows), args.to)?;
    if summary.created_table {
        write!(out, ", a new table")?;
    }
    if let Some(changes) = &summary.changes {
        let (inserted, updated) = (HumanCount(changes.inserted), HumanCount(changes.updated));
        write!(out, ": {inserted} new, {updated} changed, {} as they were", HumanCount(changes.unchanged))?;
    }
    if args.prune {
        write!(out, "; {} that are not in the output any more are gone", HumanCount(summary.pruned))?;
    }
    writeln!(out)
}
