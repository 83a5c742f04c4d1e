//! INPUT and OUT on S3: a real server, real requests, odd keys.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use fruitbatch_testkit::s3_server::S3Server;
use support::{Place, upload, with_credentials};

mod support;

const BUCKET: &str = "fruits";

#[test]
fn from_s3_to_s3_gives_the_bytes_of_a_local_run() {
    let Some(place) = Place::with_photos("from_s3_to_s3_gives_the_bytes_of_a_local_run", 5) else { return };
    place.run("out", &[]).assert().success();

    let server = S3Server::start();
    server.create_bucket(BUCKET);
    upload(&place, &server, BUCKET, str::to_owned);
    let arguments = [
        "run",
        "s3://fruits/photos/",
        "--output",
        "s3://fruits/out/",
        "--model",
        support::MODEL,
        "--image-size",
        support::IMAGE_SIZE,
        "--n-components",
        "4",
    ];
    for computed in [20, 0] {
        with_credentials(place.fruitbatch(&arguments), &server).assert().success();
        let results = server.object(BUCKET, "out/results.csv").expect("results were written");
        assert_eq!(String::from_utf8_lossy(&results), place.read("out/results.csv"));
        let metrics = server.object(BUCKET, "out/metrics.json").expect("metrics were written");
        let metrics: serde_json::Value = serde_json::from_slice(&metrics).expect("is JSON");
        assert_eq!(metrics["timings"]["photos_computed"], computed);
    }
    for key in server.keys(BUCKET).into_iter().filter(|key| key.starts_with("out/")) {
        let content = server.object(BUCKET, &key).expect("is there");
        let holds_secret =
            content.windows(server.secret_key().len()).any(|window| window == server.secret_key().as_bytes());
        assert!(!holds_secret, "the secret key is in {key}");
    }
}

#[test]
fn odd_keys_are_photos_like_any_other() {
    let Some(place) = Place::with_photos("odd_keys_are_photos_like_any_other", 3) else { return };
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let number = std::cell::Cell::new(0);
    let odd = [
        "a b",
        "ü☕",
        "100%",
        "%41",
        "1+1",
        "apple#12",
        "a&b=c",
        "quo'te\"",
        "a//b",
        "_DSC",
        "semi;colon,comma",
        "new\u{a0}space",
    ];
    let photos = upload(&place, &server, BUCKET, |_| {
        let photo = number.replace(number.get() + 1);
        format!("label {}/{}.jpg", photo % 3, odd[photo])
    });
    assert_eq!(photos, odd.len(), "each odd key once");
    server.put_object(BUCKET, "photos/folder marker/", "");
    server.put_object(BUCKET, "photos/.hidden.jpg", "x");
    let told = with_credentials(
        place.fruitbatch(&[
            "run",
            "s3a://fruits/photos",
            "--output",
            "out",
            "--model",
            support::MODEL,
            "--image-size",
            support::IMAGE_SIZE,
            "--n-components",
            "4",
            "--n-clusters",
            "3",
        ]),
        &server,
    )
    .assert()
    .success();
    place.assert_nothing_lost("out", photos);
    assert_eq!(
        place.csv("out/failures.csv").len(),
        0,
        "{}",
        String::from_utf8_lossy(&told.get_output().stdout)
    );
    let skipped = &place.json("out/metrics.json")["skipped"];
    assert_eq!((&skipped["folder_markers"], &skipped["dot_files"]), (&1.into(), &1.into()), "{skipped}");
}

#[test]
fn wrong_credentials_stop_the_run_in_plain_words() {
    let Some(place) = Place::with_photos("wrong_credentials_stop_the_run_in_plain_words", 2) else { return };
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    upload(&place, &server, BUCKET, str::to_owned);
    let secret = "wrong-secret-that-must-not-show";
    let told = place
        .fruitbatch(&[
            "run",
            "s3://fruits/photos/",
            "--output",
            "out",
            "--model",
            support::MODEL,
            "--image-size",
            "32",
        ])
        .env("AWS_ENDPOINT_URL", server.endpoint_url())
        .env("AWS_ACCESS_KEY_ID", server.access_key())
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "us-east-1")
        .assert()
        .code(1);
    let text = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(text.contains("s3://fruits/photos"), "{text}");
    assert!(!text.contains(secret), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one plain line: {text}");
}

/// What a URL answers.
fn get(url: &str) -> (u16, Vec<u8>) {
    let (address, path) =
        url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("it is one of the server");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("there is a head");
    let status =
        String::from_utf8_lossy(&answer[..head]).split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("there is a status"), answer[head + 4..].to_vec())
}

#[test]
fn links_show_the_photos_to_whoever_has_them() {
    let Some(place) = Place::with_photos("links_show_the_photos_to_whoever_has_them", 3) else { return };
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    upload(&place, &server, BUCKET, |path| format!("{path} #1+%.jpg"));
    let output = "s3://fruits/out/";
    with_credentials(place.run_on("s3://fruits/photos/", output, &[]), &server).assert().success();
    let links =
        |flags: &[&str]| with_credentials(place.fruitbatch(&[&["links", output], flags].concat()), &server);
    let told = links(&["--expires", "5m"]).assert().success();
    let told = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert!(told.starts_with("12 links in links.csv") && !told.contains("Signature"), "{told}");

    let file = place.path("links.csv");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let rows = place.csv("links.csv");
    assert_eq!(rows.len(), 12);
    for row in &rows {
        let (status, body) = get(&row["url"]);
        let photo = server.object(BUCKET, &format!("photos/{}", row["path"])).expect("it is there");
        assert!(status == 200 && body == photo, "{}: {status}", row["path"]);
    }
    // Without its signature, a link opens nothing.
    let unsigned = rows[0]["url"].split('?').next().expect("there is a first part");
    assert_eq!(get(unsigned).0, 403);

    // Never over another file, and never into an output.
    let refused = links(&[]).assert().code(1);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("links.csv"));
    let too_long = links(&["--expires", "8d", "--to", "more.csv"]).assert().code(1);
    assert!(String::from_utf8_lossy(&too_long.get_output().stderr).contains("a week at most"));
    place.run("here", &[]).assert().success();
    place.fruitbatch(&["links", "here", "--to", "here/links.csv"]).assert().code(2);
    let on_disk = place.fruitbatch(&["links", "here", "--to", "more.csv"]).assert().code(1);
    assert!(String::from_utf8_lossy(&on_disk.get_output().stderr).contains("lie on a disk"));
    assert!(!place.path("more.csv").exists() && !place.path("here/links.csv").exists());
}
