//! The plan node that turns names of Parquet files into their rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use fruitbatch_storage::{Location, Storage, StorageOptions};
use futures::{TryStreamExt, stream};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::ScanError;
use crate::part_table::{FILE, SHA256, part_names_schema};
use crate::plan_node::{only_input, streaming_properties};
use crate::read_ahead::job_failure;
use crate::schema::batch_of;
use crate::task_environment::{read_runtime, task_stop};

/// A batch is closed before vectors of fixed width in it would exceed this many bytes.
const BATCH_BYTES: usize = 8 << 20;
/// What a value of no fixed width is taken for: a path, say.
const VARIABLE_BYTES: usize = 64;

/// Reads the Parquet files that its input names.
///
/// The input is of `file` and `sha256`, in as many partitions as the work is to be cut into; the output has the same
/// partitions, and in each the rows of its files in order. A unary node for the reason that
/// [`ReadPhotosExec`](crate::ReadPhotosExec) is one.
///
/// # Memory
/// One running partition holds one file as it lies in the store, and one batch of about 8 MiB.
///
/// # Errors
/// A file that isn't there, or isn't the one that was named (its digest differs), fails the task for good; a fault of
/// network or server is tried again, as everywhere.
#[derive(Debug, Clone)]
pub struct ReadPartsExec {
    root: Location,
    storage: StorageOptions,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ReadPartsExec {
    /// A node that gives the columns of `schema` of the files that `input` names below `root`.
    ///
    /// # Errors
    /// If `input` has other columns than `file` and `sha256`.
    pub fn try_new(
        root: Location,
        storage: StorageOptions,
        schema: SchemaRef,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        if input.schema().fields() != part_names_schema().fields() {
            return plan_err!("what stands below ReadPartsExec doesn't name files");
        }
        let properties = streaming_properties(schema, input.output_partitioning().clone());
        Ok(Self { root, storage, input, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// Where the files lie.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How the store is reached; holds no secret.
    pub fn storage_options(&self) -> &StorageOptions {
        &self.storage
    }

    /// What names the files.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for ReadPartsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                let schema = self.schema();
                let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                write!(f, "ReadPartsExec: root={}, columns=[{}]", self.root, columns.join(", "))
            }
            DisplayFormatType::TreeRender => write!(f, "root={}", self.root),
        }
    }
}

impl ExecutionPlan for ReadPartsExec {
    fn name(&self) -> &'static str {
        "ReadPartsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// The partitions of the input are the units of work and stay as they are.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only_input(&*self, children)?;
        Ok(Arc::new(Self::try_new(self.root.clone(), self.storage.clone(), self.schema(), input)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let names = self.input.execute(partition, Arc::clone(&context))?;
        let schema = self.schema();
        let reader = Arc::new(PartReader {
            root: self.root.clone(),
            storage: Storage::new(self.storage.clone()),
            batch_rows: batch_rows(&schema, context.session_config().batch_size()),
            schema: Arc::clone(&schema),
            runtime: read_runtime(&context),
            stop: task_stop(&context),
            parts_read: MetricBuilder::new(&self.metrics).counter("parts_read", partition),
            bytes_read: MetricBuilder::new(&self.metrics).counter("bytes_read", partition),
            output_rows: MetricBuilder::new(&self.metrics).output_rows(partition),
        });
        let batches = names
            .and_then(|batch| std::future::ready(named_parts(&batch)))
            .map_ok(|parts| stream::iter(parts.into_iter().map(Ok)))
            .try_flatten()
            .and_then(move |(file, sha256)| Arc::clone(&reader).open(file, sha256))
            .map_ok(stream::iter)
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::GreaterEqual
    }
}

/// File and digest, row by row.
fn named_parts(batch: &RecordBatch) -> Result<Vec<(String, String)>> {
    let column = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let (Some(files), Some(digests)) = (column(FILE), column(SHA256)) else {
        return exec_err!("what stands below ReadPartsExec doesn't name files");
    };
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Ok(files.iter().zip(digests).map(|(file, sha256)| (text(file), text(sha256))).collect())
}

/// Rows a batch, so that the vectors in it stay within [`BATCH_BYTES`].
fn batch_rows(schema: &SchemaRef, most: usize) -> usize {
    let row_bytes: usize = schema.fields().iter().map(|field| value_bytes(field.data_type())).sum();
    (BATCH_BYTES / row_bytes.max(1)).clamp(1, most.max(1))
}

fn value_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            usize::try_from(*length).unwrap_or(0).saturating_mul(value_bytes(item.data_type()))
        }
        other => other.primitive_width().unwrap_or(VARIABLE_BYTES),
    }
}

