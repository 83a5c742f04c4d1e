//! What networks, busy servers and servers that only nearly speak S3's protocol do to a client: the result is right, or it
//! is an error that blames them and no photo.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use fruitbatch_storage::{
    ListOptions, ListedPhoto, ReadErrorKind, Storage, StorageError, StorageErrorKind, StorageOptions,
};
use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
use fruitbatch_testkit::s3_server::S3Server;
use support::{location, options_for, storage_for};

const MAX_BYTES: u64 = 1 << 20;

/// Bytes that no part of another object has.
fn content_of(number: usize) -> Bytes {
    let line = format!("object {number}, ");
    Bytes::from(line.repeat(1 + number * 40))
}

fn server_with_objects(count: usize) -> S3Server {
    let server = S3Server::start();
    server.create_bucket("fruits");
    for number in 0..count {
        server.put_object("fruits", &format!("photos/{number:05}.jpg"), content_of(number % 50));
    }
    server
}

async fn list(storage: &Storage) -> Result<Vec<ListedPhoto>, StorageError> {
    Ok(storage.list(&location("s3://fruits/photos"), &ListOptions::default()).await?.photos)
}

/// Network, server and nothing else; any of them may strike any request.
fn passing_faults(seed: u64) -> FaultPlan {
    FaultPlan::new(seed)
        .odds(0.04, Fault::InternalError)
        .odds(0.04, Fault::SlowDown)
        .odds(0.04, Fault::TooManyRequests)
        .odds(0.03, Fault::StatusWithoutBody(503))
        .odds(0.03, Fault::StatusWithoutBody(500))
        .odds(0.04, Fault::ResetBefore)
        .odds(0.04, Fault::ResetAfter)
        .odds(0.04, Fault::TruncatedBody)
        .odds(0.04, Fault::ShortenedBody)
        .odds(0.04, Fault::ExpiredToken)
        .odds(0.02, Fault::SlowBody)
}

#[tokio::test]
async fn a_listing_is_whole_sorted_and_without_doubles_whatever_happens_to_its_pages() {
    let server = server_with_objects(4_300);
    let storage = storage_for(&server);
    let expected = list(&storage).await.unwrap();
    assert_eq!(expected.len(), 4_300);
    let mut whole = 0;
    for seed in 0..12 {
        server.set_faults(
            passing_faults(seed)
                .odds_of("ListObjectsV2", 0.15, Fault::ListOutOfOrder)
                .odds_of("ListObjectsV2", 0.15, Fault::ListPageRepeated)
                .odds_of("ListObjectsV2", 0.15, Fault::ListPagesSwapped),
        );
        match list(&storage).await {
            Ok(photos) => {
                assert!(photos == expected, "seed {seed}");
                whole += 1;
            }
            Err(error) => assert!(error.kind().may_pass(), "seed {seed}: {error}"),
        }
    }
    assert!(whole >= 6, "of 12 listings only {whole} came through");

    for fault in [Fault::ListOutOfOrder, Fault::ListPagesSwapped] {
        server.set_faults(FaultPlan::new(0).rule(Rule::new(fault)));
        assert!(list(&storage).await.unwrap() == expected, "{fault:?} all the time");
    }
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ListPageRepeated).times(5)));
    assert!(list(&storage).await.unwrap() == expected);
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ListPageRepeated)));
    let error = list(&storage).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Fault, "{error}");
    assert!(error.to_string().contains("the same page again and again"), "{error}");
}

#[tokio::test]
async fn a_read_gives_the_right_bytes_or_blames_the_network() {
    let server = server_with_objects(50);
    let storage = storage_for(&server);
    let photos = list(&storage).await.unwrap();
    let reader = storage.reader(&location("s3://fruits/photos")).await.unwrap();
    let (mut right, mut faults) = (0, 0);
    for seed in 0..6 {
        server.set_faults(passing_faults(seed));
        for (number, photo) in photos.iter().enumerate() {
            match reader.read(&photo.path, Some(&photo.etag), MAX_BYTES).await {
                Ok(content) => {
                    assert!(content == content_of(number), "seed {seed}, {}", photo.path);
                    right += 1;
                }
                Err(error) => {
                    assert!(!error.kind().concerns_only_this_photo(), "seed {seed}: {error}");
                    faults += 1;
                }
            }
        }
    }
    assert!(right > 10 * faults, "{right} right, {faults} faults");
}

