//! A local file's entity tag: changes when the file is written to or replaced.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Modification time in nanoseconds, size and inode, in hexadecimal. A file that is replaced gets another inode, one
/// that is written to another time; only a write of the same length within one tick of the file system's clock (a few
/// milliseconds) goes unseen.
pub(crate) fn etag(metadata: &Metadata) -> String {
    let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{nanoseconds:x}-{:x}-{:x}", metadata.len(), metadata.ino())
}

/// Microseconds since 1970-01-01 00:00 UTC; saturates 292,000 years away from it.
pub(crate) fn modification_time(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000)
}
