//! Writing results so that they are either there, whole, or not there.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{StorageError, StorageErrorKind};
use crate::output_backend::{Conditional, FileVersion, OutputBackend, PutOutcome};
use crate::output_memory::MemoryOutput;

/// A file of an [`OutputStore`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputFile {
    /// Relative to the store, `/`-separated.
    pub path: String,
    /// Bytes.
    pub length: u64,
}

/// A folder for results, on disk, in S3, in memory or of your own making ([`OutputBackend`]), with the same promises
/// everywhere:
///
/// * a file appears under its name whole or not at all, also after a crash;
/// * of any number of concurrent [`put_if_absent`](Self::put_if_absent) for one name exactly one is told
///   [`Created`](PutOutcome::Created), and of any number of concurrent
///   [`put_if_match`](Self::put_if_match) and [`delete_if_match`](Self::delete_if_match) with one version exactly one is
///   told [`Done`](Conditional::Done);
/// * what a call has returned from is durable: on disk, files and folders are synchronised.
///
/// A call that returns an *error* leaves open whether it took effect, as every store over a network does; read back
/// what matters. In particular a `put_if_absent` whose first attempt got through while its answer was lost finds its
/// own file and says [`AlreadyExists`](PutOutcome::AlreadyExists), and in the same way the other conditional calls say
/// [`ConditionFailed`](Conditional::ConditionFailed): a caller that must know compares the content.
///
/// To change a file depending on what it holds, ask for its [`version`](Self::version) first and for its content
/// ([`get`](Self::get)) after that: if it was changed in between, the version isn't the present one any more and the
/// conditional call fails.
///
/// Paths are relative and `/`-separated. Parts that are empty, `.` or `..`, and control characters, are refused; anything
/// else is a name like any other, spaces, `%`, `#` and letters of all kinds included. On disk `_fruitbatch/staging/` and
/// `_fruitbatch/lock` are the store's own and don't show in listings.
///
/// ```
/// use fruitbatch_storage::{Conditional, OutputStore, PutOutcome};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let output = OutputStore::in_memory();
/// assert_eq!(output.put_if_absent("_fruitbatch/log/1", "claim".into()).await?, PutOutcome::Created);
/// assert_eq!(output.put_if_absent("_fruitbatch/log/1", "too late".into()).await?, PutOutcome::AlreadyExists);
/// assert_eq!(output.get("_fruitbatch/log/1").await?.as_deref(), Some(b"claim".as_slice()));
///
/// output.put("_SUCCESS", "first".into()).await?;
/// let first = output.version("_SUCCESS").await?.ok_or("a file that was just written")?;
/// output.put("_SUCCESS", "second".into()).await?;
/// assert_eq!(output.delete_if_match("_SUCCESS", &first).await?, Conditional::ConditionFailed);
/// assert_eq!(output.get("_SUCCESS").await?.as_deref(), Some(b"second".as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutputStore {
    backend: Arc<dyn OutputBackend>,
}

impl OutputStore {
    /// A store over a backend of the caller's.
    pub fn new(backend: Arc<dyn OutputBackend>) -> Self {
        Self { backend }
    }

