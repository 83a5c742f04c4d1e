//! Listing and reading from a real S3 server, by raw keys.

#![allow(clippy::unwrap_used)]

mod support;

use fruitbatch_storage::{
    ListOptions, ReadErrorKind, SkippedCounts, Storage, StorageErrorKind, StorageOptions,
};
use fruitbatch_testkit::s3_server::{ReadFault, S3Server};
use support::{ODD_KEYS, location, options_for, storage_for};

const MAX_BYTES: u64 = 1 << 20;

fn server_with(keys: &[&str]) -> S3Server {
    let server = S3Server::start();
    server.create_bucket("fruits");
    for key in keys {
        server.put_object("fruits", key, format!("content of {key}"));
    }
    server
}

async fn listed(storage: &Storage, place: &str, options: &ListOptions) -> Vec<String> {
    storage
        .list(&location(place), options)
        .await
        .unwrap()
        .photos
        .into_iter()
        .map(|photo| photo.path)
        .collect()
}

#[tokio::test]
async fn odd_keys_are_listed_in_byte_order_and_read_back() {
    let server = server_with(&[]);
    for prefix in ["", "photos/", "odd #1 100%+ü/"] {
        for key in ODD_KEYS {
            server.put_object("fruits", &format!("{prefix}{key}"), format!("content of {key}"));
        }
    }
    let storage = storage_for(&server);
    for prefix in ["photos/", "odd #1 100%+ü/"] {
        let listing =
            storage.list(&location(&format!("s3://fruits/{prefix}")), &ListOptions::default()).await.unwrap();
        assert_eq!(listing.skipped, SkippedCounts::default());
        let reader = storage.reader(&listing.root).await.unwrap();
        let mut names = Vec::new();
        for photo in &listing.photos {
            let content = reader.read(&photo.path, Some(&photo.etag), MAX_BYTES).await.unwrap();
            let name = String::from_utf8(fruitbatch_storage::path_escape::unescape(&photo.path).into_owned())
                .unwrap();
            assert_eq!(content, format!("content of {name}"));
            assert_eq!(photo.length, content.len() as u64);
            names.push(name);
        }
        names.sort();
        assert_eq!(names, ODD_KEYS);
        assert!(listing.photos.is_sorted_by_key(|photo| &photo.path));
    }
}

#[tokio::test]
async fn a_listing_goes_on_over_all_pages() {
    let server = server_with(&[]);
    // Two and a half pages of a thousand keys, in a folder among others.
    let expected: Vec<String> = (0..2_500).map(|number| format!("a b+{number:05}.jpg")).collect();
    for name in &expected {
        server.put_object("fruits", &format!("photos/{name}"), "x");
    }
    server.put_object("fruits", "photos.jpg", "x");
    server.put_object("fruits", "photos0/x.jpg", "x");
    let storage = storage_for(&server);
    assert_eq!(listed(&storage, "s3://fruits/photos", &ListOptions::default()).await, expected);
    assert_eq!(listed(&storage, "s3://fruits", &ListOptions::default()).await.len(), 2_502);
    let lists = server.requests().iter().filter(|request| request.operation == "ListObjectsV2").count();
    assert_eq!(lists, 3 + 3);
}

#[tokio::test]
async fn the_first_photo_is_found_without_listing_all() {
    let server = server_with(&["photos/.hidden.jpg", "photos/_out/results.csv", "photos/a/"]);
    for number in 0..2_500 {
        server.put_object("fruits", &format!("photos/b/{number:05}.jpg"), "x");
    }
    let storage = storage_for(&server);
    let options =
        ListOptions { exclude: Some(location("s3://fruits/photos/_out")), ..ListOptions::default() };
    let first = storage.list_first(&location("s3://fruits/photos"), &options).await.unwrap();
    assert_eq!(first.photos.iter().map(|photo| &photo.path).collect::<Vec<_>>(), ["b/00000.jpg"]);
    assert_eq!(first.root, location("s3://fruits/photos"));
    let lists = server.requests().iter().filter(|request| request.operation == "ListObjectsV2").count();
    assert_eq!(lists, 1);

    let one = storage.list_first(&location("s3://fruits/photos/b/00007.jpg"), &options).await.unwrap();
    assert_eq!((one.photos.len(), one.root), (1, location("s3://fruits/photos/b")));
    let without_any = ListOptions { glob: Some("*.png".parse().unwrap()), ..ListOptions::default() };
    let none = storage.list_first(&location("s3://fruits/photos"), &without_any).await.unwrap();
    assert!(none.photos.is_empty());
    let error = storage.list_first(&location("s3://fruits/nothing"), &options).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound);
}

