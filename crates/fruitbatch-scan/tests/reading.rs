//! What reading gives, how much of it is under way, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::SessionContext;
use fruitbatch_scan::{ImageTable, ReadRuntime, ScanOptions, StorageFault, TaskStop};
use fruitbatch_testkit::s3_server::ReadFault;
use futures::{StreamExt, TryStreamExt};
use support::{PhotoBucket, PhotoFolder, photo_bytes, photo_path, session_with};
use tokio_util::sync::CancellationToken;

const SMALL: ScanOptions = ScanOptions {
    rows_per_partition: 1_000,
    read_concurrency: 2,
    batch_rows: 2,
    batch_bytes: 1 << 20,
    max_photo_bytes: 1 << 20,
};

async fn collect(table: ImageTable, query: &str) -> Vec<RecordBatch> {
    session_with(table).sql(query).await.unwrap().collect().await.unwrap()
}

fn contents(batches: &[RecordBatch]) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let (paths, contents) = (batch.column(0).as_string::<i32>(), batch.column(1).as_binary::<i32>());
        for row in 0..batch.num_rows() {
            let content = contents.is_valid(row).then(|| contents.value(row).to_vec());
            assert!(found.insert(paths.value(row).to_owned(), content).is_none(), "a path came twice");
        }
    }
    found
}

fn expected(count: usize) -> BTreeMap<String, Option<Vec<u8>>> {
    (0..count).map(|number| (photo_path(number), Some(photo_bytes(number)))).collect()
}

#[tokio::test]
async fn every_photo_comes_once_with_its_own_bytes() {
    let photos = PhotoFolder::with(101).await;
    for rows_per_partition in [1, 7, 100, 1_000] {
        for (batch_rows, read_concurrency) in [(1, 1), (8, 3), (50, 16)] {
            let options =
                ScanOptions { rows_per_partition, batch_rows, read_concurrency, ..ScanOptions::default() };
            let batches = collect(photos.table(options), "SELECT path, content FROM images").await;
            assert_eq!(contents(&batches), expected(101), "{options:?}");
        }
    }
}

#[tokio::test]
async fn photos_on_s3_come_with_their_own_bytes() {
    let photos = PhotoBucket::with(40).await;
    let batches = collect(photos.table(SMALL), "SELECT path, content FROM images").await;
    assert_eq!(contents(&batches), expected(40));
}

#[tokio::test]
async fn photos_that_a_filter_leaves_out_are_never_read() {
    let photos = PhotoBucket::with(30).await;
    let query = "SELECT path, content FROM images WHERE label = 'label 1'";
    let batches = collect(photos.table(SMALL), query).await;
    assert_eq!(contents(&batches).len(), 10);
    assert_eq!(photos.reads(), 10);
    assert_eq!(collect(photos.table(SMALL), "SELECT path, etag FROM images").await[0].num_rows(), 30);
    assert_eq!(photos.reads(), 10);
}

#[tokio::test]
async fn the_order_of_a_partition_is_that_of_the_listing() {
    let photos = PhotoFolder::with(60).await;
    let options = ScanOptions { rows_per_partition: 60, read_concurrency: 16, ..ScanOptions::default() };
    let batches = collect(photos.table(options), "SELECT path, content FROM images").await;
    let paths: Vec<&str> =
        batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
    assert!(paths.is_sorted(), "{paths:?}");
}

#[tokio::test]
async fn batches_are_capped_by_rows_and_by_bytes() {
    let photos = PhotoFolder::with(50).await;
    let by_rows = ScanOptions { batch_rows: 4, ..SMALL };
    for batch in collect(photos.table(by_rows), "SELECT path, content FROM images").await {
        assert!(batch.num_rows() <= 4);
    }
    let by_bytes = ScanOptions { batch_rows: 50, batch_bytes: 100, ..SMALL };
    let batches = collect(photos.table(by_bytes), "SELECT path, content FROM images").await;
    for batch in &batches {
        let bytes: usize = batch.column(1).as_binary::<i32>().iter().flatten().map(<[u8]>::len).sum();
        assert!(bytes <= 100 || batch.num_rows() == 1, "{bytes} bytes in {} rows", batch.num_rows());
    }
    assert!(batches.iter().any(|batch| batch.num_rows() > 1), "small photos share a batch");
    assert_eq!(contents(&batches), expected(50));
}

#[tokio::test]
async fn a_photo_that_cannot_be_read_is_a_row_with_a_reason() {
    let mut photos = PhotoFolder::with(6).await;
    let [vanished, changed, large] = [0, 1, 2].map(photo_path);
    std::fs::remove_file(photos.file(&vanished)).unwrap();
    std::fs::write(photos.file(&changed), b"another photo of another length entirely").unwrap();
    std::fs::write(photos.file(&large), vec![0; 2_000]).unwrap();
    for row in &mut photos.rows {
        // Without an etag any version will do; only one photo is known to have changed.
        if row.path != changed {
            row.etag.clear();
        }
    }

    let options = ScanOptions { max_photo_bytes: 1_000, ..SMALL };
    let query = "SELECT path, read_reason, read_detail, content FROM images ORDER BY path";
    let batches = collect(photos.table(options), query).await;
    let mut reasons = BTreeMap::new();
    for batch in &batches {
        let [paths, found, details] = [0, 1, 2].map(|column| batch.column(column).as_string::<i32>());
        let contents = batch.column(3);
        for row in 0..batch.num_rows() {
            assert_eq!(found.is_valid(row), contents.is_null(row), "{}", paths.value(row));
            assert_eq!(found.is_valid(row), details.is_valid(row), "{}", paths.value(row));
            if found.is_valid(row) {
                assert!(!details.value(row).is_empty());
                reasons.insert(paths.value(row).to_owned(), found.value(row).to_owned());
            }
        }
    }
    let expected = [(vanished, "vanished"), (changed, "changed"), (large, "too-large")];
    assert_eq!(reasons, expected.map(|(path, reason)| (path, reason.to_owned())).into());
}

