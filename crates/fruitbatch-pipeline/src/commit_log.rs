//! The commit log: what runs have committed to OUT, entry by entry.
//!
//! The log is one sequence of small JSON objects, `_fruitbatch/log/00000000000000000001.json` and so on. Every entry,
//! claims included, is a put-if-absent at the next number, so of two drivers that write to one OUT exactly one wins each
//! number, and the other learns that it has been superseded before it can commit anything else. Nothing is ever changed
//! or removed from it.
//!
//! Replaying the entries gives the [`LogState`]: who holds OUT, the features parts that count, and the photos booked as
//! failed. A part that no entry names does not exist, whatever lies in the folder.
//!
//! # Why this is enough
//! A driver acts for the claim it has won, the entry with which it took OUT over. Once a later claim is in the log,
//! * it can't commit: the number it would write is taken, by that claim or by what came after it;
//! * it can't harm the later driver's parts: a part's name holds the number of the claim it was written for, no two
//!   drivers ever write the same name, and a driver clears away only parts of claims before its own that no entry names.
//!   No entry will ever name those again;
//! * it can't harm the outputs, which alone have names that are written more than once: they are written on the condition
//!   that they still are what the driver saw before it made sure that its claim is the latest.
//!
//! Clocks and heartbeats ([`claim`](crate::claim)) only decide when a driver tries to take over, never whether it may.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use fruitbatch_storage::{OutputStore, PutOutcome};
use serde::{Deserialize, Serialize};

use crate::claim::ProcessIdentity;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::retries::Retries;

/// The folder below OUT that is the pipeline's own.
pub const OWN_FOLDER: &str = "_fruitbatch";
/// The folder of the log's entries, below OUT.
const LOG_FOLDER: &str = "_fruitbatch/log";
/// Version of the entries' format; an entry of another version is refused.
const LOG_VERSION: u32 = 2;

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
    /// The kernels that made them (see [`fruitbatch_vision::ModelSessions::kernel_path`]), one for all unless a fleet was mixed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kernel_paths: BTreeSet<String>,
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

/// With what a driver takes OUT over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Random identity of the driver's run.
    pub run_id: String,
    /// The driver's host name, for people.
    pub host: String,
    /// The driver's process, where its system tells processes apart for good.
    pub process: Option<ProcessIdentity>,
    /// When the claim was made (UTC, RFC 3339); for people, never for a decision.
    pub at: String,
    /// What the features of this OUT are.
    pub features: FeatureIdentity,
    /// Everything the run was told, so that it can be gone on with from OUT alone. Holds no secret.
    pub config: Box<RunConfig>,
    /// Whether nothing that was committed before counts any more (`--overwrite`).
    pub starts_over: bool,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LogEntry {
    /// A driver takes OUT over. Whoever wrote before finds the next number taken and stops.
    Claim(Claim),
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
    /// The driver that holds OUT is done with it: nobody needs to wait for it.
    Release {
        /// Whether its outputs are complete; otherwise it stopped before.
        complete: bool,
    },
}

#[derive(Serialize, Deserialize)]
struct VersionedEntry {
    version: u32,
    #[serde(flatten)]
    entry: LogEntry,
}

/// A claim and its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedClaim {
    /// The number of its entry.
    pub number: u64,
    /// The claim.
    pub claim: Claim,
}

