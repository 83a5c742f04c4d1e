//! Chunks: the unit of progress, retry and resume. Each is one Ballista job and, once done, one entry of the commit log.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Float32Type;

use crate::commit_log::FailureRecord;
use crate::config::RunPlan;
use crate::error::RunError;
use crate::features::FeatureRow;
use crate::selection::Photo;
use crate::tables::column;

/// A chunk holds about this much work, by the rate measured so far: little enough that a kill costs little, enough that
/// planning and committing cost nothing beside it.
const CHUNK_TARGET: Duration = Duration::from_secs(30);
/// The most photos in a chunk, unless more are needed to keep every slot busy.
const MAX_CHUNK_PHOTOS: usize = 4_000;
/// And then the most: their listing travels in one plan message, which must stay far below gRPC's limit. S3's keys have
/// 1,024 bytes at most, so that this is some 40 MB of the 1 GiB.
const MAX_LISTED_PHOTOS: usize = 32_000;
/// How many batches a task takes: little enough that slots are busy until the end, when one after the other has nothing left to do.
pub(crate) const BATCHES_PER_TASK: usize = 2;

/// Decides how many photos the next chunk holds.
#[derive(Debug)]
pub(crate) struct ChunkSizer {
    fixed: Option<usize>,
    photos_per_task: usize,
    photos_per_second: Option<f64>,
}

impl ChunkSizer {
    pub(crate) fn new(plan: &RunPlan) -> Self {
        Self::with(plan.config.chunk_size, plan.embedding.photos_at_a_time(), None)
    }

    /// One that knows the rate before anything is measured.
    pub(crate) fn at_rate(
        fixed: Option<NonZeroUsize>,
        photos_at_a_time: usize,
        photos_per_second: f64,
    ) -> Self {
        Self::with(fixed, photos_at_a_time, Some(photos_per_second))
    }

    fn with(fixed: Option<NonZeroUsize>, photos_at_a_time: usize, photos_per_second: Option<f64>) -> Self {
        let photos_per_task = photos_at_a_time * BATCHES_PER_TASK;
        Self { fixed: fixed.map(usize::from), photos_per_task, photos_per_second }
    }

    /// Takes note of the rate so far.
    pub(crate) fn measured(&mut self, photos: usize, took: Duration) {
        if !took.is_zero() {
            self.photos_per_second = Some(photos as f64 / took.as_secs_f64());
        }
    }

    /// How many photos the next chunk holds. Until something is measured, the least that keeps `slots` slots busy.
    pub(crate) fn next(&self, slots: usize) -> usize {
        self.fixed.unwrap_or_else(|| {
            let smallest = self.photos_per_task.saturating_mul(slots).clamp(1, MAX_LISTED_PHOTOS);
            let by_rate = self.photos_per_second.map_or(0.0, |rate| rate * CHUNK_TARGET.as_secs_f64());
            (by_rate as usize).clamp(smallest, smallest.max(MAX_CHUNK_PHOTOS))
        })
    }
}

/// What has become of a chunk's photos: every one is in exactly one of the two.
#[derive(Debug)]
pub(crate) struct ChunkOutcome {
    /// Sorted by path.
    pub(crate) rows: Vec<FeatureRow>,
    /// Sorted by path.
    pub(crate) failures: Vec<PhotoFailure>,
    /// The kernels that made the rows.
    pub(crate) kernel_paths: BTreeSet<String>,
}

/// A photo that gave no features, as the engine tells it. Whether that is so is for [`settle`](crate::settle) to say.
#[derive(Debug, Clone)]
pub(crate) struct PhotoFailure {
    pub(crate) photo: Photo,
    pub(crate) stage: FailureStage,
    /// A word of the closed set.
    pub(crate) reason: String,
    /// In words.
    pub(crate) detail: String,
}

/// Where a photo fell out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureStage {
    /// Its bytes could not be had.
    Read,
    /// Its bytes are no photo that the model takes.
    Decode,
}

impl FailureStage {
    /// As in `failures.csv`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
        }
    }
}

