//! What a listing is, which files it takes in, and the rules that both kinds of store share.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::location::Location;

/// The folder inside an OUT that only the tool itself writes.
const OWN_FOLDER: &str = "_fruitbatch";
/// The folder of the commit log; a folder that holds it is an OUT.
pub(crate) const COMMIT_LOG_FOLDER: &str = "_fruitbatch/log";

/// What to take in when listing, with the meanings of Spark's `binaryFile` source.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Go into folders (`recursiveFileLookup`); on by default.
    pub recursive: bool,
    /// Only files that match (`pathGlobFilter`).
    pub glob: Option<PathGlob>,
    /// Only files modified strictly before this instant (`modifiedBefore`).
    pub modified_before: Option<DateTime<Utc>>,
    /// Only files modified strictly after this instant (`modifiedAfter`).
    pub modified_after: Option<DateTime<Utc>>,
    /// A folder to leave out, if it lies in the one listed: the run's own OUT. Not counted as skipped.
    pub exclude: Option<Location>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { recursive: true, glob: None, modified_before: None, modified_after: None, exclude: None }
    }
}

/// All photos under a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The folder that the paths are relative to, and what [`Storage::reader`](crate::Storage::reader) must be given:
    /// the location listed, or the folder that holds it if it is one file, or the last fixed folder of a glob.
    pub root: Location,
    /// Sorted by `path`, bytewise; every path once.
    pub photos: Vec<ListedPhoto>,
    /// What was seen and left out.
    pub skipped: SkippedCounts,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPhoto {
    /// Relative to [`Listing::root`], `/`-separated, escaped as [`path_escape`](crate::path_escape) says.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub modification_time: i64,
    /// Changes when the content does. In S3 the object's, without quotes; on disk made of modification time, size and
    /// inode. Empty if a server gives none, which turns the check for changes off.
    pub etag: String,
}

/// What a listing left out, by kind. Nothing else is ever left out without a count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedCounts {
    /// Keys in S3 that stand for a folder: they end in `/`, or are empty and end in `_$folder$`.
    pub folder_markers: u64,
    /// Files, and whole folders (each counted once), whose name begins with a dot.
    pub dot_files: u64,
    /// Folders that are themselves an OUT, because they hold `_fruitbatch/log/`.
    pub output_folders: u64,
    /// What no photo can be read from: pipes, sockets, devices, and links that lead back to a folder above themselves.
    pub not_files: u64,
    /// Files that the glob or the modification times rule out.
    pub not_selected: u64,
}

/// A file pattern: `*` and `?` within one name, `**` across folders, `[a-z]`, `{a,b}`; a backslash takes the next
/// character literally.
///
/// A pattern without `/` is matched against the file's name, whatever folder it is in, as Spark's `pathGlobFilter`; one
/// with `/` against the whole path. `?` and `[...]` stand for one byte, so for letters beyond ASCII write `*` or name
/// them: `{ä,ö}`.
///
/// ```
/// use fruitbatch_storage::PathGlob;
///
/// let jpegs: PathGlob = "*.{jpg,JPG}".parse()?;
/// assert!(jpegs.matches("Apple Braeburn/0_100.jpg"));
/// let apples: PathGlob = "Apple*/*.jpg".parse()?;
/// assert!(apples.matches("Apple Braeburn/0_100.jpg"));
/// assert!(!apples.matches("Apple Braeburn/old/0_100.jpg"));
/// # Ok::<(), fruitbatch_storage::PathGlobError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PathGlob {
    matcher: GlobMatcher,
    on_file_name: bool,
}

/// A text that isn't a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no file pattern: {problem}; write for example `*.jpg` or `2024-*/img_?.{{jpg,png}}`")]
pub struct PathGlobError {
    pattern: String,
    problem: String,
}

impl PathGlob {
    /// Whether the file at this path (relative, `/`-separated) is meant.
    pub fn matches(&self, path: &str) -> bool {
        let subject = if self.on_file_name { file_name(path) } else { path };
        self.matcher.is_match(subject)
    }

    pub(crate) fn pattern(&self) -> &str {
        self.matcher.glob().glob()
    }

    /// A pattern over the whole path even if it holds no `/`.
    pub(crate) fn over_whole_path(pattern: &str) -> Result<Self, PathGlobError> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| {
            PathGlobError { pattern: pattern.to_owned(), problem: error.kind().to_string() }
        })?;
        Ok(Self { matcher: glob.compile_matcher(), on_file_name: false })
    }
}

