//! The set on disk: written once, left alone when it is there already, refused when something else is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{DrawnPhoto, Fruit, SampleError, SampleOptions, SamplePhoto, draw_in_memory};

/// A photo is written under this name first and renamed when it is whole, so an interrupted run leaves at most this.
const UNFINISHED: &str = ".unfinished-sample";

/// Draws the set into `dir`, which is made if it isn't there, and tells what it holds.
///
/// Repeating it is safe and leaves finished photos untouched (also their modification times, so nothing downstream
/// takes them for changed); an interrupted run is completed. The result is in the order of label and turn.
///
/// # Errors
///
/// - [`SampleError::InvalidOption`] if an option is outside its range;
/// - [`SampleError::FolderInUse`] or [`SampleError::OtherSet`] if `dir` holds anything else than this very set or a part of it;
///   then nothing was changed;
/// - [`SampleError::Io`] if reading or writing fails.
pub fn draw_samples(dir: &Path, options: &SampleOptions) -> Result<Vec<SamplePhoto>, SampleError> {
    options.validate()?;
    refuse_foreign_names(dir, options)?;
    let photos = draw_in_memory(options)?;
    let missing = compare_with_present(dir, &photos)?;
    for fruit in Fruit::ALL {
        let folder = dir.join(fruit.label());
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
    }
    for photo in missing {
        write_whole(dir, photo)?;
    }
    Ok(photos
        .into_iter()
        .map(|photo| SamplePhoto {
            label: photo.label,
            path: PathBuf::from(&photo.path),
            degrees: photo.degrees,
            length: photo.jpeg.len() as u64,
        })
        .collect())
}

/// Looks at names alone, so that a folder in use is refused before a second is spent on drawing.
fn refuse_foreign_names(dir: &Path, options: &SampleOptions) -> Result<(), SampleError> {
    let labels: BTreeMap<&str, Fruit> = Fruit::ALL.into_iter().map(|fruit| (fruit.label(), fruit)).collect();
    let file_names: Vec<String> = (0..options.per_label).map(|step| options.file_name(step)).collect();
    for entry in sorted_entries(dir)? {
        let (name, is_folder) = (entry.name.as_deref().unwrap_or_default(), entry.is_folder);
        if is_folder && labels.contains_key(name) {
            for file in sorted_entries(&entry.path)? {
                let expected = file.name.is_some_and(|name| file_names.contains(&name));
                if file.is_folder || !expected {
                    return Err(SampleError::FolderInUse { path: file.path });
                }
            }
        } else if is_folder || name != UNFINISHED {
            return Err(SampleError::FolderInUse { path: entry.path });
        }
    }
    Ok(())
}

struct Entry {
    path: PathBuf,
    /// None if it isn't UTF-8.
    name: Option<String>,
    is_folder: bool,
}

/// By name; empty if `dir` isn't there.
fn sorted_entries(dir: &Path) -> Result<Vec<Entry>, SampleError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", dir))?;
        let path = entry.path();
        let is_folder = entry.file_type().map_err(io_error("list", &path))?.is_dir();
        found.push(Entry { name: entry.file_name().into_string().ok(), path, is_folder });
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

/// The photos that aren't on disk yet; an error if one is there with other bytes.
fn compare_with_present<'a>(
    dir: &Path,
    photos: &'a [DrawnPhoto],
) -> Result<Vec<&'a DrawnPhoto>, SampleError> {
    let mut missing = Vec::new();
    for photo in photos {
        let path = dir.join(&photo.path);
        match fs::read(&path) {
            Ok(bytes) if bytes == photo.jpeg => {}
            Ok(_) => return Err(SampleError::OtherSet { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(photo),
            Err(error) => return Err(io_error("read", &path)(error)),
        }
    }
    Ok(missing)
}

fn write_whole(dir: &Path, photo: &DrawnPhoto) -> Result<(), SampleError> {
    let unfinished = dir.join(UNFINISHED);
    let path = dir.join(&photo.path);
    fs::write(&unfinished, &photo.jpeg).map_err(io_error("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(io_error("write", &path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SampleError {
    let path = path.to_path_buf();
    move |source| SampleError::Io { action, path, source }
}