#[tokio::test]
async fn markers_dot_files_and_outputs_are_left_out_and_counted() {
    let server = server_with(&[
        "photos/Orange/1.jpg",
        "photos/Orange/.thumb/1.jpg",
        "photos/Orange/.thumb/2.jpg",
        "photos/.DS_Store",
        "photos/_DSC1234.JPG",
        "photos/old/out/results.csv",
        "photos/old/out/_fruitbatch/log/0001.json",
        "photos/out/_fruitbatch/log/0001.json",
        "photos/out/report.html",
        "photos/outing.jpg",
    ]);
    server.put_object("fruits", "photos/", "");
    server.put_object("fruits", "photos/empty/", "");
    server.put_object("fruits", "photos/Orange_$folder$", "");
    let storage = storage_for(&server);
    let options = ListOptions { exclude: Some(location("s3://fruits/photos/out")), ..ListOptions::default() };
    let listing = storage.list(&location("s3://fruits/photos/"), &options).await.unwrap();
    let paths: Vec<_> = listing.photos.iter().map(|photo| photo.path.as_str()).collect();
    assert_eq!(paths, ["Orange/1.jpg", "_DSC1234.JPG", "outing.jpg"]);
    let expected =
        SkippedCounts { folder_markers: 3, dot_files: 2, output_folders: 1, ..SkippedCounts::default() };
    assert_eq!(listing.skipped, expected);

    let flat = ListOptions { recursive: false, ..ListOptions::default() };
    assert_eq!(listed(&storage, "s3://fruits/photos/", &flat).await, ["_DSC1234.JPG", "outing.jpg"]);
    let inside_out = storage.list(&location("s3://fruits/photos/out"), &flat).await.unwrap();
    assert_eq!((inside_out.photos.len(), inside_out.skipped.output_folders), (0, 1));
}

#[tokio::test]
async fn a_glob_starts_at_its_last_fixed_folder_and_a_literal_name_comes_first() {
    let server = server_with(&[
        "p/a/img_1.jpg",
        "p/a/img_2.png",
        "p/b/img_1.jpg",
        "p/b/deep/img_1.jpg",
        "p/[x]/y.jpg",
        "p/x/z.jpg",
    ]);
    let storage = storage_for(&server);
    let all = ListOptions::default();
    assert_eq!(listed(&storage, "s3://fruits/p/*/img_*.jpg", &all).await, ["a/img_1.jpg", "b/img_1.jpg"]);
    assert_eq!(listed(&storage, "s3://fruits/p/a/img_?.{jpg,png}", &all).await, ["img_1.jpg", "img_2.png"]);
    assert_eq!(listed(&storage, "s3://fruits/*/b", &all).await, ["p/b/deep/img_1.jpg", "p/b/img_1.jpg"]);
    assert_eq!(listed(&storage, "s3://fruits/p/[x]", &all).await, ["y.jpg"], "a folder of this very name");
    assert_eq!(listed(&storage, "s3://fruits/p/[x]*/z.jpg", &all).await, ["x/z.jpg"]);
    let listing = storage.list(&location("s3://fruits/p/*/img_*.jpg"), &all).await.unwrap();
    assert_eq!(listing.root, location("s3://fruits/p"));
    let reader = storage.reader(&listing.root).await.unwrap();
    assert_eq!(reader.read("a/img_1.jpg", None, MAX_BYTES).await.unwrap(), "content of p/a/img_1.jpg");
}