impl FromStr for PathGlob {
    type Err = PathGlobError;

    fn from_str(pattern: &str) -> Result<Self, PathGlobError> {
        Ok(Self { on_file_name: !pattern.contains('/'), ..Self::over_whole_path(pattern)? })
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.pattern())
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Which files are meant: the options, and the pattern that may stand in the location itself.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) options: &'a ListOptions,
    /// Relative to the root. It names files, or folders whose files are meant.
    pub(crate) location_glob: Option<PathGlob>,
}

impl Selection<'_> {
    fn takes(&self, photo: &ListedPhoto) -> bool {
        let modified = photo.modification_time;
        self.options.modified_before.is_none_or(|before| modified < before.timestamp_micros())
            && self.options.modified_after.is_none_or(|after| modified > after.timestamp_micros())
            && self.options.glob.as_ref().is_none_or(|glob| glob.matches(&photo.path))
            && self.location_glob.as_ref().is_none_or(|glob| self.location_takes(glob, &photo.path))
    }

    fn location_takes(&self, glob: &PathGlob, path: &str) -> bool {
        let folders = path.rmatch_indices('/').map(|(slash, _)| &path[..slash]);
        let reach = if self.options.recursive { usize::MAX } else { 1 };
        glob.matches(path) || folders.take(reach).any(|folder| glob.matches(folder))
    }
}

/// Collects what a store shows, in any order and with repetitions, into a [`Listing`].
#[derive(Debug)]
pub(crate) struct ListingBuilder<'a> {
    selection: Selection<'a>,
    photos: Vec<ListedPhoto>,
    /// Paths, so that the same entry shown twice counts once, and those inside an OUT can still be dropped.
    folder_markers: BTreeSet<String>,
    dot_files: BTreeSet<String>,
    not_files: BTreeSet<String>,
    output_folders: BTreeSet<String>,
    /// The path of the folder to leave out, if it lies in the one listed.
    excluded: Option<String>,
}

impl<'a> ListingBuilder<'a> {
    pub(crate) fn new(root: &Location, selection: Selection<'a>) -> Self {
        let excluded = selection.options.exclude.as_ref().and_then(|exclude| root.relative_path_to(exclude));
        Self {
            selection,
            photos: Vec::new(),
            folder_markers: BTreeSet::new(),
            dot_files: BTreeSet::new(),
            not_files: BTreeSet::new(),
            output_folders: BTreeSet::new(),
            excluded,
        }
    }

    /// Whether this folder is the one to leave out.
    pub(crate) fn is_excluded(&self, folder: &str) -> bool {
        self.excluded.as_deref() == Some(folder)
    }

    /// The one file that the location itself names, whatever it is called.
    pub(crate) fn add_named_file(&mut self, photo: ListedPhoto) {
        self.photos.push(photo);
    }

    /// A file found in a folder.
    pub(crate) fn add_file(&mut self, photo: ListedPhoto) {
        if let Some(hidden) = hidden_part(&photo.path) {
            self.dot_files.insert(hidden.to_owned());
            return;
        }
        // In S3, where there are no folders to look into, an OUT shows by the keys of its log.
        if let Some(folder) = output_folder_of(&photo.path)
            && !self.output_folders.contains(folder)
        {
            self.output_folders.insert(folder.to_owned());
        }
        self.photos.push(photo);
    }

    pub(crate) fn add_folder_marker(&mut self, path: &str) {
        self.folder_markers.insert(path.to_owned());
    }

    /// A file or folder whose name begins with a dot.
    pub(crate) fn add_dot_file(&mut self, path: &str) {
        self.dot_files.insert(path.to_owned());
    }

    pub(crate) fn add_not_a_file(&mut self, path: &str) {
        self.not_files.insert(path.to_owned());
    }

    pub(crate) fn add_output_folder(&mut self, path: &str) {
        self.output_folders.insert(path.to_owned());
    }

