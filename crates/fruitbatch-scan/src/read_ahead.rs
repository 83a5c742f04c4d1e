//! Reading a partition's photos on a task of its own, so that the next batch is on its way while the last one is used.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::{Result, exec_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use fruitbatch_storage::{Location, PhotoReader, ReadErrorKind, Storage, StorageOptions};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc::Sender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StorageFault;
use crate::options::ScanOptions;
use crate::schema::{CONTENT, ETAG, LENGTH, PATH, READ_DETAIL, READ_REASON, batch_of};
use crate::task_environment::{PhotoMeter, photo_meter, read_limit, read_runtime, task_stop};

/// Batches that are ready and not yet fetched by the consumer; part of the memory bound that [`ScanOptions`] states.
const READY_BATCHES: usize = 1;

/// All that reading one partition needs.
pub(crate) struct ReadAhead {
    root: Location,
    storage: StorageOptions,
    options: ScanOptions,
    schema: SchemaRef,
    metrics: ReadMetrics,
    meter: Option<Arc<PhotoMeter>>,
}

struct ReadMetrics {
    photos_read: Count,
    photos_unreadable: Count,
    bytes_read: Count,
    read_time: Time,
    output_rows: Count,
}

impl ReadAhead {
    pub(crate) fn new(
        root: &Location,
        storage: &StorageOptions,
        options: ScanOptions,
        schema: SchemaRef,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
        context: &TaskContext,
    ) -> Self {
        let metrics = ReadMetrics {
            photos_read: MetricBuilder::new(metrics).counter("photos_read", partition),
            photos_unreadable: MetricBuilder::new(metrics).counter("photos_unreadable", partition),
            bytes_read: MetricBuilder::new(metrics).counter("bytes_read", partition),
            // Summed over the concurrent reads, so it may exceed the wall time.
            read_time: MetricBuilder::new(metrics).subset_time("read_time", partition),
            output_rows: MetricBuilder::new(metrics).output_rows(partition),
        };
        let (root, storage) = (root.clone(), storage.clone());
        let batch_bytes = options.batch_bytes.min(read_limit(context));
        let options = ScanOptions { batch_bytes, ..options };
        Self { root, storage, options, schema, metrics, meter: photo_meter(context) }
    }
}

/// Starts reading; the stream's end, or dropping it, ends the reads.
pub(crate) fn photo_batches(
    read_ahead: ReadAhead,
    listing: SendableRecordBatchStream,
    context: &TaskContext,
) -> SendableRecordBatchStream {
    let stop = task_stop(context);
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&read_ahead.schema), READY_BATCHES);
    let ready = stream.tx();
    let meter = read_ahead.meter.clone();
    let reading = async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => exec_err!("the job was cancelled while its photos were being read"),
            finished = read_listing(read_ahead, listing, ready) => finished,
        }
    };
    stream.spawn_on(reading, &read_runtime(context));
    match meter {
        Some(meter) => metered(stream.build(), meter),
        None => stream.build(),
    }
}