#[tokio::test]
async fn one_object_is_a_listing_of_one_relative_to_its_folder() {
    let server = server_with(&["p/apple#12 100%+ü.jpg", "p/apple"]);
    let storage = storage_for(&server);
    let listing =
        storage.list(&location("s3://fruits/p/apple#12 100%+ü.jpg"), &ListOptions::default()).await.unwrap();
    assert_eq!(listing.root, location("s3://fruits/p"));
    let photo = &listing.photos[0];
    assert_eq!((listing.photos.len(), photo.path.as_str(), photo.length), (1, "apple#12 100%+ü.jpg", 33));
    let reader = storage.reader(&listing.root).await.unwrap();
    assert_eq!(reader.read(&photo.path, Some(&photo.etag), MAX_BYTES).await.unwrap().len(), 33);

    let error = storage.list(&location("s3://fruits/p/appl"), &ListOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound);
}

#[tokio::test]
async fn what_goes_wrong_with_one_object_is_told_apart_from_faults() {
    let server =
        server_with(&["gone", "changed", "denied", "archived", "slow", "expired", "truncated", "large"]);
    let storage = storage_for(&server);
    let listing = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap();
    let reader = storage.reader(&listing.root).await.unwrap();
    server.remove_object("fruits", "gone");
    server.put_object("fruits", "changed", "something else");
    server.fail_reads("fruits", "denied", ReadFault::AccessDenied);
    server.fail_reads("fruits", "archived", ReadFault::Archived);
    server.fail_reads("fruits", "expired", ReadFault::ExpiredToken);
    server.fail_reads("fruits", "truncated", ReadFault::TruncatedBody);
    for (path, kind) in [
        ("gone", ReadErrorKind::Vanished),
        ("changed", ReadErrorKind::Changed),
        ("denied", ReadErrorKind::AccessDenied),
        ("archived", ReadErrorKind::Archived),
        ("expired", ReadErrorKind::Fault),
        ("truncated", ReadErrorKind::Fault),
    ] {
        let photo = listing.photos.iter().find(|photo| photo.path == path).unwrap();
        let error = reader.read(path, Some(&photo.etag), MAX_BYTES).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.place(), format!("s3://fruits/{path}"));
    }
    let error = reader.read("large", None, 15).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read `s3://fruits/large`: it has 16 bytes, more than the limit of 15"
    );
    assert_eq!(reader.read("large", None, 16).await.unwrap(), "content of large");

    let nowhere = storage.reader(&location("s3://nowhere")).await.unwrap();
    assert_eq!(nowhere.read("x", None, 1).await.unwrap_err().kind(), ReadErrorKind::Unavailable);
    server.heal("fruits", "truncated");
    assert_eq!(reader.read("truncated", None, MAX_BYTES).await.unwrap(), "content of truncated");
}

#[tokio::test]
async fn a_throttled_read_is_repeated_and_then_a_fault() {
    let server = server_with(&["slow"]);
    let storage = storage_for(&server);
    let reader = storage.reader(&location("s3://fruits")).await.unwrap();
    server.fail_reads("fruits", "slow", ReadFault::SlowDown);
    let (error, healed) = tokio::join!(reader.read("slow", None, MAX_BYTES), async {
        while server.requests().iter().filter(|request| request.operation == "GetObject").count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        server.heal("fruits", "slow");
    });
    let () = healed;
    assert_eq!(error.unwrap(), "content of slow", "the second attempt, or a later one, got through");
}

