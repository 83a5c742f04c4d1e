//! The driver's protocol: from a listing to complete outputs, through the commit log.
//!
//! 1. Take OUT over ([`claim`]), or learn that another driver is at work on it.
//! 2. Take `_SUCCESS` away, clear what dead drivers left, and extract what isn't committed ([`extract`](crate::extract)).
//! 3. Lay the rows out ([`layout`](crate::layout)), count, fit.
//! 4. Announce the outputs in the log, write them, and `_SUCCESS` last ([`publish`](crate::publish)).
//! 5. Let go of OUT.
//!
//! Whatever ends a driver at whatever moment, the next one goes on from the log. Everything it touches outside itself is
//! behind three interfaces (store, engine, liveness), so that a simulation can run this very code through thousands of
//! crashes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fruitbatch_learn::{ClusterCount, Fitted};
use fruitbatch_storage::{OutputStore, ReadErrorKind};
use ndarray::ArrayView2;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::claim::{self, Liveness, ProcessIdentity};
use crate::commit_log::{Claim, CommitLog, FailureRecord, FeatureIdentity, LogEntry, LogState};
use crate::config::{RunPlan, SplitFrom};
use crate::engine::Engine;
use crate::error::{ConfigError, RunError};
use crate::events::{Event, Observer, Stage};
use crate::extract::{Counts, Extraction, check_uniform};
use crate::features::{FEATURES_FOLDER, FeatureRow};
use crate::labels::TRAINING_SPLIT;
use crate::layout::{arrange, remove_orphans};
use crate::lineage::{Host, Lineage, Versions, now, peak_memory_bytes};
use crate::outputs::{
    FAILURES_CSV, LINEAGE, LabelCount, LabelIndex, METRICS, MODEL_FOLDER, Metrics, RESULTS_CSV,
    RESULTS_PARQUET, ResultsTable, SUCCESS, Timings, failures_csv,
};
use crate::publish::Publisher;
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
    pub(crate) engine: &'a dyn Engine,
    pub(crate) liveness: &'a dyn Liveness,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) counts: &'a Counts,
    pub(crate) retries: Retries,
    pub(crate) run_id: String,
    pub(crate) started_at: String,
    pub(crate) versions: &'a Versions,
    pub(crate) engine_seconds: &'a (dyn Fn() -> EngineSeconds + Sync),
}