    /// What it was made to select, to begin again with another root.
    pub(crate) fn into_selection(self) -> Selection<'a> {
        self.selection
    }

    /// Whether nothing at all was shown, not even something to skip.
    pub(crate) fn is_empty(&self) -> bool {
        self.photos.is_empty()
            && [&self.folder_markers, &self.dot_files, &self.not_files, &self.output_folders]
                .iter()
                .all(|set| set.is_empty())
    }

    /// Whether what was shown last is a photo that will be in the listing.
    pub(crate) fn ends_in_a_photo(&self) -> bool {
        self.photos.last().is_some_and(|photo| {
            let is_excluded = self.excluded.as_ref().is_some_and(|excluded| lies_in(&photo.path, excluded));
            !is_excluded && self.selection.takes(photo)
        })
    }

    pub(crate) fn finish(mut self, root: Location) -> Listing {
        if let Some(excluded) = self.excluded.take() {
            self.output_folders.remove(&excluded);
            let outside = |path: &str| !lies_in(path, &excluded);
            self.photos.retain(|photo| outside(&photo.path));
            for skipped in
                [&mut self.folder_markers, &mut self.dot_files, &mut self.not_files, &mut self.output_folders]
            {
                skipped.retain(|path| outside(path));
            }
        }
        if !self.output_folders.is_empty() {
            let outputs = std::mem::take(&mut self.output_folders);
            let outside = |path: &str| !folders_above(path).any(|folder| outputs.contains(folder));
            self.photos.retain(|photo| outside(&photo.path));
            for skipped in [&mut self.folder_markers, &mut self.dot_files, &mut self.not_files] {
                skipped.retain(|path| outside(path));
            }
            // An OUT inside another is part of that one.
            self.output_folders = outputs.iter().filter(|path| outside(path)).cloned().collect();
        }
        // Of a file shown twice, as when it is overwritten between two pages, the newer state stays.
        self.photos.sort_unstable_by(|a, b| {
            a.path.cmp(&b.path).then(b.modification_time.cmp(&a.modification_time)).then(a.etag.cmp(&b.etag))
        });
        self.photos.dedup_by(|later, kept| later.path == kept.path);
        let before = self.photos.len();
        self.photos.retain(|photo| self.selection.takes(photo));
        let skipped = SkippedCounts {
            folder_markers: self.folder_markers.len() as u64,
            dot_files: self.dot_files.len() as u64,
            output_folders: self.output_folders.len() as u64,
            not_files: self.not_files.len() as u64,
            not_selected: (before - self.photos.len()) as u64,
        };
        Listing { root, photos: self.photos, skipped }
    }
}

/// The path up to and with its first part that begins with a dot.
fn hidden_part(path: &str) -> Option<&str> {
    let start = if path.starts_with('.') { 0 } else { path.find("/.")? + 1 };
    let end = path[start..].find('/').map_or(path.len(), |slash| start + slash);
    Some(&path[..end])
}

/// The folder that is an OUT because this file lies in its commit log: the outermost one.
fn output_folder_of(path: &str) -> Option<&str> {
    let mut start = 0;
    loop {
        let found = start + path[start..].find(OWN_FOLDER)?;
        let is_log = path[found..].strip_prefix(COMMIT_LOG_FOLDER).is_some_and(|rest| rest.starts_with('/'));
        if is_log && found == 0 {
            return Some("");
        }
        if is_log && path.as_bytes()[found - 1] == b'/' {
            return Some(&path[..found - 1]);
        }
        start = found + OWN_FOLDER.len();
    }
}

