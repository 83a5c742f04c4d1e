//! A local folder for results.
//!
//! A file is written to `_fruitbatch/staging/`, synchronised, and then given its name in one step: by a rename, which
//! replaces, or by a hard link (or `renameat2` with `RENAME_NOREPLACE`), which doesn't. Then the folder is synchronised,
//! so that the name survives a crash as the content does.
//!
//! Whoever replaces or removes a file holds the lock on `_fruitbatch/lock` meanwhile, so that looking at a file's version
//! and acting upon it is one step among all processes that use this folder. A writer also holds a lock on its file in
//! the staging folder for as long as it lives: what isn't locked there was left by one that died.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::NamedTempFile;
use walkdir::WalkDir;

use crate::error::StorageError;
use crate::output_backend::{Conditional, FileVersion, OutputBackend, PutOutcome};
use crate::output_store::OutputFile;
use crate::storage::in_background;

/// Beside the results, so that it is on the same file system and a rename is possible.
const STAGING_FOLDER: &str = "_fruitbatch/staging";
const LOCK_FILE: &str = "_fruitbatch/lock";
/// Before the umask: results are for everybody who may read the folder, unlike the usual temporary file.
const FILE_MODE: u32 = 0o666;
const NANOSECONDS_OF_A_SECOND: u32 = 1_000_000_000;

/// The backend for a folder; its work is done on threads that may block.
#[derive(Debug)]
pub(crate) struct LocalOutput {
    folder: Arc<Folder>,
}

impl LocalOutput {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder: Arc::new(Folder { folder }) }
    }

    async fn run<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> T + Send + 'static,
    {
        let folder = Arc::clone(&self.folder);
        in_background(move || work(&folder)).await
    }
}

#[async_trait]
impl OutputBackend for LocalOutput {
    fn uri(&self, path: &str) -> String {
        self.folder.shown(path)
    }

    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        let path = path.to_owned();
        self.run(move |folder| folder.put(&path, &content)).await
    }

    async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<PutOutcome, StorageError> {
        let path = path.to_owned();
        self.run(move |folder| folder.put_if_absent(&path, &content)).await
    }

    async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError> {
        let Some(expected) = expected.cloned() else {
            return Ok(match self.put_if_absent(path, content).await? {
                PutOutcome::Created => Conditional::Done,
                PutOutcome::AlreadyExists => Conditional::ConditionFailed,
            });
        };
        let path = path.to_owned();
        self.run(move |folder| folder.replace(&path, &expected, &content)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        let path = path.to_owned();
        self.run(move |folder| folder.get(&path)).await
    }

    async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError> {
        let path = path.to_owned();
        self.run(move |folder| folder.version(&path).map_err(folder.failed("read", &path))).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let path = folder.to_owned();
        self.run(move |folder| folder.list(&path)).await
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let path = path.to_owned();
        self.run(move |folder| folder.delete(&path, None)).await.map(drop)
    }

    async fn delete_if_match(&self, path: &str, expected: &FileVersion) -> Result<Conditional, StorageError> {
        let (path, expected) = (path.to_owned(), expected.clone());
        self.run(move |folder| folder.delete(&path, Some(&expected))).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.run(move |folder| folder.rename(&from, &to)).await
    }

    async fn remove_leftovers(&self) -> Result<u64, StorageError> {
        self.run(Folder::remove_leftovers).await
    }
}

/// All methods block.
#[derive(Debug)]
struct Folder {
    folder: PathBuf,
}

impl Folder {
    fn shown(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    fn failed(&self, action: &'static str, path: &str) -> impl Fn(io::Error) -> StorageError + use<> {
        let place = self.shown(path);
        move |error| StorageError::from_io(action, place.as_str(), &error)
    }

    fn put(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        let publish = || {
            let target = self.folder.join(path);
            let staged = self.staged(content)?;
            let _lock = self.lock()?;
            staged.persist(&target).map_err(|error| error.error)?;
            synchronise_folder_of(&target)
        };
        self.with_folder_of(path, publish).map_err(self.failed("write", path))
    }

    /// Needs no lock: that there is no such file, and that there is one now, is a single step of the file system itself.
    fn put_if_absent(&self, path: &str, content: &[u8]) -> Result<PutOutcome, StorageError> {
        let publish = || {
            let target = self.folder.join(path);
            match self.staged(content)?.persist_noclobber(&target) {
                Ok(_) => synchronise_folder_of(&target).map(|()| PutOutcome::Created),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok(PutOutcome::AlreadyExists)
                }
                Err(error) => Err(error.error),
            }
        };
        self.with_folder_of(path, publish).map_err(self.failed("write", path))
    }

