//! Listing and reading local folders: odd names, links, and what changes under a reader's hands.

#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use fruitbatch_storage::{
    ListOptions, Listing, Location, ReadErrorKind, SkippedCounts, Storage, StorageErrorKind, StorageOptions,
};
use support::ODD_KEYS;
use tempfile::TempDir;

const MAX_BYTES: u64 = 1 << 20;

fn write(folder: &Path, path: impl AsRef<Path>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, path.as_os_str().as_bytes()).unwrap();
}

fn at(path: &Path) -> Location {
    Location::from_path(path).unwrap()
}

async fn list(path: &Path, options: &ListOptions) -> Listing {
    Storage::new(StorageOptions::default()).list(&at(path), options).await.unwrap()
}

fn paths(listing: &Listing) -> Vec<&str> {
    listing.photos.iter().map(|photo| photo.path.as_str()).collect()
}

#[tokio::test]
async fn odd_names_are_listed_in_byte_order_and_read_back_even_if_they_are_not_text() {
    let folder = TempDir::new().unwrap();
    // A file system has no empty folder names.
    for name in ODD_KEYS.iter().filter(|name| !name.contains("//")) {
        write(folder.path(), name);
    }
    let latin1 = OsStr::from_bytes(b"caf\xe9/\xff.jpg");
    write(folder.path(), latin1);
    let listing = list(folder.path(), &ListOptions::default()).await;
    assert_eq!(listing.photos.len(), ODD_KEYS.len());
    assert!(paths(&listing).contains(&r"caf\xe9/\xff.jpg"));
    assert!(paths(&listing).contains(&r"back\x5cxe9.jpg"));
    assert!(listing.photos.is_sorted_by_key(|photo| &photo.path));
    let reader = Storage::new(StorageOptions::default()).reader(&listing.root).await.unwrap();
    for photo in &listing.photos {
        let content = reader.read(&photo.path, Some(&photo.etag), MAX_BYTES).await.unwrap();
        let file =
            folder.path().join(OsStr::from_bytes(&fruitbatch_storage::path_escape::unescape(&photo.path)));
        assert_eq!(content, file.as_os_str().as_bytes());
        assert_eq!(photo.length, content.len() as u64);
    }
}

#[tokio::test]
async fn links_are_followed_circles_are_counted_and_dangling_ones_are_listed() {
    let folder = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    write(elsewhere.path(), "photo.jpg");
    write(folder.path(), "a/1.jpg");
    symlink(elsewhere.path(), folder.path().join("linked folder")).unwrap();
    symlink(elsewhere.path().join("photo.jpg"), folder.path().join("linked.jpg")).unwrap();
    symlink(folder.path(), folder.path().join("a/back up")).unwrap();
    symlink("nowhere", folder.path().join("dangling.jpg")).unwrap();
    symlink("itself.jpg", folder.path().join("itself.jpg")).unwrap();
    let listing = list(folder.path(), &ListOptions::default()).await;
    assert_eq!(
        paths(&listing),
        ["a/1.jpg", "dangling.jpg", "itself.jpg", "linked folder/photo.jpg", "linked.jpg"]
    );
    assert_eq!(listing.skipped, SkippedCounts { not_files: 1, ..SkippedCounts::default() });
    let reader = Storage::new(StorageOptions::default()).reader(&listing.root).await.unwrap();
    for (path, readable) in [
        ("linked folder/photo.jpg", true),
        ("linked.jpg", true),
        ("dangling.jpg", false),
        ("itself.jpg", false),
    ] {
        let photo = listing.photos.iter().find(|photo| photo.path == path).unwrap();
        let read = reader.read(path, Some(&photo.etag), MAX_BYTES).await;
        assert_eq!(
            read.map(drop).map_err(|error| error.kind()),
            if readable { Ok(()) } else { Err(ReadErrorKind::Vanished) }
        );
    }
}

#[tokio::test]
async fn dot_files_outputs_and_pipes_are_left_out_and_counted() {
    let folder = TempDir::new().unwrap();
    for path in [
        "Orange/1.jpg",
        "_DSC1234.JPG",
        ".DS_Store",
        ".git/a",
        ".git/b",
        "deep/out/_fruitbatch/log/1.json",
        "deep/out/features/part.parquet",
        "out/_fruitbatch/log/1.json",
        "out/results.csv",
    ] {
        write(folder.path(), path);
    }
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let options = ListOptions { exclude: Some(at(&folder.path().join("out"))), ..ListOptions::default() };
    let listing = list(folder.path(), &options).await;
    assert_eq!(paths(&listing), ["Orange/1.jpg", "_DSC1234.JPG"]);
    let expected =
        SkippedCounts { dot_files: 2, output_folders: 1, not_files: 1, ..SkippedCounts::default() };
    assert_eq!(listing.skipped, expected);
    drop(socket);

    let flat = ListOptions { recursive: false, ..ListOptions::default() };
    assert_eq!(paths(&list(folder.path(), &flat).await), ["_DSC1234.JPG"]);
    let inside_out = list(&folder.path().join("deep/out"), &ListOptions::default()).await;
    assert_eq!((inside_out.photos.len(), inside_out.skipped.output_folders), (0, 1));
}