/// The same batches, each counted when the next one is asked for: then it has been used.
fn metered(batches: SendableRecordBatchStream, meter: Arc<PhotoMeter>) -> SendableRecordBatchStream {
    let schema = batches.schema();
    let counted = futures::stream::unfold((batches, meter, None), |(mut batches, meter, used)| async move {
        if let Some((photos, bytes)) = used {
            meter.add(photos, bytes);
        }
        let batch = batches.next().await?;
        let used = batch.as_ref().ok().map(|batch| (batch.num_rows(), content_bytes(batch)));
        Some((batch, (batches, meter, used)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, counted))
}

fn content_bytes(batch: &RecordBatch) -> usize {
    let content = batch.column_by_name(CONTENT).and_then(|column| column.as_binary_opt::<i32>());
    content.map_or(0, |content| content.value_data().len())
}

async fn read_listing(
    read_ahead: ReadAhead,
    mut listing: SendableRecordBatchStream,
    ready: Sender<Result<RecordBatch>>,
) -> Result<()> {
    let reader = Storage::new(read_ahead.storage.clone())
        .reader(&read_ahead.root)
        .await
        .map_err(|error| job_failure(error.kind().may_pass(), error))?;
    let bytes_under_way = Arc::new(Semaphore::new(read_ahead.options.batch_bytes as usize));
    while let Some(listed) = listing.try_next().await? {
        let photos = ListedPhotos::of(&listed)?;
        let mut reads = futures::stream::iter(0..listed.num_rows())
            .map(|row| read_photo(&read_ahead, &reader, &photos, row, &bytes_under_way))
            .buffered(read_ahead.options.read_concurrency);
        let mut filling = FillingBatch::starting_at(0);
        while let Some(photo) = reads.try_next().await? {
            if filling.is_too_full_for(&photo, &read_ahead.options)
                && !filling.hand_over(&read_ahead, &listed, &ready).await?
            {
                return Ok(());
            }
            filling.push(photo);
        }
        if filling.rows > 0 && !filling.hand_over(&read_ahead, &listed, &ready).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// The columns of a listing batch that reading needs.
struct ListedPhotos<'a> {
    paths: &'a StringArray,
    etags: &'a StringArray,
    lengths: &'a Int64Array,
}

impl<'a> ListedPhotos<'a> {
    fn of(listed: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| {
            listed
                .column_by_name(name)
                .ok_or_else(|| DataFusionError::Internal(format!("the listing lost its column `{name}`")))
        };
        let not_of_its_type =
            || DataFusionError::Internal("a column of the listing changed its type".to_owned());
        Ok(Self {
            paths: column(PATH)?.as_string_opt::<i32>().ok_or_else(not_of_its_type)?,
            etags: column(ETAG)?.as_string_opt::<i32>().ok_or_else(not_of_its_type)?,
            lengths: column(LENGTH)?.as_primitive_opt::<Int64Type>().ok_or_else(not_of_its_type)?,
        })
    }
}

/// What became of one photo. The permit stands for its bytes until they lie in a batch.
struct Photo {
    outcome: Outcome,
    _bytes_under_way: OwnedSemaphorePermit,
}

enum Outcome {
    Read(Bytes),
    Unreadable { reason: &'static str, detail: String },
}

async fn read_photo(
    read_ahead: &ReadAhead,
    reader: &PhotoReader,
    photos: &ListedPhotos<'_>,
    row: usize,
    bytes_under_way: &Arc<Semaphore>,
) -> Result<Photo> {
    let ScanOptions { batch_bytes, max_photo_bytes, .. } = read_ahead.options;
    let length = u64::try_from(photos.lengths.value(row)).unwrap_or(0);
    // Reads ask in the order of their rows and the semaphore is fair, so the next row of the batch never waits for one
    // behind it.
    let share = u32::try_from(length.clamp(1, batch_bytes)).unwrap_or(u32::MAX);
    let permit = Arc::clone(bytes_under_way)
        .acquire_many_owned(share)
        .await
        .map_err(|closed| DataFusionError::Internal(closed.to_string()))?;

    let path = photos.paths.value(row);
    let etag = Some(photos.etags.value(row)).filter(|etag| !etag.is_empty());
    let started = Instant::now();
    let read = reader.read(path, etag, max_photo_bytes).await;
    let metrics = &read_ahead.metrics;
    metrics.read_time.add_elapsed(started);
    let outcome = match read {
        // A body that was cut on its way, its length with it: only the listing shows that.
        Ok(content) if etag.is_some() && content.len() as u64 != length => {
            let message = format!(
                "`{path}` came with {} bytes instead of {length}; run the same command again",
                content.len()
            );
            return Err(DataFusionError::IoError(std::io::Error::other(StorageFault { message })));
        }
        Ok(content) => {
            metrics.photos_read.add(1);
            metrics.bytes_read.add(content.len());
            Outcome::Read(content)
        }
        Err(error) if error.kind().concerns_only_this_photo() => {
            metrics.photos_unreadable.add(1);
            if let Some(meter) = &read_ahead.meter {
                meter.add_unreadable(error.reason());
            }
            Outcome::Unreadable { reason: error.reason(), detail: error.problem().to_owned() }
        }
        Err(error) => return Err(job_failure(error.kind() == ReadErrorKind::Fault, error)),
    };
    Ok(Photo { outcome, _bytes_under_way: permit })
}

/// An error that isn't one photo's. Only an I/O error makes Ballista try the task again.
pub(crate) fn job_failure(
    may_pass: bool,
    error: impl std::error::Error + Send + Sync + 'static,
) -> DataFusionError {
    if may_pass {
        DataFusionError::IoError(std::io::Error::other(StorageFault { message: error.to_string() }))
    } else {
        DataFusionError::External(Box::new(error))
    }
}

/// Photos on their way into one output batch: consecutive rows of one listing batch.
struct FillingBatch {
    first_row: usize,
    rows: usize,
    bytes: u64,
    content: BinaryBuilder,
    reasons: StringBuilder,
    details: StringBuilder,
}

impl FillingBatch {
    fn starting_at(first_row: usize) -> Self {
        Self {
            first_row,
            rows: 0,
            bytes: 0,
            content: BinaryBuilder::new(),
            reasons: StringBuilder::new(),
            details: StringBuilder::new(),
        }
    }

    fn is_too_full_for(&self, next: &Photo, options: &ScanOptions) -> bool {
        let next_bytes = match &next.outcome {
            Outcome::Read(content) => content.len() as u64,
            Outcome::Unreadable { .. } => 0,
        };
        self.rows >= options.batch_rows || (self.rows > 0 && self.bytes + next_bytes > options.batch_bytes)
    }

    fn push(&mut self, photo: Photo) {
        match photo.outcome {
            Outcome::Read(content) => {
                self.bytes += content.len() as u64;
                self.content.append_value(&content);
                self.reasons.append_null();
                self.details.append_null();
            }
            Outcome::Unreadable { reason, detail } => {
                self.content.append_null();
                self.reasons.append_value(reason);
                self.details.append_value(detail);
            }
        }
        self.rows += 1;
    }

    /// Sends what was filled and starts anew behind it; false if nobody wants more.
    async fn hand_over(
        &mut self,
        read_ahead: &ReadAhead,
        listed: &RecordBatch,
        ready: &Sender<Result<RecordBatch>>,
    ) -> Result<bool> {
        let mut full = std::mem::replace(self, Self::starting_at(self.first_row + self.rows));
        let read: [(&str, ArrayRef); 3] = [
            (CONTENT, Arc::new(full.content.finish())),
            (READ_REASON, Arc::new(full.reasons.finish())),
            (READ_DETAIL, Arc::new(full.details.finish())),
        ];
        let columns = read_ahead.schema.fields().iter().map(|field| {
            if let Some((_, array)) = read.iter().find(|(name, _)| name == field.name()) {
                return Ok(Arc::clone(array));
            }
            match listed.column_by_name(field.name()) {
                Some(column) => Ok(column.slice(full.first_row, full.rows)),
                None => {
                    Err(DataFusionError::Internal(format!("the listing lost its column `{}`", field.name())))
                }
            }
        });
        let batch = batch_of(&read_ahead.schema, columns.collect::<Result<_>>()?, full.rows)?;
        read_ahead.metrics.output_rows.add(full.rows);
        Ok(ready.send(Ok(batch)).await.is_ok())
    }
}