    fn replace(
        &self,
        path: &str,
        expected: &FileVersion,
        content: &[u8],
    ) -> Result<Conditional, StorageError> {
        let replace = || {
            // Not even a folder is made for a file that isn't there.
            if self.version(path)?.as_ref() != Some(expected) {
                return Ok(Conditional::ConditionFailed);
            }
            let target = self.folder.join(path);
            let staged = self.staged(content)?;
            let _lock = self.lock()?;
            if self.version(path)?.as_ref() != Some(expected) {
                return Ok(Conditional::ConditionFailed);
            }
            staged.persist(&target).map_err(|error| error.error)?;
            synchronise_folder_of(&target)?;
            Ok(Conditional::Done)
        };
        replace().map_err(self.failed("write", path))
    }

    fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        match fs::read(self.folder.join(path)) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if is_no_file(&error) => Ok(None),
            Err(error) => Err(self.failed("read", path)(error)),
        }
    }

    fn version(&self, path: &str) -> io::Result<Option<FileVersion>> {
        match fs::metadata(self.folder.join(path)) {
            Ok(metadata) => Ok(metadata.is_file().then(|| version_of(&metadata))),
            Err(error) if is_no_file(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let start = self.folder.join(folder);
        let mut files = Vec::new();
        for entry in WalkDir::new(&start).min_depth(1) {
            let listed = entry.and_then(|entry| {
                let metadata = entry.metadata()?;
                Ok((entry, metadata))
            });
            let (entry, metadata) = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    let error = io::Error::from(error);
                    // Not there, or removed while the listing was under way.
                    if is_no_file(&error) {
                        continue;
                    }
                    return Err(self.failed("list", folder)(error));
                }
            };
            // Names that aren't UTF-8 are never ours.
            if let Some(path) = entry.path().strip_prefix(&self.folder).ok().and_then(Path::to_str)
                && metadata.is_file()
                && !is_the_stores_own(path)
            {
                files.push(OutputFile { path: path.to_owned(), length: metadata.len() });
            }
        }
        Ok(files)
    }

    /// With an `expected` version, only a file that has it.
    fn delete(&self, path: &str, expected: Option<&FileVersion>) -> Result<Conditional, StorageError> {
        let target = self.folder.join(path);
        let delete = || {
            let is_meant = |present: Option<FileVersion>| {
                present.is_some_and(|present| expected.is_none_or(|expected| present == *expected))
            };
            // A lock needs a folder, and none is made for a file that isn't there.
            if !is_meant(self.version(path)?) {
                return Ok(Conditional::ConditionFailed);
            }
            let _lock = self.lock()?;
            if !is_meant(self.version(path)?) {
                return Ok(Conditional::ConditionFailed);
            }
            match fs::remove_file(&target) {
                Ok(()) => synchronise_folder_of(&target).map(|()| Conditional::Done),
                Err(error) if is_no_file(&error) => Ok(Conditional::ConditionFailed),
                Err(error) => Err(error),
            }
        };
        delete().map_err(self.failed("delete", path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        let (source, target) = (self.folder.join(from), self.folder.join(to));
        let rename = || {
            // Not even a folder is made for a file that isn't there.
            if self.version(from)?.is_none() {
                return Ok(Conditional::ConditionFailed);
            }
            target.parent().map_or(Ok(()), create_folder)?;
            let _lock = self.lock()?;
            match fs::rename(&source, &target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Conditional::ConditionFailed);
                }
                Err(error) => return Err(error),
            }
            synchronise_folder_of(&target)?;
            synchronise_folder_of(&source)?;
            Ok(Conditional::Done)
        };
        rename().map_err(self.failed("write", to))
    }

    fn remove_leftovers(&self) -> Result<u64, StorageError> {
        let staging = self.folder.join(STAGING_FOLDER);
        let failed = self.failed("clean", STAGING_FOLDER);
        let entries = match fs::read_dir(&staging) {
            Ok(entries) => entries,
            Err(error) if is_no_file(&error) => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        let mut removed = 0;
        for entry in entries {
            removed += u64::from(remove_if_left(&entry.map_err(&failed)?.path()).map_err(&failed)?);
        }
        Ok(removed)
    }

    /// The right to replace and remove files, until the value is dropped or the process ends in whatever way.
    fn lock(&self) -> io::Result<File> {
        let path = self.folder.join(LOCK_FILE);
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        loop {
            let file = match open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    path.parent().map_or(Ok(()), create_folder)?;
                    open()?
                }
                opened => opened?,
            };
            lock_exclusively(&file)?;
            // Somebody may have removed the file by hand; then the others hold another lock than this one.
            if is_at(&file, &path)? {
                return Ok(file);
            }
        }
    }

    /// A file with this content, durable and locked, under a name that nobody looks for.
    fn staged(&self, content: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = self.staging_file()?;
        file.write_all(content)?;
        // What tells this write from every other, also if the file system gives the inode of a file removed a moment ago
        // to the next one, and if its clock stands still between the two.
        let earlier = Duration::from_nanos(u64::from(rand::random::<u32>() % NANOSECONDS_OF_A_SECOND));
        let now = SystemTime::now();
        file.as_file().set_modified(now.checked_sub(earlier).unwrap_or(now))?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// An empty file in the staging folder, locked.
    fn staging_file(&self) -> io::Result<NamedTempFile> {
        let staging = self.folder.join(STAGING_FOLDER);
        let create = || {
            tempfile::Builder::new()
                .prefix("")
                .suffix(".tmp")
                .permissions(Permissions::from_mode(FILE_MODE))
                .tempfile_in(&staging)
        };
        loop {
            let file = match create() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    create_folder(&staging)?;
                    create()?
                }
                created => created?,
            };
            lock_exclusively(file.as_file())?;
            // Between its creation and its lock it looked like something left behind.
            if is_at(file.as_file(), file.path())? {
                return Ok(file);
            }
        }
    }

    /// Runs `publish`, and once more after creating the file's folder if that was missing.
    fn with_folder_of<T>(&self, path: &str, publish: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match publish() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = self.folder.join(path).parent() {
                    create_folder(folder)?;
                }
                publish()
            }
            published => published,
        }
    }
}

