//! One listed photo, and the listing as Arrow.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use fruitbatch_storage::ListedPhoto;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use crate::part_table::Part;
use crate::schema::{ETAG, LABEL, LENGTH, MODIFICATION_TIME, PATH, SPLIT, batch_of, image_columns};

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

/// Without label and split, which a listing doesn't know.
impl From<ListedPhoto> for ImageRow {
    fn from(photo: ListedPhoto) -> Self {
        Self {
            path: photo.path,
            modification_time: photo.modification_time,
            length: photo.length,
            etag: photo.etag,
            label: None,
            split: None,
        }
    }
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
    batch_of(schema, arrays.collect::<Result<_>>()?, rows.len())
}

/// A listing as Parquet files of `rows_per_part` photos each, for
/// [`ImageTable::listed_in_parts`](crate::ImageTable::listed_in_parts): their names (`part-00000.parquet` and so on) and
/// contents, one after the other, so that they need not be in memory together.
pub fn listing_parts(
    photos: &[ImageRow],
    rows_per_part: std::num::NonZeroUsize,
) -> impl Iterator<Item = Result<(Part, Bytes)>> {
    photos.chunks(rows_per_part.get()).enumerate().map(|(number, rows)| {
        let schema = image_columns(&[PATH, MODIFICATION_TIME, LENGTH, ETAG, LABEL, SPLIT])?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties))?;
        writer.write(&listing_batch(&schema, rows)?)?;
        writer.close()?;
        let part = Part {
            file: format!("part-{number:05}.parquet"),
            sha256: hex::encode(Sha256::digest(&bytes)),
            rows: Some(rows.len() as u64),
        };
        Ok((part, bytes.into()))
    })
}
