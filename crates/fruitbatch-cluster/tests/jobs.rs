//! Jobs side by side, cancelled jobs, tasks that are tried again, and what a failed job says.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::DataFusionError;
use fruitbatch_cluster::{ClusterError, LocalCluster, connect};
use fruitbatch_net::Connector;
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_testkit::s3_server::{ReadFault, S3Server};
use futures::StreamExt;
use support::{PhotoFolder, assert_exact, cluster, measure, measure_all, unsigned};

/// One photo a batch and ten a task, read one after the other.
const SMALL: ScanOptions = ScanOptions {
    rows_per_partition: 10,
    read_concurrency: 1,
    batch_rows: 1,
    batch_bytes: 1 << 20,
    max_photo_bytes: 1 << 20,
};

fn connection_reset() -> DataFusionError {
    DataFusionError::IoError(std::io::Error::other("connection reset"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_side_by_side() {
    let photos = PhotoFolder::with(200).await;
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let jobs = (1..=6).map(|part| {
        let session = cluster.session();
        let table = photos.table(part * 30, SMALL);
        async move { measure_all(&session, table).collect().await.unwrap() }
    });
    for (part, batches) in (1..=6).zip(futures::future::join_all(jobs).await) {
        assert_exact(&batches, part * 30, &format!("job {part}"));
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_stream_cancels_the_job_and_frees_its_slot() {
    let photos = PhotoFolder::with(1_000).await;
    let (calls, (first_call, called)) = (Arc::new(AtomicUsize::new(0)), std::sync::mpsc::channel());
    let counted = Arc::clone(&calls);
    let slow = measure(move |_| {
        // The photos of the long job take their time, or it would be done before it is cancelled.
        if counted.fetch_add(1, Ordering::SeqCst) < 500 {
            let _ = first_call.send(());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    });
    let cluster = cluster(1, vec![slow]).await;
    let session = cluster.session();
    let options = ScanOptions { rows_per_partition: 1_000, ..SMALL };
    let mut stream = measure_all(&session, photos.table(1_000, options)).execute_stream().await.unwrap();
    let waiting = tokio::spawn(async move { stream.next().await.is_none() });
    tokio::task::spawn_blocking(move || called.recv().unwrap()).await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());

    // The only slot is free for another job, ...
    let batches = measure_all(&session, photos.table(20, SMALL)).collect().await.unwrap();
    assert_exact(&batches, 20, "the job after the cancelled one");
    // ... and the cancelled one calls the function no more, or it would go on beside a third job.
    let before = calls.load(Ordering::SeqCst);
    let batches = measure_all(&session, photos.table(100, SMALL)).collect().await.unwrap();
    assert_exact(&batches, 100, "the job after that");
    assert_eq!(calls.load(Ordering::SeqCst), before + 100);
    assert!(before < 1_000, "the cancelled job was not done");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_before_it_is_polled_submits_nothing() {
    let photos = PhotoFolder::with(10).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let cluster = cluster(
        1,
        vec![measure(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })],
    )
    .await;
    drop(measure_all(&cluster.session(), photos.table(10, SMALL)).execute_stream().await.unwrap());
    let batches = measure_all(&cluster.session(), photos.table(3, SMALL)).collect().await.unwrap();
    assert_exact(&batches, 3, "the job after");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_tried_again_double_nothing() {
    let photos = PhotoFolder::with(100).await;
    for slots in [1, 2] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        // Three tasks fail once each, in the middle of their work.
        let flaky = measure(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            5 | 27 | 48 => Err(connection_reset()),
            _ => Ok(()),
        });
        let cluster = cluster(slots, vec![flaky]).await;
        let batches = measure_all(&cluster.session(), photos.table(100, SMALL)).collect().await.unwrap();
        assert_exact(&batches, 100, &format!("{slots} slots"));
        assert!(calls.load(Ordering::SeqCst) > 100, "nothing was tried again");
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_and_is_mended_is_tried_again() {
    let server = S3Server::start();
    let rows: Vec<ImageRow> = (0..20)
        .map(|number| {
            server.put_object("fruits", &format!("{number}.jpg"), vec![b'x'; 10]);
            ImageRow { path: format!("{number}.jpg"), length: 10, ..ImageRow::default() }
        })
        .collect();
    server.allow_anonymous_reads("fruits");
    server.fail_reads("fruits", "13.jpg", ReadFault::ExpiredToken);
    let storage = unsigned(&server);
    let images = || {
        let rows = rows.clone();
        Arc::new(ImageTable::new("s3://fruits/".parse().unwrap(), storage.clone(), rows, SMALL))
    };
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let session = cluster.session();

    let failed = measure_all(&session, images()).collect().await.unwrap_err();
    let error = ClusterError::from(failed);
    let ClusterError::StorageFault { message } = &error else { panic!("{error:?}") };
    assert!(message.contains("s3://fruits/13.jpg") && !message.contains('\n'), "{message}");
    assert!(error.is_retryable());

    server.heal("fruits", "13.jpg");
    let rows: usize = measure_all(&session, images())
        .collect()
        .await
        .unwrap()
        .iter()
        .map(datafusion::arrow::array::RecordBatch::num_rows)
        .sum();
    assert_eq!(rows, 20);
    cluster.shutdown().await;
}

async fn error_of(cluster: &LocalCluster, photos: &PhotoFolder) -> ClusterError {
    measure_all(&cluster.session(), photos.table(30, SMALL)).collect().await.unwrap_err().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_says_why_in_one_line() {
    let photos = PhotoFolder::with(30).await;

    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let broken = measure(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(DataFusionError::Execution("the model `vgg\"16\"` is missing".to_owned()).context("embed"))
    });
    let failing = cluster(1, vec![broken]).await;
    let expected = ClusterError::JobFailed { message: "the model `vgg\"16\"` is missing".to_owned() };
    assert_eq!(error_of(&failing, &photos).await, expected);
    // The job failed at once: no task was tried again.
    assert!(calls.load(Ordering::SeqCst) <= 3);
    failing.shutdown().await;

    let faulty = cluster(1, vec![measure(|_| Err(connection_reset()))]).await;
    let expected = ClusterError::StorageFault { message: "connection reset".to_owned() };
    assert_eq!(error_of(&faulty, &photos).await, expected);
    faulty.shutdown().await;

    let panicking = cluster(1, vec![measure(|_| panic!("out of tune"))]).await;
    let error = error_of(&panicking, &photos).await;
    assert!(
        matches!(&error, ClusterError::JobFailed { message } if message.contains("panicked")),
        "{error:?}"
    );
    // A panic takes down neither the executor nor the slot.
    let session = panicking.session();
    session.register_table("images", photos.table(5, SMALL)).unwrap();
    let rows = session.sql("SELECT path, content FROM images").await.unwrap().collect().await.unwrap();
    assert_eq!(rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>(), 5);
    panicking.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_makes_no_plan_is_an_error_of_the_query() {
    let cluster = cluster(1, Vec::new()).await;
    let error = cluster.session().sql("SELECT colour FROM images").await.unwrap_err();
    assert!(matches!(ClusterError::from(error), ClusterError::Plan { .. }));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_is_not_there_is_named() {
    let (free, port) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (format!("df://127.0.0.1:{port}"), port)
    };
    let error = connect(&free, &Connector::default(), &[]).await.map(|_| ()).unwrap_err();
    assert!(error.is_retryable());
    let ClusterError::SchedulerUnreachable { address, .. } = error else { panic!("{error:?}") };
    assert_eq!(address, format!("127.0.0.1:{port}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_scheduler_goes_away_is_lost_and_may_be_run_again() {
    let photos = PhotoFolder::with(1_000).await;
    let (first_call, called) = std::sync::mpsc::channel();
    let slow = measure(move |_| {
        let _ = first_call.send(());
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    });
    let cluster = cluster(1, vec![slow]).await;
    let frame = measure_all(&cluster.session(), photos.table(1_000, SMALL));
    let running = tokio::spawn(frame.collect());
    tokio::task::spawn_blocking(move || called.recv().unwrap()).await.unwrap();
    cluster.shutdown().await;
    let error = ClusterError::from(running.await.unwrap().unwrap_err());
    assert!(error.is_retryable(), "{error:?}");
}
