//! The columns of the table `images`.

use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::Result;

/// Where the photo lies, relative to the table's root, `/` between folders. Unique within a table.
pub const PATH: &str = "path";
/// When the photo was last changed: microseconds since 1970-01-01 UTC.
pub const MODIFICATION_TIME: &str = "modification_time";
/// Size in bytes as listed.
pub const LENGTH: &str = "length";
/// The photo's bytes, as they lie in the store; null where they couldn't be read.
pub const CONTENT: &str = "content";
/// The store's mark for this version of the photo; a photo that changed since it was listed isn't read.
pub const ETAG: &str = "etag";
/// The photo's label, or null.
pub const LABEL: &str = "label";
/// The part of a divided data set the photo belongs to (`Training`, `Test`, ...), or null.
pub const SPLIT: &str = "split";
/// Why `content` is null, in one word of a closed set ([`fruitbatch_storage::ReadErrorKind::reason`]); else null.
pub const READ_REASON: &str = "read_reason";
/// Why `content` is null, in words (without the photo's path); else null.
pub const READ_DETAIL: &str = "read_detail";

/// The schema of [`ImageTable`](crate::ImageTable), as documented on the crate's [front page](crate).
pub fn image_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new(PATH, DataType::Utf8, false),
            Field::new(
                MODIFICATION_TIME,
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            Field::new(LENGTH, DataType::Int64, false),
            Field::new(CONTENT, DataType::Binary, true),
            Field::new(ETAG, DataType::Utf8, false),
            Field::new(LABEL, DataType::Utf8, true),
            Field::new(SPLIT, DataType::Utf8, true),
            Field::new(READ_REASON, DataType::Utf8, true),
            Field::new(READ_DETAIL, DataType::Utf8, true),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of [`image_schema`] with these names, in this order.
pub(crate) fn image_columns(names: &[impl AsRef<str>]) -> Result<SchemaRef> {
    let full = image_schema();
    let fields = names.iter().map(|name| full.field_with_name(name.as_ref()).cloned());
    Ok(Arc::new(Schema::new(fields.collect::<std::result::Result<Vec<_>, _>>()?)))
}

/// What a query of a table of this schema gets that wants these columns.
pub(crate) fn projected(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
    Ok(match projection {
        Some(indices) => Arc::new(schema.project(indices)?),
        None => Arc::clone(schema),
    })
}

/// A batch of so many rows, which columns alone don't tell where there are none.
pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let row_count = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &row_count)?)
}

/// Whether the column is only known once the photo has been read.
pub(crate) fn needs_reading(column: &str) -> bool {
    matches!(column, CONTENT | READ_REASON | READ_DETAIL)
}