    /// Files in this process's memory, for tests and simulations.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(MemoryOutput::default()))
    }

    /// The full name of a file here, for messages: an absolute path, or a URI.
    pub fn uri(&self, path: &str) -> String {
        self.backend.uri(path)
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
        self.backend.put(path, content).await
    }

    /// Writes a file unless there is one of that name.
    ///
    /// # Errors
    /// As [`put`](Self::put); then it isn't known whether the file was written.
    pub async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<PutOutcome, StorageError> {
        self.checked("write", path)?;
        self.backend.put_if_absent(path, content).await
    }

    /// Writes a file if the one of that name has this version; with `None`, if there is none of that name. A file that
    /// is gone doesn't have the version.
    ///
    /// # Errors
    /// As [`put`](Self::put); then it isn't known whether the file was written.
    pub async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError> {
        self.checked("write", path)?;
        self.backend.put_if_match(path, expected, content).await
    }

    /// The content of a file, or `None` if there is none of that name.
    ///
    /// # Errors
    /// The file can't be read, for another reason than that it isn't there.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        self.checked("read", path)?;
        self.backend.get(path).await
    }

    /// Whether there is a file of that name.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        Ok(self.version(path).await?.is_some())
    }

    /// The present version of a file, for a later [`put_if_match`](Self::put_if_match) or
    /// [`delete_if_match`](Self::delete_if_match); `None` if there is none of that name.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError> {
        self.checked("read", path)?;
        self.backend.version(path).await
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
        let mut files = self.backend.list(folder).await?;
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
        self.backend.delete(path).await
    }

    /// Removes a file if it has this version. A file that is gone doesn't have it.
    ///
    /// # Errors
    /// It can't be removed.
    pub async fn delete_if_match(
        &self,
        path: &str,
        expected: &FileVersion,
    ) -> Result<Conditional, StorageError> {
        self.checked("delete", path)?;
        self.backend.delete_if_match(path, expected).await
    }

    /// Gives the file `from` the name `to`, over the one of that name if there is one. Fails its condition if there is no
    /// file `from`: once that has been removed, no renaming of it takes effect any more, however long it was under way.
    /// In S3 it is a copy and a removal, so that a writer which dies in it may leave the file under both names.
    ///
    /// # Errors
    /// As [`put`](Self::put); then it isn't known under which names the file is.
    pub async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        self.checked("rename", from)?;
        self.checked("write", to)?;
        self.backend.rename(from, to).await
    }

    /// Removes what writers that died left behind: on disk, temporary files that no living process holds. They were
    /// never visible under a final name, and [`list`](Self::list) doesn't show them. Returns how many there were.
    ///
    /// # Errors
    /// They can't be found or removed.
    pub async fn remove_leftovers(&self) -> Result<u64, StorageError> {
        self.backend.remove_leftovers().await
    }

    /// Makes sure that the store honours conditions, by conditional writes that must not be carried out, over a file
    /// that is there and that nobody changes any more (an entry of the log). They carry the bytes that the file has, so
    /// it stays as it is even in a store that carries them out. And a file that isn't there is renamed, which a server that
    /// knows no copies can't refuse rightly.
    ///
    /// # Errors
    /// The store ignores conditions, or it can't be told: there is no such file, or it can't be read or written.
    pub async fn verify_conditions(&self, path: &str) -> Result<(), StorageError> {
        let problem = |kind, problem: &str, next_step: &str| {
            StorageError::new(kind, "check conditional writes on", self.uri(path), problem, next_step)
        };
        let content = self.get(path).await?.ok_or_else(|| {
            problem(
                StorageErrorKind::NotFound,
                "the file isn't there any more",
                "check what else writes to this folder",
            )
        })?;
        let ignores = |header: &str| {
            problem(
                StorageErrorKind::Invalid,
                &format!(
                    "this S3-compatible server ignores `{header}`, so two runs could overwrite each other's results"
                ),
                "name an OUT on a server that has conditional writes (AWS, and MinIO, Ceph and others in recent versions), or a \
                 local folder",
            )
        };
        // "Created" may be true once, if somebody removed the file just now; it is there since.
        if self.put_if_absent(path, content.clone()).await? == PutOutcome::Created
            && self.put_if_absent(path, content.clone()).await? == PutOutcome::Created
        {
            return Err(ignores("If-None-Match"));
        }
        let no_version = FileVersion::new(NO_VERSION);
        match self.put_if_match(path, Some(&no_version), content).await? {
            Conditional::ConditionFailed => {}
            Conditional::Done => return Err(ignores("If-Match")),
        }
        let (missing, target) = (format!("{path}.missing"), format!("{path}.renamed"));
        match self.rename(&missing, &target).await? {
            Conditional::ConditionFailed => Ok(()),
            Conditional::Done => {
                self.delete(&target).await?;
                Err(ignores("x-amz-copy-source"))
            }
        }
    }
}

/// No file's version: in the form of S3's entity tags, so that a server can compare with it.
const NO_VERSION: &str = "\"00000000000000000000000000000000\"";

pub(crate) fn check_path(action: &'static str, place: &str, path: &str) -> Result<(), StorageError> {
    let is_name =
        |part: &str| !matches!(part, "" | "." | "..") && !part.bytes().any(|byte| byte.is_ascii_control());
    if path.split('/').all(is_name) { Ok(()) } else { Err(bad_path(action, place)) }
}

pub(crate) fn bad_path(action: &'static str, place: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Invalid,
        action,
        place,
        "its path has a part that is empty, `.` or `..`, or a control character",
        "name another place for the output",
    )
}