/// Reads the files of one partition.
struct PartReader {
    root: Location,
    storage: Storage,
    schema: SchemaRef,
    batch_rows: usize,
    runtime: Handle,
    stop: CancellationToken,
    parts_read: Count,
    bytes_read: Count,
    output_rows: Count,
}

impl PartReader {
    /// The batches of a file, decoded as they are asked for.
    async fn open(
        self: Arc<Self>,
        file: String,
        sha256: String,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        let bytes = self.fetch(&file).await?;
        let unreadable = |problem: String| part_error(&self.root, &file, problem);
        if hex::encode(Sha256::digest(&bytes)) != sha256 {
            return Err(unreadable(
                "it isn't the file that the query was planned with: another run has written there since, or it is damaged; \
                 ask again"
                    .to_owned(),
            ));
        }
        self.parts_read.add(1);
        self.bytes_read.add(bytes.len());
        let batches = self.decode(bytes).map_err(unreadable)?;
        let (root, reader) = (self.root.clone(), self);
        Ok(batches.map(move |batch| {
            if reader.stop.is_cancelled() {
                return exec_err!("the job was cancelled while its files were being read");
            }
            let batch = batch.map_err(|error| part_error(&root, &file, error.to_string()))?;
            reader.output_rows.add(batch.num_rows());
            reader.in_order(&batch)
        }))
    }

    /// The file's bytes, read where reading doesn't wait for computing.
    async fn fetch(&self, file: &str) -> Result<Bytes> {
        let (storage, root, name) = (self.storage.clone(), self.root.clone(), file.to_owned());
        let mut fetching = JoinSet::new();
        fetching.spawn_on(async move { storage.output(&root).await?.get(&name).await }, &self.runtime);
        let fetched = tokio::select! {
            biased;
            () = self.stop.cancelled() => return exec_err!("the job was cancelled while its files were being read"),
            fetched = fetching.join_next() => fetched,
        };
        match fetched {
            Some(Ok(Ok(Some(bytes)))) => Ok(bytes),
            Some(Ok(Ok(None))) => Err(part_error(
                &self.root,
                file,
                "it isn't there, as seen from where the query runs; a fleet's executors must reach the same place".to_owned(),
            )),
            Some(Ok(Err(error))) => Err(job_failure(error.kind().may_pass(), error)),
            Some(Err(error)) => exec_err!("reading ended before its time: {error}"),
            None => exec_err!("reading ended before its time"),
        }
    }

    fn decode(&self, bytes: Bytes) -> std::result::Result<ParquetRecordBatchReader, String> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
        let mut wanted = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            match builder.schema().column_with_name(field.name()) {
                Some((index, found)) if found.data_type() == field.data_type() => wanted.push(index),
                Some((_, found)) => {
                    return Err(format!(
                        "its column `{}` is of type {}, not {}",
                        field.name(),
                        found.data_type(),
                        field.data_type()
                    ));
                }
                None => return Err(format!("it has no column `{}`", field.name())),
            }
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder
            .with_projection(mask)
            .with_batch_size(self.batch_rows)
            .build()
            .map_err(|error| error.to_string())
    }

    /// The batch with its columns in the order of the schema: files give them in their own.
    fn in_order(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| {
            batch
                .column_by_name(field.name())
                .cloned()
                .ok_or_else(|| DataFusionError::Internal(format!("the column `{}` was lost", field.name())))
        });
        batch_of(&self.schema, columns.collect::<Result<_>>()?, batch.num_rows())
    }
}

fn part_error(root: &Location, file: &str, problem: String) -> DataFusionError {
    let file = format!("{}/{file}", root.to_string().trim_end_matches('/'));
    DataFusionError::External(Box::new(ScanError::Part { file, problem }))
}
