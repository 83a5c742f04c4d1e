//! The promises of an `OutputStore`, kept by every backend: one suite, run against memory, disk and S3.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use fruitbatch_storage::{OutputStore, PutOutcome, Storage, StorageErrorKind, StorageOptions};
use fruitbatch_testkit::s3_server::S3Server;
use support::{location, storage_for};
use tokio::sync::Barrier;

/// Names that every backend must take as they are.
const ODD_NAMES: &[&str] = &[
    "a b/c d.csv",
    "apple#12 100%+ü.csv",
    "percent%20encoded",
    "q?a&b=c.csv",
    "back\\slash",
    "tilde~[]{}^`|\"<>'.csv",
    "trailing space ",
    "🍎/苹果",
    ".dot/.file",
];

async fn every_promise_is_kept(output: OutputStore) {
    a_file_is_written_replaced_read_and_removed(&output).await;
    odd_names_are_names_like_any_other(&output).await;
    a_folder_lists_what_lies_in_it_and_below_and_nothing_else(&output).await;
    of_many_concurrent_writers_exactly_one_creates(&output).await;
    no_reader_ever_sees_part_of_a_file(&output).await;
    what_is_no_path_is_refused(&output).await;
}

async fn paths(output: &OutputStore, folder: &str) -> Vec<String> {
    output.list(folder).await.unwrap().into_iter().map(|file| file.path).collect()
}

