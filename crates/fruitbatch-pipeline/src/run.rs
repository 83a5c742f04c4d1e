//! One run from INPUT to OUT: list, extract chunk by chunk, fit, write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use fruitbatch_cluster::{LocalCluster, LocalClusterOptions};
use fruitbatch_learn::{ClusterCount, Fitted, LearnSpec};
use fruitbatch_storage::{Location, OutputStore, Storage};
use fruitbatch_vision::{ModelSessions, embed_functions};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ndarray::ArrayView2;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::chunks::{ChunkOutcome, ChunkSizer, extract_chunk};
use crate::commit_log::{CommitLog, FailureRecord, FeatureIdentity, LogEntry, LogState};
use crate::config::{OnError, RunPlan};
use crate::error::{ConfigError, RunError};
use crate::events::{Event, Observer, Stage};
use crate::features::{FEATURES_FOLDER, FeatureRow, current_part_file, write_part};
use crate::labels::TRAINING_SPLIT;
use crate::layout::{arrange, remove_orphans};
use crate::lineage::{GIT_COMMIT, Host, Lineage, Versions, peak_memory_bytes};
use crate::outputs::{
    FAILURES_CSV, LINEAGE, LabelCount, LabelIndex, METRICS, MODEL_FOLDER, Metrics, RESULTS_CSV,
    RESULTS_PARQUET, ResultsTable, SUCCESS, StageSeconds, Timings, failures_csv,
};
use crate::selection::{Photo, Selection};

/// Jobs in flight at a time: while one chunk's last tasks finish, the next one's are under way already.
const CHUNKS_IN_FLIGHT: usize = 2;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// How a run ended.
#[derive(Debug)]
pub struct RunSummary {
    /// All figures; the same as in metrics.json.
    pub metrics: Metrics,
    /// How many of the photos an earlier run had committed.
    pub resumed: usize,
    /// The features of how many photos were kept aside, since they are not selected at present.
    pub kept_aside: u64,
    /// The first photos that failed, for the summary.
    pub failures: Vec<FailureRecord>,
}

impl RunSummary {
    /// Whether not one photo could be used: there are no results then.
    pub fn every_photo_failed(&self) -> bool {
        self.metrics.rows == 0
    }
}