impl Driver<'_> {
    /// Carries the plan out over a listing.
    pub(crate) async fn drive(
        &self,
        clock: &mut StageClock<'_>,
        selection: Selection,
    ) -> Result<RunSummary, RunError> {
        let mut log = CommitLog::open_with(self.store.clone(), self.retries).await?;
        let features = FeatureIdentity {
            input: selection.root.to_string(),
            embedding: self.plan.embedding.feature_identity(),
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
                return Err(RunError::Interrupted { committed: 0, total: selection.photos.len() });
            }
            taken = claim::take(&self.store, &mut log, claim, self.liveness, check) => taken?,
        }
        let shown_alive = self.liveness.show(&self.store, log.next_part().claim);
        let outcome = self.work(clock, &mut log, selection).await;
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
        mut selection: Selection,
    ) -> Result<RunSummary, RunError> {
        if let Some(claim_file) = log.claim_file() {
            self.store.verify_conditions(&claim_file).await?;
        }
        let publisher = Publisher { store: &self.store, retries: self.retries };
        publisher.remove(log, SUCCESS).await?;
        self.clear_away(log, &publisher).await?;

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
            self.engine.start(&selection.photos).await?;
            clock.enter(Stage::Extract);
            // Set once, here.
            let _ = self.counts.resumed.set(resumed);
            let extraction = Extraction {
                plan: self.plan,
                engine: self.engine,
                store: &self.store,
                observer: self.observer,
                cancel: self.cancel,
                counts: self.counts,
            };
            let extracted = extraction.run(log, &mut selection, pending).await;
            self.engine.stop().await;
            committing = extracted?;
        }
        let extract_took = clock.current_took();

        clock.enter(Stage::Fit);
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
        let labels = LabelIndex::of(&rows);
        let label_indices: Vec<Option<u32>> =
            rows.iter().map(|row| row.label.as_deref().and_then(|label| labels.index_of(label))).collect();
        let splits = current_splits(self.plan, &selection, &rows);
        let fitted = if rows.is_empty() {
            None
        } else {
            Some(fit(self.plan, &rows, &labels, &label_indices, splits.as_deref())?)
        };

        clock.enter(Stage::Write);
        let seconds = (self.engine_seconds)();
        let mut metrics = Metrics {
            listed: listed as u64,
            rows: rows.len() as u64,
            failures: failures.len() as u64,
            failures_by_reason: count_reasons(&failures),
            skipped: selection.skipped,
            bytes: selection.bytes(),
            labels: label_counts(&labels, &label_indices),
            feature_width: u64::from(self.plan.embedding.width),
            learning: fitted.as_ref().map(|fitted| fitted.report.clone()),
            timings: Timings {
                photos_computed: computed as u64,
                photos_per_second: rate(computed, extract_took),
                decode_seconds: seconds.decode,
                inference_seconds: seconds.inference,
                commit_seconds: committing.as_secs_f64(),
                fit: fitted.as_ref().map(|fitted| fitted.timings).unwrap_or_default(),
                ..Timings::default()
            },
        };
        let mut outputs: BTreeMap<String, Bytes> = BTreeMap::new();
        outputs.insert(FAILURES_CSV.to_owned(), failures_csv(&failures));
        if let Some(fitted) = &fitted {
            let table = ResultsTable {
                rows: &rows,
                splits: splits.as_deref(),
                label_indices: &label_indices,
                fitted,
            };
            outputs.insert(RESULTS_CSV.to_owned(), table.to_csv());
            outputs.insert(RESULTS_PARQUET.to_owned(), table.to_parquet());
            let mut model = fitted.model.clone().with_lineage(self.model_lineage());
            if !labels.names().is_empty() {
                model = model.with_label_names(labels.names().to_vec())?;
            }
            for (file, bytes) in model.to_files() {
                outputs.insert(format!("{MODEL_FOLDER}/{file}"), Bytes::from(bytes));
            }
        }
        self.publish(log, &publisher, &outputs).await?;

        metrics.timings.stages = clock.finish();
        metrics.timings.total_seconds = clock.total().as_secs_f64();
        metrics.timings.peak_memory_bytes = peak_memory_bytes();
        let lineage = self.lineage(&selection, log.state());
        for (file, json) in [(METRICS, to_json(&metrics)), (LINEAGE, to_json(&lineage))] {
            publisher.put(log, file, &json).await?;
            outputs.insert(file.to_owned(), json);
        }
        if fitted.is_some() {
            publisher.put(log, SUCCESS, &success_file(&outputs, log.state())).await?;
        }
        let current_rows = rows.len() as u64;
        let all_rows = log.state().rows().count() as u64;
        Ok(RunSummary { metrics, resumed, changes, kept_aside: all_rows - current_rows, failures })
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

    /// Announces the outputs in the log, removes those of earlier runs that this one doesn't write, and writes them.
    async fn publish(
        &self,
        log: &mut CommitLog,
        publisher: &Publisher<'_>,
        outputs: &BTreeMap<String, Bytes>,
    ) -> Result<(), RunError> {
        let mut files: Vec<String> = outputs.keys().cloned().collect();
        files.extend([METRICS, LINEAGE, SUCCESS].map(str::to_owned));
        let stale: BTreeSet<String> =
            log.state().outputs.iter().filter(|file| !files.contains(file)).cloned().collect();
        log.append(LogEntry::Publish { files }).await?;
        for file in stale {
            publisher.remove(log, &file).await?;
        }
        for (file, content) in outputs {
            publisher.put(log, file, content).await?;
        }
        Ok(())
    }

    fn lineage(&self, selection: &Selection, state: &LogState) -> Lineage {
        Lineage {
            run_id: self.run_id.clone(),
            config: self.plan.config.clone(),
            embedding: self.plan.embedding.to_string(),
            input_digest: selection.digest(),
            kernel_paths: state.kernel_paths().into_iter().map(str::to_owned).collect(),
            versions: self.versions.clone(),
            started_at: self.started_at.clone(),
            finished_at: now(),
            hosts: vec![Host::this()],
            executors: self.engine.hosts(),
        }
    }

    fn model_lineage(&self) -> fruitbatch_learn::Lineage {
        fruitbatch_learn::Lineage::from([
            ("embedding".to_owned(), self.plan.embedding.to_string().into()),
            ("input".to_owned(), self.plan.input.to_string().into()),
            ("run_id".to_owned(), self.run_id.clone().into()),
        ])
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

fn current_splits(
    plan: &RunPlan,
    selection: &Selection,
    rows: &[FeatureRow],
) -> Option<Vec<Option<&'static str>>> {
    if plan.config.split_from == SplitFrom::None {
        return None;
    }
    // Rows are a subsequence of the photos: both are sorted by path.
    let mut photos = selection.photos.iter();
    Some(
        rows.iter()
            .map(|row| photos.find(|photo| photo.path == row.path).and_then(|photo| photo.split))
            .collect(),
    )
}

