//! The driver's protocol: from a listing to complete outputs, through the commit log.
//!
//! 1. Take OUT over ([`claim`]), or learn that another driver is at work on it.
//! 2. Take `_SUCCESS` away, clear what dead drivers left, and extract what isn't committed ([`extract`](crate::extract)). (Where
//!    nothing is to be extracted, `_SUCCESS` stays until there is something to write.)
//! 3. Lay the rows out ([`layout`](crate::layout)), count, fit.
//! 4. Announce the outputs in the log, write them, and `_SUCCESS` last ([`publish`](crate::publish)).
//! 5. Let go of OUT.
//!
//! Whatever ends a driver at whatever moment, the next one goes on from the log. Everything it touches outside itself is
//! behind four interfaces (store, engine, liveness, photos), so that a simulation can run this very code through thousands of
//! crashes.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fruitbatch_storage::{OutputStore, ReadErrorKind};
use tokio_util::sync::CancellationToken;

use crate::claim::{self, Liveness, ProcessIdentity};
use crate::commit_log::{Claim, CommitLog, FailureRecord, FeatureIdentity, LogEntry, LogState};
use crate::config::{RunPlan, Steps};
use crate::engine::Engine;
use crate::error::RunError;
use crate::events::{Event, Observer, Stage};
use crate::extract::{Counts, Extraction, check_uniform};
use crate::extracted::{Extracted, recall, splits_of};
use crate::features::FEATURES_FOLDER;
use crate::kept_model::{Found, KeptModel};
use crate::layout::{arrange, remove_orphans};
use crate::lineage::{Host, Versions, now};
use crate::outputs::{
    FAILURES_CSV, LINEAGE, METRICS, MODEL_FOLDER, Metrics, RESULTS_CSV, RESULTS_PARQUET, SUCCESS, Timings,
};
use crate::publish::Publisher;
use crate::report::PhotoSource;
use crate::retries::Retries;
use crate::selection::{Photo, Selection};
use crate::stage_clock::StageClock;

/// How a run ended.
#[derive(Debug)]
pub struct RunSummary {
    /// All figures; the same as in metrics.json.
    pub metrics: Metrics,
    /// How many of the photos an earlier run had committed.
    pub resumed: usize,
    /// What is different from the last time that a run on this OUT was complete; none if none ever was.
    pub changes: Option<Changes>,
    /// The features of how many photos were kept aside, since they are not selected at present.
    pub kept_aside: u64,
    /// The photos that failed, sorted by path.
    pub failures: Vec<FailureRecord>,
}

impl RunSummary {
    /// Whether not one photo could be used: there are no results then.
    pub fn every_photo_failed(&self) -> bool {
        self.metrics.rows == 0
    }
}

/// How the selected photos differ from those of the run before, in photos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Not known before.
    pub added: usize,
    /// Known in another version.
    pub changed: usize,
    /// In the results or failures before, and not selected any more: removed, or left out by a filter.
    pub removed: usize,
    /// Booked as failed before, and taken again on request.
    pub retried: usize,
}

/// What the engine spent on photos, where it keeps account.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EngineSeconds {
    pub(crate) decode: Option<f64>,
    pub(crate) inference: Option<f64>,
}

/// A driver and the world around it.
pub(crate) struct Driver<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) store: OutputStore,
    pub(crate) liveness: &'a dyn Liveness,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) counts: &'a Counts,
    pub(crate) retries: Retries,
    pub(crate) run_id: String,
    pub(crate) started_at: String,
    pub(crate) versions: &'a Versions,
    /// Where the report has its photos from.
    pub(crate) photos: &'a dyn PhotoSource,
}

/// The photos that a driver is about.
pub(crate) enum Photos<'a> {
    /// As INPUT was listed: what isn't committed is extracted.
    Listed {
        selection: Selection,
        engine: &'a dyn Engine,
        engine_seconds: &'a (dyn Fn() -> EngineSeconds + Sync),
    },
    /// As the last run on OUT extracted them: there is nothing to do but to learn.
    AsExtracted,
}

