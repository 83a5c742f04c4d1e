//! The commit log: appending a chunk's entry, and reading a long log again, in memory and on a disk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use fruitbatch_pipeline::commit_log::{
    Claim, CommitLog, FeatureIdentity, LogEntry, PartRecord, PhotoVersion,
};
use fruitbatch_storage::{Location, OutputStore, Storage, StorageOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

mod common;

/// Chunks in a log.
const CHUNKS: u64 = 1_000;
/// Photos in a chunk.
const PHOTOS_PER_CHUNK: u64 = 100;

/// Where a log lies.
#[derive(Clone, Copy)]
enum Place {
    Memory,
    Disk,
}

/// A store of a benchmark's own, empty at first; on a disk it goes with its folder.
struct ScratchStore {
    store: OutputStore,
    folder: Option<TempDir>,
}

fn main() {
    let mut criterion = common::criterion();
    let runtime = Runtime::new().expect("threads can be started");
    for (name, place) in [("memory", Place::Memory), ("disk", Place::Disk)] {
        appending(&mut criterion, &runtime, name, place);
        opening(&mut criterion, &runtime, name, place);
    }
    criterion.final_summary();
}

fn appending(criterion: &mut Criterion, runtime: &Runtime, name: &str, place: Place) {
    let mut group = criterion.benchmark_group("commit_log/append");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|appends| {
            let mut spent = Duration::ZERO;
            let mut left = appends;
            while left > 0 {
                let chunks = left.min(CHUNKS);
                spent += runtime.block_on(time_of_appending(place, chunks));
                left -= chunks;
            }
            spent
        });
    });
    group.finish();
}

fn opening(criterion: &mut Criterion, runtime: &Runtime, name: &str, place: Place) {
    let mut group = criterion.benchmark_group("commit_log/open");
    group.sample_size(10);
    group.throughput(Throughput::Elements(CHUNKS));
    let written = runtime.block_on(async {
        let written = ScratchStore::new(place).await;
        let mut log = claimed_log(&written.store).await;
        for number in 0..CHUNKS {
            log.append(chunk(number)).await.expect("nobody else writes to this log");
        }
        written
    });
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let log = runtime.block_on(CommitLog::open(written.store.clone())).expect("the log is whole");
            assert_eq!(log.state().parts.len() as u64, CHUNKS);
            log
        });
    });
    group.finish();
    written.remove();
}

/// How long it takes to append so many chunks to a log that holds a claim alone.
async fn time_of_appending(place: Place, chunks: u64) -> Duration {
    let scratch = ScratchStore::new(place).await;
    let mut log = claimed_log(&scratch.store).await;
    let entries: Vec<LogEntry> = (0..chunks).map(chunk).collect();
    let began = Instant::now();
    for entry in entries {
        log.append(entry).await.expect("nobody else writes to this log");
    }
    let took = began.elapsed();
    scratch.remove();
    took
}

impl ScratchStore {
    async fn new(place: Place) -> Self {
        match place {
            Place::Memory => Self { store: OutputStore::in_memory(), folder: None },
            Place::Disk => {
                let folder = tempfile::tempdir().expect("a temporary folder can be made");
                let location = Location::from_path(folder.path()).expect("a temporary folder is a place");
                let storage = Storage::new(StorageOptions::default());
                let store = storage.output(&location).await.expect("a local folder can always be named");
                Self { store, folder: Some(folder) }
            }
        }
    }

    fn remove(self) {
        if let Some(folder) = self.folder {
            folder.close().expect("the folder is ours");
        }
    }
}

async fn claimed_log(store: &OutputStore) -> CommitLog {
    let mut log = CommitLog::open(store.clone()).await.expect("an empty log can be opened");
    let claim = Claim {
        run_id: "benchmark".to_owned(),
        host: "here".to_owned(),
        process: None,
        at: "2026-01-01T00:00:00Z".to_owned(),
        features: FeatureIdentity { input: "photos".to_owned(), embedding: "none".to_owned() },
        config: Box::default(),
        starts_over: false,
    };
    log.append(LogEntry::Claim(claim)).await.expect("nobody else writes to this log");
    log
}

/// A chunk whose photos all gave features.
fn chunk(number: u64) -> LogEntry {
    let photos = (0..PHOTOS_PER_CHUNK).map(|photo| {
        let photo = number * PHOTOS_PER_CHUNK + photo;
        PhotoVersion(format!("Apple Braeburn/{photo:08}_100.jpg"), format!("{photo:032x}"))
    });
    let part = PartRecord {
        file: format!("features/part-00001-{number:05}.parquet"),
        sha256: "0".repeat(64),
        photos: photos.collect(),
        kernel_paths: BTreeSet::from(["x86_64-avx512 cpu winograd".to_owned()]),
    };
    LogEntry::Chunk { part: Some(part), failures: Vec::new() }
}
