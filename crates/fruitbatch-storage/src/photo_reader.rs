//! Reading one photo at a time, whole, and only in the state in which it was listed.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::location::Location;
use crate::s3_connection::S3Connection;
use crate::storage::in_background;
use crate::{read_local, read_s3};

/// Why a photo could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{place}`: {problem}")]
pub struct ReadError {
    kind: ReadErrorKind,
    place: String,
    problem: String,
}

/// What a [`ReadError`] means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadErrorKind {
    /// It isn't there any more, or isn't a file any more.
    Vanished,
    /// It was overwritten after it was listed, or while it was read.
    Changed,
    /// This one photo may not be read (its own permissions, access list or key).
    AccessDenied,
    /// It lies in an archive (S3 Glacier) and has not been restored.
    Archived,
    /// It is longer than the caller's limit.
    TooLarge,
    /// A fault of network, server or disk, credentials that have expired, a body that ends early: try again.
    Fault,
    /// Nothing can be read from there at all: no such bucket or folder, no or wrong credentials, the wrong region.
    /// Trying again does not help.
    Unavailable,
}

impl ReadErrorKind {
    /// The kinds that are about one photo, so that the run can go on without it. The others say nothing of the photo and
    /// must never be booked as if they did.
    pub const OF_ONE_PHOTO: [Self; 5] =
        [Self::Vanished, Self::Changed, Self::AccessDenied, Self::Archived, Self::TooLarge];

    /// The name in `failures.csv`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Changed => "changed",
            Self::AccessDenied => "access-denied",
            Self::Archived => "archived",
            Self::TooLarge => "too-large",
            Self::Fault => "fault",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether it is one [of one photo](Self::OF_ONE_PHOTO).
    pub fn concerns_only_this_photo(self) -> bool {
        Self::OF_ONE_PHOTO.contains(&self)
    }
}

impl ReadError {
    pub(crate) fn new(kind: ReadErrorKind, place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { kind, place: place.into(), problem: problem.into() }
    }

    pub(crate) fn too_large(place: impl Into<String>, length: u64, limit: u64) -> Self {
        Self::new(
            ReadErrorKind::TooLarge,
            place,
            format!("it has {length} bytes, more than the limit of {limit}"),
        )
    }

    /// What it means for the run.
    pub fn kind(&self) -> ReadErrorKind {
        self.kind
    }

    /// Short for `kind().reason()`.
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }

    /// The path or URI of the photo.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What happened, without the place: the detail in `failures.csv`.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Reads photos below one folder. Cheap to clone; any number of reads may be under way at once.
#[derive(Debug, Clone)]
pub struct PhotoReader {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Local { folder: Arc<PathBuf> },
    S3 { connection: Arc<S3Connection>, bucket: Arc<str>, prefix: Arc<str> },
}

impl PhotoReader {
    pub(crate) fn local(folder: PathBuf) -> Self {
        Self { source: Source::Local { folder: Arc::new(folder) } }
    }

    pub(crate) fn s3(connection: Arc<S3Connection>, bucket: String, prefix: String) -> Self {
        Self { source: Source::S3 { connection, bucket: bucket.into(), prefix: prefix.into() } }
    }

    /// All bytes of the photo at `path` (as the listing gives it). With an `expected_etag`, exactly the bytes that had it
    /// when they were listed; an empty one expects nothing. At most `max_bytes` are ever held.
    ///
    /// # Errors
    /// [`ReadError`]; sensible retries of what may pass have been made by then.
    pub async fn read(
        &self,
        path: &str,
        expected_etag: Option<&str>,
        max_bytes: u64,
    ) -> Result<Bytes, ReadError> {
        let expected_etag = expected_etag.filter(|etag| !etag.is_empty());
        match &self.source {
            Source::Local { folder } => {
                let (folder, path) = (Arc::clone(folder), path.to_owned());
                let expected_etag = expected_etag.map(str::to_owned);
                in_background(move || read_local::read(&folder, &path, expected_etag.as_deref(), max_bytes))
                    .await
            }
            Source::S3 { connection, bucket, prefix } => {
                read_s3::read(connection, bucket, prefix, path, expected_etag, max_bytes).await
            }
        }
    }

    /// The folder that paths are relative to.
    pub fn root(&self) -> Location {
        match &self.source {
            Source::Local { folder } => Location::local(folder.as_ref().clone()),
            Source::S3 { bucket, prefix, .. } => Location::s3(bucket.to_string(), prefix.to_string()),
        }
    }
}
