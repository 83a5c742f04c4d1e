//! The features parts: Parquet files of `path, label, etag, size, features`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use fruitbatch_learn::{RowBlocks, RowsByNumber};
use fruitbatch_storage::OutputStore;
use ndarray::Array2;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use crate::commit_log::{CommitLog, LogEntry, PartRecord, PhotoVersion};
use crate::error::RunError;
use crate::tables::{column, encode_parquet};

/// The folder of the current rows' parts, below OUT.
pub const FEATURES_FOLDER: &str = "features";

/// The features of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRow {
    /// The photo's path relative to INPUT.
    pub path: String,
    /// Its label, if any.
    pub label: Option<String>,
    /// Its etag when it was read.
    pub etag: String,
    /// Its size in bytes.
    pub size: i64,
    /// Its features, as many as the model is wide.
    pub features: Vec<f32>,
}

/// The folder of the parts with rows that are kept but not selected at present, below OUT.
pub(crate) const KEPT_FOLDER: &str = "_fruitbatch/parts";

/// The schema of a part with features of `width` values.
pub fn part_schema(width: usize) -> SchemaRef {
    let width = i32::try_from(width)
        .expect("a feature vector of over 2^31 values is refused when the model is resolved");
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("label", DataType::Utf8, true),
        Field::new("etag", DataType::Utf8, false),
        Field::new("size", DataType::Int64, false),
        Field::new("features", DataType::FixedSizeList(item, width), false),
    ]))
}

/// Parts that have been written and don't count yet: they do once an entry of the log names them.
#[derive(Debug, Default)]
pub(crate) struct WrittenParts {
    pub(crate) parts: Vec<PartRecord>,
}

impl WrittenParts {
    /// Writes `rows`, made by these kernels, as a part of `folder`, under a name that nobody else ever writes. No rows make no part.
    ///
    /// # Errors
    /// Storage errors; [`RunError::Superseded`] if this driver's claim is not the latest any more. Then all that was
    /// written is taken away.
    pub(crate) async fn write(
        &mut self,
        store: &OutputStore,
        log: &CommitLog,
        folder: &str,
        rows: &[FeatureRow],
        kernel_paths: BTreeSet<String>,
        width: usize,
    ) -> Result<(), RunError> {
        if rows.is_empty() {
            return Ok(());
        }
        // A driver that was superseded in its sleep finds out here rather than when it commits, and writes nothing.
        if let Err(error) = log.check_held().await {
            // If it only can't be told, they don't count either.
            self.take_away(store).await;
            return Err(error);
        }
        let file = format!("{folder}/{}", log.next_part().file_name());
        let bytes = encode_part(rows, width);
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let photos = rows.iter().map(|row| PhotoVersion(row.path.clone(), row.etag.clone())).collect();
        self.parts.push(PartRecord { file: file.clone(), sha256, photos, kernel_paths });
        if let Err(error) = store.put(&file, bytes).await {
            // It may be there all the same.
            self.take_away(store).await;
            return Err(error.into());
        }
        Ok(())
    }

    /// Commits the entry that names the parts.
    ///
    /// # Errors
    /// As [`CommitLog::append`]. Superseded after all, a driver takes its parts away again: readers that take everything in
    /// the folder of another driver's complete output must not find them there.
    pub(crate) async fn commit(
        self,
        store: &OutputStore,
        log: &mut CommitLog,
        entry: impl FnOnce(Vec<PartRecord>) -> LogEntry,
    ) -> Result<(), RunError> {
        let appended = log.append(entry(self.parts.clone())).await;
        if matches!(appended, Err(RunError::Superseded { .. })) {
            self.take_away(store).await;
        }
        appended
    }

    async fn take_away(&self, store: &OutputStore) {
        for part in &self.parts {
            if let Err(error) = store.delete(&part.file).await {
                tracing::warn!(%error, "a part that doesn't count stays until the next run");
            }
        }
    }
}

