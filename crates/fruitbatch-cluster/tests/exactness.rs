//! Every listed photo comes back exactly once, however the work is cut.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use fruitbatch_scan::{ImageTable, ScanOptions};
use fruitbatch_storage::Location;
use fruitbatch_testkit::s3_server::S3Server;
use support::{
    PhotoFolder, assert_exact, cluster, list, measure, measure_all, photo_bytes, photo_path, unsigned,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_the_listed_photos_for_any_slots_and_partitions() {
    let photos = PhotoFolder::with(500).await;
    for slots in [1, 2, 4] {
        let cluster = cluster(slots, vec![measure(|_| Ok(()))]).await;
        for (count, rows_per_partition) in
            [(0, 8), (1, 8), (2, 1), (64, 1), (65, 8), (500, 33), (500, 500), (500, 1_000)]
        {
            let options = ScanOptions { rows_per_partition, ..ScanOptions::default() };
            let session = cluster.session();
            let batches = measure_all(&session, photos.table(count, options)).collect().await.unwrap();
            assert_exact(
                &batches,
                count,
                &format!("{slots} slots, {count} photos, {rows_per_partition} a partition"),
            );
        }
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_photos_in_one_job() {
    let photos = PhotoFolder::with(20_000).await;
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let options = ScanOptions { rows_per_partition: 100, batch_rows: 50, ..ScanOptions::default() };
    let session = cluster.session();
    let batches = measure_all(&session, photos.table(20_000, options)).collect().await.unwrap();
    assert_exact(&batches, 20_000, "20,000 photos");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_counts_what_was_listed() {
    let photos = PhotoFolder::with(300).await;
    let cluster = cluster(2, Vec::new()).await;
    let session = cluster.session();
    let options = ScanOptions { rows_per_partition: 7, ..ScanOptions::default() };
    session.register_table("images", photos.table(300, options)).unwrap();
    let query = "SELECT count(*), count(DISTINCT path), count(content) FROM images \
                 WHERE path LIKE 'label 1/%' AND content IS NOT NULL";
    let rows = session.sql(query).await.unwrap().collect().await.unwrap();
    let values: Vec<i64> =
        (0..3).map(|column| rows[0].column(column).as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(values, [100, 100, 100]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_on_s3_come_back_once_too() {
    let server = S3Server::start();
    for number in 0..150 {
        server.put_object("fruits", &format!("all of them/{}", photo_path(number)), photo_bytes(number));
    }
    server.allow_anonymous_reads("fruits");
    let storage = unsigned(&server);
    let root: Location = "s3://fruits/all of them/".parse().unwrap();
    let rows = list(&root, &storage).await;
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let options = ScanOptions { rows_per_partition: 16, ..ScanOptions::default() };
    let table = Arc::new(ImageTable::new(root, storage, rows, options));
    let batches = measure_all(&cluster.session(), table).collect().await.unwrap();
    assert_exact(&batches, 150, "S3");
    cluster.shutdown().await;
}
