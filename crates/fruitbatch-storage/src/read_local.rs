//! Reading one local file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use rustix::io::Errno;

use crate::local_etag::etag;
use crate::location::local_file_below;
use crate::photo_reader::{ReadError, ReadErrorKind};

/// Reads the file at an escaped path below `folder`. Blocks.
pub(crate) fn read(
    folder: &Path,
    path: &str,
    expected_etag: Option<&str>,
    max_bytes: u64,
) -> Result<Bytes, ReadError> {
    let Some(file_path) = local_file_below(folder, path) else {
        let place = format!("{}/{path}", folder.display());
        return Err(ReadError::new(
            ReadErrorKind::Vanished,
            place,
            "this is no path below the folder that was listed",
        ));
    };
    let place = file_path.display().to_string();
    let failed = |error: io::Error| {
        let kind = kind_of(&error, folder);
        let problem = if kind == ReadErrorKind::Unavailable {
            format!("its whole folder `{}` is not there on this machine", folder.display())
        } else {
            error.to_string()
        };
        ReadError::new(kind, place.as_str(), problem)
    };
    let changed =
        || ReadError::new(ReadErrorKind::Changed, place.as_str(), "it was overwritten after it was listed");

    // Before opening: to open a pipe is to wait for its writer.
    if !file_path.metadata().map_err(failed)?.is_file() {
        return Err(ReadError::new(ReadErrorKind::Vanished, place, "it is not a file any more"));
    }
    let file = File::open(&file_path).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    let etag_before = etag(&before);
    if expected_etag.is_some_and(|expected| expected != etag_before) {
        return Err(changed());
    }
    if before.len() > max_bytes {
        return Err(ReadError::too_large(place, before.len(), max_bytes));
    }
    let mut content = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default());
    // One byte beyond the length shows a file that has grown.
    (&file).take(before.len().saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    if content.len() as u64 != before.len() || etag(&after) != etag_before {
        return Err(changed());
    }
    Ok(content.into())
}

fn kind_of(error: &io::Error, folder: &Path) -> ReadErrorKind {
    use io::ErrorKind;
    if Errno::from_io_error(error) == Some(Errno::LOOP) {
        return ReadErrorKind::Vanished;
    }
    match error.kind() {
        // An executor that doesn't see the folder at all must not report its photos as gone, one by one.
        ErrorKind::NotFound if !folder.is_dir() => ReadErrorKind::Unavailable,
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => ReadErrorKind::Vanished,
        ErrorKind::PermissionDenied => ReadErrorKind::AccessDenied,
        // Disk errors, a network share gone stale, too many open files: nothing that says the photo is bad.
        _ => ReadErrorKind::Fault,
    }
}
