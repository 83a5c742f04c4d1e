//! How a task's error gets from the executor to the driver in one piece.
//!
//! Ballista sends the `Debug` form of a failed task's error, nested as deeply as the plan, and the scheduler wraps it in
//! more text. So the executor replaces the error with one whose `Debug` form is its plain message between marks, and the
//! driver looks for the marks.

use std::fmt;
use std::io::{self, ErrorKind};

use ballista_core::error::BallistaError;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::ClusterError;
use crate::executor_host::host_name;

const STORAGE_FAULT: &str = "[[storage-fault| ";
const TASK_FAILED: &str = "[[task-failed| ";
const END: &str = " |]]";

/// A task's error as it is sent.
#[derive(Clone, PartialEq, Eq)]
struct MarkedFailure {
    mark: &'static str,
    message: String,
}

impl fmt::Debug for MarkedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{END}", self.mark, self.message)
    }
}

impl fmt::Display for MarkedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for MarkedFailure {}

/// What a task's error is at its root.
enum Root {
    /// Passes with time: the scheduler tries the task again.
    StorageFault(String),
    /// The disk with this executor's intermediate results is full: passes with another executor.
    DiskFull(String),
    /// The scheduler knows what to do (it runs the stage again that made the missing data): left as it is.
    FetchFailed,
    Failed(String),
}

fn root(error: &DataFusionError) -> Root {
    match error.find_root() {
        DataFusionError::IoError(error) => io_root(error),
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(error) => ballista_root(error),
            None => Root::Failed(inner.to_string()),
        },
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(error) => root(error),
                None => Root::Failed(inner.to_string()),
            },
            ArrowError::IoError(_, error) => io_root(error),
            error => Root::Failed(error.to_string()),
        },
        error => Root::Failed(error.message().into_owned()),
    }
}

fn ballista_root(error: &BallistaError) -> Root {
    match error {
        BallistaError::DataFusionError(error) => root(error),
        BallistaError::IoError(error) => io_root(error),
        BallistaError::FetchFailed(..) => Root::FetchFailed,
        error => Root::Failed(error.to_string()),
    }
}

fn io_root(error: &io::Error) -> Root {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Root::DiskFull(format!(
            "the disk with the work folder of the executor on {} is full: {error}",
            host_name()
        )),
        _ => Root::StorageFault(error.to_string()),
    }
}

/// Whether a task failed because this executor's disk is full: it will fail every other one as well.
pub(crate) fn is_disk_full(error: &DataFusionError) -> bool {
    matches!(root(error), Root::DiskFull(_))
}

/// The same error in the form that survives the way to the driver; it stays as retryable as it was.
pub(crate) fn mark(error: DataFusionError) -> DataFusionError {
    match root(&error) {
        Root::FetchFailed => error,
        Root::StorageFault(message) | Root::DiskFull(message) => {
            DataFusionError::IoError(io::Error::other(MarkedFailure { mark: STORAGE_FAULT, message }))
        }
        Root::Failed(message) => {
            DataFusionError::External(Box::new(MarkedFailure { mark: TASK_FAILED, message }))
        }
    }
}

/// What the scheduler's text about a failed job means.
pub(crate) fn unmark(text: &str) -> ClusterError {
    if let Some(message) = between(text, STORAGE_FAULT) {
        return ClusterError::StorageFault { message };
    }
    if let Some(message) = between(text, TASK_FAILED) {
        return ClusterError::JobFailed { message };
    }
    if text.trim() == "Cancelled" {
        return ClusterError::Cancelled;
    }
    // Not from a task: the scheduler's own words (planning, lost executors), less the names of the layers they passed.
    let mut message = text.trim();
    while let Some(inner) = LAYERS.iter().find_map(|layer| message.strip_prefix(layer)) {
        message = inner.trim_start();
    }
    ClusterError::JobFailed { message: message.lines().next().unwrap_or_default().to_owned() }
}

/// What DataFusion and Ballista put before an error's own message.
const LAYERS: [&str; 8] = [
    "DataFusion error:",
    "External error:",
    "Execution error:",
    "Internal error:",
    "Error during planning:",
    "This feature is not implemented:",
    "General error:",
    "Internal Ballista error:",
];

fn between(text: &str, mark: &str) -> Option<String> {
    let start = text.find(mark)? + mark.len();
    let length = text[start..].find(END)?;
    Some(text[start..start + length].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_the_scheduler_tells_it(error: DataFusionError) -> String {
        let task = BallistaError::from(mark(error));
        format!("Job failed due to stage 1 failed: Task failed due to runtime execution error: {task:?}\n")
    }

    #[test]
    fn a_storage_fault_stays_one_and_keeps_its_words() {
        let fault = DataFusionError::IoError(std::io::Error::other(
            "cannot read `s3://b/\"ä\".jpg`: connection reset",
        ));
        let wrapped = fault.context("while drinking tea");
        let expected = ClusterError::StorageFault {
            message: "cannot read `s3://b/\"ä\".jpg`: connection reset".into(),
        };
        assert_eq!(unmark(&as_the_scheduler_tells_it(wrapped)), expected);
    }

    #[test]
    fn a_marked_storage_fault_is_still_what_ballista_retries() {
        use ballista_core::serde::protobuf::FailedTask;
        let fault = DataFusionError::IoError(std::io::Error::other("connection reset"));
        let nested = BallistaError::DataFusionError(Box::new(fault)).into_datafusion();
        assert!(FailedTask::from(BallistaError::from(mark(nested))).retryable);
        let other = DataFusionError::Execution("no such model".into());
        assert!(!FailedTask::from(BallistaError::from(mark(other))).retryable);
    }

    #[test]
    fn a_full_disk_is_known_and_tried_elsewhere() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        for error in [
            DataFusionError::IoError(full()).context("writing"),
            DataFusionError::ArrowError(Box::new(ArrowError::IoError(String::new(), full())), None),
        ] {
            assert!(is_disk_full(&error));
            let told = unmark(&as_the_scheduler_tells_it(error));
            assert!(
                matches!(&told, ClusterError::StorageFault { message } if message.contains("is full")),
                "{told}"
            );
        }
        assert!(!is_disk_full(&DataFusionError::IoError(ErrorKind::ConnectionReset.into())));
    }

    #[test]
    fn other_errors_are_told_by_their_root_alone() {
        let failed = |message: &str| ClusterError::JobFailed { message: message.into() };
        let execution = DataFusionError::Execution("no such model".into()).context("embed");
        assert_eq!(unmark(&as_the_scheduler_tells_it(execution)), failed("no such model"));
        let external = DataFusionError::External("session failed".into());
        assert_eq!(unmark(&as_the_scheduler_tells_it(external)), failed("session failed"));
        assert_eq!(
            unmark("DataFusion error: Error during planning: no table `x`\nmore"),
            failed("no table `x`")
        );
        assert_eq!(unmark("Cancelled"), ClusterError::Cancelled);
    }
}