/// Identity, time and length. Not the inode's change time: that also moves when permissions or the number of links do.
/// What makes it differ from one write to the next is the time, see [`Folder::staged`].
fn version_of(metadata: &Metadata) -> FileVersion {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    FileVersion::new(format!("{:x}-{seconds:x}.{nanoseconds:09}-{:x}", metadata.ino(), metadata.len()))
}

fn is_the_stores_own(path: &str) -> bool {
    path == LOCK_FILE || path.strip_prefix(STAGING_FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// Waits for the lock.
fn lock_exclusively(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(no_locks(error)),
            Ok(()) => return Ok(()),
        }
    }
}

fn no_locks(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Unsupported => io::Error::new(
            io::ErrorKind::Unsupported,
            "its file system has no file locks, so two runs could overwrite each other's results",
        ),
        _ => error,
    }
}

/// Whether this open file is still the one of that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if is_no_file(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file of the staging folder whose writer lives no more; `false` if it lives, or has just finished.
fn remove_if_left(path: &Path) -> io::Result<bool> {
    let remove = || {
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(false);
        }
        let file = File::open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(no_locks(error)),
            Ok(()) => {}
        }
        // Held from here on: a writer that has only just created it sees that it is gone, and begins again.
        fs::remove_file(path).map(|()| true)
    };
    match remove() {
        Err(error) if is_no_file(&error) => Ok(false),
        removed => removed,
    }
}

/// Whether there is simply no file of that name: nothing, or a folder, or a file where a folder should be.
fn is_no_file(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Creates a folder and those above it, each of them durably.
fn create_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => synchronise_folder_of(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
            Some(above) => {
                create_folder(above)?;
                create_folder(folder)
            }
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Makes the name of `path` durable.
fn synchronise_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
