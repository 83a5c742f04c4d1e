//! The promises of an `OutputStore`, kept by every backend: one suite, run against memory, disk and S3.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use fruitbatch_storage::{
    Conditional, FileVersion, OutputStore, PutOutcome, Storage, StorageErrorKind, StorageOptions,
};
use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
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
    a_write_on_condition_needs_the_version_it_names(&output).await;
    a_deletion_on_condition_needs_the_version_it_names(&output).await;
    a_file_is_renamed_if_it_is_there(&output).await;
    of_many_concurrent_changes_on_one_version_exactly_one_is_made(&output).await;
    no_increment_of_many_concurrent_ones_is_lost(&output).await;
    that_conditions_are_honoured_is_seen_and_harms_nothing(&output).await;
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

async fn version(output: &OutputStore, path: &str) -> FileVersion {
    output.version(path).await.unwrap().expect("a file that is there has a version")
}

async fn a_write_on_condition_needs_the_version_it_names(output: &OutputStore) {
    let path = "deep/er/owner.json";
    let write = |expected, content: &'static str| {
        let output = output.clone();
        async move {
            output.put_if_match(path, Option::<FileVersion>::as_ref(&expected), content.into()).await.unwrap()
        }
    };
    assert_eq!(output.version(path).await.unwrap(), None);
    assert_eq!(write(Some(FileVersion::new("\"never\"")), "x").await, Conditional::ConditionFailed);
    assert!(paths(output, "").await.is_empty(), "a condition that failed leaves nothing behind");

    assert_eq!(write(None, "one").await, Conditional::Done);
    let one = version(output, path).await;
    assert_eq!(version(output, path).await, one, "a version lasts as long as the file stays as it is");
    assert_eq!(write(None, "x").await, Conditional::ConditionFailed, "there is one");
    assert_eq!(write(Some(one.clone()), "two").await, Conditional::Done);
    let two = version(output, path).await;
    assert_ne!(one, two);
    assert_eq!(write(Some(one.clone()), "x").await, Conditional::ConditionFailed);
    assert_eq!(output.get(path).await.unwrap().unwrap(), "two");
    output.put(path, "three".into()).await.unwrap();
    assert_eq!(
        write(Some(two.clone()), "x").await,
        Conditional::ConditionFailed,
        "written without a condition"
    );
    output.delete(path).await.unwrap();
    assert_eq!(write(Some(two), "x").await, Conditional::ConditionFailed, "gone");
    assert_eq!(output.get(path).await.unwrap(), None);

    // The same length, and as fast as possible: no clock may be needed to tell them apart.
    let mut seen: Vec<FileVersion> = Vec::new();
    for content in ["a", "b", "c", "d", "e", "f"] {
        output.put(path, content.into()).await.unwrap();
        let now = version(output, path).await;
        assert!(!seen.contains(&now), "{content}: {now:?}");
        seen.push(now);
        if content == "c" {
            output.delete(path).await.unwrap();
        }
    }
    output.delete(path).await.unwrap();
}

async fn a_deletion_on_condition_needs_the_version_it_names(output: &OutputStore) {
    let path = "_SUCCESS";
    let never = FileVersion::new("\"never\"");
    assert_eq!(output.delete_if_match(path, &never).await.unwrap(), Conditional::ConditionFailed);
    assert!(paths(output, "").await.is_empty());
    output.put(path, "one".into()).await.unwrap();
    let one = version(output, path).await;
    output.put(path, "two".into()).await.unwrap();
    assert_eq!(output.delete_if_match(path, &one).await.unwrap(), Conditional::ConditionFailed);
    assert_eq!(output.get(path).await.unwrap().unwrap(), "two");
    let two = version(output, path).await;
    assert_eq!(output.delete_if_match(path, &two).await.unwrap(), Conditional::Done);
    assert_eq!(output.get(path).await.unwrap(), None);
    assert_eq!(output.delete_if_match(path, &two).await.unwrap(), Conditional::ConditionFailed, "gone");
}