/// Carries a plan out. Tells `observer` what happens and stops soon after `cancel` is cancelled.
///
/// Memory: the listing (some 300 bytes a photo), and while fitting the features of all current rows twice (8 bytes a
/// feature: 4 KiB a photo for 512), beside the engine's own.
///
/// # Errors
/// See [`RunError`]. What was committed until then stays, and the same plan goes on from there.
pub async fn run(
    plan: &RunPlan,
    sessions: Arc<ModelSessions>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<RunSummary, RunError> {
    let mut clock = StageClock::new(observer);
    let started_at = now();
    let storage = Storage::new(plan.storage_options.clone());

    clock.enter(Stage::List);
    let selection = Selection::list(plan, &storage).await?;
    // Before any inference: features that can't be fitted in the end aren't worth computing.
    LearnSpec::check_width(plan.embedding.width as usize, selection.photos.len())?;
    let store = storage.output(&plan.output).await?;
    let mut log = CommitLog::open(store.clone()).await?;
    let features =
        FeatureIdentity { input: selection.root.to_string(), embedding: plan.embedding.feature_identity() };
    check_output(plan, &features, &store, &log).await?;
    let pending = pending_photos(&selection, log.state(), plan.config.overwrite);
    let resumed = selection.photos.len() - pending.len();
    observer.observe(Event::Listed {
        photos: selection.photos.len(),
        bytes: selection.bytes(),
        committed: resumed,
    });

    clock.enter(Stage::Start);
    store.delete(SUCCESS).await?;
    let run_id = uuid::Uuid::new_v4().to_string();
    claim(plan, features, &store, &mut log, &run_id).await?;
    let computed = pending.len();
    if !pending.is_empty() {
        sessions.load(&plan.embedding)?;
        let cluster = LocalCluster::start(
            LocalClusterOptions { slots: plan.slots, ..LocalClusterOptions::default() },
            embed_functions(sessions.clone()),
        )
        .await?;
        clock.enter(Stage::Extract);
        let extraction = Extraction {
            plan,
            cluster: &cluster,
            sessions: &sessions,
            observer,
            cancel,
            root: &selection.root,
            total: selection.photos.len(),
            committed: resumed,
        };
        let extracted = extraction.run(&store, &mut log, pending).await;
        cluster.shutdown().await;
        extracted?;
    }
    let extract_took = clock.current_took();

    clock.enter(Stage::Fit);
    let rows = arrange(&store, &mut log, &selection.photos, plan.embedding.width as usize).await?;
    let failures = current_failures(&selection, log.state());
    let listed = selection.photos.len();
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
    let splits = current_splits(plan, &selection, &rows);
    let fitted = if rows.is_empty() {
        None
    } else {
        Some(fit(plan, &rows, &labels, &label_indices, splits.as_deref())?)
    };

    clock.enter(Stage::Write);
    let vision = sessions.snapshot();
    let mut metrics = Metrics {
        listed: listed as u64,
        rows: rows.len() as u64,
        failures: failures.len() as u64,
        failures_by_reason: count_reasons(&failures),
        skipped: selection.skipped,
        bytes: selection.bytes(),
        labels: label_counts(&labels, &label_indices),
        feature_width: u64::from(plan.embedding.width),
        learning: fitted.as_ref().map(|fitted| fitted.report.clone()),
        timings: Timings {
            photos_computed: computed as u64,
            photos_per_second: rate(computed, extract_took),
            decode_seconds: vision.decode_seconds,
            inference_seconds: vision.inference_seconds,
            fit: fitted.as_ref().map(|fitted| fitted.timings).unwrap_or_default(),
            ..Timings::default()
        },
    };

    let mut outputs: BTreeMap<String, Bytes> = BTreeMap::new();
    outputs.insert(FAILURES_CSV.to_owned(), failures_csv(&failures));
    if let Some(fitted) = &fitted {
        let table =
            ResultsTable { rows: &rows, splits: splits.as_deref(), label_indices: &label_indices, fitted };
        outputs.insert(RESULTS_CSV.to_owned(), table.to_csv());
        outputs.insert(RESULTS_PARQUET.to_owned(), table.to_parquet());
        let mut model = fitted.model.clone().with_lineage(model_lineage(plan, &run_id));
        if !labels.names().is_empty() {
            model = model.with_label_names(labels.names().to_vec())?;
        }
        for (file, bytes) in model.to_files() {
            outputs.insert(format!("{MODEL_FOLDER}/{file}"), Bytes::from(bytes));
        }
    }
    let every_photo_failed = fitted.is_none();
    publish(&store, &mut log, &outputs).await?;

    metrics.timings.stages = clock.finish();
    metrics.timings.total_seconds = clock.total().as_secs_f64();
    metrics.timings.peak_memory_bytes = peak_memory_bytes();
    let lineage = Lineage {
        run_id,
        config: plan.config.clone(),
        embedding: plan.embedding.to_string(),
        input_digest: selection.digest(),
        versions: Versions {
            fruitbatch: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: GIT_COMMIT.map(str::to_owned),
            datafusion: datafusion::DATAFUSION_VERSION.to_owned(),
            ballista: fruitbatch_cluster::BALLISTA_VERSION.to_owned(),
            onnxruntime: fruitbatch_vision::onnx_runtime().ok().map(|runtime| runtime.version),
        },
        started_at,
        finished_at: now(),
        hosts: vec![Host::this()],
    };
    for (file, json) in [(METRICS, to_json(&metrics)), (LINEAGE, to_json(&lineage))] {
        store.put(file, json.clone()).await?;
        outputs.insert(file.to_owned(), json);
    }
    if !every_photo_failed {
        store.put(SUCCESS, success_file(&outputs, log.state())).await?;
    }
    let current_rows: u64 = rows.len() as u64;
    let all_rows: u64 = log.state().parts.values().map(|part| part.photos.len() as u64).sum();
    Ok(RunSummary { metrics, resumed, kept_aside: all_rows - current_rows, failures })
}

/// Refuses an OUT that belongs to someone else or to other features.
async fn check_output(
    plan: &RunPlan,
    features: &FeatureIdentity,
    store: &OutputStore,
    log: &CommitLog,
) -> Result<(), RunError> {
    if log.is_empty() {
        let mut names: Vec<String> = Vec::new();
        for file in [RESULTS_CSV, RESULTS_PARQUET, FAILURES_CSV, METRICS, LINEAGE, SUCCESS] {
            if store.exists(file).await? {
                names.push(file.to_owned());
            }
        }
        for folder in [FEATURES_FOLDER, MODEL_FOLDER] {
            names.extend(store.list(folder).await?.into_iter().next().map(|file| file.path));
        }
        return match names.into_iter().next() {
            Some(file) => Err(RunError::ForeignOutput { output: plan.output.to_string(), file }),
            None => Ok(()),
        };
    }
    match &log.state().features {
        Some(before) if !plan.config.overwrite && before != features => Err(RunError::OtherFeatures {
            output: plan.output.to_string(),
            difference: difference(before, features),
        }),
        _ => Ok(()),
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

/// The photos whose features aren't committed and that aren't booked as failed, by path and etag.
fn pending_photos(selection: &Selection, state: &LogState, starts_over: bool) -> Vec<Photo> {
    if starts_over {
        return selection.photos.clone();
    }
    let committed = state.committed();
    let is_pending = |photo: &&Photo| !committed.contains(&(photo.path.as_str(), photo.etag.as_str()));
    selection.photos.iter().filter(is_pending).cloned().collect()
}

/// Takes OUT over; with `--overwrite`, deletes what the log names.
async fn claim(
    plan: &RunPlan,
    features: FeatureIdentity,
    store: &OutputStore,
    log: &mut CommitLog,
    run_id: &str,
) -> Result<(), RunError> {
    let before = log.state().clone();
    log.append(LogEntry::Claim {
        run_id: run_id.to_owned(),
        host: Host::this().name,
        at: now(),
        features,
        starts_over: plan.config.overwrite,
    })
    .await?;
    if plan.config.overwrite {
        for file in before.outputs.iter().chain(before.parts.keys()) {
            store.delete(file).await?;
        }
    }
    remove_orphans(store, log).await
}

struct Extraction<'a> {
    plan: &'a RunPlan,
    cluster: &'a LocalCluster,
    sessions: &'a ModelSessions,
    observer: &'a dyn Observer,
    cancel: &'a CancellationToken,
    root: &'a Location,
    total: usize,
    committed: usize,
}

impl Extraction<'_> {
    /// Runs all chunks and commits each as soon as it is done.
    async fn run(
        mut self,
        store: &OutputStore,
        log: &mut CommitLog,
        pending: Vec<Photo>,
    ) -> Result<(), RunError> {
        let started = Instant::now();
        let resumed = self.committed;
        let mut failed = 0;
        let mut sizer = ChunkSizer::new(self.plan);
        let mut pending = pending.into_iter();
        let session = self.cluster.session();
        let mut in_flight = FuturesUnordered::new();
        let mut ticker = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            while in_flight.len() < CHUNKS_IN_FLIGHT {
                let chunk: Vec<Photo> = pending.by_ref().take(sizer.next()).collect();
                if chunk.is_empty() {
                    break;
                }
                let session = &session;
                let (plan, root) = (self.plan, self.root);
                in_flight.push(async move {
                    let began = Instant::now();
                    (extract_chunk(session, plan, root, chunk).await, began.elapsed())
                });
            }
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    return Err(RunError::Interrupted { committed: self.committed, total: self.total });
                }
                finished = in_flight.next() => {
                    let Some((outcome, took)) = finished else { return Ok(()) };
                    let outcome = outcome?;
                    let photos = outcome.rows.len() + outcome.failures.len();
                    let chunk_failed = outcome.failures.len();
                    self.commit(store, log, outcome).await?;
                    self.committed += photos;
                    failed += chunk_failed;
                    sizer.measured(self.committed - resumed, started.elapsed());
                    self.observer.observe(Event::ChunkCommitted { photos, failed: chunk_failed, took });
                    self.tell_progress(resumed, failed);
                }
                _ = ticker.tick() => self.tell_progress(resumed, failed),
            }
        }
    }

    async fn commit(
        &self,
        store: &OutputStore,
        log: &mut CommitLog,
        outcome: ChunkOutcome,
    ) -> Result<(), RunError> {
        if self.plan.config.on_error == OnError::Fail
            && let Some(failure) = outcome.failures.first()
        {
            return Err(RunError::PhotoFailed {
                path: failure.path.clone(),
                reason: failure.reason.clone(),
                detail: failure.detail.clone(),
            });
        }
        let part = if outcome.rows.is_empty() {
            None
        } else {
            let file = current_part_file(log.next_number());
            Some(write_part(store, file, &outcome.rows, self.plan.embedding.width as usize).await?)
        };
        log.append(LogEntry::Chunk { part, failures: outcome.failures }).await
    }

    fn tell_progress(&self, resumed: usize, failed: usize) {
        // Retried tasks count their photos again: never tell more than there are, nor less than is committed.
        let embedded = usize::try_from(self.sessions.snapshot().photos_done()).unwrap_or(usize::MAX);
        let done = (resumed.saturating_add(embedded)).clamp(self.committed, self.total);
        self.observer.observe(Event::Progress { done, total: self.total, failed });
    }
}

