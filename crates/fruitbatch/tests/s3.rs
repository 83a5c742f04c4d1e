//! INPUT and OUT on S3: a real server, real requests, odd keys.

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
