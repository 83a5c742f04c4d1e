//! Tables in memory and as Parquet files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// A table of columns with their names, and whether values may be missing. All are of one length.
pub(crate) fn table<N: Into<String>>(columns: impl IntoIterator<Item = (N, bool, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
        .into_iter()
        .map(|(name, nullable, array)| (Field::new(name, array.data_type().clone(), nullable), array))
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("all columns have a value a row")
}

/// A table as a Parquet file (zstd).
pub(crate) fn encode_parquet(batch: &RecordBatch) -> Bytes {
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))
        .expect("the schema holds only types that Parquet has");
    writer.write(batch).expect("writing to memory can't fail");
    writer.close().expect("writing to memory can't fail");
    Bytes::from(bytes)
}

/// A column of a table that was read, if it is there and of this type.
pub(crate) fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Option<&'a A> {
    batch.column_by_name(name)?.as_any().downcast_ref()
}