fn fit(
    plan: &RunPlan,
    rows: &[FeatureRow],
    labels: &LabelIndex,
    label_indices: &[Option<u32>],
    splits: Option<&[Option<&'static str>]>,
) -> Result<Fitted, RunError> {
    let fit_on: Option<Vec<bool>> =
        splits.map(|splits| splits.iter().map(|split| *split == Some(TRAINING_SPLIT)).collect());
    if let Some(fit_on) = &fit_on
        && !fit_on.contains(&true)
    {
        return Err(ConfigError::invalid(
            "split-from",
            format!("no photo lies in a folder called {TRAINING_SPLIT}, so there is nothing to fit on"),
        )
        .into());
    }
    let mut spec = plan.learning.clone();
    if plan.n_clusters_from_labels {
        // One label says nothing about clusters.
        spec.kmeans.n_clusters = match labels.names().len() {
            0 | 1 => ClusterCount::Auto,
            labels => ClusterCount::Count(labels),
        };
    }
    let width = plan.embedding.width as usize;
    let mut features = Vec::with_capacity(rows.len() * width);
    for row in rows {
        features.extend_from_slice(&row.features);
    }
    let features = ArrayView2::from_shape((rows.len(), width), &features)
        .expect("each row has as many features as the model is wide: parts are checked when they are read");
    let labels = (!labels.names().is_empty()).then_some(label_indices);
    Ok(fruitbatch_learn::fit(features, fit_on.as_deref(), labels, &spec, plan.slots)?)
}

/// `_SUCCESS`: the SHA-256 of every output and every current features part.
fn success_file(outputs: &BTreeMap<String, Bytes>, state: &LogState) -> Bytes {
    let mut digests: BTreeMap<&str, String> =
        outputs.iter().map(|(file, bytes)| (file.as_str(), hex::encode(Sha256::digest(bytes)))).collect();
    for part in state.parts.values().filter(|part| part.file.starts_with(FEATURES_FOLDER)) {
        digests.insert(&part.file, part.sha256.clone());
    }
    to_json(&serde_json::json!({ "version": 1, "sha256": digests }))
}

fn label_counts(labels: &LabelIndex, label_indices: &[Option<u32>]) -> Vec<LabelCount> {
    let mut counts = vec![0_u64; labels.names().len()];
    for index in label_indices.iter().flatten() {
        counts[*index as usize] += 1;
    }
    labels
        .names()
        .iter()
        .zip(counts)
        .map(|(label, photos)| LabelCount { label: label.clone(), photos })
        .collect()
}

fn count_reasons(failures: &[FailureRecord]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for failure in failures {
        *counts.entry(failure.reason.clone()).or_default() += 1;
    }
    counts
}

fn rate(photos: usize, took: Duration) -> f64 {
    if took.is_zero() { 0.0 } else { photos as f64 / took.as_secs_f64() }
}

fn to_json(value: &impl serde::Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(value).expect("the outputs hold nothing that JSON can't say");
    text.push(b'\n');
    Bytes::from(text)
}