#[tokio::test]
async fn one_file_and_a_glob_are_listings_relative_to_their_fixed_folder() {
    let folder = TempDir::new().unwrap();
    for path in ["a/img_1.jpg", "a/img_2.png", "b/img_1.jpg", "[x]/y.jpg", ".hidden.jpg"] {
        write(folder.path(), path);
    }
    let listing = list(&folder.path().join("a/img_1.jpg"), &ListOptions::default()).await;
    assert_eq!((paths(&listing), &listing.root), (vec!["img_1.jpg"], &at(&folder.path().join("a"))));
    let listing = list(&folder.path().join("*/img_*.jpg"), &ListOptions::default()).await;
    assert_eq!((paths(&listing), &listing.root), (vec!["a/img_1.jpg", "b/img_1.jpg"], &at(folder.path())));
    assert_eq!(paths(&list(&folder.path().join("[x]"), &ListOptions::default()).await), ["y.jpg"]);
    assert_eq!(
        paths(&list(&folder.path().join(".hidden.jpg"), &ListOptions::default()).await),
        [".hidden.jpg"]
    );
}

#[tokio::test]
async fn a_file_that_changes_goes_or_grows_is_told_apart() {
    let folder = TempDir::new().unwrap();
    for path in ["gone", "written", "replaced", "now a folder", "large"] {
        write(folder.path(), path);
    }
    let listing = list(folder.path(), &ListOptions::default()).await;
    let reader = Storage::new(StorageOptions::default()).reader(&listing.root).await.unwrap();
    fs::remove_file(folder.path().join("gone")).unwrap();
    fs::write(folder.path().join("written"), b"longer or shorter").unwrap();
    // Same bytes, same length, but another file.
    fs::copy(folder.path().join("replaced"), folder.path().join("new")).unwrap();
    fs::rename(folder.path().join("new"), folder.path().join("replaced")).unwrap();
    fs::remove_file(folder.path().join("now a folder")).unwrap();
    fs::create_dir(folder.path().join("now a folder")).unwrap();
    for (path, kind) in [
        ("gone", ReadErrorKind::Vanished),
        ("written", ReadErrorKind::Changed),
        ("replaced", ReadErrorKind::Changed),
        ("now a folder", ReadErrorKind::Vanished),
    ] {
        let photo = listing.photos.iter().find(|photo| photo.path == path).unwrap();
        let error = reader.read(path, Some(&photo.etag), MAX_BYTES).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.place(), folder.path().join(path).to_str().unwrap());
    }
    assert_eq!(reader.read("large", None, 3).await.unwrap_err().kind(), ReadErrorKind::TooLarge);
    assert_eq!(reader.read("../outside", None, 3).await.unwrap_err().kind(), ReadErrorKind::Vanished);
}

#[tokio::test]
async fn a_folder_that_this_machine_does_not_have_is_unavailable_and_no_photo_of_it_is_gone() {
    let folder = TempDir::new().unwrap();
    let reader = Storage::new(StorageOptions::default())
        .reader(&at(&folder.path().join("not mounted")))
        .await
        .unwrap();
    let error = reader.read("a/1.jpg", None, MAX_BYTES).await.unwrap_err();
    assert_eq!(error.kind(), ReadErrorKind::Unavailable);
    assert!(!error.kind().concerns_only_this_photo());
    assert!(error.to_string().contains("is not there on this machine"), "{error}");
}

#[tokio::test]
async fn a_place_that_is_not_there_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    for missing in ["missing", "missing/*.jpg"] {
        let place = at(&folder.path().join(missing));
        let error =
            Storage::new(StorageOptions::default()).list(&place, &ListOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::NotFound);
        assert!(error.to_string().contains(folder.path().join("missing").to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_folder_that_may_not_be_read_is_an_error_that_names_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    write(folder.path(), "closed/1.jpg");
    write(folder.path(), "open/1.jpg");
    let closed = folder.path().join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let result =
        Storage::new(StorageOptions::default()).list(&at(folder.path()), &ListOptions::default()).await;
    let reads_all = fs::read_dir(&closed).is_ok();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    if reads_all {
        // A superuser may read everything: then nothing may be missing.
        assert_eq!(result.unwrap().photos.len(), 2);
    } else {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::AccessDenied);
        assert!(error.to_string().contains(closed.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn modification_times_select_files_and_are_microseconds() {
    let folder = TempDir::new().unwrap();
    for (name, seconds) in [("old.jpg", 1_000), ("new.jpg", 2_000)] {
        write(folder.path(), name);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(folder.path().join(name)).unwrap().set_modified(time).unwrap();
    }
    let bound = |seconds| chrono::DateTime::from_timestamp(seconds, 0);
    let before = ListOptions { modified_before: bound(2_000), ..ListOptions::default() };
    let listing = list(folder.path(), &before).await;
    assert_eq!(paths(&listing), ["old.jpg"]);
    assert_eq!((listing.photos[0].modification_time, listing.skipped.not_selected), (1_000_000_000, 1));
    let after = ListOptions { modified_after: bound(1_000), ..ListOptions::default() };
    assert_eq!(paths(&list(folder.path(), &after).await), ["new.jpg"]);
}
