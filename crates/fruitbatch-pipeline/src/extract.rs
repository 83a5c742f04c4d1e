//! Photos to committed features: chunk after chunk, a few in flight, each committed as soon as it is settled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fruitbatch_storage::OutputStore;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::chunks::ChunkSizer;
use crate::commit_log::{CommitLog, LogEntry, PhotoVersion};
use crate::config::{OnError, RunPlan};
use crate::driver::booked;
use crate::engine::Engine;
use crate::error::RunError;
use crate::events::{Event, Observer};
use crate::features::{FEATURES_FOLDER, WrittenParts};
use crate::selection::{Photo, Selection};
use crate::settle::{SettledChunk, Settler};

/// Jobs in flight at a time: while one chunk's last tasks finish, the next one's are under way already.
pub(crate) const CHUNKS_IN_FLIGHT: usize = 2;

/// How many photos are committed and how many of them failed, for whoever tells of it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Committed before this run's first photo; set when that begins.
    pub(crate) resumed: OnceLock<usize>,
    /// Committed, those of earlier runs and failed ones included.
    pub(crate) committed: AtomicUsize,
    /// Booked as failed, by this run and earlier ones.
    pub(crate) failed: AtomicUsize,
}

/// What extracting needs.
pub(crate) struct Extraction<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) store: &'a OutputStore,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) counts: &'a Counts,
}

impl Extraction<'_> {
    /// Computes and commits the photos of the selection with the indices `pending`. Photos that turn out to have been
    /// overwritten are adopted into the selection in the version that was committed. Returns the time that committing
    /// took.
    pub(crate) async fn run(
        &self,
        log: &mut CommitLog,
        selection: &mut Selection,
        pending: Vec<usize>,
    ) -> Result<Duration, RunError> {
        let started = Instant::now();
        let listed = selection.photos.len();
        let before = self.counts.committed.load(Ordering::Relaxed);
        let mut committing = Duration::ZERO;
        let mut sizer = ChunkSizer::new(self.plan);
        let mut settler = Settler::default();
        let mut adopted: HashMap<String, Photo> = HashMap::new();
        let mut failed = booked_failures(log, selection);
        let mut pending = pending.into_iter().peekable();
        let mut again: VecDeque<Photo> = VecDeque::new();
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < CHUNKS_IN_FLIGHT && (!again.is_empty() || pending.peek().is_some()) {
                let size = sizer.next(self.engine.slots());
                let mut chunk: Vec<Photo> = again.drain(..size.min(again.len())).collect();
                let listed = pending.by_ref().take(size - chunk.len());
                chunk.extend(listed.map(|index| selection.photos[index].clone()));
                let span = tracing::info_span!("chunk", photos = chunk.len());
                let extracting = async move {
                    let began = Instant::now();
                    (self.engine.extract(chunk).await, began.elapsed())
                };
                in_flight.push(extracting.instrument(span));
            }
            let (outcome, took) = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    let committed = self.counts.committed.load(Ordering::Relaxed);
                    return Err(RunError::Interrupted { committed, total: listed });
                }
                finished = in_flight.next() => match finished {
                    Some((outcome, took)) => (outcome?, took),
                    None => break,
                },
            };
            let settled = settler.settle(self.engine, log.state(), outcome).await?;
            let mut known = 0;
            if !settled.again.is_empty() {
                // The listing may be older than the log: another driver may have committed the newer version already.
                // A failure that is booked is no such thing: it may be the very one that is being tried again.
                let committed: HashSet<&PhotoVersion> = log.state().rows().collect();
                for photo in &settled.again {
                    adopted.insert(photo.path.clone(), photo.clone());
                    if committed.contains(&PhotoVersion(photo.path.clone(), photo.etag.clone())) {
                        known += 1;
                    } else {
                        again.push_back(photo.clone());
                    }
                }
            }
            let photos = settled.rows.len() + settled.failures.len() + known;
            let chunk_failures: Vec<String> =
                settled.failures.iter().map(|failure| failure.path.clone()).collect();
            let mut reasons = BTreeMap::new();
            for failure in &settled.failures {
                *reasons.entry(failure.reason.clone()).or_insert(0) += 1;
            }
            for row in &settled.rows {
                failed.remove(&row.path);
            }
            let began = Instant::now();
            self.commit(log, settled).instrument(tracing::info_span!("commit", photos)).await?;
            committing += began.elapsed();

            let chunk_failed = chunk_failures.len();
            failed.extend(chunk_failures);
            let committed = self.counts.committed.fetch_add(photos, Ordering::Relaxed) + photos;
            self.counts.failed.store(failed.len(), Ordering::Relaxed);
            sizer.measured(committed - before, started.elapsed());
            self.observer.observe(Event::ChunkCommitted { photos, failed: chunk_failed, reasons, took });
            if let Some(limit) = self.plan.max_failures
                && limit.is_exceeded_by(failed.len(), listed)
            {
                return Err(RunError::TooManyFailures {
                    failures: failed.len(),
                    listed,
                    limit: self.plan.config.max_failures.clone().unwrap_or_default(),
                });
            }
        }
        // However short the run was.
        self.observer.observe(Event::Progress {
            done: self.counts.committed.load(Ordering::Relaxed),
            total: listed,
            failed: failed.len(),
            photos_per_second: None,
        });
        selection.adopt(adopted);
        Ok(committing)
    }

    async fn commit(&self, log: &mut CommitLog, chunk: SettledChunk) -> Result<(), RunError> {
        if self.plan.config.on_error == OnError::Fail
            && let Some(failure) = chunk.failures.first()
        {
            return Err(RunError::PhotoFailed {
                path: failure.path.clone(),
                reason: failure.reason.clone(),
                detail: failure.detail.clone(),
            });
        }
        if chunk.rows.is_empty() && chunk.failures.is_empty() {
            // All of it is to be done again.
            return Ok(());
        }
        self.check_kernels(log, &chunk.kernel_paths)?;
        let mut written = WrittenParts::default();
        let width = self.plan.embedding.width as usize;
        written.write(self.store, log, FEATURES_FOLDER, &chunk.rows, chunk.kernel_paths, width).await?;
        let entry =
            |parts: Vec<_>| LogEntry::Chunk { part: parts.into_iter().next(), failures: chunk.failures };
        written.commit(self.store, log, entry).await
    }
}

