//! One run from INPUT to OUT: what the [driver](crate::driver) needs of the real world.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fruitbatch_cluster::FleetExecutor;
use fruitbatch_learn::LearnSpec;
use fruitbatch_storage::{Location, Storage};
use fruitbatch_vision::{ModelFiles, ModelSessions, onnx_runtime_for};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::claim::Heartbeats;
use crate::config::{RunPlan, SchedulerChoice};
use crate::driver::{Driver, EngineSeconds, Photos, RunSummary};
use crate::engine::ClusterEngine;
use crate::error::RunError;
use crate::events::{Event, Observer, Stage};
use crate::extract::Counts;
use crate::lineage::{GIT_COMMIT, Versions};
use crate::progress_note::NotingObserver;
use crate::rate::RecentRate;
use crate::report::InputPhotos;
use crate::retries::Retries;
use crate::selection::Selection;
use crate::stage_clock::StageClock;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// How often it is told at most how busy executors are; that one comes or goes is told at once.
const FLEET_INTERVAL: Duration = Duration::from_secs(2);

/// Carries a plan out. Tells `observer` what happens and stops soon after `cancel` is cancelled. `files` are the models of
/// this machine: those that `sessions` load, or that are put where a fleet's executors find them.
///
/// Memory: the listing (some 300 bytes a photo), and while fitting the features of all current rows (4 bytes a
/// feature: 2 KiB a photo for 512), beside the engine's own.
///
/// # Errors
/// See [`RunError`]. What was committed until then stays, and the same plan goes on from there.
pub async fn run(
    plan: &RunPlan,
    sessions: Arc<ModelSessions>,
    files: Arc<dyn ModelFiles>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    let span = tracing::info_span!("run", input = %plan.input, output = %plan.output);
    carry_out(plan, sessions, files, observer, cancel).instrument(span).await
}

async fn carry_out(
    plan: &RunPlan,
    sessions: Arc<ModelSessions>,
    files: Arc<dyn ModelFiles>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    let observer = &NotingObserver::new(observer);
    let mut clock = StageClock::new(observer);
    let storage = Storage::new(plan.storage_options.clone());
    clock.enter(Stage::List);
    let selection = Selection::list(plan, &storage).await?;
    extract_and_finish(plan, selection, &storage, &mut clock, &sessions, files.as_ref(), observer, cancel)
        .await
}

/// The run from its listing on.
#[expect(clippy::too_many_arguments, reason = "what a run consists of, each once")]
pub(crate) async fn extract_and_finish(
    plan: &RunPlan,
    selection: Selection,
    storage: &Storage,
    clock: &mut StageClock<'_>,
    sessions: &Arc<ModelSessions>,
    files: &dyn ModelFiles,
    observer: &NotingObserver<'_>,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    // Before any inference: features that can't be fitted in the end aren't worth computing.
    LearnSpec::check_width(plan.embedding.width as usize, selection.photos.len())?;
    let root = selection.root.clone();
    let total = selection.photos.len();
    let counts = Counts::default();
    let engine = ClusterEngine::new(plan, &root, storage, sessions, files, observer);
    let engine_seconds = || match plan.scheduler {
        SchedulerChoice::Local => {
            let snapshot = sessions.snapshot();
            EngineSeconds {
                decode: Some(snapshot.decode_seconds),
                inference: Some(snapshot.inference_seconds),
            }
        }
        SchedulerChoice::Fleet(_) => EngineSeconds::default(),
    };
    let photos = Photos::Listed { selection, engine: &engine, engine_seconds: &engine_seconds };
    tokio::select! {
        finished = drive(plan, storage, root.clone(), photos, clock, &counts, observer, cancel) => finished,
        never = tell_progress(&counts, total, sessions, &engine, observer) => match never {},
    }
}

/// Learns anew from what the last run on OUT extracted, by a plan of [`RunPlan::refit_of`]: neither INPUT nor a cluster is needed.
///
/// Memory: as [`run()`] while it fits.
///
/// # Errors
/// [`RunError::NothingExtracted`], and those of [`run()`] that have to do with OUT or with learning. OUT is as it was then, unless
/// it can't be written.
pub async fn refit(
    plan: &RunPlan,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    let observer = &NotingObserver::new(observer);
    let storage = Storage::new(plan.storage_options.clone());
    let (input, counts) = (plan.input.clone(), Counts::default());
    let clock = &mut StageClock::new(observer);
    let span = tracing::info_span!("refit", output = %plan.output);
    drive(plan, &storage, input, Photos::AsExtracted, clock, &counts, observer, cancel).instrument(span).await
}

/// The driver of a new run, over photos whose paths are relative to `input`.
#[expect(clippy::too_many_arguments, reason = "what a run consists of, each once")]
async fn drive(
    plan: &RunPlan,
    storage: &Storage,
    input: Location,
    photos: Photos<'_>,
    clock: &mut StageClock<'_>,
    counts: &Counts,
    observer: &NotingObserver<'_>,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    let versions = versions(plan);
    let driver = Driver {
        plan,
        store: storage.output(&plan.output).await?,
        liveness: &Heartbeats { observer },
        observer,
        cancel,
        counts,
        retries: Retries::default(),
        run_id: uuid::Uuid::new_v4().to_string(),
        started_at: clock.began_at().to_owned(),
        versions: &versions,
        photos: &InputPhotos { storage, input },
    };
    driver.drive(clock, photos).await
}

/// Tells how far the photos are, for as long as it is polled.
async fn tell_progress(
    counts: &Counts,
    total: usize,
    sessions: &ModelSessions,
    engine: &ClusterEngine<'_>,
    observer: &dyn Observer,
) -> std::convert::Infallible {
    let mut ticker = tokio::time::interval(PROGRESS_INTERVAL);
    let mut rate = RecentRate::default();
    let (mut told, mut fleet_told_at) = (Vec::new(), None);
    loop {
        ticker.tick().await;
        let executors = engine.executors();
        engine.look_at_hosts(&executors);
        let is_due = fleet_told_at.is_none_or(|at: Instant| at.elapsed() >= FLEET_INTERVAL);
        if !same_executors(&executors, &told) || (is_due && executors != told) {
            fleet_told_at = Some(Instant::now());
            told.clone_from(&executors);
            observer.observe(Event::Fleet { executors });
        }
        let Some(resumed) = counts.resumed.get() else { continue };
        // The local cluster's own count is there at once; a fleet's takes a moment to come.
        let embedded = sessions.snapshot().photos_done().max(engine.photos_done());
        let embedded = usize::try_from(embedded).unwrap_or(usize::MAX);
        let committed = counts.committed.load(Ordering::Relaxed);
        // Retried tasks count their photos again: never tell more than there are, nor less than is committed.
        let done = resumed.saturating_add(embedded).clamp(committed, total);
        let failed = counts.failed.load(Ordering::Relaxed);
        let photos_per_second = rate.update(Instant::now(), done);
        observer.observe(Event::Progress { done, total, failed, photos_per_second });
    }
}

/// Whether nobody came or went.
fn same_executors(now: &[FleetExecutor], before: &[FleetExecutor]) -> bool {
    now.iter().map(|executor| &executor.id).eq(before.iter().map(|executor| &executor.id))
}

fn versions(plan: &RunPlan) -> Versions {
    Versions {
        fruitbatch: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: GIT_COMMIT.map(str::to_owned),
        datafusion: datafusion::DATAFUSION_VERSION.to_owned(),
        ballista: fruitbatch_cluster::BALLISTA_VERSION.to_owned(),
        onnxruntime: onnx_runtime_for(plan.embedding.provider).ok().map(|runtime| runtime.version),
    }
}
