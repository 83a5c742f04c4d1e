//! Results in this process's memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StorageError;
use crate::output_backend::{Conditional, FileVersion, OutputBackend};
use crate::output_store::OutputFile;

#[derive(Debug, Default)]
pub(crate) struct MemoryOutput {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    writes: u64,
}

#[derive(Debug)]
struct File {
    content: Bytes,
    /// The number of the write that made it.
    write: u64,
}

impl File {
    fn version(&self) -> FileVersion {
        FileVersion::new(self.write.to_string())
    }
}

impl State {
    fn version(&self, path: &str) -> Option<FileVersion> {
        self.files.get(path).map(File::version)
    }

    fn insert(&mut self, path: &str, content: Bytes) {
        self.writes += 1;
        self.files.insert(path.to_owned(), File { content, write: self.writes });
    }
}

impl MemoryOutput {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder leaves the map half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl OutputBackend for MemoryOutput {
    fn uri(&self, path: &str) -> String {
        format!("memory://{path}")
    }

    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        self.lock().insert(path, content);
        Ok(())
    }

    async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError> {
        let mut state = self.lock();
        if state.version(path).as_ref() != expected {
            return Ok(Conditional::ConditionFailed);
        }
        state.insert(path, content);
        Ok(Conditional::Done)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(self.lock().files.get(path).map(|file| file.content.clone()))
    }

    async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError> {
        Ok(self.lock().version(path))
    }

    async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let state = self.lock();
        let below = state.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        Ok(below
            .map(|(path, file)| OutputFile { path: path.clone(), length: file.content.len() as u64 })
            .collect())
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.lock().files.remove(path);
        Ok(())
    }

    async fn delete_if_match(&self, path: &str, expected: &FileVersion) -> Result<Conditional, StorageError> {
        let mut state = self.lock();
        if state.version(path).as_ref() != Some(expected) {
            return Ok(Conditional::ConditionFailed);
        }
        state.files.remove(path);
        Ok(Conditional::Done)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        let mut state = self.lock();
        let Some(file) = state.files.remove(from) else { return Ok(Conditional::ConditionFailed) };
        state.insert(to, file.content);
        Ok(Conditional::Done)
    }

    async fn remove_leftovers(&self) -> Result<u64, StorageError> {
        Ok(0)
    }
}