/// What the entries add up to.
#[derive(Debug, Clone, Default)]
pub struct LogState {
    /// The latest claim; none before the first.
    pub claim: Option<NumberedClaim>,
    /// Set once the driver of the latest claim has let go of OUT: whether its outputs were complete.
    pub released: Option<bool>,
    /// Whether some run has completed its outputs, since OUT was last started over.
    pub completed_before: bool,
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
        let failures = self.failures.values().map(|failure| (failure.path.as_str(), failure.etag.as_str()));
        self.rows().map(|photo| (photo.0.as_str(), photo.1.as_str())).chain(failures).collect()
    }

    /// The photos whose rows are committed.
    pub fn rows(&self) -> impl Iterator<Item = &PhotoVersion> {
        self.parts.values().flat_map(|part| &part.photos)
    }

    /// Whether anything is committed: rows or failures.
    pub fn has_features(&self) -> bool {
        !self.parts.is_empty() || !self.failures.is_empty()
    }

    /// The kernels that made the rows.
    pub fn kernel_paths(&self) -> BTreeSet<&str> {
        self.parts.values().flat_map(|part| part.kernel_paths.iter().map(String::as_str)).collect()
    }

    /// The driver that holds OUT, unless it has let go of it.
    pub fn holder(&self) -> Option<&NumberedClaim> {
        self.claim.as_ref().filter(|_| self.released.is_none())
    }

    /// What the entries up to a run's claim add up to, from their texts in order.
    #[cfg(test)]
    pub(crate) fn replay_until_claim<'a>(entries: impl Iterator<Item = &'a [u8]>, run_id: &str) -> Self {
        let mut state = Self::default();
        for (number, text) in (1..).zip(entries) {
            let versioned: VersionedEntry = serde_json::from_slice(text).expect("the entry is whole");
            let is_claim = matches!(&versioned.entry, LogEntry::Claim(claim) if claim.run_id == run_id);
            state.apply(number, versioned.entry);
            if is_claim {
                break;
            }
        }
        state
    }

    fn apply(&mut self, number: u64, entry: LogEntry) {
        match entry {
            LogEntry::Claim(claim) => {
                if claim.starts_over {
                    // The outputs still lie there, to be replaced or deleted.
                    *self = Self { outputs: std::mem::take(&mut self.outputs), ..Self::default() };
                }
                self.claim = Some(NumberedClaim { number, claim });
                self.released = None;
            }
            LogEntry::Chunk { part, failures } => {
                if let Some(part) = part {
                    // Photos that had failed and were tried again with success.
                    for photo in &part.photos {
                        self.failures.remove(&photo.0);
                    }
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
            LogEntry::Release { complete } => {
                self.released = Some(complete);
                self.completed_before |= complete;
            }
        }
    }
}

/// The log of one OUT, opened for appending.
#[derive(Debug)]
pub struct CommitLog {
    store: OutputStore,
    retries: Retries,
    next_number: u64,
    state: LogState,
}

impl CommitLog {
    /// Reads all entries of OUT's log.
    ///
    /// # Errors
    /// Storage errors, and [`RunError::CorruptLog`] for a gap in the sequence or an entry that can't be read.
    pub async fn open(store: OutputStore) -> Result<Self, RunError> {
        Self::open_with(store, Retries::default()).await
    }

    pub(crate) async fn open_with(store: OutputStore, retries: Retries) -> Result<Self, RunError> {
        let mut log = Self { store, retries, next_number: 1, state: LogState::default() };
        log.read_on().await?;
        Ok(log)
    }

    /// Reads the entries that others have written meanwhile; whether there were any.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn read_on(&mut self) -> Result<bool, RunError> {
        let known = self.next_number;
        let mut files: Vec<String> =
            self.store.list(LOG_FOLDER).await?.into_iter().map(|file| file.path).collect();
        files.sort();
        let first_new = entry_file(known);
        for file in files.into_iter().skip_while(|file| *file < first_new) {
            if file != entry_file(self.next_number) {
                return Err(RunError::CorruptLog {
                    file,
                    detail: format!("entry {} was expected here", self.next_number),
                });
            }
            let entry = read_entry(&self.store, &file).await?;
            self.state.apply(self.next_number, entry);
            self.next_number += 1;
        }
        Ok(self.next_number > known)
    }

    /// What has been committed so far.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Whether OUT has never been written to by a run.
    pub fn is_empty(&self) -> bool {
        self.next_number == 1
    }

    /// The number that the next entry will have.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The file of the latest claim.
    pub(crate) fn claim_file(&self) -> Option<String> {
        self.state.claim.as_ref().map(|claim| entry_file(claim.number))
    }

    /// A name for a part that nobody else will ever write: that of the latest claim and of the next entry.
    pub(crate) fn next_part(&self) -> PartName {
        PartName { claim: self.state.claim.as_ref().map_or(0, |claim| claim.number), entry: self.next_number }
    }

    /// Commits one entry. Once this returns, the entry holds whatever happens.
    ///
    /// # Errors
    /// [`RunError::Superseded`] if another driver has written the number meanwhile: this driver must stop. After any
    /// other error it is open whether the entry holds; opening the log again tells.
    pub async fn append(&mut self, entry: LogEntry) -> Result<(), RunError> {
        let file = entry_file(self.next_number);
        let text = Bytes::from(
            serde_json::to_vec(&VersionedEntry { version: LOG_VERSION, entry: entry.clone() })
                .expect("a log entry holds nothing that JSON can't say"),
        );
        let outcome = self.retries.run(|| self.store.put_if_absent(&file, text.clone())).await?;
        if outcome == PutOutcome::AlreadyExists {
            // A first attempt of ours may have got through while its answer was lost. No two drivers ever write the same
            // entry at one number: the first thing that a driver writes is its claim, which holds its random identity.
            let there = self.retries.run(|| self.store.get(&file)).await?;
            if there.as_ref() != Some(&text) {
                return Err(superseded_by(there.as_deref()));
            }
        }
        self.state.apply(self.next_number, entry);
        self.next_number += 1;
        Ok(())
    }

    /// Makes sure that nobody has taken OUT over.
    ///
    /// # Errors
    /// [`RunError::Superseded`] if somebody has.
    pub async fn check_held(&self) -> Result<(), RunError> {
        let file = entry_file(self.next_number);
        match self.retries.run(|| self.store.get(&file)).await? {
            None => Ok(()),
            Some(entry) => Err(superseded_by(Some(&entry))),
        }
    }
}

