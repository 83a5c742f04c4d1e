//! One listed photo, and the listing as Arrow.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use crate::schema::{ETAG, LABEL, LENGTH, MODIFICATION_TIME, PATH, SPLIT, image_schema};

/// One photo as it was listed: all that is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageRow {
    /// Relative to the table's root; must be unique within a table.
    pub path: String,
    /// Microseconds since 1970-01-01 UTC.
    pub modification_time: i64,
    /// Bytes.
    pub length: u64,
    /// The store's mark for this version; empty where the store gives none, and then the version isn't checked.
    pub etag: String,
    /// The label, if the photo has one.
    pub label: Option<String>,
    /// The part of a divided data set, if there is one.
    pub split: Option<String>,
}

/// The listing columns of `image_schema()` named in `columns`, in that order.
pub(crate) fn listing_schema(columns: &[&str]) -> Result<SchemaRef> {
    let full = image_schema();
    let fields = columns.iter().map(|column| full.field_with_name(column).cloned());
    Ok(Arc::new(Schema::new(fields.collect::<std::result::Result<Vec<_>, _>>()?)))
}

/// `rows` as one batch of the given schema, which holds listing columns only.
pub(crate) fn listing_batch(schema: &SchemaRef, rows: &[ImageRow]) -> Result<RecordBatch> {
    let arrays = schema.fields().iter().map(|field| -> Result<ArrayRef> {
        Ok(match field.name().as_str() {
            PATH => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path))),
            MODIFICATION_TIME => Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.modification_time))
                    .with_timezone("UTC"),
            ),
            LENGTH => Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| i64::try_from(row.length).unwrap_or(i64::MAX)),
            )),
            ETAG => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.etag))),
            LABEL => Arc::new(rows.iter().map(|row| row.label.as_deref()).collect::<StringArray>()),
            SPLIT => Arc::new(rows.iter().map(|row| row.split.as_deref()).collect::<StringArray>()),
            other => {
                return Err(DataFusionError::Internal(format!("`{other}` is not a column of the listing")));
            }
        })
    });
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    let row_count = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &row_count)?)
}
