//! What a place for results must be able to do.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;
use crate::output_store::OutputFile;

/// Which state of a file is meant. Opaque: equal or not is all there is to it, and only of versions that the same store
/// gave.
///
/// On disk and in memory every write makes another version. In S3 it is the entity tag, which is made of the content: a
/// file that was replaced by another with the same bytes has the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion(String);

impl FileVersion {
    /// A version as a backend names it.
    pub fn new(version: impl Into<String>) -> Self {
        Self(version.into())
    }

    /// The text it was made of.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether [`put_if_absent`](OutputBackend::put_if_absent) wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The file is there now, with these bytes.
    Created,
    /// There was one before, and it stays as it was.
    AlreadyExists,
}

/// Whether a conditional call did what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// The condition held, and it is done.
    Done,
    /// The file has another version or is gone (or is there, where none was expected). Nothing was changed.
    ConditionFailed,
}

/// The operations that [`OutputStore`](crate::OutputStore) checks and passes on; its documentation has the promises that
/// each implementation keeps, and `tests/output_conformance.rs` holds them against it. Implement it to put a store of
/// your own below everything that writes results: one that crashes on purpose, say.
///
/// Paths are relative, `/`-separated, and checked: no part is empty, `.` or `..`.
#[async_trait]
pub trait OutputBackend: fmt::Debug + Send + Sync {
    /// The full name of a file here, for messages: an absolute path, or a URI.
    fn uri(&self, path: &str) -> String;

    /// Writes a file, in place of the one of that name if there is one.
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError>;

    /// Writes a file unless there is one of that name: [`put_if_match`](Self::put_if_match) without a version, which is
    /// what it does unless an implementation has a better way.
    async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<PutOutcome, StorageError> {
        Ok(match self.put_if_match(path, None, content).await? {
            Conditional::Done => PutOutcome::Created,
            Conditional::ConditionFailed => PutOutcome::AlreadyExists,
        })
    }

    /// Writes a file if the one of that name has this version; `None`: if there is none of that name. Check and write
    /// are one step.
    async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError>;

    /// The content of a file, or `None` if there is none of that name.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError>;

    /// The present version of a file, or `None` if there is none of that name.
    async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError>;

    /// All files in a folder and below, in any order; `""` is the whole store. What the store itself needs (temporary
    /// files, locks) isn't shown.
    async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError>;

    /// Removes a file; that there is none of that name is no error.
    async fn delete(&self, path: &str) -> Result<(), StorageError>;

    /// Removes a file if it has this version. Check and removal are one step.
    async fn delete_if_match(&self, path: &str, expected: &FileVersion) -> Result<Conditional, StorageError>;

    /// Gives the file `from` the name `to`, over the one of that name; fails its condition if there is no file `from`. That
    /// it is there and that it is named anew is one step. Whoever dies in it may leave it under both names.
    async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError>;

    /// Removes what writers that died left and [`list`](Self::list) doesn't show, and nothing that a living writer still
    /// needs. Returns how many files that were.
    async fn remove_leftovers(&self) -> Result<u64, StorageError>;
}