async fn a_file_is_renamed_if_it_is_there(output: &OutputStore) {
    assert_eq!(output.rename("staged/1", "deep/er/done").await.unwrap(), Conditional::ConditionFailed);
    assert!(paths(output, "").await.is_empty(), "nothing is left behind where nothing was");
    for (name, content) in ODD_NAMES.iter().zip(["one", "two"].into_iter().cycle()) {
        let staged = format!("staged/{name}");
        output.put(&staged, content.into()).await.unwrap();
        assert_eq!(output.rename(&staged, "deep/er/done").await.unwrap(), Conditional::Done, "{name}");
        assert_eq!(paths(output, "").await, ["deep/er/done"], "{name}");
        assert_eq!(output.get("deep/er/done").await.unwrap().unwrap(), content);
    }
    let before = version(output, "deep/er/done").await;
    assert_eq!(output.rename("staged/1", "deep/er/done").await.unwrap(), Conditional::ConditionFailed);
    assert_eq!(version(output, "deep/er/done").await, before, "it stays as it was");
    output.put("staged/1", "three".into()).await.unwrap();
    output.rename("staged/1", "deep/er/done").await.unwrap();
    assert_ne!(version(output, "deep/er/done").await, before);
    output.delete("deep/er/done").await.unwrap();

    // Removed or renamed, and never a file that comes back after its removal.
    for round in 0..20 {
        output.put("staged/1", "x".into()).await.unwrap();
        let renaming = {
            let output = output.clone();
            tokio::spawn(async move { output.rename("staged/1", "done").await.unwrap() })
        };
        output.delete("staged/1").await.unwrap();
        output.delete("done").await.unwrap();
        let renamed = renaming.await.unwrap();
        assert!(!output.exists("staged/1").await.unwrap(), "round {round}");
        if renamed == Conditional::ConditionFailed {
            assert!(!output.exists("done").await.unwrap(), "round {round}");
        }
        output.delete("done").await.unwrap();
    }
}

async fn of_many_concurrent_changes_on_one_version_exactly_one_is_made(output: &OutputStore) {
    const WRITERS: usize = 12;
    let path = "owner.json";
    for round in 0..5 {
        output.put(path, format!("before round {round}").into()).await.unwrap();
        let before = version(output, path).await;
        let together = Arc::new(Barrier::new(WRITERS));
        let writers = (0..WRITERS).map(|writer| {
            let (output, before, together) = (output.clone(), before.clone(), Arc::clone(&together));
            tokio::spawn(async move {
                together.wait().await;
                // One of three removes it.
                let outcome = if writer.is_multiple_of(3) {
                    output.delete_if_match(path, &before).await
                } else {
                    let content = Bytes::from(format!("writer {writer}"));
                    output.put_if_match(path, Some(&before), content).await
                };
                (writer, outcome.unwrap())
            })
        });
        let outcomes = futures::future::join_all(writers).await;
        let winners: Vec<usize> = outcomes
            .into_iter()
            .map(Result::unwrap)
            .filter_map(|(writer, outcome)| (outcome == Conditional::Done).then_some(writer))
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let expected = (!winners[0].is_multiple_of(3)).then(|| Bytes::from(format!("writer {}", winners[0])));
        assert_eq!(output.get(path).await.unwrap(), expected, "round {round}");
    }
    output.delete(path).await.unwrap();
}

