//! The table `images` over a folder: its listing alone, and with every photo's bytes.

use std::sync::Arc;

use criterion::{Criterion, Throughput};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::{SessionConfig, SessionContext};
use fruitbatch_samples::{SampleOptions, draw_in_memory};
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::{ListOptions, Location, Storage, StorageOptions};
use tempfile::TempDir;

mod common;

/// Photos in the folder.
const PHOTOS: usize = 1_000;

fn main() {
    let mut criterion = common::criterion();
    scanning(&mut criterion);
    criterion.final_summary();
}

fn scanning(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let folder = folder_of_photos();
    let session = runtime.block_on(session_over(&folder));
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(PHOTOS as u64));
    for (name, query) in
        [("listing", "SELECT path, etag FROM images"), ("content", "SELECT path, content FROM images")]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let rows = runtime.block_on(count_rows(&session, query));
                assert_eq!(rows, PHOTOS);
            });
        });
    }
    group.finish();
}

/// [`PHOTOS`] files of 100x100 pixels in a folder a label.
fn folder_of_photos() -> TempDir {
    let options = SampleOptions { per_label: 25, ..SampleOptions::default() };
    let drawn = draw_in_memory(&options).expect("so many can be drawn");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for (number, photo) in (0..PHOTOS).zip(drawn.iter().cycle()) {
        let label = folder.path().join(photo.label);
        std::fs::create_dir_all(&label).expect("the folder is ours");
        std::fs::write(label.join(format!("{number:04}.jpg")), &photo.jpeg).expect("the folder is ours");
    }
    folder
}

async fn session_over(folder: &TempDir) -> SessionContext {
    let root = Location::from_path(folder.path()).expect("a temporary folder is a place");
    let storage = StorageOptions::default();
    let listing = Storage::new(storage.clone())
        .list(&root, &ListOptions::default())
        .await
        .expect("the folder can be listed");
    let photos = listing.photos.into_iter().map(ImageRow::from);
    let table = ImageTable::new(listing.root, storage, photos.collect(), ScanOptions::default());
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    session.register_table("images", Arc::new(table)).expect("no other table has that name");
    session
}

async fn count_rows(session: &SessionContext, query: &str) -> usize {
    let frame = session.sql(query).await.expect("the query can be planned");
    let batches = frame.collect().await.expect("the photos can be read");
    batches.iter().map(RecordBatch::num_rows).sum()
}