async fn a_file_is_written_replaced_read_and_removed(output: &OutputStore) {
    let path = "model/pca/manifest.json";
    assert_eq!(output.get(path).await.unwrap(), None);
    assert!(!output.exists(path).await.unwrap());
    output.delete(path).await.unwrap();

    output.put(path, Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(output.get(path).await.unwrap().unwrap(), "one");
    assert!(output.exists(path).await.unwrap());
    assert!(!output.exists("model/pca").await.unwrap(), "a folder is no file");
    assert_eq!(output.get("model").await.unwrap(), None, "a folder is no file");
    assert!(!output.exists("model/pca/manifest.json/below").await.unwrap());

    output.put(path, Bytes::from_static(b"number two")).await.unwrap();
    assert_eq!(output.get(path).await.unwrap().unwrap(), "number two");
    let other_client = Bytes::from_static(b"three");
    assert_eq!(output.put_if_absent(path, other_client).await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(output.get(path).await.unwrap().unwrap(), "number two", "what exists stays");

    output.delete(path).await.unwrap();
    output.delete(path).await.unwrap();
    assert_eq!(output.get(path).await.unwrap(), None);
    assert_eq!(output.put_if_absent(path, Bytes::new()).await.unwrap(), PutOutcome::Created);
    assert_eq!(output.get(path).await.unwrap().unwrap(), "", "an empty file is a file");
    output.delete(path).await.unwrap();
}

async fn odd_names_are_names_like_any_other(output: &OutputStore) {
    for name in ODD_NAMES {
        let path = format!("odd/{name}");
        output.put(&path, Bytes::from(name.to_string())).await.unwrap();
    }
    let mut expected: Vec<String> = ODD_NAMES.iter().map(|name| format!("odd/{name}")).collect();
    expected.sort();
    assert_eq!(paths(output, "odd").await, expected);
    for path in &expected {
        assert_eq!(output.get(path).await.unwrap().unwrap(), path.strip_prefix("odd/").unwrap());
        output.delete(path).await.unwrap();
    }
    assert!(paths(output, "odd").await.is_empty());
}

async fn a_folder_lists_what_lies_in_it_and_below_and_nothing_else(output: &OutputStore) {
    for path in ["features/part-1", "features/part-0", "features/deep/er", "features-2/x", "featuresx"] {
        output.put(path, Bytes::from_static(b"12345")).await.unwrap();
    }
    assert_eq!(paths(output, "features").await, ["features/deep/er", "features/part-0", "features/part-1"]);
    assert_eq!(paths(output, "features/").await.len(), 3);
    assert_eq!(output.list("features/deep").await.unwrap()[0].length, 5);
    assert!(paths(output, "feature").await.is_empty(), "a folder, not the beginning of a name");
    assert!(paths(output, "not there").await.is_empty());
    let everything = paths(output, "").await;
    assert!(everything.is_sorted() && everything.len() == 5, "{everything:?}");
    for path in everything {
        output.delete(&path).await.unwrap();
    }
}

async fn of_many_concurrent_writers_exactly_one_creates(output: &OutputStore) {
    const WRITERS: usize = 16;
    for round in 0..10 {
        let path = format!("_fruitbatch/log/{round:020}.json");
        let together = Arc::new(Barrier::new(WRITERS));
        let writers = (0..WRITERS).map(|writer| {
            let (output, path, together) = (output.clone(), path.clone(), Arc::clone(&together));
            tokio::spawn(async move {
                together.wait().await;
                (writer, output.put_if_absent(&path, Bytes::from(format!("writer {writer}"))).await.unwrap())
            })
        });
        let outcomes = futures::future::join_all(writers).await;
        let winners: Vec<usize> = outcomes
            .into_iter()
            .map(Result::unwrap)
            .filter_map(|(writer, outcome)| (outcome == PutOutcome::Created).then_some(writer))
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(output.get(&path).await.unwrap().unwrap(), format!("writer {}", winners[0]));
        output.delete(&path).await.unwrap();
    }
}

async fn no_reader_ever_sees_part_of_a_file(output: &OutputStore) {
    let path = "results.csv";
    let version = |fill: u8| Bytes::from(vec![fill; 300_000 + usize::from(fill)]);
    output.put(path, version(0)).await.unwrap();
    let writer = {
        let output = output.clone();
        tokio::spawn(async move {
            for fill in 1..20 {
                output.put(path, version(fill)).await.unwrap();
            }
        })
    };
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        let content = output.get(path).await.unwrap().expect("a file that is replaced is never missing");
        assert_eq!(content, version(content[0]));
        reads += 1;
    }
    writer.await.unwrap();
    assert_eq!(output.get(path).await.unwrap().unwrap(), version(19));
    output.delete(path).await.unwrap();
}

async fn what_is_no_path_is_refused(output: &OutputStore) {
    for path in ["", "/absolute", "a//b", "../outside", "a/./b", "a/..", "new\nline", "trailing/"] {
        let error = output.put(path, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Invalid, "{path:?}");
        assert_eq!(output.get(path).await.unwrap_err().kind(), StorageErrorKind::Invalid, "{path:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_every_promise() {
    every_promise_is_kept(OutputStore::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_local_folder_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    // It need not exist, and its name may be odd too.
    let out = folder.path().join("deep/er/out #1 100%");
    let output =
        Storage::new(StorageOptions::default()).output(&location(out.to_str().unwrap())).await.unwrap();
    every_promise_is_kept(output.clone()).await;
    assert_eq!(output.list("").await.unwrap(), [], "no temporary file stays");
    assert_eq!(output.uri("a b"), out.join("a b").to_str().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_and_a_prefix_with_an_odd_name_keep_every_promise() {
    let server = S3Server::start();
    server.create_bucket("out");
    for folder in ["s3://out", "s3://out/runs #1 100%+ü/x"] {
        let output = storage_for(&server).output(&location(folder)).await.unwrap();
        every_promise_is_kept(output.clone()).await;
        assert!(server.keys("out").is_empty());
        output.put("a b", Bytes::from_static(b"x")).await.unwrap();
        let expected = output.uri("a b");
        assert_eq!(expected, format!("s3://out/{}", server.keys("out")[0]), "the key is the raw path");
        output.delete("a b").await.unwrap();
    }
}

#[tokio::test]
async fn a_local_file_gets_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let output = Storage::new(StorageOptions::default())
        .output(&location(folder.path().to_str().unwrap()))
        .await
        .unwrap();
    output.put("results.csv", Bytes::new()).await.unwrap();
    let ordinary = folder.path().join("ordinary");
    std::fs::write(&ordinary, b"").unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode();
    assert_eq!(mode(&folder.path().join("results.csv")), mode(&ordinary));
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_not_a_missing_file() {
    let server = S3Server::start();
    let output = storage_for(&server).output(&location("s3://nowhere/out")).await.unwrap();
    for error in [
        output.get("_SUCCESS").await.unwrap_err(),
        output.put("_SUCCESS", Bytes::new()).await.unwrap_err(),
        output.put_if_absent("_SUCCESS", Bytes::new()).await.unwrap_err(),
        output.list("").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("s3://nowhere/out"), "{error}");
        assert!(error.to_string().contains("check the bucket's name"), "{error}");
    }
}

#[tokio::test]
async fn a_file_where_a_folder_should_be_is_an_error_that_names_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let output =
        Storage::new(StorageOptions::default()).output(&location(file.to_str().unwrap())).await.unwrap();
    let error = output.put("results.csv", Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains(file.join("results.csv").to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_prefix_with_an_empty_part_is_refused_for_output() {
    let server = S3Server::start();
    server.create_bucket("out");
    for folder in ["s3://out/a//b", "s3://out/a//"] {
        let error = storage_for(&server).output(&location(folder)).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Invalid, "{folder}");
    }
}
