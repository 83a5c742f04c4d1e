//! Ten thousand files that mean no good, through the program: it books each and goes on, within its memory.

use std::collections::BTreeSet;

use fruitbatch_testkit::hostile_files::{HOSTILE_FILE_COUNT, hostile_files};
use support::Place;

mod support;

/// What the README states for a run at batch 8 with a model of VGG16's size; the small model of this test needs less.
const MEMORY_BOUND: u64 = 1_500_000_000;

#[test]
fn ten_thousand_hostile_files_are_all_accounted_for() {
    let Some(place) = Place::empty("ten_thousand_hostile_files_are_all_accounted_for") else { return };
    std::fs::create_dir(place.path("hostile")).expect("creates");
    for file in hostile_files(0).take(HOSTILE_FILE_COUNT) {
        std::fs::write(place.path("hostile").join(&file.name), &file.bytes).expect("writes");
    }
    place.run_on("hostile", "out", &["--n-clusters", "3"]).assert().success();
    place.assert_nothing_lost("out", HOSTILE_FILE_COUNT);

    let reasons: BTreeSet<String> =
        place.csv("out/failures.csv").into_iter().map(|row| row["reason"].clone()).collect();
    let known =
        ["decode-error", "empty", "not-an-image", "too-large", "too-small", "truncated", "unsupported"];
    let unknown: Vec<&String> = reasons.iter().filter(|reason| !known.contains(&reason.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(reasons.len() >= 5, "the corpus should fail in many ways: {reasons:?}");

    let metrics = place.json("out/metrics.json");
    let peak = metrics["timings"]["peak_memory_bytes"].as_u64().expect("Linux tells");
    eprintln!(
        "{HOSTILE_FILE_COUNT} files, {} of them readable, {:.0} a second, peak {} MB",
        metrics["rows"],
        metrics["timings"]["photos_per_second"].as_f64().expect("is a rate"),
        peak / 1_000_000
    );
    assert!(peak < MEMORY_BOUND, "{peak} bytes");
}
