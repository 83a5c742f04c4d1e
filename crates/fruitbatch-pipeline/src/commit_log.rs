//! The commit log: what a run has committed to OUT, entry by entry.
//!
//! The log is one sequence of small JSON objects, `_fruitbatch/log/00000000000000000001.json` and so on. Every entry is a
//! put-if-absent at the next number, so of two drivers that write to one OUT exactly one wins each number, and the other
//! learns that it has been superseded before it can commit anything else. Nothing is ever changed or removed from it.
//!
//! Replaying the entries gives the [`LogState`]: the features parts that count, and the photos booked as failed. A part
//! that no entry names does not exist, whatever lies in the folder.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use fruitbatch_storage::{OutputStore, PutOutcome};
use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// The folder below OUT that is the pipeline's own.
pub const OWN_FOLDER: &str = "_fruitbatch";
/// The folder of the log's entries, below OUT.
const LOG_FOLDER: &str = "_fruitbatch/log";
/// Version of the entries' format; an entry of another version is refused.
const LOG_VERSION: u32 = 1;

/// A photo that could not be used: one row of `failures.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureRecord {
    /// The photo's path relative to INPUT.
    pub path: String,
    /// The etag under which the photo was listed: another version of the photo is tried anew.
    pub etag: String,
    /// `read` or `decode`: where the photo fell out.
    pub stage: String,
    /// Why, as a word of a closed set (`empty`, `not-an-image`, `truncated`, `vanished`, ...).
    pub reason: String,
    /// What happened, in words.
    pub detail: String,
}

/// A features part that has been written: Parquet rows for some photos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartRecord {
    /// Where the part lies, relative to OUT.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The photos whose rows it holds, path and etag: resuming needs the log alone, not the parts.
    pub photos: Vec<PhotoVersion>,
}

/// A photo as it was when it was listed: path and etag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PhotoVersion(pub String, pub String);