impl PhotoFailure {
    pub(crate) fn into_record(self) -> FailureRecord {
        FailureRecord {
            path: self.photo.path,
            etag: self.photo.etag,
            stage: self.stage.name().to_owned(),
            reason: self.reason,
            detail: self.detail,
        }
    }
}

/// Sorts the engine's rows into features and failures, and checks that each photo came back exactly once.
///
/// # Errors
/// [`RunError::RowsLost`] unless each did.
pub(crate) fn collect_outcome(batches: &[RecordBatch], photos: Vec<Photo>) -> Result<ChunkOutcome, RunError> {
    let asked = photos.len();
    let returned = batches.iter().map(RecordBatch::num_rows).sum();
    let lost = |detail: String| RunError::RowsLost { asked, returned, detail };
    let mut missing: BTreeMap<String, Photo> =
        photos.into_iter().map(|photo| (photo.path.clone(), photo)).collect();
    let mut rows = Vec::with_capacity(asked);
    let mut failures: Vec<PhotoFailure> = Vec::new();
    let mut kernel_paths = BTreeSet::new();
    for batch in batches {
        let columns =
            ChunkColumns::of(batch).ok_or_else(|| lost("its columns are not those asked for".to_owned()))?;
        kernel_paths.extend(columns.kernel_path.iter().flatten().map(str::to_owned));
        for row in 0..batch.num_rows() {
            let path = columns.path.value(row);
            let photo = missing
                .remove(path)
                .ok_or_else(|| lost(format!("`{path}` came twice or was never asked for")))?;
            match columns.outcome(row) {
                RowOutcome::Features(features) => rows.push(FeatureRow {
                    path: photo.path,
                    label: photo.label,
                    etag: photo.etag,
                    size: i64::try_from(photo.length).unwrap_or(i64::MAX),
                    features,
                }),
                RowOutcome::Failure { stage, reason, detail } => failures.push(PhotoFailure {
                    photo,
                    stage,
                    reason: reason.to_owned(),
                    detail: detail.to_owned(),
                }),
                RowOutcome::Nothing => {
                    return Err(lost(format!("`{path}` came back with neither features nor a reason")));
                }
            }
        }
    }
    if let Some(path) = missing.keys().next() {
        return Err(lost(format!("`{path}` is missing")));
    }
    rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    failures.sort_unstable_by(|a, b| a.photo.path.cmp(&b.photo.path));
    Ok(ChunkOutcome { rows, failures, kernel_paths })
}

enum RowOutcome<'a> {
    Features(Vec<f32>),
    Failure { stage: FailureStage, reason: &'a str, detail: &'a str },
    Nothing,
}

struct ChunkColumns<'a> {
    path: &'a StringArray,
    read_reason: &'a StringArray,
    read_detail: &'a StringArray,
    embedded: &'a StructArray,
    reason: &'a StringArray,
    detail: &'a StringArray,
    kernel_path: &'a StringArray,
}