impl Extraction<'_> {
    /// Features of one OUT that different kernels made may differ in the last bits: that is told once, or ends the run.
    fn check_kernels(&self, log: &CommitLog, of_chunk: &BTreeSet<String>) -> Result<(), RunError> {
        let before = log.state().kernel_paths();
        let all: BTreeSet<&str> = before.iter().copied().chain(of_chunk.iter().map(String::as_str)).collect();
        let is_known = all.len() == before.len();
        check_uniform(self.plan, &all)?;
        if all.len() < 2 || is_known {
            return Ok(());
        }
        let paths = all.into_iter().collect::<Vec<_>>().join(", ");
        self.observer.observe(Event::Warning {
            message: format!(
                "features are made by different kernels ({paths}): they may differ in the last bits, which --require-uniform-cpu \
                 would refuse"
            ),
        });
        Ok(())
    }
}

/// Refuses a mixture of kernels if the plan does.
pub(crate) fn check_uniform(plan: &RunPlan, kernel_paths: &BTreeSet<&str>) -> Result<(), RunError> {
    if plan.config.require_uniform_cpu && kernel_paths.len() > 1 {
        let paths = kernel_paths.iter().copied().collect::<Vec<_>>().join(", ");
        return Err(RunError::MixedKernels { paths });
    }
    Ok(())
}

/// The paths of the selected photos that are booked as failed.
fn booked_failures(log: &CommitLog, selection: &Selection) -> HashSet<String> {
    let is_booked = |photo: &&Photo| booked(log.state(), photo).is_some();
    selection.photos.iter().filter(is_booked).map(|photo| photo.path.clone()).collect()
}
