//! Rows that lie in Parquet files, as a table.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use fruitbatch_storage::{Location, StorageOptions};

use crate::read_parts_exec::ReadPartsExec;
use crate::schema::projected;

/// The column of a part's name in the input of [`ReadPartsExec`].
pub(crate) const FILE: &str = "file";
/// The column of its digest there.
pub(crate) const SHA256: &str = "sha256";

/// One Parquet file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name below the root of the files, `/` between folders.
    pub file: String,
    /// The SHA-256 of its bytes, in hex: a file that has another one isn't read.
    pub sha256: String,
    /// Its rows, where that is known.
    pub rows: Option<u64>,
}

/// Where the parts of a table lie, and which they are. Holds no secret, and travels in plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFiles {
    /// The folder or prefix that their names are relative to.
    pub root: Location,
    /// How it is reached.
    pub storage: StorageOptions,
    /// The files, in the table's order.
    pub parts: Arc<[Part]>,
}

impl PartFiles {
    /// Rows of all parts together, if that is known of each.
    pub fn rows(&self) -> Option<u64> {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// [`rows`](Self::rows), where planning can count that far.
    pub(crate) fn row_count(&self) -> Option<usize> {
        self.rows().and_then(|rows| usize::try_from(rows).ok())
    }

    /// The node that reads the columns of `schema`, one part a partition: of all parts, or of as many as surely hold
    /// `limit` rows.
    pub(crate) fn scan(&self, schema: SchemaRef, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let parts = match limit {
            Some(limit) => self.first(limit as u64),
            None => &self.parts,
        };
        let names = part_names_schema();
        let batches = parts.iter().map(|part| part_names(&names, part));
        let names = in_memory(batches.collect::<Result<_>>()?, &names)?;
        Ok(Arc::new(ReadPartsExec::try_new(self.root.clone(), self.storage.clone(), schema, names)?))
    }

    fn first(&self, limit: u64) -> &[Part] {
        let mut rows = 0;
        let enough = self.parts.iter().position(|part| {
            rows += part.rows.unwrap_or(0);
            rows >= limit
        });
        &self.parts[..enough.map_or(self.parts.len(), |last| last + 1)]
    }
}

/// The schema of what stands below a [`ReadPartsExec`].
pub(crate) fn part_names_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(FILE, DataType::Utf8, false),
        Field::new(SHA256, DataType::Utf8, false),
    ]))
}

/// The node that gives these batches, each as a partition of its own.
pub(crate) fn in_memory(batches: Vec<RecordBatch>, schema: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let mut partitions: Vec<Vec<RecordBatch>> = batches.into_iter().map(|batch| vec![batch]).collect();
    if partitions.is_empty() {
        // A plan with no partition at all has no task that could end it.
        partitions.push(Vec::new());
    }
    Ok(MemorySourceConfig::try_new_exec(&partitions, Arc::clone(schema), None)?)
}

/// All that is known of a table beforehand: how many rows it has, if even that.
pub(crate) fn row_statistics(schema: &SchemaRef, rows: Option<usize>) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = rows.map_or(Precision::Absent, Precision::Exact);
    statistics
}

fn part_names(schema: &SchemaRef, part: &Part) -> Result<RecordBatch> {
    let columns = [&part.file, &part.sha256]
        .map(|text| Arc::new(StringArray::from_iter_values([text])) as ArrayRef)
        .to_vec();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Rows that lie in Parquet files of one schema.
///
/// Whoever runs a query of it reads the files, each whole and checked against its digest; the plan holds their names
/// alone.
#[derive(Clone)]
pub struct PartTable {
    files: PartFiles,
    schema: SchemaRef,
}

impl PartTable {
    /// The table of the columns `schema`, which each file must have by these names and types (it may have more).
    pub fn new(files: PartFiles, schema: SchemaRef) -> Self {
        Self { files, schema }
    }

    /// Its files.
    pub fn files(&self) -> &PartFiles {
        &self.files
    }
}

/// The files are counted, not shown.
impl fmt::Debug for PartTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartTable")
            .field("root", &self.files.root.to_string())
            .field("parts", &self.files.parts.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for PartTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(row_statistics(&self.schema, self.files.row_count()))
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.files.scan(projected(&self.schema, projection)?, limit)
    }
}