impl<'a> ChunkColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let embedded: &StructArray = column(batch, "embedded")?;
        Some(Self {
            path: column(batch, "path")?,
            read_reason: column(batch, "read_reason")?,
            read_detail: column(batch, "read_detail")?,
            embedded,
            reason: embedded.column_by_name("reason")?.as_string_opt()?,
            detail: embedded.column_by_name("detail")?.as_string_opt()?,
            kernel_path: embedded.column_by_name("kernel_path")?.as_string_opt()?,
        })
    }

    fn outcome(&self, row: usize) -> RowOutcome<'a> {
        let text =
            |column: &'a StringArray| if column.is_valid(row) { Some(column.value(row)) } else { None };
        if let Some(reason) = text(self.read_reason) {
            return RowOutcome::Failure {
                stage: FailureStage::Read,
                reason,
                detail: text(self.read_detail).unwrap_or_default(),
            };
        }
        if self.embedded.is_valid(row) {
            if let Some(reason) = text(self.reason) {
                return RowOutcome::Failure {
                    stage: FailureStage::Decode,
                    reason,
                    detail: text(self.detail).unwrap_or_default(),
                };
            }
            if let Some(features) =
                self.embedded.column_by_name("features").and_then(|lists| lists.as_fixed_size_list_opt())
                && features.is_valid(row)
                && let Some(values) = features.value(row).as_primitive_opt::<Float32Type>()
            {
                return RowOutcome::Features(values.values().to_vec());
            }
        }
        RowOutcome::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
    use arrow::datatypes::{DataType, Field, Fields, Schema};

    use super::*;

    fn photo(path: &str) -> Photo {
        Photo {
            path: path.to_owned(),
            length: 1,
            modification_time: 0,
            etag: format!("etag of {path}"),
            label: None,
            split: None,
        }
    }

    /// What the engine returns: for each path its features, or a reason why there are none.
    fn batch(rows: &[(&str, Result<f32, &str>)]) -> RecordBatch {
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let values =
            Float32Array::from_iter_values(rows.iter().map(|(_, outcome)| outcome.unwrap_or_default()));
        let valid = rows.iter().map(|(_, outcome)| outcome.is_ok()).collect::<Vec<_>>();
        let features = FixedSizeListArray::new(item.clone(), 1, Arc::new(values), Some(valid.into()));
        let reason: StringArray = rows.iter().map(|(_, outcome)| outcome.err()).collect();
        let fields = Fields::from(vec![
            Field::new("features", DataType::FixedSizeList(item, 1), true),
            Field::new("reason", DataType::Utf8, true),
            Field::new("detail", DataType::Utf8, true),
            Field::new("kernel_path", DataType::Utf8, true),
        ]);
        let kernels: StringArray =
            rows.iter().map(|(_, outcome)| outcome.is_ok().then_some("here")).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(features), Arc::new(reason.clone()), Arc::new(reason), Arc::new(kernels)];
        let embedded = StructArray::new(fields.clone(), columns, None);
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let schema = Schema::new(vec![
            text("path"),
            text("read_reason"),
            text("read_detail"),
            Field::new("embedded", DataType::Struct(fields), true),
        ]);
        let nothing: StringArray = rows.iter().map(|_| None::<&str>).collect();
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(StringArray::from_iter_values(rows.iter().map(|(path, _)| path))),
                Arc::new(nothing.clone()),
                Arc::new(nothing),
                Arc::new(embedded),
            ],
        )
        .expect("the columns fit the schema")
    }

    #[test]
    fn each_photo_ends_in_rows_or_failures() {
        let batches = [batch(&[("b", Ok(2.0)), ("c", Err("empty"))]), batch(&[("a", Ok(1.0))])];
        let outcome =
            collect_outcome(&batches, vec![photo("a"), photo("b"), photo("c")]).expect("nothing is lost");
        let rows: Vec<(&str, f32)> =
            outcome.rows.iter().map(|row| (row.path.as_str(), row.features[0])).collect();
        assert_eq!(rows, [("a", 1.0), ("b", 2.0)]);
        assert_eq!(outcome.kernel_paths, BTreeSet::from(["here".to_owned()]));
        let failure = outcome.failures[0].clone().into_record();
        assert_eq!((failure.path.as_str(), failure.reason.as_str()), ("c", "empty"));
        assert_eq!((failure.stage.as_str(), failure.etag.as_str()), ("decode", "etag of c"));
    }

    #[test]
    fn a_row_too_few_too_many_or_of_another_photo_is_an_error() {
        for rows in [
            vec![("a", Ok(1.0))],
            vec![("a", Ok(1.0)), ("b", Ok(1.0)), ("a", Ok(1.0))],
            vec![("a", Ok(1.0)), ("x", Ok(1.0))],
        ] {
            let outcome = collect_outcome(&[batch(&rows)], vec![photo("a"), photo("b")]);
            assert!(matches!(outcome, Err(RunError::RowsLost { asked: 2, .. })), "{rows:?}: {outcome:?}");
        }
    }
}