impl Photos<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Listed { selection, .. } => selection.photos.len(),
            Self::AsExtracted => 0,
        }
    }
}

impl Driver<'_> {
    /// Carries the plan out.
    pub(crate) async fn drive(
        &self,
        clock: &mut StageClock<'_>,
        photos: Photos<'_>,
    ) -> Result<RunSummary, RunError> {
        let mut log = CommitLog::open_with(self.store.clone(), self.retries).await?;
        let features = match (&photos, &log.state().claim) {
            (Photos::Listed { selection, .. }, _) => FeatureIdentity {
                input: selection.root.to_string(),
                embedding: self.plan.embedding.feature_identity(),
            },
            (Photos::AsExtracted, Some(before)) => before.claim.features.clone(),
            (Photos::AsExtracted, None) => {
                return Err(RunError::NoRun { output: self.plan.output.to_string() });
            }
        };
        let claim = Claim {
            run_id: self.run_id.clone(),
            host: Host::this().name,
            process: ProcessIdentity::this(),
            at: now(),
            features: features.clone(),
            config: Box::new(self.plan.config_to_go_on()),
            starts_over: self.plan.config.overwrite,
        };
        clock.enter(Stage::Start);
        let check = async |log: &CommitLog| self.check_output(&features, log).await;
        // Waiting for another driver may take a while.
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                return Err(RunError::Interrupted { committed: 0, total: photos.count() });
            }
            taken = claim::take(&self.store, &mut log, claim, self.liveness, check) => taken?,
        }
        let shown_alive = self.liveness.show(&self.store, log.next_part().claim);
        let outcome = self.work(clock, &mut log, photos).await;
        drop(shown_alive);
        if matches!(outcome, Err(RunError::Superseded { .. })) {
            return outcome;
        }
        match log.append(LogEntry::Release { complete: outcome.is_ok() }).await {
            // What went wrong went wrong because the ground was taken away: files that were there a moment ago.
            Err(superseded @ RunError::Superseded { .. }) if outcome.is_err() => return Err(superseded),
            // The next driver finds out by itself that this one has ended.
            Err(error) => {
                tracing::warn!(%error, "the commit log could not be told that this run has ended");
            }
            Ok(()) => {}
        }
        outcome
    }

    async fn work(
        &self,
        clock: &mut StageClock<'_>,
        log: &mut CommitLog,
        photos: Photos<'_>,
    ) -> Result<RunSummary, RunError> {
        if let Some(claim_file) = log.claim_file() {
            self.store.verify_conditions(&claim_file).await?;
        }
        let publisher = Publisher { store: &self.store, retries: self.retries };
        let kept = self.kept_model(log).await?;
        if matches!(photos, Photos::Listed { .. }) {
            publisher.remove_success(log).await?;
        }
        self.clear_away(log, &publisher).await?;

        let extracted = match photos {
            Photos::Listed { selection, engine, engine_seconds } => {
                let extracted = self.extract(clock, log, selection, engine).await?;
                let seconds = engine_seconds();
                let timings = Timings {
                    decode_seconds: seconds.decode,
                    inference_seconds: seconds.inference,
                    ..extracted.timings
                };
                Extracted { timings, ..extracted }
            }
            Photos::AsExtracted => recall(self.plan, &self.store, log).await?,
        };
        self.finish(clock, log, &publisher, extracted, kept.as_deref()).await
    }

    /// The model that stays as it is, if the plan asks for that.
    async fn kept_model(&self, log: &CommitLog) -> Result<Option<Box<KeptModel>>, RunError> {
        if !matches!(self.plan.steps, Steps::Assign) || self.plan.config.overwrite {
            return Ok(None);
        }
        match KeptModel::find(&self.store, log.state()).await? {
            Found::Whole(kept) => Ok(Some(kept)),
            Found::None => Ok(None),
            Found::Broken(problem) => {
                let message = format!(
                    "the model in {} isn't whole, so another one is fitted: {problem}",
                    self.store.uri(MODEL_FOLDER)
                );
                self.observer.observe(Event::Warning { message });
                Ok(None)
            }
        }
    }

    /// Computes what isn't committed, and lays all rows out.
    async fn extract(
        &self,
        clock: &mut StageClock<'_>,
        log: &mut CommitLog,
        mut selection: Selection,
        engine: &dyn Engine,
    ) -> Result<Extracted, RunError> {
        check_uniform(self.plan, &log.state().kernel_paths())?;
        let pending = pending_photos(&selection, log.state(), self.plan.retry_failed);
        let changes = changes(&selection, log.state(), self.plan.retry_failed);
        let listed = selection.photos.len();
        let resumed = listed - pending.len();
        let computed = pending.len();
        self.counts.committed.store(resumed, Ordering::Relaxed);
        self.observer.observe(Event::Listed { photos: listed, bytes: selection.bytes(), committed: resumed });

        let mut committing = Duration::ZERO;
        if !pending.is_empty() {
            engine.start(&selection.photos).await?;
            clock.enter(Stage::Extract);
            // Set once, here.
            let _ = self.counts.resumed.set(resumed);
            let extraction = Extraction {
                plan: self.plan,
                engine,
                store: &self.store,
                observer: self.observer,
                cancel: self.cancel,
                counts: self.counts,
            };
            let extracted = extraction.run(log, &mut selection, pending).await;
            engine.stop().await;
            committing = extracted?;
        }
        let extract_took = clock.current_took();
        clock.enter(if matches!(self.plan.steps, Steps::Extract) { Stage::Write } else { Stage::Fit });
        let began = Instant::now();
        let rows = arrange(&self.store, log, &selection.photos, self.plan.embedding.width as usize).await?;
        committing += began.elapsed();
        let failures = current_failures(&selection, log.state());
        if rows.len() + failures.len() != listed {
            return Err(RunError::RowsLost {
                asked: listed,
                returned: rows.len() + failures.len(),
                detail: "between the commit log and its parts".to_owned(),
            });
        }
        Ok(Extracted {
            splits: splits_of(self.plan, rows.iter().map(|row| row.path.as_str())),
            rows,
            failures,
            bytes: selection.bytes(),
            input_digest: selection.digest(),
            skipped: selection.skipped,
            executors: engine.hosts(),
            resumed,
            changes,
            timings: Timings {
                photos_computed: computed as u64,
                photos_per_second: rate(computed, extract_took),
                commit_seconds: committing.as_secs_f64(),
                ..Timings::default()
            },
        })
    }

    /// Refuses an OUT that belongs to someone else or to other features.
    async fn check_output(&self, features: &FeatureIdentity, log: &CommitLog) -> Result<(), RunError> {
        let output = || self.plan.output.to_string();
        if log.is_empty() {
            return match self.foreign_file().await? {
                Some(file) => Err(RunError::ForeignOutput { output: output(), file }),
                None => Ok(()),
            };
        }
        match &log.state().claim {
            // A run that came to nothing (a model that doesn't load, say) has left nothing that could be mixed.
            Some(before)
                if !self.plan.config.overwrite
                    && before.claim.features != *features
                    && log.state().has_features() =>
            {
                Err(RunError::OtherFeatures {
                    output: output(),
                    difference: difference(&before.claim.features, features),
                })
            }
            _ => Ok(()),
        }
    }

    /// A file that has the name of one of ours.
    async fn foreign_file(&self) -> Result<Option<String>, RunError> {
        for file in [RESULTS_CSV, RESULTS_PARQUET, FAILURES_CSV, METRICS, LINEAGE, SUCCESS] {
            if self.store.exists(file).await? {
                return Ok(Some(file.to_owned()));
            }
        }
        for folder in [FEATURES_FOLDER, MODEL_FOLDER] {
            if let Some(file) = self.store.list(folder).await?.into_iter().next() {
                return Ok(Some(file.path));
            }
        }
        Ok(None)
    }

    /// Removes what drivers before this one left: all outputs if it starts over, and what was never committed.
    async fn clear_away(&self, log: &CommitLog, publisher: &Publisher<'_>) -> Result<(), RunError> {
        if self.plan.config.overwrite {
            for file in &log.state().outputs {
                publisher.remove(log, file).await?;
            }
        }
        // With `--overwrite` the parts of before are orphans too: the log doesn't name them any more.
        remove_orphans(&self.store, log).await?;
        claim::remove_old_heartbeats(&self.store, log.next_part().claim).await?;
        self.store.remove_leftovers().await?;
        Ok(())
    }
}

