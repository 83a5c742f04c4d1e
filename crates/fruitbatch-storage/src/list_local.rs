//! Listing a local folder.
//!
//! Links are followed, to files and to folders, as Spark and a user's eye do. A link that leads back to a folder above
//! itself is left out and counted. A link that leads nowhere is listed like any file and fails when it is read, so that
//! it is reported rather than lost. A folder that can't be read is an error that names it: a listing is whole or it isn't
//! one.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use walkdir::WalkDir;

use crate::error::{StorageError, StorageErrorKind};
use crate::listing::{COMMIT_LOG_FOLDER, ListedPhoto, Listing, ListingBuilder, Selection};
use crate::local_etag::{etag, modification_time};
use crate::location::{Location, local_file_below};
use crate::path_escape::escape;

const ACTION: &str = "list";

/// Lists a folder or a single file. Blocks.
pub(crate) fn list(path: &Path, selection: Selection<'_>) -> Result<Listing, StorageError> {
    let metadata =
        path.metadata().map_err(|error| StorageError::from_io(ACTION, path.display().to_string(), &error))?;
    if metadata.is_dir() {
        return list_folder(path, selection);
    }
    if !metadata.is_file() {
        return Err(StorageError::new(
            StorageErrorKind::Invalid,
            ACTION,
            path.display().to_string(),
            "it is neither a folder nor a file",
            "name a folder, a file or a glob",
        ));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        unreachable!("a path that is a file has a name and a folder")
    };
    let root = Location::local(folder.to_owned());
    let mut listing = ListingBuilder::new(&root, selection);
    // A dot file that is asked for by name is meant.
    listing.add_named_file(ListedPhoto {
        path: escape(name.as_bytes()).into_owned(),
        length: metadata.len(),
        modification_time: modification_time(&metadata),
        etag: etag(&metadata),
    });
    Ok(listing.finish(root))
}

fn list_folder(folder: &Path, selection: Selection<'_>) -> Result<Listing, StorageError> {
    let root = Location::local(folder.to_owned());
    let recursive = selection.options.recursive || selection.location_glob.is_some();
    let mut listing = ListingBuilder::new(&root, selection);
    if is_output_folder(folder) {
        listing.add_output_folder("");
        return Ok(listing.finish(root));
    }
    let mut entries = WalkDir::new(folder)
        .follow_links(true)
        .min_depth(1)
        .max_depth(if recursive { usize::MAX } else { 1 })
        .into_iter();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                add_unfollowable(&mut listing, folder, error)?;
                continue;
            }
        };
        let path = relative_path(folder, entry.path());
        let is_folder = entry.file_type().is_dir();
        if entry.file_name().as_bytes().starts_with(b".") {
            listing.add_dot_file(&path);
            if is_folder {
                entries.skip_current_dir();
            }
        } else if is_folder {
            if listing.is_excluded(&path) {
                entries.skip_current_dir();
            } else if recursive && is_output_folder(entry.path()) {
                listing.add_output_folder(&path);
                entries.skip_current_dir();
            }
        } else if entry.file_type().is_file() {
            match entry.metadata() {
                Ok(metadata) => listing.add_file(ListedPhoto {
                    path,
                    length: metadata.len(),
                    modification_time: modification_time(&metadata),
                    etag: etag(&metadata),
                }),
                Err(error) => add_unfollowable(&mut listing, folder, error)?,
            }
        } else {
            listing.add_not_a_file(&path);
        }
    }
    Ok(listing.finish(root))
}

/// The file at an escaped path below a folder as it is now, or `None` if there is none. Blocks.
pub(crate) fn look(folder: &Path, path: &str) -> Result<Option<ListedPhoto>, StorageError> {
    let Some(file) = local_file_below(folder, path) else { return Ok(None) };
    let listed = |metadata: &Metadata, length| ListedPhoto {
        path: path.to_owned(),
        length,
        modification_time: modification_time(metadata),
        etag: etag(metadata),
    };
    let failed =
        |place: &Path, error| Err(StorageError::from_io("look at", place.display().to_string(), &error));
    match file.metadata() {
        Ok(metadata) => Ok(metadata.is_file().then(|| listed(&metadata, metadata.len()))),
        Err(error) => match file.symlink_metadata() {
            // As a listing has it: a link that leads nowhere is a file that can't be read.
            Ok(link) if link.is_symlink() => Ok(Some(listed(&link, 0))),
            Ok(_) => failed(&file, error),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::InvalidFilename
                        | io::ErrorKind::InvalidInput
                ) =>
            {
                // Of a folder that isn't there at all (not mounted, say) no photo is known to be gone.
                match folder.metadata() {
                    Ok(_) => Ok(None),
                    Err(error) => failed(folder, error),
                }
            }
            Err(error) => failed(&file, error),
        },
    }
}

/// An entry that can't be looked at: a link that leads nowhere or round in a circle, a file removed just now. Anything
/// else, a folder that can't be read above all, ends the listing.
fn add_unfollowable(
    listing: &mut ListingBuilder<'_>,
    folder: &Path,
    error: walkdir::Error,
) -> Result<(), StorageError> {
    let place = error.path().unwrap_or(folder).to_owned();
    let path = relative_path(folder, &place);
    if error.loop_ancestor().is_some() {
        listing.add_not_a_file(&path);
        return Ok(());
    }
    match place.symlink_metadata() {
        Ok(link) if link.is_symlink() && place.metadata().is_err() => {
            listing.add_file(ListedPhoto {
                path,
                length: 0,
                modification_time: modification_time(&link),
                etag: etag(&link),
            });
            return Ok(());
        }
        Err(gone) if gone.kind() == io::ErrorKind::NotFound && place != folder => return Ok(()),
        _ => {}
    }
    let error = io::Error::from(error);
    Err(StorageError::from_io(ACTION, place.display().to_string(), &error))
}

fn is_output_folder(folder: &Path) -> bool {
    folder.join(COMMIT_LOG_FOLDER).is_dir()
}

fn relative_path(folder: &Path, path: &Path) -> String {
    escape(path.strip_prefix(folder).unwrap_or(path).as_os_str().as_bytes()).into_owned()
}
