//! Ten thousand files that mean no good, through the program: it books each and goes on, within its memory.

use std::collections::BTreeSet;

use fruitbatch_testkit::hostile_files::{HOSTILE_FILE_COUNT, hostile_files};
use support::Place;

mod support;

const SLOTS: u64 = 2;
/// The largest photo that this run takes.
const MAX_PIXELS: u64 = 16_000_000;
/// What a run takes beside the photos being decoded: the engine, the small model, and the scan's photos on their way.
const MEMORY_OF_THE_REST: u64 = 350_000_000;
/// Decoded bytes a pixel, and once more while a photo is turned or converted.
const MEMORY_A_PIXEL: u64 = 2 * 4;

#[test]
fn ten_thousand_hostile_files_are_all_accounted_for() {
    let Some(place) = Place::empty("ten_thousand_hostile_files_are_all_accounted_for") else { return };
    std::fs::create_dir(place.path("hostile")).expect("creates");
    for file in hostile_files(0).take(HOSTILE_FILE_COUNT) {
        std::fs::write(place.path("hostile").join(&file.name), &file.bytes).expect("writes");
    }
    let (slots, max_pixels) = (SLOTS.to_string(), MAX_PIXELS.to_string());
    let flags = ["--n-clusters", "3", "--slots", &slots, "--max-pixels", &max_pixels];
    place.run_on("hostile", "out", &flags).assert().success();
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
    let bound = MEMORY_OF_THE_REST + SLOTS * MAX_PIXELS * MEMORY_A_PIXEL;
    assert!(peak < bound, "{peak} bytes are more than {bound}");
}