#[tokio::test]
async fn a_fault_of_the_server_is_an_io_error_and_never_a_bad_photo() {
    let photos = PhotoBucket::with(5).await;
    let key = format!("all/{}", photo_path(3));
    photos.server.fail_reads("fruits", &key, ReadFault::ExpiredToken);
    let error =
        session_with(photos.table(SMALL)).sql("SELECT content FROM images").await.unwrap().collect().await;
    let error = error.unwrap_err();
    let DataFusionError::IoError(root) = error.find_root() else { panic!("not an I/O error: {error:?}") };
    let fault =
        root.get_ref().and_then(|inner| inner.downcast_ref::<StorageFault>()).expect("a storage fault");
    assert!(fault.message.contains("photo 00003.jpg"), "{fault}");

    photos.server.heal("fruits", &key);
    assert_eq!(
        contents(&collect(photos.table(SMALL), "SELECT path, content FROM images").await),
        expected(5)
    );
}

#[tokio::test]
async fn a_bucket_that_is_not_there_fails_the_job_for_good() {
    let photos = PhotoBucket::with(1).await;
    // Else the answer is that the bucket is none of ours, which says nothing of whether it is there.
    photos.server.allow_anonymous_reads("vegetables");
    let root = "s3://vegetables/all/".parse().unwrap();
    let table = ImageTable::new(root, photos.storage.clone(), photos.rows.clone(), SMALL);
    let error =
        session_with(table).sql("SELECT content FROM images").await.unwrap().collect().await.unwrap_err();
    assert!(!matches!(error.find_root(), DataFusionError::IoError(_)), "{error:?}");
}

async fn read_plan(session: &SessionContext) -> Arc<dyn ExecutionPlan> {
    let frame = session.sql("SELECT path, content FROM images").await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

/// Reads beyond what the consumer has taken: one batch ready, one being filled, and the photos on their way.
fn most_reads_ahead(options: &ScanOptions) -> usize {
    2 * options.batch_rows + options.read_concurrency
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_ahead_is_bounded_and_ends_when_the_stream_is_dropped() {
    let photos = PhotoBucket::with(400).await;
    let session = session_with(photos.table(SMALL));
    let mut stream = read_plan(&session).await.execute(0, session.task_ctx()).unwrap();
    for taken in 1..=20 {
        stream.next().await.unwrap().unwrap();
        let bound = taken * SMALL.batch_rows + most_reads_ahead(&SMALL);
        assert!(photos.reads() <= bound, "{} reads when {taken} batches were taken", photos.reads());
    }
    drop(stream);
    let bound = 20 * SMALL.batch_rows + most_reads_ahead(&SMALL);
    // Another whole query over the same connections: had the first one gone on, it would be through by now as well.
    assert_eq!(contents(&collect(photos.table(SMALL), "SELECT path, content FROM images").await).len(), 400);
    assert!(photos.reads() <= 400 + bound, "{} reads", photos.reads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn reading_goes_on_while_the_consumer_computes() {
    let photos = PhotoBucket::with(20).await;
    let reading = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let session = session_with(photos.table(SMALL));
    let config =
        session.state().config().clone().with_extension(Arc::new(ReadRuntime(reading.handle().clone())));
    let context = Arc::new(TaskContext::default().with_session_config(config));

    let mut stream = read_plan(&session).await.execute(0, context).unwrap();
    stream.next().await.unwrap().unwrap();
    // The one thread of this runtime is busy from here on, as in a model; only another runtime can read.
    while photos.reads() < 2 * SMALL.batch_rows {
        std::thread::yield_now();
    }
    assert_eq!(
        stream.map_ok(|batch| batch.num_rows()).try_fold(2, async |a, b| Ok(a + b)).await.unwrap(),
        20
    );
    reading.shutdown_background();
}

#[tokio::test]
async fn a_stopped_task_ends_with_an_error() {
    let photos = PhotoFolder::with(100).await;
    let session = session_with(photos.table(SMALL));
    let stop = CancellationToken::new();
    let config = session.state().config().clone().with_extension(Arc::new(TaskStop(stop.clone())));
    let context = Arc::new(TaskContext::default().with_session_config(config));
    let mut stream = read_plan(&session).await.execute(0, context).unwrap();
    stream.next().await.unwrap().unwrap();
    stop.cancel();
    let rest: Result<Vec<RecordBatch>, _> = stream.try_collect().await;
    assert!(rest.unwrap_err().to_string().contains("cancelled"));
}

#[tokio::test]
async fn what_was_read_is_counted() {
    let photos = PhotoFolder::with(9).await;
    std::fs::remove_file(photos.file(&photo_path(4))).unwrap();
    let session = session_with(photos.table(SMALL));
    let plan = read_plan(&session).await;
    datafusion::physical_plan::collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    let metrics = plan.metrics().unwrap_or_else(|| panic!("{}", displayable(plan.as_ref()).indent(true)));
    let value = |name: &str| metrics.sum_by_name(name).map(|metric| metric.as_usize());
    assert_eq!(value("photos_read"), Some(8));
    assert_eq!(value("photos_unreadable"), Some(1));
    let bytes: usize = (0..9).filter(|number| *number != 4).map(|number| photo_bytes(number).len()).sum();
    assert_eq!(value("bytes_read"), Some(bytes));
    assert_eq!(metrics.output_rows(), Some(9));
}
