//! Where credentials, endpoint and region come from. Each test runs itself again in a process of its own, with an
//! environment of its own, because the environment of a process with threads can't be changed.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fruitbatch_storage::{ListOptions, Storage, StorageErrorKind, StorageOptions};
use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
use fruitbatch_testkit::s3_server::S3Server;
use support::location;
use tempfile::TempDir;

/// Names the test that a child process is to play the inner part of.
const CHILD: &str = "FRUITBATCH_STORAGE_TEST_CHILD";

fn is_child(test: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == test)
}

/// Runs `test` again with only this environment, and fails if it does.
fn run_child(test: &str, home: &Path, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env(CHILD, test)
        // Otherwise a machine on EC2 would find credentials there.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let shown = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&shown));
    assert!(String::from_utf8_lossy(&shown).contains("1 passed"), "{}", String::from_utf8_lossy(&shown));
}

fn server() -> S3Server {
    let server = S3Server::start();
    server.create_bucket("fruits");
    server.put_object("fruits", "a.jpg", "x");
    server
}

/// Lists, reads and writes with both clients.
fn use_everything(options: StorageOptions) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let storage = Storage::new(options);
        let listing = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap();
        assert_eq!(listing.photos.len(), 1);
        let reader = storage.reader(&listing.root).await.unwrap();
        assert_eq!(reader.read("a.jpg", Some(&listing.photos[0].etag), 10).await.unwrap(), "x");
        let output = storage.output(&location("s3://fruits/out")).await.unwrap();
        output.put("results.csv", "path".into()).await.unwrap();
        assert_eq!(output.get("results.csv").await.unwrap().unwrap(), "path");
    });
}

fn assert_everything_was_used(server: &S3Server, region: &str) {
    assert_eq!(server.keys("fruits"), ["a.jpg", "out/results.csv"]);
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| request.signed && request.region.as_deref() == Some(region)),
        "{requests:?}"
    );
}

#[test]
fn keys_from_the_environment_and_the_endpoint_for_s3_before_the_general_one() {
    let test = "keys_from_the_environment_and_the_endpoint_for_s3_before_the_general_one";
    if is_child(test) {
        return use_everything(StorageOptions::default());
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    let keys = [("AWS_ACCESS_KEY_ID", server.access_key()), ("AWS_SECRET_ACCESS_KEY", server.secret_key())];
    let general_is_wrong = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", server.endpoint_url()),
        ("AWS_REGION", "eu-west-3"),
    ];
    run_child(test, home.path(), &[keys.as_slice(), &general_is_wrong].concat());
    assert_everything_was_used(&server, "eu-west-3");

    server.remove_object("fruits", "out/results.csv");
    let general = [("AWS_ENDPOINT_URL", server.endpoint_url()), ("AWS_DEFAULT_REGION", "eu-west-3")];
    run_child(test, home.path(), &[keys.as_slice(), &general].concat());
    assert_everything_was_used(&server, "eu-west-3");
}