#[tokio::test]
async fn what_a_write_says_is_true_and_no_other_bytes_ever_show() {
    let server = S3Server::start();
    server.create_bucket("fruits");
    let output = storage_for(&server).output(&location("s3://fruits/out")).await.unwrap();
    let mut written = 0;
    for seed in 0..4 {
        server.set_faults(passing_faults(seed));
        for number in 0..25 {
            let path = format!("{seed}/{number}");
            match output.put(&path, content_of(number)).await {
                Ok(()) => {
                    assert!(server.object("fruits", &format!("out/{path}")).unwrap() == content_of(number));
                    written += 1;
                }
                Err(error) => assert!(error.kind().may_pass(), "seed {seed}: {error}"),
            }
            match output.get(&path).await {
                Ok(Some(content)) => assert!(content == content_of(number), "seed {seed}, {path}"),
                Ok(None) => assert_eq!(server.object("fruits", &format!("out/{path}")), None),
                Err(error) => assert!(error.kind().may_pass(), "seed {seed}: {error}"),
            }
            match output.version(&path).await {
                Ok(Some(version)) => {
                    match output.delete_if_match(&path, &version).await {
                        // Also if the condition failed: then it was the repetition of a request whose answer was lost.
                        Ok(_) => assert_eq!(server.object("fruits", &format!("out/{path}")), None),
                        Err(error) => assert!(error.kind().may_pass(), "seed {seed}: {error}"),
                    }
                }
                Ok(None) => {}
                Err(error) => assert!(error.kind().may_pass(), "seed {seed}: {error}"),
            }
        }
    }
    assert!(written > 90, "{written}");
}

#[tokio::test]
async fn slow_bodies_are_waited_for_and_those_that_stall_are_asked_for_again() {
    let server = server_with_objects(50);
    let storage = storage_for(&server);
    let expected = list(&storage).await.unwrap();
    let reader = storage.reader(&location("s3://fruits/photos")).await.unwrap();
    for fault in
        [Fault::SlowBody, Fault::StalledBody, Fault::TruncatedBody, Fault::ShortenedBody, Fault::NoAnswer]
    {
        server.set_faults(FaultPlan::new(0).rule(Rule::new(fault).times(1)));
        assert!(list(&storage).await.unwrap() == expected, "{fault:?}");
        server.set_faults(FaultPlan::new(0).rule(Rule::new(fault).times(1)));
        let content = reader.read("00049.jpg", Some(&expected[49].etag), MAX_BYTES).await.unwrap();
        assert!(content == content_of(49), "{fault:?}");
        assert_eq!(server.injected_faults().len(), 1, "{fault:?}");
    }
    for fault in [Fault::TruncatedBody, Fault::ShortenedBody, Fault::ResetBefore, Fault::InternalError] {
        server.set_faults(FaultPlan::new(0).rule(Rule::new(fault)));
        let error = reader.read("00049.jpg", None, MAX_BYTES).await.unwrap_err();
        assert_eq!(error.kind(), ReadErrorKind::Fault, "{fault:?}: {error}");
        assert!(server.injected_faults().len() >= 3, "{fault:?} was met only {:?}", server.injected_faults());
        let error = list(&storage).await.unwrap_err();
        assert!(error.kind().may_pass(), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn expired_credentials_that_come_back_are_waited_for() {
    let server = server_with_objects(3);
    let storage = storage_for(&server);
    let expected = list(&storage).await.unwrap();
    let reader = storage.reader(&location("s3://fruits/photos")).await.unwrap();
    let output = storage.output(&location("s3://fruits/out")).await.unwrap();
    let expire = || server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ExpiredToken).times(3)));
    expire();
    assert_eq!(list(&storage).await.unwrap(), expected);
    expire();
    assert_eq!(reader.read("00001.jpg", None, MAX_BYTES).await.unwrap(), content_of(1));
    expire();
    output.put("a", "1".into()).await.unwrap();
    expire();
    assert!(output.exists("a").await.unwrap());
    expire();
    assert_eq!(output.get("a").await.unwrap().unwrap(), "1");
    expire();
    output.delete("a").await.unwrap();

    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ExpiredToken)));
    let error = reader.read("00001.jpg", None, MAX_BYTES).await.unwrap_err();
    assert_eq!(error.kind(), ReadErrorKind::Fault, "{error}");
    let error = list(&storage).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NoCredentials, "{error}");
    let error = output.put("a", "1".into()).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NoCredentials, "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_one_object_is_said_of_that_object() {
    let server = server_with_objects(5);
    let storage = storage_for(&server);
    let reader = storage.reader(&location("s3://fruits/photos")).await.unwrap();
    let of =
        |fault, name: &str| Rule::new(fault).operation("GetObject").key(&format!("fruits/photos/{name}"));
    server.set_faults(
        FaultPlan::new(0)
            .rule(of(Fault::AccessDenied, "00001.jpg"))
            .rule(of(Fault::Archived, "00002.jpg"))
            .rule(of(Fault::KmsDisabled, "00003.jpg")),
    );
    for (name, expected) in [
        ("00000.jpg", None),
        ("00001.jpg", Some(ReadErrorKind::AccessDenied)),
        ("00002.jpg", Some(ReadErrorKind::Archived)),
        ("00003.jpg", Some(ReadErrorKind::AccessDenied)),
        ("00004.jpg", None),
    ] {
        let read = reader.read(name, None, MAX_BYTES).await;
        assert_eq!(read.err().map(|error| error.kind()), expected, "{name}");
    }
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::AccessDenied)));
    assert_eq!(list(&storage).await.unwrap_err().kind(), StorageErrorKind::AccessDenied);
}

