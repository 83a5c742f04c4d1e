//! Writing and removing the outputs: the only files of OUT whose names are written more than once.
//!
//! A driver that was superseded in its sleep must not put its outputs over its successor's when it wakes up. So every
//! write and every removal goes in three steps: note the file's version, make sure that OUT is still held, and write on
//! the condition that the version is still the same. A successor's write between the first step and the last changes
//! the version, and one before the first step is seen by the second, for its claim came before its write.
//!
//! (In S3 a version is the digest of the content. A driver could thus be fooled by a successor that wrote, all while it
//! slept inside the last step, the very bytes that had been there before. `_SUCCESS` would show it: its digests then
//! differ from what lies there.)

use bytes::Bytes;
use fruitbatch_storage::{Conditional, OutputStore};

use crate::commit_log::CommitLog;
use crate::error::RunError;
use crate::retries::Retries;

/// Only a driver that has been superseded writes in between, once.
const MOST_ROUNDS: usize = 10;

/// Writes outputs for the driver that holds OUT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publisher<'a> {
    pub(crate) store: &'a OutputStore,
    pub(crate) retries: Retries,
}

impl Publisher<'_> {
    /// Writes an output, over the one that is there.
    pub(crate) async fn put(&self, log: &CommitLog, file: &str, content: &Bytes) -> Result<(), RunError> {
        for _ in 0..MOST_ROUNDS {
            let version = self.retries.run(|| self.store.version(file)).await?;
            log.check_held().await?;
            let written =
                self.retries.run(|| self.store.put_if_match(file, version.as_ref(), content.clone())).await?;
            if written == Conditional::Done {
                return Ok(());
            }
            // The answer to a first attempt may have been lost.
            if self.retries.run(|| self.store.get(file)).await?.as_ref() == Some(content) {
                return Ok(());
            }
        }
        Err(RunError::OutputContested { file: self.store.uri(file) })
    }

    /// Removes an output; that there is none is no error.
    pub(crate) async fn remove(&self, log: &CommitLog, file: &str) -> Result<(), RunError> {
        for _ in 0..MOST_ROUNDS {
            let Some(version) = self.retries.run(|| self.store.version(file)).await? else { return Ok(()) };
            log.check_held().await?;
            let removed = self.retries.run(|| self.store.delete_if_match(file, &version)).await?;
            if removed == Conditional::Done {
                return Ok(());
            }
        }
        Err(RunError::OutputContested { file: self.store.uri(file) })
    }
}