/// Whether a path is `folder` or lies in it.
fn lies_in(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folders that a path lies in, the root (empty) included, for a path other than the root.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    let root = (!path.is_empty()).then_some("");
    root.into_iter().chain(path.match_indices('/').map(|(slash, _)| &path[..slash]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(path: &str, modification_time: i64) -> ListedPhoto {
        ListedPhoto {
            path: path.to_owned(),
            length: 1,
            modification_time,
            etag: format!("e{modification_time}"),
        }
    }

    fn list(
        options: &ListOptions,
        location_glob: Option<&str>,
        paths: &[&str],
    ) -> (Vec<String>, SkippedCounts) {
        let root: Location = "s3://b/photos/".parse().unwrap();
        let location_glob = location_glob.map(|glob| PathGlob::over_whole_path(glob).unwrap());
        let mut builder = ListingBuilder::new(&root, Selection { options, location_glob });
        for path in paths {
            builder.add_file(photo(path, 5));
        }
        let listing = builder.finish(root);
        (listing.photos.into_iter().map(|photo| photo.path).collect(), listing.skipped)
    }

    #[test]
    fn pages_out_of_order_and_repeated_give_every_photo_once_in_byte_order_and_its_newest_state() {
        let root: Location = "s3://b/".parse().unwrap();
        let options = ListOptions::default();
        let mut builder = ListingBuilder::new(&root, Selection { options: &options, location_glob: None });
        for (path, time) in
            [("b", 1), ("a b", 1), ("Z", 1), ("ä", 1), ("b", 3), ("a/b", 1), ("b", 2), ("a/b", 1)]
        {
            builder.add_file(photo(path, time));
        }
        let photos = builder.finish(root).photos;
        assert_eq!(
            photos.iter().map(|photo| photo.path.as_str()).collect::<Vec<_>>(),
            ["Z", "a b", "a/b", "b", "ä"]
        );
        assert_eq!(photos[3].modification_time, 3);
    }

    #[test]
    fn dot_files_and_dot_folders_are_left_out_and_counted_but_an_underscore_is_a_photo() {
        let (paths, skipped) = list(
            &ListOptions::default(),
            None,
            &[".DS_Store", "a/.git/x", "a/.git/y", "a/..b.jpg", "_DSC1234.JPG", "a/b.c/d."],
        );
        assert_eq!(paths, ["_DSC1234.JPG", "a/b.c/d."]);
        assert_eq!(skipped.dot_files, 3);
    }

    #[test]
    fn every_out_is_left_out_at_any_depth_and_counted_once() {
        let (paths, skipped) = list(
            &ListOptions::default(),
            None,
            &[
                "a.jpg",
                "out/results.csv",
                "out/_fruitbatch/log/1.json",
                "out/Zebra/.x",
                "out/old/_fruitbatch/log/1.json",
                "deep/er/out/_fruitbatch/log/2.json",
                "deep/er/out/features/part.parquet",
                "deep/er/outing.jpg",
                "not_fruitbatch/log/x.jpg",
                "_fruitbatch/logs/x.jpg",
            ],
        );
        assert_eq!(
            paths,
            ["_fruitbatch/logs/x.jpg", "a.jpg", "deep/er/outing.jpg", "not_fruitbatch/log/x.jpg"]
        );
        assert_eq!(skipped, SkippedCounts { output_folders: 2, ..SkippedCounts::default() });
    }

    #[test]
    fn a_root_that_is_itself_an_out_holds_no_photos() {
        let (paths, skipped) = list(&ListOptions::default(), None, &["_fruitbatch/log/1.json", "a.jpg"]);
        assert!(paths.is_empty());
        assert_eq!(skipped.output_folders, 1);
    }

    #[test]
    fn the_runs_own_out_is_left_out_without_a_count() {
        let options =
            ListOptions { exclude: Some("s3://b/photos/out/".parse().unwrap()), ..ListOptions::default() };
        let (paths, skipped) =
            list(&options, None, &["out/_fruitbatch/log/1.json", "out/.x", "out/results.csv", "outing.jpg"]);
        assert_eq!(paths, ["outing.jpg"]);
        assert_eq!(skipped, SkippedCounts::default());
    }

    #[test]
    fn globs_match_names_or_paths_and_a_location_glob_may_name_folders() {
        let paths = ["a/1.jpg", "a/b/2.jpg", "a/b/3.png", "4.jpg"];
        let with_glob =
            |glob: &str| ListOptions { glob: Some(glob.parse().unwrap()), ..ListOptions::default() };
        assert_eq!(list(&with_glob("*.jpg"), None, &paths).0, ["4.jpg", "a/1.jpg", "a/b/2.jpg"]);
        assert_eq!(list(&with_glob("a/*.jpg"), None, &paths).0, ["a/1.jpg"]);
        assert_eq!(list(&with_glob("a/**/*.{jpg,png}"), None, &paths).1.not_selected, 1);
        assert_eq!(list(&ListOptions::default(), Some("*.jpg"), &paths).0, ["4.jpg"]);
        assert_eq!(list(&ListOptions::default(), Some("a"), &paths).0, ["a/1.jpg", "a/b/2.jpg", "a/b/3.png"]);
        let flat = ListOptions { recursive: false, ..ListOptions::default() };
        assert_eq!(list(&flat, Some("?"), &paths).0, ["a/1.jpg"]);
        let error = "a[".parse::<PathGlob>().unwrap_err();
        assert!(error.to_string().starts_with("`a[` is no file pattern: "), "{error}");
    }

    #[test]
    fn modification_times_are_strict_bounds() {
        let at = |micros| DateTime::from_timestamp_micros(micros);
        let options = |before, after| ListOptions {
            modified_before: before,
            modified_after: after,
            ..ListOptions::default()
        };
        assert_eq!(list(&options(at(5), None), None, &["a"]).1.not_selected, 1);
        assert_eq!(list(&options(at(6), at(4)), None, &["a"]).0, ["a"]);
        assert_eq!(list(&options(None, at(5)), None, &["a"]).1.not_selected, 1);
    }
}
