//! The plan node that turns listed photos into photos with their bytes.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use fruitbatch_storage::{Location, StorageOptions};

use crate::options::ScanOptions;
use crate::plan_node::{only_input, streaming_properties};
use crate::read_ahead::{ReadAhead, photo_batches};
use crate::schema::{ETAG, LENGTH, PATH, image_columns, image_schema};

/// Reads the bytes of the photos that its input lists.
///
/// The input is a listing (`path`, `etag`, `length` and whatever listing columns are wanted above) in as many partitions
/// as the work is to be cut into; the output has the same partitions, rows and order. It is a *unary* node on purpose:
/// Ballista's scheduler gives each task its share of a plan by cutting the leaves it knows, and a leaf of our own would
/// be run whole by every task.
///
/// Every execution reads ahead of its consumer; [`ScanOptions`] states the memory bound. Dropping the stream, or
/// [`TaskStop`](crate::TaskStop), stops the reads.
///
/// A photo that can't be read is a row with null `content` and a `read_reason`. A fault of network or server isn't the
/// photo's: it ends the stream with [`DataFusionError::IoError`] around a [`StorageFault`](crate::StorageFault).
#[derive(Debug, Clone)]
pub struct ReadPhotosExec {
    root: Location,
    storage: StorageOptions,
    options: ScanOptions,
    columns: Vec<String>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ReadPhotosExec {
    /// A node that gives `columns` (names out of [`image_schema`], in the order wanted) of the photos that `input` lists
    /// below `root`.
    ///
    /// # Errors
    /// If an option is out of range, a column doesn't exist, or a listing column is wanted or needed that the input
    /// doesn't have.
    pub fn try_new(
        root: Location,
        storage: StorageOptions,
        options: ScanOptions,
        columns: Vec<String>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Self> {
        options.validate().map_err(|error| DataFusionError::Plan(error.to_string()))?;
        let schema = image_columns(&columns)?;

        let (full, listed) = (image_schema(), input.schema());
        let wanted =
            columns.iter().map(String::as_str).filter(|column| !crate::schema::needs_reading(column));
        for column in wanted.chain([PATH, ETAG, LENGTH]) {
            let expected = full.field_with_name(column)?.data_type();
            match listed.field_with_name(column) {
                Ok(field) if field.data_type() == expected => {}
                _ => {
                    return plan_err!(
                        "the listing below ReadPhotosExec has no column `{column}` of type {expected}"
                    );
                }
            }
        }

        let properties = streaming_properties(schema, input.output_partitioning().clone());
        Ok(Self {
            root,
            storage,
            options,
            columns,
            input,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Where the photos lie.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How the store is reached; holds no secret.
    pub fn storage_options(&self) -> &StorageOptions {
        &self.storage
    }

    /// How far reading runs ahead, and the size of the batches.
    pub fn options(&self) -> &ScanOptions {
        &self.options
    }

    /// The columns given, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The listing.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for ReadPhotosExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanOptions { read_concurrency, batch_rows, batch_bytes, max_photo_bytes, .. } = self.options;
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(
                f,
                "ReadPhotosExec: root={}, columns=[{}], read_concurrency={read_concurrency}, batch_rows={batch_rows}, \
                 batch_bytes={batch_bytes}, max_photo_bytes={max_photo_bytes}",
                self.root,
                self.columns.join(", "),
            ),
            DisplayFormatType::TreeRender => {
                write!(f, "root={}\nread_concurrency={read_concurrency}\nbatch_rows={batch_rows}", self.root)
            }
        }
    }
}

impl ExecutionPlan for ReadPhotosExec {
    fn name(&self) -> &'static str {
        "ReadPhotosExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// It does keep the order, and doesn't say so: DataFusion moves sorts below a node that does, and takes it for granted
    /// then that a column has the same place below as above.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    /// The partitions of the listing are the units of work and stay as they are.
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
        let (root, storage, columns) = (self.root.clone(), self.storage.clone(), self.columns.clone());
        Ok(Arc::new(Self::try_new(root, storage, self.options, columns, input)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let listing = self.input.execute(partition, Arc::clone(&context))?;
        let read_ahead = ReadAhead::new(
            &self.root,
            &self.storage,
            self.options,
            self.schema(),
            &self.metrics,
            partition,
            &context,
        );
        Ok(photo_batches(read_ahead, listing, &context))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// As many rows as are listed; nothing is known of the photos' bytes.
    fn statistics_from_inputs(
        &self,
        input_stats: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(listing) = input_stats.first() {
            statistics.num_rows = listing.num_rows;
        }
        statistics.column_statistics = vec![ColumnStatistics::new_unknown(); self.schema().fields().len()];
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
