//! What can be wrong with a table before any photo is read, and the faults of reading that fail a task.

use std::fmt;

/// A table or a plan that can't be made, or a file of rows that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A field of [`ScanOptions`](crate::ScanOptions) is out of its range.
    #[error("scan option `{name}` is {value}, but must lie between {smallest} and {largest}")]
    Options {
        /// The field.
        name: &'static str,
        /// What it was.
        value: u64,
        /// The least it may be.
        smallest: u64,
        /// The most it may be.
        largest: u64,
    },
    /// Bytes that should hold a table or a node don't.
    #[error(
        "a plan from another process can't be read: {problem}; run the same version of fruitbatch everywhere"
    )]
    Codec {
        /// What is wrong with them.
        problem: String,
    },
    /// A file of a [`PartTable`](crate::PartTable) can't be used.
    #[error("`{file}` can't be read: {problem}")]
    Part {
        /// Its full name.
        file: String,
        /// Why, and what to do next.
        problem: String,
    },
}

impl ScanError {
    pub(crate) fn codec(problem: impl fmt::Display) -> Self {
        Self::Codec { problem: problem.to_string() }
    }
}

/// Reading failed for a reason that isn't the photo's: network, throttling, server. Found inside the
/// [`DataFusionError::IoError`](datafusion::error::DataFusionError::IoError) that such a fault becomes, the one kind of
/// error that makes Ballista try a task again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StorageFault {
    /// What failed, at which photo, and what to do next.
    pub message: String,
}