fn difference(before: &FeatureIdentity, now: &FeatureIdentity) -> String {
    let mut lines = Vec::new();
    if before.input != now.input {
        lines.push(format!("  input: `{}` there, `{}` now", before.input, now.input));
    }
    if before.embedding != now.embedding {
        lines.push(format!("  features there: {}", before.embedding));
        lines.push(format!("  features now:   {}", now.embedding));
    }
    lines.join("\n")
}

/// The photos whose features aren't committed and that aren't booked as failed, by path and etag. Of those booked, the
/// ones that had vanished or changed while they were read, for they are listed again; with `retry_failed` all.
///
/// As indices: a copy of millions of listed photos would be as large as the listing.
fn pending_photos(selection: &Selection, state: &LogState, retry_failed: bool) -> Vec<usize> {
    let committed = state.committed();
    let is_pending = |photo: &Photo| {
        !committed.contains(&(photo.path.as_str(), photo.etag.as_str()))
            || booked(state, photo).is_some_and(|failure| retry_failed || was_in_motion(failure))
    };
    let photos = selection.photos.iter().enumerate();
    photos.filter(|(_, photo)| is_pending(photo)).map(|(index, _)| index).collect()
}

/// The failure that is booked of this version of a photo.
pub(crate) fn booked<'a>(state: &'a LogState, photo: &Photo) -> Option<&'a FailureRecord> {
    state.failures.get(&photo.path).filter(|failure| failure.etag == photo.etag)
}

