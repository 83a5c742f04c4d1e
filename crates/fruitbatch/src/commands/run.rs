//! `fruitbatch run`, and its steps one by one.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use fruitbatch_pipeline::{Observer, RunConfig, RunPlan, RunSummary, Steps};
use fruitbatch_vision::cache::cache_dir;
use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions, Provider};
use tokio_util::sync::CancellationToken;

use crate::cli::{ExtractArgs, FitArgs, ProgressStyle, RetryArgs, RunArgs};
use crate::commands::block_on;
use crate::commands::dry_run::dry_run;
use crate::config_layers::{LayeredConfig, with_flags};
use crate::exit::{CommandError, Done};
use crate::page::RunPage;
use crate::signals::Signals;
use crate::{progress, summary};

/// Resolves the configuration and carries it out, once or again and again, or shows what would be done.
pub(crate) fn run(args: &RunArgs, matches: &ArgMatches) -> Result<Done, CommandError> {
    let layered = LayeredConfig::resolve(args, args.extract.config.as_deref(), matches)?;
    take_steps(&layered, None, args.watch, &args.extract)
}

/// The same without learning.
pub(crate) fn extract(args: &ExtractArgs, matches: &ArgMatches) -> Result<Done, CommandError> {
    let layered = LayeredConfig::resolve(args, args.config.as_deref(), matches)?;
    take_steps(&layered, Some(Steps::Extract), None, args)
}

fn take_steps(
    layered: &LayeredConfig,
    steps: Option<Steps>,
    watch: Option<Duration>,
    args: &ExtractArgs,
) -> Result<Done, CommandError> {
    if args.show_config {
        return show_config(layered).map_err(CommandError::Stdout);
    }
    let catalogue = Catalogue::load()?;
    let plan = layered.config.plan(&catalogue)?;
    let plan = RunPlan { steps: steps.unwrap_or_else(|| plan.steps.clone()), ..plan };
    if args.dry_run {
        return block_on(dry_run(&plan, &args.estimate));
    }
    block_on(async {
        let machinery = Machinery::new(&plan, catalogue, args.progress.style, args.ui)?;
        if let Some(interval) = watch {
            return machinery.watch(&plan, interval).await;
        }
        let finished = machinery.run(&plan).await?;
        drop(machinery);
        tell(&plan, &finished)
    })
}

/// Learns anew from the features of the last run on OUT, with a classifier if it is to `train` one.
pub(crate) fn fit(args: &FitArgs, train: bool) -> Result<Done, CommandError> {
    block_on(async {
        let access = RunConfig::from(&args.run.aws);
        let adjust = |config| {
            let config = with_flags(&config, &args.learning);
            RunConfig { classifier: config.classifier || train, ..config }
        };
        let plan = RunPlan::refit_of(&args.run.output, &access, adjust).await?;
        let cancel = CancellationToken::new();
        tokio::spawn(cancel_on_signal(cancel.clone()));
        let observer = progress::observer(args.progress.style);
        let finished = fruitbatch_pipeline::refit(&plan, observer.as_ref(), &cancel).await?;
        drop(observer);
        tell(&plan, &finished)
    })
}

/// Goes on with the last run on OUT and takes its failed photos again.
pub(crate) fn retry(args: &RetryArgs) -> Result<Done, CommandError> {
    let catalogue = Catalogue::load()?;
    block_on(async {
        let access = RunConfig::from(&args.run.aws);
        let plan = RunPlan::retry_of(&args.run.output, &access, &catalogue).await?;
        let finished = carry_out(&plan, catalogue, args.progress.style, args.ui).await?;
        tell(&plan, &finished)
    })
}

/// Carries a plan out, and tells how it goes on.
pub(crate) async fn carry_out(
    plan: &RunPlan,
    catalogue: Catalogue,
    progress: ProgressStyle,
    ui: Option<SocketAddr>,
) -> Result<RunSummary, CommandError> {
    Machinery::new(plan, catalogue, progress, ui)?.run(plan).await
}

/// What a run needs beside its plan.
struct Machinery {
    files: Arc<CachedModelFiles>,
    sessions: Arc<ModelSessions>,
    observer: Box<dyn Observer>,
    cancel: CancellationToken,
}

impl Machinery {
    fn new(
        plan: &RunPlan,
        catalogue: Catalogue,
        progress: ProgressStyle,
        ui: Option<SocketAddr>,
    ) -> Result<Self, CommandError> {
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
        Ok(Self { files, sessions, observer, cancel })
    }

    async fn run(&self, plan: &RunPlan) -> Result<RunSummary, CommandError> {
        let Self { files, sessions, observer, cancel } = self;
        let finished =
            fruitbatch_pipeline::run(plan, sessions.clone(), files.clone(), observer.as_ref(), cancel);
        Ok(finished.await?)
    }

    /// Goes on until it is stopped. The first round is told as a run is, each later one in a line.
    async fn watch(&self, plan: &RunPlan, interval: Duration) -> Result<Done, CommandError> {
        let Self { files, sessions, observer, cancel } = self;
        let (mut rounds, mut told) = (0, Ok(()));
        let tell = |finished: &RunSummary| {
            let out = &mut std::io::stdout().lock();
            let said = if rounds == 0 {
                summary::print(out, plan, finished)
                    .and_then(|()| summary::print_watching(out, plan, interval))
            } else {
                summary::print_round(out, finished)
            };
            rounds += 1;
            if said.is_err() && told.is_ok() {
                told = said;
                cancel.cancel();
            }
        };
        let (sessions, files) = (sessions.clone(), files.clone());
        fruitbatch_pipeline::watch(plan, interval, sessions, files, observer.as_ref(), cancel, tell).await?;
        told.map_err(CommandError::Stdout)?;
        Ok(Done::Fine)
    }
}

fn tell(plan: &RunPlan, finished: &RunSummary) -> Result<Done, CommandError> {
    summary::print(&mut std::io::stdout().lock(), plan, finished).map_err(CommandError::Stdout)?;
    Ok(outcome_of(finished))
}

pub(crate) fn outcome_of(finished: &RunSummary) -> Done {
    if finished.every_photo_failed() { Done::EveryPhotoFailed } else { Done::Fine }
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