async fn no_increment_of_many_concurrent_ones_is_lost(output: &OutputStore) {
    const WRITERS: u32 = 6;
    const TIMES: u32 = 5;
    let path = "counter";
    output.put(path, "0".into()).await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let output = output.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < TIMES {
                // The version first: of a file that is changed in between, the condition then fails.
                let before = version(&output, path).await;
                let content = output.get(path).await.unwrap().unwrap();
                let count: u32 = std::str::from_utf8(&content).unwrap().parse().unwrap();
                let next = Bytes::from((count + 1).to_string());
                if output.put_if_match(path, Some(&before), next).await.unwrap() == Conditional::Done {
                    done += 1;
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(output.get(path).await.unwrap().unwrap(), (WRITERS * TIMES).to_string());
    output.delete(path).await.unwrap();
}

async fn that_conditions_are_honoured_is_seen_and_harms_nothing(output: &OutputStore) {
    let path = "_fruitbatch/log/1";
    let error = output.verify_conditions(path).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
    output.put(path, "entry".into()).await.unwrap();
    let before = version(output, path).await;
    output.verify_conditions(path).await.unwrap();
    assert_eq!(version(output, path).await, before);
    output.delete(path).await.unwrap();
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
    assert_eq!(output.list("").await.unwrap(), [], "no temporary file shows");
    let staging = out.join("_fruitbatch/staging");
    assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0, "no temporary file stays");
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

async fn local(folder: &std::path::Path) -> OutputStore {
    Storage::new(StorageOptions::default()).output(&location(folder.to_str().unwrap())).await.unwrap()
}

#[tokio::test]
async fn what_dead_writers_left_is_hidden_and_removed_and_what_living_ones_hold_stays() {
    let folder = tempfile::tempdir().unwrap();
    let output = local(folder.path()).await;
    assert_eq!(output.remove_leftovers().await.unwrap(), 0, "there is no such folder yet");
    output.put("results.csv", "rows".into()).await.unwrap();
    let staging = folder.path().join("_fruitbatch/staging");
    std::fs::write(staging.join("left.tmp"), b"half a fi").unwrap();
    std::fs::write(staging.join("held.tmp"), b"half a fi").unwrap();
    let held = std::fs::File::open(staging.join("held.tmp")).unwrap();
    held.lock().unwrap();
    assert_eq!(paths(&output, "").await, ["results.csv"]);
    assert_eq!(paths(&output, "_fruitbatch").await, Vec::<String>::new());
    assert_eq!(paths(&output, "_fruitbatch/staging").await, Vec::<String>::new());

    assert_eq!(output.remove_leftovers().await.unwrap(), 1);
    assert!(!staging.join("left.tmp").exists() && staging.join("held.tmp").exists());
    drop(held);
    assert_eq!(output.remove_leftovers().await.unwrap(), 1, "its writer is dead now");
    assert_eq!(output.get("results.csv").await.unwrap().unwrap(), "rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cleaning_never_takes_a_file_from_a_living_writer() {
    let folder = tempfile::tempdir().unwrap();
    let output = local(folder.path()).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let output = output.clone();
            tokio::spawn(async move {
                for number in 0..25 {
                    let content = Bytes::from(format!("{writer} {number}"));
                    output.put(&format!("{writer}/{number}"), content).await.unwrap();
                }
            })
        })
        .collect();
    let mut removed = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        removed += output.remove_leftovers().await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // A file that was only just created, and not yet locked, may have been taken; its writer then made another.
    assert!(removed <= 100, "{removed}");
    assert_eq!(paths(&output, "").await.len(), 100);
    assert_eq!(output.get("3/24").await.unwrap().unwrap(), "3 24");
}

#[tokio::test]
async fn a_lock_file_that_is_removed_by_hand_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = local(folder.path()).await;
    output.put("a", "1".into()).await.unwrap();
    let before = version(&output, "a").await;
    std::fs::remove_dir_all(folder.path().join("_fruitbatch")).unwrap();
    assert_eq!(output.put_if_match("a", Some(&before), "2".into()).await.unwrap(), Conditional::Done);
    std::fs::remove_file(folder.path().join("_fruitbatch/lock")).unwrap();
    output.delete("a").await.unwrap();
    assert_eq!(output.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_found_out_and_nothing_is_damaged() {
    let server = S3Server::start();
    server.create_bucket("out");
    let output = storage_for(&server).output(&location("s3://out/run")).await.unwrap();
    output.put("_fruitbatch/log/1", "entry".into()).await.unwrap();
    let ignoring = |rule: Rule| server.set_faults(FaultPlan::new(0).rule(rule.operation("PutObject")));
    ignoring(Rule::new(Fault::ConditionsIgnored));
    let error = output.verify_conditions("_fruitbatch/log/1").await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Invalid);
    assert!(error.to_string().contains("this S3-compatible server ignores `If-None-Match`"), "{error}");
    assert!(error.to_string().contains("s3://out/run/_fruitbatch/log/1"), "{error}");
    assert_eq!(server.object("out", "run/_fruitbatch/log/1").unwrap(), "entry");

    // One that knows the one condition and not the other.
    ignoring(Rule::new(Fault::ConditionsIgnored).after(1));
    let error = output.verify_conditions("_fruitbatch/log/1").await.unwrap_err();
    assert!(error.to_string().contains("ignores `If-Match`"), "{error}");
    assert_eq!(server.object("out", "run/_fruitbatch/log/1").unwrap(), "entry");
    server.set_faults(FaultPlan::none());
    output.verify_conditions("_fruitbatch/log/1").await.unwrap();
}

#[tokio::test]
async fn writes_in_each_others_way_are_repeated_and_lost_answers_fail_their_condition() {
    let server = S3Server::start();
    server.create_bucket("out");
    let output = storage_for(&server).output(&location("s3://out")).await.unwrap();
    let fault = |fault| server.set_faults(FaultPlan::new(0).rule(Rule::new(fault).times(1)));
    fault(Fault::Conflict);
    assert_eq!(output.put_if_absent("a", "1".into()).await.unwrap(), PutOutcome::Created);
    fault(Fault::ResetAfter);
    assert_eq!(output.put_if_absent("b", "1".into()).await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(output.get("b").await.unwrap().unwrap(), "1", "it is our own");
    let before = version(&output, "b").await;
    fault(Fault::ResetAfter);
    let outcome = output.put_if_match("b", Some(&before), "2".into()).await.unwrap();
    assert_eq!(outcome, Conditional::ConditionFailed);
    assert_eq!(output.get("b").await.unwrap().unwrap(), "2", "and so is this");
    for (path, outcome) in [("a", Conditional::ConditionFailed), ("b", Conditional::ConditionFailed)] {
        let version = version(&output, path).await;
        server.set_faults(
            FaultPlan::new(0).rule(Rule::new(Fault::ResetAfter).operation("DeleteObject").times(1)),
        );
        assert_eq!(output.delete_if_match(path, &version).await.unwrap(), outcome);
        assert!(!output.exists(path).await.unwrap());
    }
}
