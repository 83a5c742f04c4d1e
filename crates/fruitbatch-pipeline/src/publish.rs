//! Writing and removing the outputs: the only files of OUT whose names are written more than once.
//!
//! A driver that was superseded in its sleep must not put its outputs over its successor's when it wakes up. So every
//! write and every removal goes in three steps: note the file's version, make sure that OUT is still held, and write on
//! the condition that the version is still the same. A successor's write between the first step and the last changes
//! the version, and one before the first step is seen by the second, for its claim came before its write.
//!
//! That a file isn't there has no version, though: a sleeper that was about to write a new file may still do so. A
//! successor writes over such a file, or doesn't mind it; only a `_SUCCESS` that comes back would say that outputs are whole
//! while they are being replaced. So this one is written under a name of the claim's own, and renamed once OUT is seen to be
//! held after that. A successor first removes the files of those names, and then `_SUCCESS`: whoever wakes up after that
//! has nothing to rename.
//!
//! (In S3 a version is the digest of the content. A driver could thus be fooled by a successor that wrote, all while it
//! slept inside the last step, the very bytes that had been there before. `_SUCCESS` would show it: its digests then
//! differ from what lies there.)

use bytes::Bytes;
use fruitbatch_storage::{Conditional, OutputStore};

use crate::commit_log::{CommitLog, OWN_FOLDER};
use crate::error::RunError;
use crate::outputs::SUCCESS;
use crate::retries::Retries;

/// Holds `_SUCCESS` before it has its name.
const STAGED_SUCCESS: &str = "success";
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

    /// Writes `_SUCCESS`: all outputs are whole now.
    pub(crate) async fn put_success(&self, log: &CommitLog, content: &Bytes) -> Result<(), RunError> {
        let staged = staged_success(log.next_part().claim);
        self.retries.run(|| self.store.put(&staged, content.clone())).await?;
        log.check_held().await?;
        let renamed = self.retries.run(|| self.store.rename(&staged, SUCCESS)).await?;
        // The answer to a first attempt may have been lost.
        if renamed == Conditional::Done
            || self.retries.run(|| self.store.get(SUCCESS)).await?.as_ref() == Some(content)
        {
            return Ok(());
        }
        // Only a successor removes what was staged.
        log.check_held().await?;
        Err(RunError::OutputContested { file: self.store.uri(SUCCESS) })
    }

    /// Takes `_SUCCESS` away, before the outputs change: no driver before this one can bring it back.
    pub(crate) async fn remove_success(&self, log: &CommitLog) -> Result<(), RunError> {
        let own = staged_success(log.next_part().claim);
        let folder = format!("{OWN_FOLDER}/{STAGED_SUCCESS}");
        for staged in self.retries.run(|| self.store.list(&folder)).await? {
            if staged.path < own {
                self.retries.run(|| self.store.delete(&staged.path)).await?;
            }
        }
        self.remove(log, SUCCESS).await
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

fn staged_success(claim_number: u64) -> String {
    format!("{OWN_FOLDER}/{STAGED_SUCCESS}/{claim_number:020}")
}