fn was_in_motion(failure: &FailureRecord) -> bool {
    [ReadErrorKind::Vanished, ReadErrorKind::Changed].iter().any(|kind| kind.reason() == failure.reason)
}

/// How the selection differs from what the last complete run on this OUT was about.
fn changes(selection: &Selection, state: &LogState, retry_failed: bool) -> Option<Changes> {
    if !state.completed_before {
        return None;
    }
    let committed = state.committed();
    let known: HashSet<&str> = committed.iter().map(|(path, _)| *path).collect();
    let mut changes = Changes::default();
    for photo in &selection.photos {
        if !known.contains(photo.path.as_str()) {
            changes.added += 1;
        } else if !committed.contains(&(photo.path.as_str(), photo.etag.as_str())) {
            changes.changed += 1;
        } else if retry_failed && booked(state, photo).is_some() {
            changes.retried += 1;
        }
    }
    let selected: HashSet<&str> = selection.photos.iter().map(|photo| photo.path.as_str()).collect();
    let current = state.parts.values().filter(|part| part.file.starts_with(FEATURES_FOLDER));
    let was_there: HashSet<&str> =
        current.flat_map(|part| part.photos.iter().map(|photo| photo.0.as_str())).collect();
    changes.removed = was_there.difference(&selected).count();
    Some(changes)
}

/// The failures of the photos selected at present, sorted by path.
fn current_failures(selection: &Selection, state: &LogState) -> Vec<FailureRecord> {
    selection.photos.iter().filter_map(|photo| booked(state, photo).cloned()).collect()
}

fn rate(photos: usize, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { photos as f64 / took.as_secs_f64() }
}