#[test]
fn a_named_profile_in_files_named_by_the_environment() {
    let test = "a_named_profile_in_files_named_by_the_environment";
    if is_child(test) {
        return use_everything(StorageOptions {
            profile: Some("fruit".to_owned()),
            ..StorageOptions::default()
        });
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    let (config, credentials) = (home.path().join("my config"), home.path().join("my credentials"));
    let endpoint = server.endpoint_url();
    std::fs::write(&config, format!("[profile fruit]\nregion = eu-central-1\nendpoint_url = {endpoint}\n"))
        .unwrap();
    let keys = format!(
        "aws_access_key_id = {}\naws_secret_access_key = {}\n",
        server.access_key(),
        server.secret_key()
    );
    std::fs::write(
        &credentials,
        format!("[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n[fruit]\n{keys}"),
    )
    .unwrap();
    let files = [
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
    ];
    run_child(test, home.path(), &files);
    assert_everything_was_used(&server, "eu-central-1");
}

#[test]
fn a_credential_process_of_the_default_profile_in_the_home_folder() {
    let test = "a_credential_process_of_the_default_profile_in_the_home_folder";
    if is_child(test) {
        return use_everything(StorageOptions::default());
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    let answer = format!(
        r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}","Expiration":"2999-01-01T00:00:00Z"}}"#,
        server.access_key(),
        server.secret_key()
    );
    set_credential_process(home.path(), &format!("echo '{answer}'"));
    run_child(test, home.path(), &[("AWS_ENDPOINT_URL_S3", server.endpoint_url())]);
    assert_everything_was_used(&server, "us-east-1");
}

#[test]
fn what_a_credential_process_prints_never_reaches_a_message() {
    let test = "what_a_credential_process_prints_never_reaches_a_message";
    if is_child(test) {
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let storage = Storage::new(StorageOptions::default());
            let listing = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap_err();
            let output = storage.output(&location("s3://fruits")).await.unwrap_err();
            let reader = storage.reader(&location("s3://fruits")).await.unwrap();
            let read = reader.read("a.jpg", None, 1).await.unwrap_err();
            assert!(!read.kind().concerns_only_this_photo());
            let shown = format!("{listing} {listing:?} {output} {output:?} {read} {read:?} {storage:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("the source of AWS credentials failed"), "{shown}");
        });
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    set_credential_process(home.path(), "echo hunter2; echo hunter2 >&2; exit 3");
    run_child(
        test,
        home.path(),
        &[("AWS_ENDPOINT_URL_S3", server.endpoint_url()), ("AWS_REGION", "us-east-1")],
    );
    assert_eq!(server.requests(), [], "nothing is sent unsigned instead");
}

fn set_credential_process(home: &Path, script: &str) {
    let program = home.join("credentials.sh");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir(home.join(".aws")).unwrap();
    let config = format!("[default]\ncredential_process = {}\n", program.display());
    std::fs::write(home.join(".aws/config"), config).unwrap();
}

#[test]
fn no_credentials_at_all_is_one_plain_line_that_says_what_to_do() {
    let test = "no_credentials_at_all_is_one_plain_line_that_says_what_to_do";
    if is_child(test) {
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let storage = Storage::new(StorageOptions::default());
            let listing =
                storage.list(&location("s3://fruits/p"), &ListOptions::default()).await.unwrap_err();
            let output = storage.output(&location("s3://fruits/out")).await.unwrap_err();
            for (error, start) in [
                (listing, "cannot list `s3://fruits/p`: no AWS credentials found; sign in ("),
                (output, "cannot open `s3://fruits/out`: no AWS credentials found; sign in ("),
            ] {
                assert_eq!(error.kind(), StorageErrorKind::NoCredentials);
                assert!(error.to_string().starts_with(start), "{error}");
            }
        });
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    run_child(
        test,
        home.path(),
        &[("AWS_ENDPOINT_URL_S3", server.endpoint_url()), ("AWS_REGION", "us-east-1")],
    );
    assert_eq!(server.requests(), [], "nothing is sent unsigned instead");
}

#[test]
fn a_profile_that_is_not_there_is_told() {
    let test = "a_profile_that_is_not_there_is_told";
    if is_child(test) {
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let options = StorageOptions { profile: Some("nobody".to_owned()), ..StorageOptions::default() };
            let error = Storage::new(options)
                .list(&location("s3://fruits"), &ListOptions::default())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), StorageErrorKind::NoCredentials, "{error}");
            assert!(error.to_string().contains("profile"), "{error}");
        });
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    run_child(
        test,
        home.path(),
        &[("AWS_ENDPOINT_URL_S3", server.endpoint_url()), ("AWS_REGION", "us-east-1")],
    );
}

#[test]
fn keys_that_were_replaced_in_the_profile_are_found_within_the_call_that_needs_them() {
    let test = "keys_that_were_replaced_in_the_profile_are_found_within_the_call_that_needs_them";
    let home = std::env::var_os("HOME").unwrap_or_default();
    let write_keys = |home: &Path, (access_key, secret): (&str, &str)| {
        let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret}\n");
        std::fs::create_dir_all(home.join(".aws")).unwrap();
        std::fs::write(home.join(".aws/credentials"), text).unwrap();
    };
    if is_child(test) {
        return tokio::runtime::Runtime::new().unwrap().block_on(async {
            let storage = Storage::new(StorageOptions::default());
            let listing = storage.list(&location("s3://fruits"), &ListOptions::default()).await.unwrap();
            let second = (std::env::var("SECOND_KEY").unwrap(), std::env::var("SECOND_SECRET").unwrap());
            write_keys(Path::new(&home), (&second.0, &second.1));
            let reader = storage.reader(&listing.root).await.unwrap();
            assert_eq!(reader.read("a.jpg", Some(&listing.photos[0].etag), 10).await.unwrap(), "x");
        });
    }
    let (server, home) = (server(), TempDir::new().unwrap());
    write_keys(home.path(), (server.access_key(), server.secret_key()));
    let first_key_ends =
        Rule::new(Fault::ExpiredToken).operation("GetObject").access_key(server.access_key());
    server.set_faults(FaultPlan::new(0).rule(first_key_ends));
    let (second_key, second_secret) = server.second_keys();
    run_child(
        test,
        home.path(),
        &[
            ("AWS_ENDPOINT_URL_S3", server.endpoint_url()),
            ("AWS_REGION", "us-east-1"),
            ("SECOND_KEY", second_key),
            ("SECOND_SECRET", second_secret),
        ],
    );
    assert!(!server.injected_faults().is_empty());
}