#[tokio::test]
async fn public_data_is_read_without_a_signature_and_the_requester_pays_if_told() {
    let server = server_with(&["a.jpg"]);
    let unsigned = StorageOptions { no_sign_request: true, ..options_for(&server) };
    let storage = Storage::new(unsigned.clone());
    let error = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::AccessDenied, "{error}");

    server.allow_anonymous_reads("fruits");
    assert_eq!(listed(&storage, "s3://fruits", &ListOptions::default()).await, ["a.jpg"]);
    let reader = storage.reader(&location("s3://fruits")).await.unwrap();
    reader.read("a.jpg", None, MAX_BYTES).await.unwrap();
    let output = storage.output(&location("s3://fruits")).await.unwrap();
    assert_eq!(output.get("a.jpg").await.unwrap().unwrap(), "content of a.jpg");
    let requests = server.requests();
    assert!(
        requests.len() == 3 && requests.iter().all(|request| !request.signed && !request.requester_pays),
        "{requests:?}"
    );

    let paying = StorageOptions { request_payer: true, ..options_for(&server) };
    let storage = Storage::with_static_keys(paying, server.access_key(), server.secret_key());
    listed(&storage, "s3://fruits", &ListOptions::default()).await;
    listed(&storage, "s3://fruits/a.jpg", &ListOptions::default()).await;
    storage.reader(&location("s3://fruits")).await.unwrap().read("a.jpg", None, MAX_BYTES).await.unwrap();
    storage.output(&location("s3://fruits")).await.unwrap().get("a.jpg").await.unwrap();
    let requests = &server.requests()[3..];
    assert!(
        requests.len() == 5 && requests.iter().all(|request| request.signed && request.requester_pays),
        "{requests:?}"
    );
}

#[tokio::test]
async fn storages_with_the_same_options_share_keys_that_were_given() {
    let server = server_with(&["a.jpg"]);
    let _given = storage_for(&server);
    let found = Storage::new(options_for(&server));
    assert_eq!(listed(&found, "s3://fruits", &ListOptions::default()).await, ["a.jpg"]);
}

#[tokio::test]
async fn errors_say_what_to_do_and_hold_no_key() {
    let server = server_with(&["a.jpg"]);
    let error =
        storage_for(&server).list(&location("s3://nowhere/p"), &ListOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "cannot list `s3://nowhere/p`: The specified bucket does not exist (NoSuchBucket); check the bucket's name, and \
         `--endpoint-url` if it isn't on AWS"
    );

    let secret = "hunter2hunter2hunter2";
    let wrong_secret = StorageOptions { region: Some("eu-west-1".to_owned()), ..options_for(&server) };
    let storage = Storage::with_static_keys(wrong_secret, server.access_key(), secret);
    let output = storage.output(&location("s3://fruits/out")).await.unwrap();
    let reader = storage.reader(&location("s3://fruits")).await.unwrap();
    let listing = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap_err();
    let writing = output.put("x", "y".into()).await.unwrap_err();
    let reading = reader.read("a.jpg", None, MAX_BYTES).await.unwrap_err();
    assert_eq!(listing.kind(), StorageErrorKind::NoCredentials, "{listing}");
    assert_eq!(writing.kind(), StorageErrorKind::NoCredentials, "{writing}");
    assert_eq!(reading.kind(), ReadErrorKind::Unavailable, "{reading}");
    let shown = format!(
        "{listing} {listing:?} {writing} {writing:?} {reading} {reading:?} {storage:?} {output:?} {reader:?}"
    );
    assert!(!shown.contains(secret) && !shown.contains(server.access_key()), "{shown}");
    assert!(!shown.contains('\n'), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    // A port that was free a moment ago, and that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = StorageOptions {
        endpoint_url: Some(format!("http://{address}")),
        region: Some("us-east-1".to_owned()),
        no_sign_request: true,
        ..StorageOptions::default()
    };
    let error =
        Storage::new(options).list(&location("s3://fruits"), &ListOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Unreachable, "{error}");
    assert!(
        error.to_string().contains(&format!("check that `http://{address}` is the server's address")),
        "{error}"
    );
}

#[tokio::test]
async fn an_endpoint_with_a_password_or_without_a_host_is_refused_and_not_repeated() {
    for endpoint_url in
        ["http://user:hunter2@127.0.0.1:1", "127.0.0.1:9000", "ftp://hunter2", "http://h/?token=hunter2"]
    {
        let options =
            StorageOptions { endpoint_url: Some(endpoint_url.to_owned()), ..StorageOptions::default() };
        let options =
            StorageOptions { region: Some("us-east-1".to_owned()), no_sign_request: true, ..options };
        let error =
            Storage::new(options).list(&location("s3://b"), &ListOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), StorageErrorKind::Invalid, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}