/// The numbers in a part's file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartName {
    /// The claim it was written for.
    pub(crate) claim: u64,
    /// The entry that names it, if it was committed.
    pub(crate) entry: u64,
}

impl PartName {
    /// `part-00001-00002.parquet`.
    pub(crate) fn file_name(self) -> String {
        format!("part-{:05}-{:05}.parquet", self.claim, self.entry)
    }

    /// The reverse of [`file_name`](Self::file_name); none for any other name.
    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let numbers = file_name.strip_prefix("part-")?.strip_suffix(".parquet")?;
        let (claim, entry) = numbers.split_once('-')?;
        let name = Self { claim: claim.parse().ok()?, entry: entry.parse().ok()? };
        (name.file_name() == file_name).then_some(name)
    }
}

fn entry_file(number: u64) -> String {
    format!("{LOG_FOLDER}/{number:020}.json")
}

/// Who wrote the entry that this driver wanted to write.
fn superseded_by(entry: Option<&[u8]>) -> RunError {
    let claim = entry.and_then(|text| serde_json::from_slice::<VersionedEntry>(text).ok());
    let by = match claim {
        Some(VersionedEntry { entry: LogEntry::Claim(claim), .. }) => {
            format!("by a run on {} at {}", claim.host, claim.at)
        }
        _ => "by another run".to_owned(),
    };
    RunError::Superseded { by }
}

async fn read_entry(store: &OutputStore, file: &str) -> Result<LogEntry, RunError> {
    let corrupt = |detail: String| RunError::CorruptLog { file: file.to_owned(), detail };
    let text = store.get(file).await?.ok_or_else(|| corrupt("it was listed but can't be read".to_owned()))?;
    // Its version first: an entry of another version may look different in every other way.
    let version: EntryVersion = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if version.version != LOG_VERSION {
        return Err(corrupt(format!(
            "its format is version {}, this program reads version {LOG_VERSION}",
            version.version
        )));
    }
    let versioned: VersionedEntry =
        serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    Ok(versioned.entry)
}

#[derive(Deserialize)]
struct EntryVersion {
    version: u32,
}

#[cfg(test)]
mod tests {
    use fruitbatch_storage::{Location, Storage, StorageOptions};
    use rand::{Rng, SeedableRng};

    use super::*;

    async fn store(folder: &tempfile::TempDir) -> OutputStore {
        let location = Location::from_path(folder.path()).expect("a temp dir is a place");
        Storage::new(StorageOptions::default()).output(&location).await.expect("can be opened")
    }

