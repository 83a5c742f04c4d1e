//! [`CompleteOutput`]: what a run that came to its end has left, read by whoever goes on from there.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, StringArray};
use bytes::Bytes;
use fruitbatch_storage::{Location, OutputStore, Storage};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::commit_log::{CommitLog, OWN_FOLDER};
use crate::config::RunConfig;
use crate::error::RunError;
use crate::outputs::{MODEL_FOLDER, RESULTS_PARQUET, SUCCESS};
use crate::tables::column;

/// An OUT whose `_SUCCESS` is there. Every file that is read is compared with the digest in it, so that nothing is ever read of
/// two different runs.
#[derive(Debug, Clone)]
pub struct CompleteOutput {
    place: Location,
    store: OutputStore,
    digests: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SuccessFile {
    sha256: BTreeMap<String, String>,
}

impl CompleteOutput {
    /// Opens OUT, a folder or `s3://bucket/prefix/`. `access` says how it is reached.
    ///
    /// # Errors
    /// As [`Self::open_in`].
    pub async fn open(output: &str, access: &RunConfig) -> Result<Self, RunError> {
        let place = RunConfig { output: Some(output.to_owned()), ..access.clone() }.output_location()?;
        Self::open_in(&Storage::new(access.storage_options()?), place).await
    }

    /// Opens the OUT at `place`.
    ///
    /// # Errors
    /// [`RunError::NoRun`] if no run was ever started there, and [`RunError::Incomplete`] if `_SUCCESS` isn't there: none has come
    /// to its end, or one is at work. Storage errors.
    pub async fn open_in(storage: &Storage, place: Location) -> Result<Self, RunError> {
        let store = storage.output(&place).await?;
        let incomplete = || RunError::Incomplete { output: place.to_string() };
        let Some(success) = store.get(SUCCESS).await? else {
            let has_begun = !store.list(OWN_FOLDER).await?.is_empty();
            return Err(if has_begun { incomplete() } else { RunError::NoRun { output: place.to_string() } });
        };
        let success: SuccessFile = serde_json::from_slice(&success).map_err(|_| incomplete())?;
        Ok(Self { place, store, digests: success.sha256 })
    }

    /// Where it lies.
    pub fn place(&self) -> &Location {
        &self.place
    }

    /// The files it consists of, relative to OUT, in the order of their names, each with its SHA-256.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.digests.iter().map(|(file, digest)| (file.as_str(), digest.as_str()))
    }

    /// A file of it.
    ///
    /// # Errors
    /// [`RunError::OutputChanged`] if it is none of its files, isn't there any more, or isn't what was written. Storage errors.
    pub async fn read(&self, file: &str) -> Result<Bytes, RunError> {
        let changed = || RunError::OutputChanged { file: self.store.uri(file) };
        let digest = self.digests.get(file).ok_or_else(changed)?;
        let bytes = self.store.get(file).await?.ok_or_else(changed)?;
        if hex::encode(Sha256::digest(&bytes)) == *digest { Ok(bytes) } else { Err(changed()) }
    }

    /// The rows of `results.parquet`, batch by batch.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn results(&self) -> Result<ParquetRecordBatchReader, RunError> {
        let bytes = self.read(RESULTS_PARQUET).await?;
        ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|_| RunError::OutputChanged { file: self.store.uri(RESULTS_PARQUET) })
    }

    /// The paths of the photos in the results, in order.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn paths(&self) -> Result<Vec<String>, RunError> {
        let changed = || RunError::OutputChanged { file: self.store.uri(RESULTS_PARQUET) };
        let mut paths = Vec::new();
        for batch in self.results().await? {
            let batch: RecordBatch = batch.map_err(|_| changed())?;
            let column: &StringArray = column(&batch, "path").ok_or_else(changed)?;
            paths.extend(column.iter().flatten().map(str::to_owned));
        }
        Ok(paths)
    }

    /// The files of the fitted model by their names below `model/`: what [`LearnModel::from_files`] takes.
    ///
    /// [`LearnModel::from_files`]: fruitbatch_learn::LearnModel::from_files
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn model_files(&self) -> Result<Vec<(String, Vec<u8>)>, RunError> {
        let mut files = Vec::new();
        for (file, _) in self.files() {
            if let Some(name) = file.strip_prefix(MODEL_FOLDER).and_then(|name| name.strip_prefix('/')) {
                files.push((name.to_owned(), self.read(file).await?.to_vec()));
            }
        }
        Ok(files)
    }

    /// What the photos' paths are relative to: INPUT, or the last fixed folder of a glob.
    ///
    /// # Errors
    /// Storage errors, and those of the commit log.
    pub async fn input(&self) -> Result<Location, RunError> {
        let log = CommitLog::open(self.store.clone()).await?;
        let claim = log.state().claim.as_ref();
        let input = claim.and_then(|claim| claim.claim.features.input.parse().ok());
        input.ok_or_else(|| RunError::Incomplete { output: self.place.to_string() })
    }
}
