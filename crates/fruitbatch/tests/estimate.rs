//! What a run would take and cost: `run --dry-run` with a rate that is given or was measured by `doctor --bench`.

use std::fs;

use fruitbatch_testkit::s3_server::S3Server;
use support::{IMAGE_SIZE, MODEL, Place, upload, with_credentials};

mod support;

/// Prices that are easily worked out by hand.
const PRICES: &str = r#"
version = 1
as-of = "2001-01"
scheduler = "small"
driver = "middling"
endpoints = 0

[[instance-types]]
name = "dear"
processor = "any"
vcpus = 2
cores = 1
memory-gib = 4

[[instance-types]]
name = "cheap"
processor = "any"
vcpus = 2
cores = 2
memory-gib = 4

[regions.here-1]
scheduler-hour = 0.06
driver-hour = 0.04
endpoint-hour = 7.0
disk-gb-month = 0.73
list-per-1000 = 5.0
same-region-gb = 0.0
other-region-gb = 0.02
internet-gb = 0.09

[regions.here-1.instances]
dear = { on-demand = 1.0, spot = 0.5 }
cheap = { on-demand = 1.0, spot = 0.4 }

[[regions.here-1.storage]]
class = "Standard"
gb-month = 1024.0
put-per-1000 = 0.0
get-per-1000 = 2.0
retrieval-gb = 0.0
least-object-kib = 1024
"#;

fn stdout_of(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

/// The words of the first line that begins with `start`.
fn words(text: &str, start: &str) -> Vec<String> {
    let line = text.lines().map(str::trim_start).find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no line begins with `{start}`:\n{text}"));
    line[start.len()..].split_whitespace().map(str::to_owned).collect()
}

#[test]
fn time_and_dollars_follow_from_rate_and_prices() {
    let Some(place) = Place::with_photos("time_and_dollars_follow_from_rate_and_prices", 3) else { return };
    fs::write(place.path("prices.toml"), PRICES).expect("writes");
    let flags =
        ["--dry-run", "--rate", "0.01", "--instances", "2", "--region", "here-1", "--prices", "prices.toml"];
    let told = stdout_of(&place.run("out", &flags).assert().success());

    // 12 photos at 0.01 a second on 2 cores in all take 600 s, and 120 s go by before: 0.2 h. Two executors cost 0.40, scheduler
    // and driver 0.02, four disks of 20 GB 0.016; one LIST is 0.005, and 15 GETs (a chunk and two models beside the photos)
    // are 0.03.
    let dear = words(&told, "dear x 2");
    assert_eq!(dear, ["any", "2", "1", "4", "12", "min", "0.47", "0.27"], "{told}");
    // Twice the cores: 300 s and 120 s, 7 min.
    let cheap = words(&told, "cheap x 2");
    assert_eq!(cheap, ["any", "2", "2", "4", "7", "min", "0.29", "0.15"], "{told}");
    assert_eq!(words(&told, "executors, on demand"), ["2", "x", "7", "min", "0.23"], "{told}");
    assert_eq!(words(&told, "or spot"), ["2", "x", "7", "min", "0.09"], "{told}");
    assert_eq!(words(&told, "scheduler, small"), ["7", "min", "0.01"], "{told}");
    assert_eq!(words(&told, "driver, middling"), ["7", "min", "<", "0.01"], "{told}");
    assert_eq!(words(&told, "disks, gp3"), ["4", "x", "20", "GB", "0.01"], "{told}");
    assert_eq!(words(&told, "endpoints of the network"), ["0", "x", "7", "min", "0.00"], "{told}");
    assert_eq!(words(&told, "S3 LIST"), ["1", "0.01"], "{told}");
    assert_eq!(words(&told, "S3 GET"), ["15", "0.03"], "{told}");
    // 12 photos billed as a MiB each, at a dollar a MiB.
    assert_eq!(words(&told, "Standard")[0], "12.00", "{told}");
    assert!(told.contains("cheap x 2: 7 min, 0.29 USD on demand, 0.15 USD spot"), "{told}");
    assert!(told.contains("2001-01") && told.contains("(as given)"), "{told}");
    assert!(!place.path("out").exists());
}

#[test]
fn a_measured_rate_is_kept_and_estimated_with() {
    let Some(place) = Place::with_photos("a_measured_rate_is_kept_and_estimated_with", 3) else { return };
    let before = stdout_of(&place.run("out", &["--dry-run"]).assert().success());
    let bench = format!("fruitbatch doctor --bench --model {MODEL} --image-size {IMAGE_SIZE}");
    assert!(before.contains(&bench), "{before}");
    assert!(!before.contains("USD"), "{before}");

    let flags = ["doctor", "--bench", "--model", MODEL, "--image-size", IMAGE_SIZE, "--seconds", "1"];
    let told = stdout_of(&place.fruitbatch(&flags).assert().success());
    let kept = place.json("cache/rates.json");
    let rate = &kept["rates"][0];
    assert!(rate["photos_per_second"].as_f64().is_some_and(|rate| rate > 1.0), "{kept}");
    assert_eq!(rate["image_size"], IMAGE_SIZE);
    let shown = format!("{:.1} photos a second", rate["photos_per_second"].as_f64().unwrap_or_default());
    assert!(told.contains(&shown), "{told}");

    let after = stdout_of(&place.run("out", &["--dry-run"]).assert().success());
    assert!(after.contains("measured on 20") && after.contains("us-east-1"), "{after}");
    assert!(after.contains("c7g.2xlarge x 4"), "{after}");
    // Another size is another rate.
    let other = place.fruitbatch(&[
        "run",
        "photos",
        "--output",
        "out",
        "--model",
        MODEL,
        "--image-size",
        "48",
        "--dry-run",
    ]);
    let other = stdout_of(&{ other }.assert().success());
    assert!(other.contains("--image-size 48") && !other.contains("USD"), "{other}");
}

#[test]
fn wrong_estimates_end_in_2() {
    let Some(place) = Place::with_photos("wrong_estimates_end_in_2", 2) else { return };
    fs::write(place.path("wrong.toml"), PRICES.replace("spot = 0.5", "spot = -0.5")).expect("writes");
    for (flags, word) in [
        (&["--dry-run", "--rate", "0"][..], "--rate"),
        (&["--dry-run", "--rate", "NaN"], "--rate"),
        (&["--dry-run", "--rate", "5", "--instances", "0"], "--instances"),
        (&["--dry-run", "--prices", "nowhere.toml"], "nowhere.toml"),
        (&["--dry-run", "--prices", "wrong.toml"], "here-1: `dear`"),
        // Who wants an estimate must not start a run by it.
        (&["--rate", "5"], "--dry-run"),
    ] {
        let told = place.run("out", flags).assert().code(2);
        let text = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
        assert!(text.contains(word), "{flags:?}: {text}");
    }
    assert!(!place.path("out").exists());
}

#[test]
fn an_estimate_in_s3_lists_and_does_nothing_else() {
    let Some(place) = Place::with_photos("an_estimate_in_s3_lists_and_does_nothing_else", 2) else { return };
    let server = S3Server::start();
    server.create_bucket("fruits");
    upload(&place, &server, "fruits", str::to_owned);
    let command = place.run_on("s3://fruits/photos/", "s3://fruits/out/", &["--dry-run", "--rate", "5"]);
    let told = stdout_of(&with_credentials(command, &server).assert().success());
    // The region that the environment names has no prices.
    assert!(told.contains("no prices of eu-west-3: those of us-east-1"), "{told}");
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.operation).collect();
    assert!(asked.iter().all(|operation| operation == "ListObjectsV2"), "{asked:?}");
}
