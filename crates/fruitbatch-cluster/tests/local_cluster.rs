//! What a local cluster leaves behind and whom it lets in: nothing and nobody.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use fruitbatch_cluster::{ClusterError, FleetWatch, LocalCluster, LocalClusterOptions, connect};
use fruitbatch_net::Connector;
use fruitbatch_scan::ScanOptions;
use support::{PhotoFolder, assert_exact, cluster, measure, measure_all};

fn options_in(folder: &tempfile::TempDir) -> LocalClusterOptions {
    LocalClusterOptions {
        slots: NonZeroUsize::MIN,
        work_dir: Some(folder.path().to_owned()),
        ..LocalClusterOptions::default()
    }
}

fn is_empty(folder: &tempfile::TempDir) -> bool {
    std::fs::read_dir(folder.path()).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_folder_goes_with_the_cluster() {
    let photos = PhotoFolder::with(10).await;
    let folder = tempfile::tempdir().unwrap();

    let cluster = LocalCluster::start(options_in(&folder), vec![measure(|_| Ok(()))]).await.unwrap();
    let frame = measure_all(&cluster.session(), photos.table(10, ScanOptions::default()));
    assert_exact(&frame.collect().await.unwrap(), 10, "before the end");
    assert!(!is_empty(&folder));
    cluster.shutdown().await;
    assert!(is_empty(&folder));

    drop(LocalCluster::start(options_in(&folder), Vec::new()).await.unwrap());
    assert!(is_empty(&folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_folder_that_cannot_be_made_is_named() {
    let options =
        LocalClusterOptions { work_dir: Some("/nowhere/at/all".into()), ..LocalClusterOptions::default() };
    let error = LocalCluster::start(options, Vec::new()).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::Start { problem } if problem.contains("/nowhere/at/all")),
        "{error}"
    );
}

/// Also on a runtime with one thread, which does nothing but wait here.
#[tokio::test(flavor = "current_thread")]
async fn clusters_in_one_process_do_not_meet() {
    let photos = PhotoFolder::with(40).await;
    let options = ScanOptions { rows_per_partition: 10, ..ScanOptions::default() };
    let one = cluster(1, vec![measure(|_| Ok(()))]).await;
    let other = cluster(2, vec![measure(|_| Ok(()))]).await;
    assert_ne!(one.scheduler(), other.scheduler());
    let (from_one, from_other) = tokio::join!(
        measure_all(&one.session(), photos.table(40, options)).collect(),
        measure_all(&other.session(), photos.table(30, options)).collect(),
    );
    assert_exact(&from_one.unwrap(), 40, "one");
    one.shutdown().await;
    assert_exact(&from_other.unwrap(), 30, "the other");
    let again = measure_all(&other.session(), photos.table(20, options)).collect().await.unwrap();
    assert_exact(&again, 20, "the other, alone");
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_reach_it_as_they_reach_any_cluster() {
    let photos = PhotoFolder::with(20).await;
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let session = connect(cluster.scheduler(), &Connector::default(), &[measure(|_| Ok(()))]).await.unwrap();
    let batches = measure_all(&session, photos.table(20, ScanOptions::default())).collect().await.unwrap();
    assert_exact(&batches, 20, "a session of its own");
    cluster.shutdown().await;
    assert!(connect("df://127.0.0.1:1", &Connector::default(), &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheduler_has_no_rest_interface() {
    let cluster = cluster(1, Vec::new()).await;
    let address = cluster.scheduler().strip_prefix("df://").unwrap().to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut connection = std::net::TcpStream::connect(&address).unwrap();
        write!(connection, "GET /api/jobs HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    let status = answer.split(' ').nth(1).unwrap();
    assert!(status.starts_with('4') || status.starts_with('5'), "{answer}");
    cluster.shutdown().await;
}

/// Every port that a process of ours listens on while a cluster runs is a loopback port.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_listens_on_loopback_alone() {
    let cluster = cluster(1, Vec::new()).await;
    let ours: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut listening = 0;
    for (table, loopback) in [("tcp", "0100007F:"), ("tcp6", "00000000000000000000000001000000:")] {
        let Ok(sockets) = std::fs::read_to_string(format!("/proc/self/net/{table}")) else { continue };
        for socket in sockets.lines().skip(1) {
            let fields: Vec<&str> = socket.split_whitespace().collect();
            let (local, state, inode) = (fields[1], fields[3], fields[9]);
            if state == "0A" && ours.iter().any(|own| own == inode) {
                listening += 1;
                assert!(local.starts_with(loopback), "a socket listens on {local}");
            }
        }
    }
    // The scheduler, the executor's tasks and its results; other tests of this file may have their own clusters.
    assert!(listening >= 3, "{listening} sockets listen");
    cluster.shutdown().await;
}

#[test]
fn a_cluster_may_be_dropped_inside_and_outside_async_code() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cluster = runtime.block_on(cluster(1, vec![measure(|_| Ok(()))]));
    drop(cluster);
    runtime.block_on(async { drop(support::cluster(1, Vec::new()).await) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_sees_its_own_photos() {
    let photos = PhotoFolder::with(30).await;
    let cluster = cluster(2, vec![measure(|_| Ok(()))]).await;
    let options = ScanOptions { rows_per_partition: 10, ..ScanOptions::default() };
    let mut watched = Vec::new();
    for count in [20, 30] {
        let session =
            connect(cluster.scheduler(), &Connector::default(), &[measure(|_| Ok(()))]).await.unwrap();
        let watch = FleetWatch::start(cluster.scheduler(), &Connector::default(), &session).unwrap();
        // Two jobs of one session.
        for _ in 0..2 {
            let batches = measure_all(&session, photos.table(count, options)).collect().await.unwrap();
            assert_exact(&batches, count, "a session");
        }
        watched.push((watch, session, 2 * count as u64));
    }
    for (watch, _session, photos) in &watched {
        let mut state = watch.state();
        let told = state.wait_for(|state| state.photos >= *photos);
        let told = tokio::time::timeout(Duration::from_mins(1), told).await;
        assert_eq!(told.expect("it is told").unwrap().photos, *photos);
    }
    cluster.shutdown().await;
}
