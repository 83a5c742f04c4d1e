//! A disk that is full and one that is read-only: a small file system in memory, mounted in a namespace of the test's own.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use fruitbatch_storage::{
    Conditional, OutputStore, PutOutcome, Storage, StorageError, StorageErrorKind, StorageOptions,
};
use support::location;

/// Where the small file system is mounted, in the child process.
const MOUNTED: &str = "FRUITBATCH_STORAGE_TEST_MOUNTED";

/// The folder with the small file system, if this is the child that has one; else runs `test` in such a child.
fn on_a_small_disk(test: &str) -> Option<std::path::PathBuf> {
    if let Some(folder) = std::env::var_os(MOUNTED) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(folder.path());
        command
    };
    let mount = "mount -t tmpfs -o size=4m small-disk \"$1\"";
    match in_namespace(mount).output() {
        Ok(output) if output.status.success() => {}
        failed => {
            eprintln!("SKIPPED: {test}: no file system can be mounted in a namespace of its own: {failed:?}");
            return None;
        }
    }
    let output = in_namespace(&format!("{mount}; shift; exec \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MOUNTED, folder.path())
        .output()
        .unwrap();
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
    None
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

async fn output(folder: &Path) -> OutputStore {
    Storage::new(StorageOptions::default()).output(&location(folder.to_str().unwrap())).await.unwrap()
}

fn assert_full(result: Result<impl std::fmt::Debug, StorageError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::DiskFull, "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
}

#[test]
fn on_a_full_disk_nothing_half_written_shows_and_the_same_write_works_later() {
    let test = "on_a_full_disk_nothing_half_written_shows_and_the_same_write_works_later";
    let Some(disk) = on_a_small_disk(test) else { return };
    block_on(async {
        let output = output(&disk.join("out")).await;
        output.put("run.json", "old".into()).await.unwrap();
        let old = output.version("run.json").await.unwrap().unwrap();
        std::fs::write(disk.join("filler"), vec![1; 3 << 20]).unwrap();
        let large = Bytes::from(vec![2; 2 << 20]);

        assert_full(output.put("results.csv", large.clone()).await);
        assert_full(output.put_if_absent("features/part-0", large.clone()).await);
        assert_full(output.put_if_match("run.json", Some(&old), large.clone()).await);
        let shown: Vec<_> = output.list("").await.unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(shown, ["run.json"]);
        assert_eq!(output.get("run.json").await.unwrap().unwrap(), "old");
        assert_eq!(output.get("results.csv").await.unwrap(), None);
        let staging = disk.join("out/_fruitbatch/staging");
        assert_eq!(std::fs::read_dir(staging).unwrap().count(), 0, "a failed write gives its space back");
        output.put("small", "fits".into()).await.unwrap();
        output.delete("small").await.unwrap();

        std::fs::remove_file(disk.join("filler")).unwrap();
        assert_eq!(
            output.put_if_absent("features/part-0", large.clone()).await.unwrap(),
            PutOutcome::Created
        );
        output.delete("features/part-0").await.unwrap();
        output.put("results.csv", large.clone()).await.unwrap();
        assert_eq!(output.get("results.csv").await.unwrap().unwrap(), large);
        output.delete("results.csv").await.unwrap();
        let replaced = output.put_if_match("run.json", Some(&old), large).await.unwrap();
        assert_eq!(replaced, Conditional::Done);
    });
}

#[test]
fn on_a_read_only_disk_writes_are_denied_and_reads_go_on() {
    let test = "on_a_read_only_disk_writes_are_denied_and_reads_go_on";
    let Some(disk) = on_a_small_disk(test) else { return };
    let remount = |how: &str| {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&disk).status().unwrap().success());
    };
    block_on(async {
        let output = output(&disk).await;
        output.put("run.json", "old".into()).await.unwrap();
        let old = output.version("run.json").await.unwrap().unwrap();
        remount("ro");
        let denied = |error: StorageError| {
            assert_eq!(error.kind(), StorageErrorKind::AccessDenied, "{error}");
        };
        denied(output.put("results.csv", "x".into()).await.unwrap_err());
        denied(output.put("run.json", "x".into()).await.unwrap_err());
        denied(output.put_if_absent("results.csv", "x".into()).await.unwrap_err());
        denied(output.put_if_match("run.json", Some(&old), "x".into()).await.unwrap_err());
        denied(output.delete_if_match("run.json", &old).await.unwrap_err());
        denied(output.delete("run.json").await.unwrap_err());
        assert_eq!(output.get("run.json").await.unwrap().unwrap(), "old");
        assert_eq!(output.list("").await.unwrap().len(), 1);
        output.delete("not there").await.unwrap();
        remount("rw");
        output.put("results.csv", "x".into()).await.unwrap();
        assert_eq!(output.delete_if_match("run.json", &old).await.unwrap(), Conditional::Done);
    });
}
