//! A listing of a million keys, in a process of its own, because a peak of memory is that of a whole process.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use bytes::Bytes;
use fruitbatch_storage::{ListOptions, Storage, StorageOptions};
use fruitbatch_testkit::s3_server::{GeneratedObjects, S3Server};
use support::location;

const ENDPOINT: &str = "FRUITBATCH_STORAGE_TEST_ENDPOINT";
const TEST: &str = "a_million_keys_are_listed_in_less_than_500_mb";
const COUNT: u64 = 1_000_000;
const MAX_PEAK: u64 = 500_000_000;

fn objects() -> GeneratedObjects {
    GeneratedObjects {
        prefix: "photos/2024/".to_owned(),
        count: COUNT,
        content: Bytes::from_static(b"not really a photo"),
    }
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_million_keys_are_listed_in_less_than_500_mb() {
    let Ok(endpoint_url) = std::env::var(ENDPOINT) else { return run_in_a_child() };
    let options = StorageOptions {
        endpoint_url: Some(endpoint_url),
        region: Some("us-east-1".to_owned()),
        no_sign_request: true,
        ..StorageOptions::default()
    };
    let listing = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let storage = Storage::new(options);
        storage.list(&location("s3://fruits/photos"), &ListOptions::default()).await.unwrap()
    });
    let objects = objects();
    assert_eq!(listing.photos.len() as u64, COUNT);
    for (number, photo) in listing.photos.iter().enumerate() {
        assert_eq!(objects.key(number as u64).strip_prefix("photos/"), Some(photo.path.as_str()));
    }
    println!("peak {}", peak());
}

fn run_in_a_child() {
    let server = S3Server::start();
    server.generate_objects("fruits", objects());
    server.allow_anonymous_reads("fruits");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(ENDPOINT, server.endpoint_url())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let peak = printed.lines().find_map(|line| line.split("peak ").nth(1)?.trim().parse::<u64>().ok());
    let peak = peak.expect("the child prints its peak");
    eprintln!("listing {COUNT} keys took {} MB at its peak", peak / 1_000_000);
    assert!(peak < MAX_PEAK, "{peak}");
}