    fn claim(run_id: &str, starts_over: bool) -> LogEntry {
        LogEntry::Claim(Claim {
            run_id: run_id.to_owned(),
            host: "here".to_owned(),
            process: None,
            at: "2026-01-01T00:00:00Z".to_owned(),
            features: FeatureIdentity { input: "in".to_owned(), embedding: "e".to_owned() },
            config: Box::default(),
            starts_over,
        })
    }

    fn chunk(file: &str, path: &str) -> LogEntry {
        let photos = vec![PhotoVersion(path.to_owned(), "etag".to_owned())];
        LogEntry::Chunk {
            part: Some(PartRecord {
                file: file.to_owned(),
                sha256: String::new(),
                photos,
                kernel_paths: BTreeSet::new(),
            }),
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
                kernel_paths: BTreeSet::new(),
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
        assert!(matches!(first.check_held().await, Err(RunError::Superseded { .. })));
        second.check_held().await.expect("the latest claim holds");
        let refused = first.append(chunk("features/part-00002.parquet", "1.jpg")).await;
        assert!(matches!(&refused, Err(RunError::Superseded { by }) if by.contains("here")), "{refused:?}");
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
            entry.replace("\"version\":2", "\"version\":3"),
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

    /// Whatever stands in an entry's file, reading it ends in an entry or in an error that names the file.
    #[tokio::test]
    async fn damaged_entries_never_do_harm() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let store = store(&folder).await;
        let mut log = CommitLog::open(store.clone()).await.expect("opens");
        log.append(claim("a", false)).await.expect("commits");
        log.append(chunk("features/part-00001-00002.parquet", "1.jpg")).await.expect("commits");
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        for _ in 0..500 {
            let file = folder.path().join(entry_file(random.gen_range(1..=2)));
            let whole = std::fs::read(&file).expect("is there");
            let mut damaged = whole.clone();
            for _ in 0..random.gen_range(1..4) {
                let place = random.gen_range(0..damaged.len());
                match random.gen_range(0..3) {
                    0 => damaged[place] ^= 1 << random.gen_range(0..8),
                    1 => damaged.truncate(place.max(1)),
                    _ => damaged.insert(place, damaged[place]),
                }
            }
            std::fs::write(&file, damaged).expect("writes");
            if let Err(error) = CommitLog::open(store.clone()).await {
                assert!(
                    matches!(&error, RunError::CorruptLog { file, .. } if file.contains("/log/")),
                    "{error}"
                );
            }
            std::fs::write(&file, whole).expect("writes");
        }
        assert_eq!(CommitLog::open(store).await.expect("opens").next_number(), 3);
    }

    #[tokio::test]
    async fn an_entry_whose_answer_was_lost_is_ones_own() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let store = store(&folder).await;
        let mut log = CommitLog::open(store.clone()).await.expect("opens");
        let mut first_attempt = CommitLog::open(store.clone()).await.expect("opens");
        first_attempt.append(claim("a", false)).await.expect("commits");
        log.append(claim("a", false)).await.expect("the entry that is there is the very same");
        assert_eq!(log.next_number(), 2);
    }

    #[test]
    fn a_retried_photo_is_no_failure_any_more() {
        let failure = FailureRecord {
            path: "1.jpg".to_owned(),
            etag: "etag".to_owned(),
            stage: "read".to_owned(),
            reason: "archived".to_owned(),
            detail: String::new(),
        };
        let mut state = LogState::default();
        state.apply(1, LogEntry::Chunk { part: None, failures: vec![failure] });
        state.apply(2, chunk("features/part-00001-00002.parquet", "1.jpg"));
        assert!(state.failures.is_empty());
        assert_eq!(state.committed().len(), 1);
    }

    #[test]
    fn part_names_hold_their_numbers() {
        let name = PartName { claim: 3, entry: 123_456 };
        assert_eq!(name.file_name(), "part-00003-123456.parquet");
        assert_eq!(PartName::parse(&name.file_name()), Some(name));
        for other in ["part-00001.parquet", "part-1-2.parquet", "part-00001-00002.csv", "mine.parquet"] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
