//! Writing results so that they are either there, whole, or not there.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::error::{StorageError, StorageErrorKind};
use crate::location::{Location, Place};
use crate::output_local::LocalOutput;
use crate::output_objects::ObjectOutput;
use crate::storage::in_background;

/// Whether [`OutputStore::put_if_absent`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The file is there now, with these bytes.
    Created,
    /// There was one before, and it stays as it was.
    AlreadyExists,
}

/// A file of an [`OutputStore`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputFile {
    /// Relative to the store, `/`-separated.
    pub path: String,
    /// Bytes.
    pub length: u64,
}

/// A folder for results, on disk, in S3 or in memory, with the same promises everywhere:
///
/// * a file appears under its name whole or not at all, also after a crash;
/// * of any number of concurrent [`put_if_absent`](Self::put_if_absent) for one name exactly one is told
///   [`Created`](PutOutcome::Created);
/// * what a call has returned from is durable: on disk, files and folders are synchronised (which `object_store`'s own
///   local store does not do).
///
/// A call that returns an *error* leaves open whether it took effect, as every store over a network does; read back
/// what matters. In particular a `put_if_absent` whose first attempt got through while its answer was lost finds its
/// own file and says [`AlreadyExists`](PutOutcome::AlreadyExists): a caller that must know compares the content.
///
/// Paths are relative and `/`-separated. Parts that are empty, `.` or `..`, and control characters, are refused; anything
/// else is a name like any other, spaces, `%`, `#` and letters of all kinds included.
///
/// ```
/// use fruitbatch_storage::{OutputStore, PutOutcome};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let output = OutputStore::in_memory();
/// assert_eq!(output.put_if_absent("_fruitbatch/log/1", "claim".into()).await?, PutOutcome::Created);
/// assert_eq!(output.put_if_absent("_fruitbatch/log/1", "too late".into()).await?, PutOutcome::AlreadyExists);
/// assert_eq!(output.get("_fruitbatch/log/1").await?.as_deref(), Some(b"claim".as_slice()));
/// # Ok::<(), fruitbatch_storage::StorageError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutputStore {
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Local(Arc<LocalOutput>),
    Objects(Arc<ObjectOutput>),
}

impl OutputStore {
    /// Files in this process's memory, for tests and simulations.
    pub fn in_memory() -> Self {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let output =
            ObjectOutput { store, prefix: String::new(), shown: "memory://".to_owned(), endpoint_url: None };
        Self { backend: Backend::Objects(Arc::new(output)) }
    }

    pub(crate) fn local(folder: PathBuf) -> Self {
        Self { backend: Backend::Local(Arc::new(LocalOutput::new(folder))) }
    }

    pub(crate) fn s3(
        store: Arc<dyn ObjectStore>,
        folder: &Location,
        prefix: &str,
        endpoint_url: Option<String>,
    ) -> Result<Self, StorageError> {
        let Place::S3 { bucket, .. } = folder.place() else { unreachable!("only locations in S3 come here") };
        if !prefix.is_empty() {
            check_path("open", &folder.to_string(), prefix.trim_end_matches('/'))?;
            if prefix.ends_with("//") {
                return Err(bad_path("open", &folder.to_string()));
            }
        }
        let shown = format!("s3://{bucket}/{prefix}");
        let output = ObjectOutput { store, prefix: prefix.to_owned(), shown, endpoint_url };
        Ok(Self { backend: Backend::Objects(Arc::new(output)) })
    }

    /// The full name of a file here, for messages: an absolute path, or a URI.
    pub fn uri(&self, path: &str) -> String {
        match &self.backend {
            Backend::Local(local) => local.shown(path),
            Backend::Objects(objects) => objects.shown(path),
        }
    }

    fn checked(&self, action: &'static str, path: &str) -> Result<(), StorageError> {
        check_path(action, &self.uri(path), path)
    }

    /// Writes a file, in place of the one of that name if there is one.
    ///
    /// # Errors
    /// The file can't be written: no permission, no space, no connection.
    pub async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        self.checked("write", path)?;
        match &self.backend {
            Backend::Local(local) => {
                let (local, path) = (Arc::clone(local), path.to_owned());
                in_background(move || local.put(&path, &content)).await
            }
            Backend::Objects(objects) => objects.put(path, content).await,
        }
    }

    /// Writes a file unless there is one of that name.
    ///
    /// # Errors
    /// As [`put`](Self::put); then it isn't known whether the file was written.
    pub async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<PutOutcome, StorageError> {
        self.checked("write", path)?;
        match &self.backend {
            Backend::Local(local) => {
                let (local, path) = (Arc::clone(local), path.to_owned());
                in_background(move || local.put_if_absent(&path, &content)).await
            }
            Backend::Objects(objects) => objects.put_if_absent(path, content).await,
        }
    }

    /// The content of a file, or `None` if there is none of that name.
    ///
    /// # Errors
    /// The file can't be read, for another reason than that it isn't there.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        self.checked("read", path)?;
        match &self.backend {
            Backend::Local(local) => {
                let (local, path) = (Arc::clone(local), path.to_owned());
                in_background(move || local.get(&path)).await
            }
            Backend::Objects(objects) => objects.get(path).await,
        }
    }

    /// Whether there is a file of that name.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        self.checked("read", path)?;
        match &self.backend {
            Backend::Local(local) => {
                let (local, path) = (Arc::clone(local), path.to_owned());
                in_background(move || local.exists(&path)).await
            }
            Backend::Objects(objects) => objects.exists(path).await,
        }
    }

    /// All files in a folder and the folders below it, sorted by path, bytewise. `""` is the whole store. A folder that
    /// isn't there holds no files.
    ///
    /// # Errors
    /// It can't be listed.
    pub async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let folder = folder.trim_end_matches('/');
        if !folder.is_empty() {
            self.checked("list", folder)?;
        }
        let mut files = match &self.backend {
            Backend::Local(local) => {
                let (local, folder) = (Arc::clone(local), folder.to_owned());
                in_background(move || local.list(&folder)).await?
            }
            Backend::Objects(objects) => objects.list(folder).await?,
        };
        files.sort_unstable();
        files.dedup_by(|later, kept| later.path == kept.path);
        Ok(files)
    }

    /// Removes a file; that there is none of that name is no error.
    ///
    /// # Errors
    /// It can't be removed.
    pub async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.checked("delete", path)?;
        match &self.backend {
            Backend::Local(local) => {
                let (local, path) = (Arc::clone(local), path.to_owned());
                in_background(move || local.delete(&path)).await
            }
            Backend::Objects(objects) => objects.delete(path).await,
        }
    }
}

fn check_path(action: &'static str, place: &str, path: &str) -> Result<(), StorageError> {
    let is_name =
        |part: &str| !matches!(part, "" | "." | "..") && !part.bytes().any(|byte| byte.is_ascii_control());
    if path.split('/').all(is_name) { Ok(()) } else { Err(bad_path(action, place)) }
}

fn bad_path(action: &'static str, place: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Invalid,
        action,
        place,
        "its path has a part that is empty, `.` or `..`, or a control character",
        "name another place for the output",
    )
}
