//! A local folder for results.
//!
//! A file is written to `_fruitbatch/staging/`, synchronised, and then given its name in one step: by a rename, which
//! replaces, or by a hard link (or `renameat2` with `RENAME_NOREPLACE`), which doesn't. Then the folder is synchronised,
//! so that the name survives a crash as the content does. What a crash leaves in the staging folder was never visible
//! under its final name; it shows in [`list`](LocalOutput::list) like any file and may be deleted.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::NamedTempFile;
use walkdir::WalkDir;

use crate::error::StorageError;
use crate::output_store::{OutputFile, PutOutcome};

/// Beside the results, so that it is on the same file system and a rename is possible.
const STAGING_FOLDER: &str = "_fruitbatch/staging";
/// Before the umask: results are for everybody who may read the folder, unlike the usual temporary file.
const FILE_MODE: u32 = 0o666;

/// All methods block.
#[derive(Debug)]
pub(crate) struct LocalOutput {
    folder: PathBuf,
}

impl LocalOutput {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn shown(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    fn failed(&self, action: &'static str, path: &str) -> impl Fn(io::Error) -> StorageError {
        let place = self.shown(path);
        move |error| StorageError::from_io(action, place.as_str(), &error)
    }

    pub(crate) fn put(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        let publish = || {
            let target = self.folder.join(path);
            self.staged(content)?.persist(&target).map_err(|error| error.error)?;
            synchronise_folder_of(&target)
        };
        self.with_folder_of(path, publish).map_err(self.failed("write", path))
    }

    pub(crate) fn put_if_absent(&self, path: &str, content: &[u8]) -> Result<PutOutcome, StorageError> {
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

    pub(crate) fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        match fs::read(self.folder.join(path)) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if is_no_file(&error) => Ok(None),
            Err(error) => Err(self.failed("read", path)(error)),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> Result<bool, StorageError> {
        match fs::metadata(self.folder.join(path)) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if is_no_file(&error) => Ok(false),
            Err(error) => Err(self.failed("read", path)(error)),
        }
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
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
            {
                files.push(OutputFile { path: path.to_owned(), length: metadata.len() });
            }
        }
        Ok(files)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), StorageError> {
        let target = self.folder.join(path);
        match fs::remove_file(&target) {
            Ok(()) => synchronise_folder_of(&target).map_err(self.failed("delete", path)),
            Err(error) if is_no_file(&error) => Ok(()),
            Err(error) => Err(self.failed("delete", path)(error)),
        }
    }

    /// A file with this content, durable, under a name that nobody looks for.
    fn staged(&self, content: &[u8]) -> io::Result<NamedTempFile> {
        let staging = self.folder.join(STAGING_FOLDER);
        let create = || {
            tempfile::Builder::new()
                .prefix("")
                .suffix(".tmp")
                .permissions(Permissions::from_mode(FILE_MODE))
                .tempfile_in(&staging)
        };
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_folder(&staging)?;
                create()?
            }
            created => created?,
        };
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(file)
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
