//! The table of listed photos.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use fruitbatch_storage::{Location, StorageOptions};

use crate::image_row::{ImageRow, listing_batch};
use crate::options::ScanOptions;
use crate::part_table::{PartFiles, in_memory, row_statistics};
use crate::read_photos_exec::ReadPhotosExec;
use crate::schema::{ETAG, LENGTH, PATH, image_columns, image_schema, needs_reading, projected};

/// Listed photos as a table; see the crate's [front page](crate) for its columns and for what a query of it reads.
///
/// The listing is part of the table and travels with it, or it lies in files ([`listing_parts`](crate::listing_parts)) of
/// which the names travel: whoever runs the query needs access to the photos' bytes, but lists nothing.
#[derive(Clone)]
pub struct ImageTable {
    root: Location,
    storage: StorageOptions,
    listing: Listing,
    options: ScanOptions,
}

#[derive(Clone)]
enum Listing {
    Rows(Arc<[ImageRow]>),
    Parts(PartFiles),
}

impl ImageTable {
    /// The table of `photos`, whose paths are relative to `root`. Options out of their range are an error of the first
    /// query; [`ScanOptions::validate`] finds them earlier.
    pub fn new(root: Location, storage: StorageOptions, photos: Vec<ImageRow>, options: ScanOptions) -> Self {
        Self { root, storage, listing: Listing::Rows(photos.into()), options }
    }

    /// The table of the photos that are listed in files of all listing columns. A file is a partition, whatever `options`
    /// say of rows.
    pub fn listed_in_parts(
        root: Location,
        storage: StorageOptions,
        listing: PartFiles,
        options: ScanOptions,
    ) -> Self {
        Self { root, storage, listing: Listing::Parts(listing), options }
    }

    /// Where the photos lie.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// How the store is reached; holds no secret.
    pub fn storage_options(&self) -> &StorageOptions {
        &self.storage
    }

    /// The listing, in the table's order; empty if it lies in files.
    pub fn photos(&self) -> &[ImageRow] {
        match &self.listing {
            Listing::Rows(photos) => photos,
            Listing::Parts(_) => &[],
        }
    }

    /// The files of the listing, if it lies in files.
    pub fn listing_files(&self) -> Option<&PartFiles> {
        match &self.listing {
            Listing::Rows(_) => None,
            Listing::Parts(files) => Some(files),
        }
    }

    /// How many photos are listed, if that is known.
    fn count(&self) -> Option<usize> {
        match &self.listing {
            Listing::Rows(photos) => Some(photos.len()),
            Listing::Parts(files) => files.row_count(),
        }
    }

    /// The node that gives these listing columns: of all photos, or of the first ones if a limit is met by these.
    fn scan_listing(&self, schema: &SchemaRef, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.listing {
            Listing::Rows(photos) => {
                let rows = &photos[..limit.unwrap_or(usize::MAX).min(photos.len())];
                let partitions = rows.chunks(self.options.rows_per_partition);
                let batches = partitions.map(|rows| listing_batch(schema, rows));
                in_memory(batches.collect::<Result<_>>()?, schema)
            }
            Listing::Parts(files) => files.scan(Arc::clone(schema), limit),
        }
    }

    /// How the listing is cut into partitions, and how its photos are read.
    pub fn options(&self) -> &ScanOptions {
        &self.options
    }
}

/// The listing is counted, not shown: it may hold millions of paths.
impl fmt::Debug for ImageTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageTable")
            .field("root", &self.root.to_string())
            .field("photos", &self.count())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ImageTable {
    fn schema(&self) -> SchemaRef {
        image_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(row_statistics(&image_schema(), self.count()))
    }

    /// A filter on listing columns alone is applied to the listing, so that photos it leaves out are never read.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        filters
            .iter()
            .map(|filter| {
                Ok(if applies_to_the_listing(filter)? {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Unsupported
                })
            })
            .collect()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.options.validate().map_err(|error| DataFusionError::Plan(error.to_string()))?;
        let schema = projected(&image_schema(), projection)?;
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let reads = columns.iter().any(|column| needs_reading(column));

        let filtered_by: BTreeSet<&str> =
            filters.iter().flat_map(Expr::column_refs).map(|column| column.name.as_str()).collect();
        let mut listed: Vec<&str> = columns.iter().copied().filter(|column| !needs_reading(column)).collect();
        let needed_to_read = [PATH, LENGTH, ETAG].into_iter().filter(|_| reads);
        for column in filtered_by.into_iter().chain(needed_to_read) {
            if !listed.contains(&column) {
                listed.push(column);
            }
        }

        let listing_schema = image_columns(&listed)?;
        // Without a filter below it, a limit is met by the first rows of the listing; the others aren't even planned.
        let mut plan = self.scan_listing(&listing_schema, limit.filter(|_| filters.is_empty()))?;

        if let Some(filter) =
            conjunction(filters.iter().cloned().map(without_table_name).collect::<Result<Vec<_>>>()?)
        {
            let predicate = state.create_physical_expr(filter, &DFSchema::try_from(listing_schema)?)?;
            // What is needed for the filter alone goes no further (it stands behind the projected columns).
            let kept = if reads { None } else { Some((0..columns.len()).collect()) };
            plan = Arc::new(
                FilterExecBuilder::new(predicate, plan).apply_projection(kept)?.with_fetch(limit).build()?,
            );
        }
        if reads {
            let columns = columns.into_iter().map(str::to_owned).collect();
            plan = Arc::new(ReadPhotosExec::try_new(
                self.root.clone(),
                self.storage.clone(),
                self.options,
                columns,
                plan,
            )?);
        }
        Ok(plan)
    }
}

/// Whether the filter gives the same answer, row by row, before the photos are read.
fn applies_to_the_listing(filter: &Expr) -> Result<bool> {
    let mut has_subquery = false;
    filter.apply(|part| {
        has_subquery |= matches!(
            part,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
        );
        Ok(if has_subquery { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let on_the_listing = filter.column_refs().iter().all(|column| !needs_reading(&column.name));
    Ok(on_the_listing && !has_subquery && !filter.is_volatile())
}

/// The filter with plain column names: the listing inside the table doesn't know what name a query gives the table.
fn without_table_name(filter: Expr) -> Result<Expr> {
    datafusion::logical_expr::expr_rewriter::unnormalize_cols([filter])
        .pop()
        .ok_or_else(|| DataFusionError::Internal("a filter was lost".to_owned()))
}