/// What makes features comparable: two runs on one OUT must agree on all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureIdentity {
    /// The root the photos' paths are relative to.
    pub input: String,
    /// The canonical text of the embedding: model digest, size, resize, pooling, precision and so on.
    pub embedding: String,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LogEntry {
    /// A driver takes OUT over. Whoever wrote before finds the next number taken and stops.
    Claim {
        /// Random identity of the driver's run.
        run_id: String,
        /// The driver's host name, for people.
        host: String,
        /// When the claim was made (UTC, RFC 3339); for people, never for a decision.
        at: String,
        /// What the features of this OUT are.
        features: FeatureIdentity,
        /// Whether nothing that was committed before counts any more (`--overwrite`).
        starts_over: bool,
    },
    /// A chunk of photos is done: its rows lie in `part`, the rest are `failures`.
    Chunk {
        /// The part with the rows; none if every photo of the chunk failed.
        part: Option<PartRecord>,
        /// The photos that could not be used.
        failures: Vec<FailureRecord>,
    },
    /// Rows were laid out anew (the selection or the labels changed): `removed` parts no longer count, `added` ones do.
    Rewrite {
        /// Files that no longer count.
        removed: Vec<String>,
        /// Files that count instead.
        added: Vec<PartRecord>,
    },
    /// The outputs named here are about to be written.
    Publish {
        /// The outputs' files, relative to OUT.
        files: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct VersionedEntry {
    version: u32,
    #[serde(flatten)]
    entry: LogEntry,
}

/// What the entries add up to.
#[derive(Debug, Clone, Default)]
pub struct LogState {
    /// What the features of this OUT are; none before the first claim.
    pub features: Option<FeatureIdentity>,
    /// The parts that count, by file.
    pub parts: BTreeMap<String, PartRecord>,
    /// The photos booked as failed, by path.
    pub failures: BTreeMap<String, FailureRecord>,
    /// The outputs that a run has written or was about to write.
    pub outputs: BTreeSet<String>,
}

impl LogState {
    /// Path and etag of every photo that is done: its row committed or its failure booked.
    pub fn committed(&self) -> HashSet<(&str, &str)> {
        let rows = self
            .parts
            .values()
            .flat_map(|part| &part.photos)
            .map(|photo| (photo.0.as_str(), photo.1.as_str()));
        let failures = self.failures.values().map(|failure| (failure.path.as_str(), failure.etag.as_str()));
        rows.chain(failures).collect()
    }

    fn apply(&mut self, entry: LogEntry) {
        match entry {
            LogEntry::Claim { features, starts_over, .. } => {
                if starts_over {
                    *self = Self::default();
                }
                self.features = Some(features);
            }
            LogEntry::Chunk { part, failures } => {
                if let Some(part) = part {
                    self.parts.insert(part.file.clone(), part);
                }
                for failure in failures {
                    self.failures.insert(failure.path.clone(), failure);
                }
            }
            LogEntry::Rewrite { removed, added } => {
                for file in removed {
                    self.parts.remove(&file);
                }
                for part in added {
                    self.parts.insert(part.file.clone(), part);
                }
            }
            LogEntry::Publish { files } => self.outputs.extend(files),
        }
    }
}

/// The log of one OUT, opened for appending.
#[derive(Debug)]
pub struct CommitLog {
    store: OutputStore,
    next_number: u64,
    state: LogState,
}

impl CommitLog {
    /// Reads all entries of OUT's log.
    ///
    /// # Errors
    /// Storage errors, and [`RunError::CorruptLog`] for a gap in the sequence or an entry that can't be read.
    pub async fn open(store: OutputStore) -> Result<Self, RunError> {
        let mut files: Vec<String> =
            store.list(LOG_FOLDER).await?.into_iter().map(|file| file.path).collect();
        files.sort();
        let mut state = LogState::default();
        let mut next_number = 1;
        for file in files {
            if file != entry_file(next_number) {
                return Err(RunError::CorruptLog {
                    file,
                    detail: format!("entry {next_number} was expected here"),
                });
            }
            state.apply(read_entry(&store, &file).await?);
            next_number += 1;
        }
        Ok(Self { store, next_number, state })
    }

    /// What has been committed so far.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Whether OUT has never been written to by a run.
    pub fn is_empty(&self) -> bool {
        self.next_number == 1
    }

    /// The number that the next entry will have; parts are named by it, so no two parts ever share a name.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Commits one entry. Once this returns, the entry holds whatever happens.
    ///
    /// # Errors
    /// [`RunError::Superseded`] if another driver has written the number meanwhile: this driver must stop.
    pub async fn append(&mut self, entry: LogEntry) -> Result<(), RunError> {
        let file = entry_file(self.next_number);
        let text = serde_json::to_vec(&VersionedEntry { version: LOG_VERSION, entry: entry.clone() })
            .expect("a log entry holds nothing that JSON can't say");
        match self.store.put_if_absent(&file, Bytes::from(text)).await? {
            PutOutcome::Created => {
                self.next_number += 1;
                self.state.apply(entry);
                Ok(())
            }
            PutOutcome::AlreadyExists => Err(RunError::Superseded { file }),
        }
    }
}

fn entry_file(number: u64) -> String {
    format!("{LOG_FOLDER}/{number:020}.json")
}

async fn read_entry(store: &OutputStore, file: &str) -> Result<LogEntry, RunError> {
    let corrupt = |detail: String| RunError::CorruptLog { file: file.to_owned(), detail };
    let text = store.get(file).await?.ok_or_else(|| corrupt("it was listed but can't be read".to_owned()))?;
    let versioned: VersionedEntry =
        serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if versioned.version != LOG_VERSION {
        return Err(corrupt(format!(
            "its format is version {}, this program reads version {LOG_VERSION}",
            versioned.version
        )));
    }
    Ok(versioned.entry)
}

#[cfg(test)]
mod tests {
    use fruitbatch_storage::{Location, Storage, StorageOptions};

    use super::*;

    async fn store(folder: &tempfile::TempDir) -> OutputStore {
        let location = Location::from_path(folder.path()).expect("a temp dir is a place");
        Storage::new(StorageOptions::default()).output(&location).await.expect("can be opened")
    }

    fn claim(run_id: &str, starts_over: bool) -> LogEntry {
        LogEntry::Claim {
            run_id: run_id.to_owned(),
            host: "here".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
            features: FeatureIdentity { input: "in".to_owned(), embedding: "e".to_owned() },
            starts_over,
        }
    }

    fn chunk(file: &str, path: &str) -> LogEntry {
        let photos = vec![PhotoVersion(path.to_owned(), "etag".to_owned())];
        LogEntry::Chunk {
            part: Some(PartRecord { file: file.to_owned(), sha256: String::new(), photos }),
            failures: Vec::new(),
        }
    }

    #[tokio::test]
    async fn what_was_appended_is_there_after_opening_again() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let store = store(&folder).await;
        let mut log = CommitLog::open(store.clone()).await.expect("opens");
        assert!(log.is_empty());
        log.append(claim("a", false)).await.expect("commits");
        log.append(chunk("features/part-00002.parquet", "1.jpg")).await.expect("commits");
        log.append(LogEntry::Rewrite {
            removed: vec!["features/part-00002.parquet".to_owned()],
            added: vec![PartRecord {
                file: "features/part-00003.parquet".to_owned(),
                sha256: String::new(),
                photos: vec![PhotoVersion("2.jpg".to_owned(), "etag".to_owned())],
            }],
        })
        .await
        .expect("commits");
        let again = CommitLog::open(store.clone()).await.expect("opens");
        assert_eq!(again.next_number(), 4);
        assert_eq!(again.state().committed(), HashSet::from([("2.jpg", "etag")]));

        log.append(claim("b", true)).await.expect("commits");
        assert!(log.state().committed().is_empty(), "a run that starts over forgets what was committed");
    }

    #[tokio::test]
    async fn of_two_drivers_the_later_claim_wins() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let store = store(&folder).await;
        let mut first = CommitLog::open(store.clone()).await.expect("opens");
        first.append(claim("first", false)).await.expect("commits");
        let mut second = CommitLog::open(store.clone()).await.expect("opens");
        second.append(claim("second", false)).await.expect("commits");
        let refused = first.append(chunk("features/part-00002.parquet", "1.jpg")).await;
        assert!(matches!(refused, Err(RunError::Superseded { .. })), "{refused:?}");
        assert!(CommitLog::open(store).await.expect("opens").state().parts.is_empty());
    }

    #[tokio::test]
    async fn a_log_with_a_gap_or_garbage_is_refused() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let store = store(&folder).await;
        let mut log = CommitLog::open(store.clone()).await.expect("opens");
        for run_id in ["a", "b", "c"] {
            log.append(claim(run_id, false)).await.expect("commits");
        }
        let second = folder.path().join(entry_file(2));
        let entry = std::fs::read_to_string(&second).expect("is there");
        for damaged in [
            entry.replace("\"version\":1", "\"version\":2"),
            entry[..entry.len() / 2].to_owned(),
            String::new(),
        ] {
            std::fs::write(&second, damaged).expect("writes");
            let opened = CommitLog::open(store.clone()).await;
            assert!(
                matches!(&opened, Err(RunError::CorruptLog { file, .. }) if file.contains("2.json")),
                "{opened:?}"
            );
        }
        std::fs::remove_file(&second).expect("can be removed");
        assert!(matches!(CommitLog::open(store).await, Err(RunError::CorruptLog { .. })));
    }
}