/// The failures of the photos selected at present, sorted by path.
fn current_failures(selection: &Selection, state: &LogState) -> Vec<FailureRecord> {
    selection
        .photos
        .iter()
        .filter_map(|photo| state.failures.get(&photo.path).filter(|failure| failure.etag == photo.etag))
        .cloned()
        .collect()
}

fn current_splits(plan: &RunPlan, selection: &Selection, rows: &[FeatureRow]) -> Option<Vec<Option<String>>> {
    if plan.config.split_from == crate::config::SplitFrom::None {
        return None;
    }
    // Rows are a subsequence of the photos: both are sorted by path.
    let mut photos = selection.photos.iter();
    Some(
        rows.iter()
            .map(|row| photos.find(|photo| photo.path == row.path).and_then(|photo| photo.split.clone()))
            .collect(),
    )
}

fn fit(
    plan: &RunPlan,
    rows: &[FeatureRow],
    labels: &LabelIndex,
    label_indices: &[Option<u32>],
    splits: Option<&[Option<String>]>,
) -> Result<Fitted, RunError> {
    let fit_on: Option<Vec<bool>> =
        splits.map(|splits| splits.iter().map(|split| split.as_deref() == Some(TRAINING_SPLIT)).collect());
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

/// Announces the outputs in the log, deletes those of earlier runs that this one doesn't write, and writes them.
async fn publish(
    store: &OutputStore,
    log: &mut CommitLog,
    outputs: &BTreeMap<String, Bytes>,
) -> Result<(), RunError> {
    let mut files: Vec<String> = outputs.keys().cloned().collect();
    files.extend([METRICS, LINEAGE, SUCCESS].map(str::to_owned));
    let stale: BTreeSet<String> =
        log.state().outputs.iter().filter(|file| !files.contains(file)).cloned().collect();
    log.append(LogEntry::Publish { files }).await?;
    for file in stale {
        store.delete(&file).await?;
    }
    for (file, bytes) in outputs {
        store.put(file, bytes.clone()).await?;
    }
    Ok(())
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

fn model_lineage(plan: &RunPlan, run_id: &str) -> fruitbatch_learn::Lineage {
    fruitbatch_learn::Lineage::from([
        ("embedding".to_owned(), plan.embedding.to_string().into()),
        ("input".to_owned(), plan.input.to_string().into()),
        ("run_id".to_owned(), run_id.into()),
    ])
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

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Takes the time of the stages.
struct StageClock<'a> {
    observer: &'a dyn Observer,
    began: Instant,
    current: Option<(Stage, Instant)>,
    finished: Vec<StageSeconds>,
}

impl<'a> StageClock<'a> {
    fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, began: Instant::now(), current: None, finished: Vec::new() }
    }

    fn enter(&mut self, stage: Stage) {
        self.leave();
        self.current = Some((stage, Instant::now()));
        self.observer.observe(Event::StageStarted { stage });
    }

    fn leave(&mut self) {
        if let Some((stage, began)) = self.current.take() {
            let took = began.elapsed();
            self.finished.push(StageSeconds { stage: stage.name().to_owned(), seconds: took.as_secs_f64() });
            self.observer.observe(Event::StageFinished { stage, took });
        }
    }

    fn current_took(&self) -> Duration {
        self.current.map_or(Duration::ZERO, |(_, began)| began.elapsed())
    }

    fn finish(&mut self) -> Vec<StageSeconds> {
        self.leave();
        self.finished.clone()
    }

    fn total(&self) -> Duration {
        self.began.elapsed()
    }
}
