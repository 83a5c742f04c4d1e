//! OUT of a run, as a query reads it: only whole, and only the files that the run wrote.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use fruitbatch_learn::LearnModel;
use fruitbatch_pipeline::features::FEATURES_FOLDER;
use fruitbatch_pipeline::outputs::{MODEL_FOLDER, RESULTS_PARQUET};
use fruitbatch_pipeline::{CompleteOutput, RunError};
use fruitbatch_scan::{Part, PartFiles, PartTable};
use fruitbatch_storage::{Location, Storage, StorageOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::SqlError;
use crate::fitted::{LARGEST_MODEL, pack};

/// A complete OUT.
#[derive(Debug, Clone)]
pub(crate) struct RunOutput {
    /// As the query names it.
    place: String,
    output: CompleteOutput,
}

/// A run's fitted model on its way into a plan.
#[derive(Debug)]
pub(crate) struct FittedModel {
    /// As the query names OUT.
    pub(crate) place: String,
    /// Its files, packed.
    pub(crate) bytes: Vec<u8>,
    /// Width of the features it takes.
    pub(crate) width: usize,
    /// The spec of the features that it was fitted on, if it says so.
    pub(crate) embedding: Option<String>,
    /// Whether the run had labels.
    pub(crate) has_labels: bool,
}

impl RunOutput {
    /// The OUT at `place`, or the one whose `model` folder `place` is.
    pub(crate) async fn open(storage: &Storage, place: &str) -> Result<Self, SqlError> {
        let above =
            place.trim_end_matches('/').strip_suffix(MODEL_FOLDER).and_then(|above| above.strip_suffix('/'));
        let output = match (CompleteOutput::open_in(storage, location(place)?).await, above) {
            (Err(RunError::NoRun { .. }), Some(above)) => {
                CompleteOutput::open_in(storage, location(above)?).await
            }
            (opened, _) => opened,
        };
        Ok(Self { place: place.to_owned(), output: output? })
    }

    /// The rows of `features/`: path, label, etag, size, features. `executors` is how executors reach OUT.
    pub(crate) async fn features(&self, executors: &StorageOptions) -> Result<PartTable, SqlError> {
        let folder = format!("{FEATURES_FOLDER}/");
        self.table(|file| file.starts_with(&folder), executors).await
    }

    /// The rows of `results.parquet`.
    pub(crate) async fn results(&self, executors: &StorageOptions) -> Result<PartTable, SqlError> {
        self.table(|file| file == RESULTS_PARQUET, executors).await
    }

    /// The table of some of its files; the first is read for the schema.
    async fn table(
        &self,
        is_part: impl Fn(&str) -> bool,
        executors: &StorageOptions,
    ) -> Result<PartTable, SqlError> {
        let parts = self.output.files().filter(|(file, _)| is_part(file));
        let mut parts: Vec<Part> = parts
            .map(|(file, sha256)| Part { file: file.to_owned(), sha256: sha256.to_owned(), rows: None })
            .collect();
        let damaged = |problem: String| SqlError::Damaged { place: self.place.clone(), problem };
        let Some(first) = parts.first_mut() else {
            return Err(damaged("there is no such file in it".to_owned()));
        };
        let (schema, rows) = schema_and_rows(self.output.read(&first.file).await?)
            .map_err(|problem| damaged(format!("`{}` can't be read: {problem}", first.file)))?;
        first.rows = Some(rows);
        let files =
            PartFiles { root: self.output.place().clone(), storage: executors.clone(), parts: parts.into() };
        Ok(PartTable::new(files, schema))
    }

    /// The scaler, components and clusters that the run fitted.
    pub(crate) async fn model(&self) -> Result<FittedModel, SqlError> {
        let files = self.output.model_files().await?;
        let model = LearnModel::from_files(&files)
            .map_err(|source| SqlError::Model { place: self.place.clone(), source })?;
        let bytes = pack(&files);
        if bytes.len() > LARGEST_MODEL {
            return Err(SqlError::ModelTooLarge {
                place: self.place.clone(),
                bytes: bytes.len(),
                most: LARGEST_MODEL,
            });
        }
        Ok(FittedModel {
            place: self.place.clone(),
            bytes,
            width: model.width(),
            embedding: model.lineage().get("embedding").and_then(|text| text.as_str()).map(str::to_owned),
            has_labels: !model.label_names().is_empty(),
        })
    }
}

pub(crate) fn location(place: &str) -> Result<Location, SqlError> {
    place.parse().map_err(|source| SqlError::Location { place: place.to_owned(), source })
}

/// Without what a writer has noted beside the fields.
fn schema_and_rows(file: Bytes) -> Result<(SchemaRef, u64), String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
    let rows =
        u64::try_from(reader.metadata().file_metadata().num_rows()).map_err(|error| error.to_string())?;
    Ok((schema, rows))
}
