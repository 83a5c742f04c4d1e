//! `fruitbatch run`.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::ArgMatches;
use fruitbatch_pipeline::{RunConfig, RunPlan};
use fruitbatch_vision::cache::cache_dir;
use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions, Provider};
use tokio_util::sync::CancellationToken;

use crate::cli::{ProgressStyle, RetryArgs, RunArgs};
use crate::commands::block_on;
use crate::commands::dry_run::dry_run;
use crate::config_layers::LayeredConfig;
use crate::exit::{CommandError, Done};
use crate::page::RunPage;
use crate::signals::Signals;
use crate::{progress, summary};

/// Resolves the configuration and carries it out, or shows what would be done.
pub(crate) fn run(args: &RunArgs, matches: &ArgMatches) -> Result<Done, CommandError> {
    let layered = LayeredConfig::resolve(args, matches)?;
    if args.show_config {
        return show_config(&layered).map_err(CommandError::Stdout);
    }
    let catalogue = Catalogue::load()?;
    let plan = layered.config.plan(&catalogue)?;
    if args.dry_run {
        return block_on(dry_run(&plan, &args.estimate));
    }
    block_on(carry_out(&plan, catalogue, args.progress, args.ui))
}

/// Goes on with the last run on OUT and takes its failed photos again.
pub(crate) fn retry(args: &RetryArgs) -> Result<Done, CommandError> {
    let catalogue = Catalogue::load()?;
    block_on(async {
        let access = RunConfig::from(&args.aws);
        let plan = RunPlan::retry_of(&args.output, &access, &catalogue).await?;
        carry_out(&plan, catalogue, args.progress, args.ui).await
    })
}

async fn carry_out(
    plan: &RunPlan,
    catalogue: Catalogue,
    progress: ProgressStyle,
    ui: Option<SocketAddr>,
) -> Result<Done, CommandError> {
    let files = Arc::new(CachedModelFiles::new(cache_dir().map_err(CommandError::Cache)?));
    let sessions = ModelSessions::new(files.clone(), catalogue, inference_threads(plan.slots));
    let sessions = Arc::new(sessions.with_memory_limit(plan.memory_limit, plan.slots));
    if plan.embedding.provider != Provider::Cpu {
        eprintln!("computing on {} (--provider cpu is the processor)", plan.embedding.provider);
    }
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_signal(cancel.clone()));
    let mut observer = progress::observer(progress);
    if let Some(address) = ui {
        observer = Box::new(RunPage::serve(address, plan, observer)?);
    }
    let finished = fruitbatch_pipeline::run(plan, sessions, files, observer.as_ref(), &cancel).await?;
    drop(observer);
    summary::print(&mut std::io::stdout().lock(), plan, &finished).map_err(CommandError::Stdout)?;
    Ok(if finished.every_photo_failed() { Done::EveryPhotoFailed } else { Done::Fine })
}

/// All slots share one session, so it gets the threads of all of them, but never more than there are cores.
fn inference_threads(slots: NonZeroUsize) -> NonZeroUsize {
    slots.min(fruitbatch_pipeline::available_cores())
}

/// The first SIGINT or SIGTERM stops the run cleanly; after that the signals do what they always do.
async fn cancel_on_signal(cancel: CancellationToken) {
    let Ok(mut signals) = Signals::new() else { return };
    signals.next().await;
    eprintln!("stopping; once more to stop at once");
    cancel.cancel();
    signals.next().await;
    std::process::exit(130);
}

fn show_config(layered: &LayeredConfig) -> std::io::Result<Done> {
    let mut out = std::io::stdout().lock();
    let width = layered.origins.keys().map(String::len).max().unwrap_or_default();
    for (key, (value, origin)) in &layered.origins {
        let value = match value {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        writeln!(out, "{key:width$}  {value:24}  {origin}")?;
    }
    Ok(Done::Fine)
}
