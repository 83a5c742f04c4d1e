//! Killing a run: whatever it was doing, the same command finishes it, and nothing is lost, doubled or left lying about.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use support::Place;

mod support;

/// Kills, at moments drawn at random.
const KILLS: u64 = 20;

#[test]
fn after_twenty_kills_the_results_are_those_of_an_undisturbed_run() {
    let Some(place) =
        Place::with_photos("after_twenty_kills_the_results_are_those_of_an_undisturbed_run", 60)
    else {
        return;
    };
    std::fs::write(place.path("photos/Orange/broken.jpg"), b"no photo").expect("writes");
    place.run("undisturbed", &[]).assert().success();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut killed_at_work = 0;
    for _ in 0..KILLS {
        let command = place.run("out", &["--progress", "json", "--chunk-size", "2"]);
        let mut child = place.spawn(&command);
        // So many events, and then some time that has nothing to do with them.
        let events = random.gen_range(0..14);
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        for _ in 0..events {
            if stderr.next().is_none() {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(random.gen_range(0..20_000)));
        child.kill().expect("it can be killed, also if it has ended");
        if !child.wait().expect("ends").success() {
            killed_at_work += 1;
        }
        place.assert_success_holds("out");
    }
    assert!(killed_at_work > KILLS / 2, "only {killed_at_work} runs were killed before their end");

    place.run("out", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("undisturbed/results.csv"));
    assert_eq!(place.read("out/failures.csv"), place.read("undisturbed/failures.csv"));
    place.assert_nothing_lost("out", 241);
    place.assert_success_holds("out");
    assert_no_photo_was_committed_twice(&place);
    assert_nothing_lies_about(&place);
}

/// Each photo's row or failure stands in one entry of the log: nothing that was committed was computed again.
fn assert_no_photo_was_committed_twice(place: &Place) {
    let mut committed = BTreeSet::new();
    for entry in place.log_entries("out").iter().filter(|entry| entry["kind"] == "chunk") {
        let rows = entry["part"]["photos"].as_array().into_iter().flatten().map(|photo| &photo[0]);
        let failures = entry["failures"].as_array().into_iter().flatten().map(|failure| &failure["path"]);
        for path in rows.chain(failures) {
            assert!(committed.insert(path.to_string()), "{path} was committed twice");
        }
    }
    assert_eq!(committed.len(), 241);
}

/// No part that the log doesn't name, nothing half written.
fn assert_nothing_lies_about(place: &Place) {
    let named: BTreeSet<String> = place
        .log_entries("out")
        .iter()
        .filter_map(|entry| Some(entry["part"]["file"].as_str()?.to_owned()))
        .collect();
    let lying: BTreeSet<String> = std::fs::read_dir(place.path("out/features"))
        .expect("is a folder")
        .map(|file| format!("features/{}", file.expect("is readable").file_name().display()))
        .collect();
    assert_eq!(lying, named);
    let staging = place.path("out/_fruitbatch/staging");
    let staged = std::fs::read_dir(staging).map_or(0, Iterator::count);
    assert_eq!(staged, 0, "files in the staging folder");
}