fn encode_part(rows: &[FeatureRow], width: usize) -> Bytes {
    let schema = part_schema(width);
    let values = Float32Array::from_iter_values(rows.iter().flat_map(|row| row.features.iter().copied()));
    let DataType::FixedSizeList(item, list_width) = schema.field(4).data_type() else {
        unreachable!("the schema's fifth field is the list of features")
    };
    let features = FixedSizeListArray::new(item.clone(), *list_width, Arc::new(values), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path))),
        Arc::new(rows.iter().map(|row| row.label.as_deref()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.etag))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.size))),
        Arc::new(features),
    ];
    encode_parquet(&RecordBatch::try_new(schema, columns).expect("the columns are made by the schema"))
}

/// Reads a part back and checks that it is, bit for bit, what the log says was written.
///
/// # Errors
/// Storage errors, and [`RunError::CorruptPart`] if it is missing, altered or of another shape.
pub async fn read_part(
    store: &OutputStore,
    part: &PartRecord,
    width: usize,
) -> Result<Vec<FeatureRow>, RunError> {
    let corrupt = |detail: String| RunError::CorruptPart { file: part.file.clone(), detail };
    let bytes = store.get(&part.file).await?.ok_or_else(|| corrupt("it is missing".to_owned()))?;
    if hex::encode(Sha256::digest(&bytes)) != part.sha256 {
        return Err(corrupt("its digest differs from the one in the commit log".to_owned()));
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| corrupt(error.to_string()))?;
    let mut rows = Vec::with_capacity(part.photos.len());
    for batch in reader {
        let batch = batch.map_err(|error| corrupt(error.to_string()))?;
        decode_batch(&batch, width, &mut rows)
            .ok_or_else(|| corrupt("its columns are not those of a features part".to_owned()))?;
    }
    Ok(rows)
}

fn decode_batch(batch: &RecordBatch, width: usize, rows: &mut Vec<FeatureRow>) -> Option<()> {
    let path: &StringArray = column(batch, "path")?;
    let label: &StringArray = column(batch, "label")?;
    let etag: &StringArray = column(batch, "etag")?;
    let size: &Int64Array = column(batch, "size")?;
    let features: &FixedSizeListArray = column(batch, "features")?;
    if usize::try_from(features.value_length()) != Ok(width) {
        return None;
    }
    for row in 0..batch.num_rows() {
        let values = features.value(row);
        rows.push(FeatureRow {
            path: path.value(row).to_owned(),
            label: label.is_valid(row).then(|| label.value(row).to_owned()),
            etag: etag.value(row).to_owned(),
            size: size.value(row),
            features: values.as_any().downcast_ref::<Float32Array>()?.values().to_vec(),
        });
    }
    Some(())
}

/// The features of all rows (n x `width`), one row a photo: where they are, block by block as they are asked for.
pub(crate) fn feature_blocks(rows: &[FeatureRow], width: usize) -> impl RowBlocks<Value = f32> {
    RowsByNumber::new(rows.len(), width, |row| rows[row].features.as_slice())
}

/// The same as one matrix, a copy.
///
/// # Panics
/// If a row is of another width: parts are checked when they are read.
pub(crate) fn feature_matrix(rows: &[FeatureRow], width: usize) -> Array2<f32> {
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in rows {
        values.extend_from_slice(&row.features);
    }
    Array2::from_shape_vec((rows.len(), width), values)
        .expect("each row has as many features as the model is wide")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_back_as_it_was_written() {
        let rows = vec![
            FeatureRow {
                path: "Apple Braeburn/0_100.jpg".into(),
                label: Some("Apple Braeburn".into()),
                etag: "e1".into(),
                size: 4711,
                features: vec![0.0, 1.5, f32::MIN_POSITIVE],
            },
            FeatureRow {
                path: "é#%+.jpg".into(),
                label: None,
                etag: String::new(),
                size: 0,
                features: vec![-1.0, 2.0, 3.0],
            },
        ];
        let bytes = encode_part(&rows, 3);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .expect("is Parquet")
            .build()
            .expect("is readable");
        let mut read = Vec::new();
        for batch in reader {
            decode_batch(&batch.expect("is readable"), 3, &mut read).expect("has the columns");
        }
        assert_eq!(read, rows);
    }
}
