//! What really became of the photos that a chunk could not read.
//!
//! An executor's word is enough for what it found in a photo's bytes. That it could not have the bytes is another matter:
//! * `vanished` and `changed` are looked into by the driver itself. A photo that was overwritten is done again in its new
//!   version; one that is gone is booked.
//! * `access-denied` and `archived` are believed only if the same executor, after being denied once more, can read another
//!   photo of the chunk. Otherwise it is the credentials that fail, not the photo, and the run stops.

use std::collections::{BTreeSet, HashMap};

use fruitbatch_storage::ReadErrorKind;

use crate::chunks::{ChunkOutcome, FailureStage, PhotoFailure};
use crate::commit_log::{FailureRecord, LogState, PhotoVersion};
use crate::engine::{Engine, ReadOutcome};
use crate::error::RunError;
use crate::features::FeatureRow;
use crate::selection::Photo;

/// How often a photo is done again because it wasn't what it had been listed as.
const MOST_REPETITIONS: u32 = 3;
/// Photos that are read after those denied; one of them must be readable.
const MOST_WITNESSES: usize = 3;

/// A chunk of which everything is known.
#[derive(Debug, Default)]
pub(crate) struct SettledChunk {
    /// Sorted by path.
    pub(crate) rows: Vec<FeatureRow>,
    /// Sorted by path.
    pub(crate) failures: Vec<FailureRecord>,
    /// Photos to be done again, as they are now.
    pub(crate) again: Vec<Photo>,
    /// The kernels that made the rows.
    pub(crate) kernel_paths: BTreeSet<String>,
}

/// Settles chunks, and remembers what was done again.
#[derive(Debug, Default)]
pub(crate) struct Settler {
    repetitions: HashMap<String, u32>,
}

impl Settler {
    /// # Errors
    /// [`RunError::AccessLost`] and [`RunError::PhotoNotSeen`] if the fault is not the photos'; errors of the engine.
    pub(crate) async fn settle(
        &mut self,
        engine: &dyn Engine,
        state: &LogState,
        outcome: ChunkOutcome,
    ) -> Result<SettledChunk, RunError> {
        let mut settled = SettledChunk {
            rows: outcome.rows,
            kernel_paths: outcome.kernel_paths,
            ..SettledChunk::default()
        };
        let mut readable: Vec<Photo> = Vec::new();
        let mut denied: Vec<PhotoFailure> = Vec::new();
        for failure in outcome.failures {
            let was =
                |kind: ReadErrorKind| failure.stage == FailureStage::Read && failure.reason == kind.reason();
            if was(ReadErrorKind::Vanished) || was(ReadErrorKind::Changed) {
                self.look_into(engine, failure, &mut settled).await?;
            } else if was(ReadErrorKind::AccessDenied) || was(ReadErrorKind::Archived) {
                denied.push(failure);
            } else {
                if failure.stage == FailureStage::Decode {
                    readable.push(failure.photo.clone());
                }
                settled.failures.push(failure.into_record());
            }
        }
        if !denied.is_empty() {
            let rows = settled.rows.iter().map(photo_of_row);
            readable.splice(..0, rows.take(MOST_WITNESSES));
            self.confirm_denial(engine, state, denied, readable, &mut settled).await?;
        }
        settled.failures.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(settled)
    }

    /// The driver's own look at a photo that an executor found gone or changed.
    async fn look_into(
        &mut self,
        engine: &dyn Engine,
        failure: PhotoFailure,
        settled: &mut SettledChunk,
    ) -> Result<(), RunError> {
        let Some(now) = engine.look(&failure.photo).await? else {
            let reason = ReadErrorKind::Vanished.reason().to_owned();
            let detail = "it was listed, and is gone now".to_owned();
            settled.failures.push(PhotoFailure { reason, detail, ..failure }.into_record());
            return Ok(());
        };
        let same = now.etag == failure.photo.etag;
        if self.may_repeat(&now.path) {
            settled.again.push(now);
        } else if same && failure.reason == ReadErrorKind::Vanished.reason() {
            return Err(RunError::PhotoNotSeen { path: now.path });
        } else {
            let reason = ReadErrorKind::Changed.reason().to_owned();
            let detail = format!("it was overwritten each of {} times it was read", MOST_REPETITIONS + 1);
            settled.failures.push(PhotoFailure { reason, detail, ..failure }.into_record());
        }
        Ok(())
    }

    async fn confirm_denial(
        &mut self,
        engine: &dyn Engine,
        state: &LogState,
        denied: Vec<PhotoFailure>,
        mut witnesses: Vec<Photo>,
        settled: &mut SettledChunk,
    ) -> Result<(), RunError> {
        let booked_before = |failure: &PhotoFailure| {
            state.failures.get(&failure.photo.path).is_some_and(|before| before.reason == failure.reason)
        };
        if witnesses.is_empty() && denied.iter().all(booked_before) {
            // Tried again, they are alone in their chunk: any photo that could be read once will do.
            for row in state.rows().take(MOST_WITNESSES) {
                witnesses.extend(engine.look(&photo_of_version(row)).await?);
            }
        }
        witnesses.truncate(MOST_WITNESSES);
        let lost = |detail: &str| RunError::AccessLost {
            path: denied[0].photo.path.clone(),
            photos: denied.len(),
            detail: detail.to_owned(),
        };
        if witnesses.is_empty() {
            return Err(lost(&denied[0].detail));
        }
        let photos: Vec<Photo> =
            denied.iter().map(|failure| failure.photo.clone()).chain(witnesses).collect();
        let mut outcomes = engine.read_in_order(&photos).await?;
        let after = outcomes.split_off(denied.len());
        if !after.contains(&ReadOutcome::Read) {
            return Err(lost(match &after[0] {
                ReadOutcome::Unreadable { detail, .. } => detail,
                ReadOutcome::Read => unreachable!("it isn't among them"),
            }));
        }
        for (failure, outcome) in denied.into_iter().zip(outcomes) {
            match outcome {
                ReadOutcome::Unreadable { reason, detail } if reason == failure.reason => {
                    settled.failures.push(PhotoFailure { detail, ..failure }.into_record());
                }
                // Something else now: gone, changed, or readable again.
                _ if self.may_repeat(&failure.photo.path) => settled.again.push(failure.photo),
                _ => settled.failures.push(failure.into_record()),
            }
        }
        Ok(())
    }

    fn may_repeat(&mut self, path: &str) -> bool {
        let done = self.repetitions.entry(path.to_owned()).or_default();
        *done += 1;
        *done <= MOST_REPETITIONS
    }
}

fn photo_of_row(row: &FeatureRow) -> Photo {
    Photo {
        path: row.path.clone(),
        length: u64::try_from(row.size).unwrap_or_default(),
        modification_time: 0,
        etag: row.etag.clone(),
        label: None,
        split: None,
    }
}

/// Its size isn't in the log: for looking at it.
fn photo_of_version(photo: &PhotoVersion) -> Photo {
    Photo {
        path: photo.0.clone(),
        length: 0,
        modification_time: 0,
        etag: photo.1.clone(),
        label: None,
        split: None,
    }
}
