//! OUT of a run, as a query reads it: only whole, and only the files that the run wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use fruitbatch_learn::LearnModel;
use fruitbatch_pipeline::commit_log::OWN_FOLDER;
use fruitbatch_pipeline::features::FEATURES_FOLDER;
use fruitbatch_pipeline::outputs::{MODEL_FOLDER, RESULTS_PARQUET, SUCCESS};
use fruitbatch_scan::{Part, PartFiles, PartTable};
use fruitbatch_storage::{Location, OutputStore, Storage, StorageOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::SqlError;
use crate::fitted::{LARGEST_MODEL, pack};

/// A complete OUT.
#[derive(Debug, Clone)]
pub(crate) struct RunOutput {
    /// As the query names it.
    place: String,
    root: Location,
    store: OutputStore,
    /// SHA-256 by file, as the run left them.
    digests: BTreeMap<String, String>,
}

/// `_SUCCESS`.
#[derive(Deserialize)]
struct Success {
    sha256: BTreeMap<String, String>,
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
        match (Self::open_exactly(storage, place).await, above) {
            (Err(SqlError::NoRun { .. }), Some(above)) => Self::open_exactly(storage, above).await,
            (opened, _) => opened,
        }
    }

    async fn open_exactly(storage: &Storage, place: &str) -> Result<Self, SqlError> {
        let root = location(place)?;
        let store = storage.output(&root).await?;
        let Some(success) = store.get(SUCCESS).await? else {
            let begun = !store.list(OWN_FOLDER).await?.is_empty();
            let place = place.to_owned();
            return Err(if begun { SqlError::Incomplete { place } } else { SqlError::NoRun { place } });
        };
        let success: Success = serde_json::from_slice(&success).map_err(|error| SqlError::Damaged {
            file: store.uri(SUCCESS),
            problem: format!("can't be read: {error}"),
        })?;
        Ok(Self { place: place.to_owned(), root, store, digests: success.sha256 })
    }

    /// One of its files, as the run wrote it.
    async fn file(&self, name: &str) -> Result<Bytes, SqlError> {
        let damaged =
            |problem: &str| SqlError::Damaged { file: self.store.uri(name), problem: problem.to_owned() };
        let content = self.store.get(name).await?.ok_or_else(|| damaged("isn't there any more"))?;
        if self.digests.get(name) == Some(&hex::encode(Sha256::digest(&content))) {
            Ok(content)
        } else {
            Err(damaged("isn't the file that the run wrote"))
        }
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
        let parts = self.digests.iter().filter(|(file, _)| is_part(file));
        let mut parts: Vec<Part> = parts
            .map(|(file, sha256)| Part { file: file.clone(), sha256: sha256.clone(), rows: None })
            .collect();
        let Some(first) = parts.first_mut() else {
            return Err(SqlError::Damaged {
                file: self.store.uri(SUCCESS),
                problem: "names no such file".to_owned(),
            });
        };
        let (schema, rows) =
            schema_and_rows(self.file(&first.file).await?).map_err(|problem| SqlError::Damaged {
                file: self.store.uri(&first.file),
                problem: format!("can't be read: {problem}"),
            })?;
        first.rows = Some(rows);
        let files = PartFiles { root: self.root.clone(), storage: executors.clone(), parts: parts.into() };
        Ok(PartTable::new(files, schema))
    }

    /// The scaler, components and clusters that the run fitted.
    pub(crate) async fn model(&self) -> Result<FittedModel, SqlError> {
        let folder = format!("{MODEL_FOLDER}/");
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for file in self.digests.keys().filter(|file| file.starts_with(&folder)) {
            files.push((file[folder.len()..].to_owned(), self.file(file).await?.into()));
        }
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
