//! What can go wrong with a place as a whole. Faults of one photo are [`ReadError`](crate::ReadError)s.

use std::fmt;

/// Listing INPUT, or reading or writing OUT, failed. Its text is one plain line: what failed, where, why, and what to do
/// next. No credential is ever part of it, nor of its `Debug` form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} `{place}`: {problem}{}", NextStep(.next_step))]
pub struct StorageError {
    kind: StorageErrorKind,
    action: &'static str,
    place: String,
    problem: String,
    next_step: String,
}

/// What the caller must do about a [`StorageError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageErrorKind {
    /// The folder, file or bucket isn't there: correct the name.
    NotFound,
    /// It is there, and these credentials (or this user) may not use it.
    AccessDenied,
    /// No credentials were found, or they aren't valid: sign in.
    NoCredentials,
    /// The bucket lies in another region than the one asked.
    WrongRegion,
    /// No answer from the server: address or network.
    Unreachable,
    /// Nothing more fits on the disk.
    DiskFull,
    /// The request makes no sense as it stands, whoever asks: a name that can't be one, a pattern that isn't one.
    Invalid,
    /// A fault of network, server or disk that may pass; the retries that were sensible are already made.
    Fault,
}

impl StorageErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::Fault)
    }
}

impl StorageError {
    /// `action` is a verb phrase (`list`, `read`), `place` the full URI; `next_step` may be empty. For implementations of
    /// [`OutputBackend`](crate::OutputBackend).
    pub fn new(
        kind: StorageErrorKind,
        action: &'static str,
        place: impl Into<String>,
        problem: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self { kind, action, place: place.into(), problem: problem.into(), next_step: next_step.into() }
    }

    /// A fault of the local file system.
    pub(crate) fn from_io(action: &'static str, place: impl Into<String>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (kind, next_step) = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => (StorageErrorKind::NotFound, "check the name"),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                (StorageErrorKind::AccessDenied, "change its permissions, or name another folder")
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
                StorageErrorKind::DiskFull,
                "free some space and run the same command again: it goes on where it stopped",
            ),
            ErrorKind::Unsupported => (StorageErrorKind::Invalid, "name a folder on another file system"),
            _ => (StorageErrorKind::Fault, ""),
        };
        Self::new(kind, action, place, error.to_string(), next_step)
    }

    /// What the caller must do about it.
    pub fn kind(&self) -> StorageErrorKind {
        self.kind
    }

    /// The URI of the folder, file or object it is about.
    pub fn place(&self) -> &str {
        &self.place
    }
}

struct NextStep<'a>(&'a str);

impl fmt::Display for NextStep<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(formatter, "; {}", self.0) }
    }
}