#[tokio::test]
async fn a_look_at_one_photo_shows_what_a_listing_would() {
    let server = server_with_objects(3);
    server.put_object("fruits", "photos/odd #1 100%+ü", "x");
    let storage = storage_for(&server);
    let root = location("s3://fruits/photos");
    let before = list(&storage).await.unwrap();
    for photo in &before {
        let now = storage.look(&root, &photo.path).await.unwrap().unwrap();
        assert_eq!((&now.path, now.length, &now.etag), (&photo.path, photo.length, &photo.etag));
    }
    server.put_object("fruits", "photos/00001.jpg", "another");
    server.remove_object("fruits", "photos/00002.jpg");
    assert_ne!(storage.look(&root, "00001.jpg").await.unwrap().unwrap().etag, before[1].etag);
    for gone in ["00002.jpg", "0000", "no\\xffkey", ""] {
        assert_eq!(storage.look(&root, gone).await.unwrap(), None, "{gone:?}");
    }
    let error = storage.look(&location("s3://nowhere"), "a.jpg").await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound, "a bucket that isn't there says nothing of a photo");

    server
        .set_faults(FaultPlan::new(0).rule(Rule::new(Fault::StatusWithoutBody(404)).operation("GetObject")));
    let reader = storage.reader(&root).await.unwrap();
    let error = reader.read("00001.jpg", None, MAX_BYTES).await.unwrap_err();
    assert_eq!(error.kind(), ReadErrorKind::Fault, "nor does one say it when the photo is read: {error}");
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::SlowDown).times(2)));
    assert!(storage.look(&root, "00001.jpg").await.unwrap().is_some());
    server.set_faults(
        FaultPlan::new(0).rule(Rule::new(Fault::StatusWithoutBody(404)).operation("ListObjectsV2")),
    );
    let error = storage.look(&root, "00002.jpg").await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Fault, "a proxy's 404 says nothing of a photo: {error}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults_to_the_same_requests() {
    let mut runs = Vec::new();
    for seed in [3, 3, 4] {
        let server = server_with_objects(20);
        let storage = storage_for(&server);
        server.set_faults(passing_faults(seed));
        let _ = list(&storage).await;
        let reader = storage.reader(&location("s3://fruits/photos")).await.unwrap();
        for number in 0..20 {
            let _ = reader.read(&format!("{number:05}.jpg"), None, MAX_BYTES).await;
        }
        runs.push(server.injected_faults());
    }
    assert!(!runs[0].is_empty());
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_local_look_shows_what_a_listing_would() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling.jpg")).unwrap();
    let storage = Storage::new(StorageOptions::default());
    let root = location(folder.path().to_str().unwrap());
    let listing = storage.list(&root, &ListOptions::default()).await.unwrap();
    for photo in &listing.photos {
        assert_eq!(storage.look(&root, &photo.path).await.unwrap().as_ref(), Some(photo));
    }
    std::fs::write(folder.path().join("a.jpg"), "longer than before").unwrap();
    assert_ne!(storage.look(&root, "a.jpg").await.unwrap().unwrap().etag, listing.photos[0].etag);
    std::fs::remove_file(folder.path().join("b.jpg")).unwrap();
    std::fs::remove_file(folder.path().join("c.jpg")).unwrap();
    std::fs::create_dir(folder.path().join("c.jpg")).unwrap();
    for gone in ["b.jpg", "c.jpg", "a.jpg/below", "../outside", ""] {
        assert_eq!(storage.look(&root, gone).await.unwrap(), None, "{gone:?}");
    }
    let not_mounted = location(folder.path().join("not mounted").to_str().unwrap());
    let error = storage.look(&not_mounted, "a.jpg").await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn options_with_another_patience_are_found_by_others_too() {
    let server = server_with_objects(1);
    let _impatient = storage_for(&server);
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::NoAnswer).times(1)));
    let found = Storage::new(options_for(&server));
    assert_eq!(list(&found).await.unwrap().len(), 1);
}
