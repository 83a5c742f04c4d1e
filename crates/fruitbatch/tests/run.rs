//! `fruitbatch run` as a user runs it: a folder of photos in, the promised outputs out.

use std::collections::BTreeSet;
use std::fs;

use support::Place;

mod support;

/// Labels of the drawn photos.
const LABELS: usize = 4;

#[test]
fn photos_in_clusters_out() {
    let Some(place) = Place::with_photos("photos_in_clusters_out", 6) else { return };
    let told = place.run("out", &["--progress", "none"]).assert().success();
    let summary = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert!(summary.contains("24 photos"), "{summary}");
    assert!(
        told.get_output().stderr.is_empty(),
        "nothing to warn of: {}",
        String::from_utf8_lossy(&told.get_output().stderr)
    );

    place.assert_nothing_lost("out", 24);
    let results = place.csv("out/results.csv");
    assert_eq!(
        place.read("out/results.csv").lines().next(),
        Some("path,label,label_index,cluster,distance,pc_1,pc_2,pc_3,pc_4")
    );
    assert!(results.is_sorted_by_key(|row| row["path"].clone()));
    // Labels with equally many photos are indexed by name.
    let labels: BTreeSet<(String, String)> =
        results.iter().map(|row| (row["label_index"].clone(), row["label"].clone())).collect();
    assert_eq!(labels.len(), LABELS);
    assert!(labels.iter().zip(0..).all(|((index, _), expected)| *index == expected.to_string()));
    assert!(labels.iter().map(|(_, label)| label).is_sorted());

    for file in
        ["_SUCCESS", "failures.csv", "metrics.json", "model/manifest.json", "results.parquet", "run.json"]
    {
        assert!(place.path("out").join(file).is_file(), "{file}");
    }
    let metrics = place.json("out/metrics.json");
    assert_eq!(metrics["n_clusters"], LABELS, "as many clusters as labels");
    let ratios: f64 = metrics["explained_variance_ratio"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .sum();
    assert!((ratios - 1.0).abs() < 1e-9, "the full spectrum adds up to 1, not {ratios}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_slots_and_chunks() {
    let name = "the_same_seed_gives_the_same_bytes_whatever_the_slots_and_chunks";
    let Some(place) = Place::with_photos(name, 6) else { return };
    place.run("out", &["--slots", "1"]).assert().success();
    let expected = place.read("out/results.csv");
    for (output, flags) in [
        ("again", ["--slots", "1", "--chunk-size", "24"]),
        ("two", ["--slots", "2", "--chunk-size", "5"]),
        ("four", ["--slots", "4", "--chunk-size", "1"]),
    ] {
        place.run(output, &flags).assert().success();
        assert_eq!(place.read(&format!("{output}/results.csv")), expected, "{flags:?}");
    }
    place.run("other-batch", &["--batch-size", "3"]).assert().success();
    assert_eq!(place.read("other-batch/results.csv"), expected, "another batch size");
}

#[test]
fn bad_photos_are_booked_and_stop_nothing() {
    let Some(place) = Place::with_photos("bad_photos_are_booked_and_stop_nothing", 4) else { return };
    let photos = place.path("photos");
    let good =
        fs::read_dir(&photos).expect("is a folder").next().expect("has labels").expect("is readable").path();
    let photo = fs::read(
        fs::read_dir(&good).expect("is a folder").next().expect("has photos").expect("is readable").path(),
    )
    .expect("is readable");
    fs::write(photos.join("empty.jpg"), []).expect("writes");
    fs::write(photos.join("page.jpg"), "<!doctype html><title>404</title>").expect("writes");
    fs::write(photos.join("cut off.jpg"), &photo[..photo.len() / 2]).expect("writes");
    fs::write(photos.join("fine, really.png"), &photo).expect("writes: a JPEG under another name is a photo");

    let told = place.run("out", &[]).assert().success();
    assert!(
        String::from_utf8_lossy(&told.get_output().stdout).contains("failures.csv"),
        "the summary says so"
    );
    place.assert_nothing_lost("out", 20);
    let failures: Vec<(String, String, String)> = place
        .csv("out/failures.csv")
        .into_iter()
        .map(|row| (row["path"].clone(), row["stage"].clone(), row["reason"].clone()))
        .collect();
    let expected = [("cut off.jpg", "truncated"), ("empty.jpg", "empty"), ("page.jpg", "not-an-image")];
    assert_eq!(
        failures,
        expected.map(|(path, reason)| (path.to_owned(), "decode".to_owned(), reason.to_owned())),
        "{failures:?}"
    );
    let unlabelled = place.csv("out/results.csv").into_iter().find(|row| row["path"] == "fine, really.png");
    assert_eq!(unlabelled.expect("is in the results")["label"], "", "a photo directly in INPUT has no label");

    place.run("strict", &["--on-error", "fail"]).assert().code(1);
    assert!(!place.path("strict/_SUCCESS").exists());
}

#[test]
fn when_every_photo_fails_the_code_is_3() {
    let Some(place) = Place::empty("when_every_photo_fails_the_code_is_3") else { return };
    fs::create_dir(place.path("photos")).expect("can be made");
    fs::write(place.path("photos/a.jpg"), "no photo").expect("writes");
    place.run("out", &[]).assert().code(3);
    assert_eq!(place.csv("out/failures.csv").len(), 1);
    assert!(!place.path("out/_SUCCESS").exists());
}

#[test]
fn the_same_command_again_computes_nothing_twice() {
    let Some(place) = Place::with_photos("the_same_command_again_computes_nothing_twice", 5) else { return };
    place.run("out", &[]).assert().success();
    let first = place.read("out/results.csv");
    place.run("out", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), first);
    assert_eq!(place.json("out/metrics.json")["timings"]["photos_computed"], 0);

    // Learning may change without the features being computed again.
    place.run("out", &["--n-clusters", "3"]).assert().success();
    assert_eq!(place.json("out/metrics.json")["timings"]["photos_computed"], 0);
    assert_eq!(place.json("out/metrics.json")["n_clusters"], 3);

    // Photos that come, change or go.
    let label = fs::read_dir(place.path("photos"))
        .expect("is a folder")
        .next()
        .expect("has labels")
        .expect("is readable")
        .path();
    let mut photos: Vec<_> =
        fs::read_dir(&label).expect("is a folder").map(|entry| entry.expect("is readable").path()).collect();
    photos.sort();
    fs::copy(&photos[0], label.join("new.jpg")).expect("can be copied");
    let changed = fs::read(&photos[1]).expect("is readable");
    fs::write(&photos[2], changed).expect("can be changed");
    fs::remove_file(&photos[3]).expect("can be removed");
    place.run("out", &[]).assert().success();
    assert_eq!(place.json("out/metrics.json")["timings"]["photos_computed"], 2);
    place.assert_nothing_lost("out", 20);
    place.run("fresh", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("fresh/results.csv"), "as if run anew");
}

#[test]
fn a_narrower_selection_keeps_what_was_computed() {
    let Some(place) = Place::with_photos("a_narrower_selection_keeps_what_was_computed", 5) else { return };
    place.run("out", &[]).assert().success();
    let all = place.read("out/results.csv");
    place.run("out", &["--limit", "12"]).assert().success();
    place.assert_nothing_lost("out", 12);
    place.run("out", &["--label", "none", "--n-clusters", "4"]).assert().success();
    assert_eq!(place.json("out/metrics.json")["timings"]["photos_computed"], 0);
    assert_eq!(
        place.json("out/metrics.json")["ari"],
        serde_json::Value::Null,
        "nothing to compare with without labels"
    );
    place.run("out", &[]).assert().success();
    assert_eq!(place.json("out/metrics.json")["timings"]["photos_computed"], 0);
    assert_eq!(place.read("out/results.csv"), all);
}

#[test]
fn features_of_two_kinds_are_never_mixed() {
    let Some(place) = Place::with_photos("features_of_two_kinds_are_never_mixed", 3) else { return };
    place.run("out", &[]).assert().success();
    let before = place.read("out/results.csv");
    let refused = place.run("out", &["--pooling", "avg"]).assert().code(2);
    let told = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(told.contains("--overwrite") && told.contains("pooling"), "{told}");
    assert_eq!(place.read("out/results.csv"), before);

    fs::write(place.path("out/notes.txt"), "mine").expect("writes");
    place.run("out", &["--pooling", "avg", "--overwrite"]).assert().success();
    assert_ne!(place.read("out/results.csv"), before);
    assert_eq!(place.read("out/notes.txt"), "mine", "only what the log names is deleted");
}

#[test]
fn files_of_others_are_left_alone() {
    let Some(place) = Place::with_photos("files_of_others_are_left_alone", 3) else { return };
    fs::create_dir(place.path("out")).expect("can be made");
    fs::write(place.path("out/results.csv"), "mine").expect("writes");
    place.run("out", &["--overwrite"]).assert().code(2);
    assert_eq!(place.read("out/results.csv"), "mine");
}

#[test]
fn an_output_that_holds_the_input_is_refused() {
    let Some(place) = Place::with_photos("an_output_that_holds_the_input_is_refused", 3) else { return };
    for output in ["photos", ".", "photos/../photos"] {
        place.run(output, &[]).assert().code(2);
    }
    // Below INPUT is fine: it is left out of the listing, also the second time.
    for _ in 0..2 {
        place.run("photos/out", &[]).assert().success();
        place.assert_nothing_lost("photos/out", 12);
    }
}

#[test]
fn selections_and_labels() {
    let Some(place) = Place::with_photos("selections_and_labels", 4) else { return };
    let set = place.path("set");
    for (number, entry) in fs::read_dir(place.path("photos")).expect("is a folder").enumerate() {
        let label = entry.expect("is readable").path();
        for (photo_number, photo) in fs::read_dir(&label).expect("is a folder").enumerate() {
            let split = if photo_number == 0 { "Test" } else { "Training" };
            let folder = set.join(split).join(label.file_name().expect("has a name"));
            fs::create_dir_all(&folder).expect("can be made");
            fs::copy(photo.expect("is readable").path(), folder.join(format!("{number}_{photo_number}.jpg")))
                .expect("copies");
        }
    }
    let run = |output: &str, flags: &[&str]| {
        let mut arguments = vec![
            "run",
            "set",
            "--output",
            output,
            "--model",
            support::MODEL,
            "--image-size",
            support::IMAGE_SIZE,
            "--n-components",
            "3",
        ];
        arguments.extend(flags);
        place.fruitbatch(&arguments).assert()
    };
    run("split", &["--split-from", "path"]).success();
    let results = place.csv("split/results.csv");
    assert_eq!(results.iter().filter(|row| row["split"] == "Test").count(), 4);
    assert_eq!(results.iter().filter(|row| row["split"] == "Training").count(), 12);

    run("glob", &["--glob", "0_*.jpg"]).success();
    place.assert_nothing_lost("glob", 4);
    run("regex", &["--label", r"regex:(\d)_\d"]).success();
    assert!(
        place.csv("regex/results.csv").iter().all(|row| row["path"].contains(&format!("/{}_", row["label"])))
    );
    run("flat", &["--recursive=false"]).code(1);

    let wanted = "Test/Orange/2_0.jpg";
    let some =
        place.csv("split/results.csv").into_iter().take(5).map(|row| row["path"].clone()).collect::<Vec<_>>();
    fs::write(place.path("some.txt"), some.join("\n")).expect("writes");
    run("files", &["--files-from", "some.txt", "--n-clusters", "2"]).success();
    place.assert_nothing_lost("files", 5);
    fs::write(place.path("wrong.txt"), format!("{wanted}x\n")).expect("writes");
    run("wrong", &["--files-from", "wrong.txt"]).code(2);
}

#[test]
fn a_model_in_integers_is_made_and_used() {
    let Some(place) = Place::with_photos("a_model_in_integers_is_made_and_used", 8) else { return };
    let missing = place.run("out", &["--precision", "int8"]).assert().code(2);
    let told = String::from_utf8_lossy(&missing.get_output().stderr).into_owned();
    assert!(told.contains("fruitbatch model quantize tiny --calibrate INPUT"), "{told}");
    let quantize = |more: &[&str]| {
        let flags = ["model", "quantize", "tiny", "--image-size", "32", "--samples", "12"];
        place.fruitbatch(&[&flags, more].concat())
    };
    quantize(&["--calibrate", "photos", "--weight-bits", "9"]).assert().code(2);
    quantize(&["--calibrate", "nowhere"]).assert().code(1);
    quantize(&["--calibrate", "photos", "--name", "tiny"]).assert().code(2);

    // 7 bits go on every processor.
    let made = quantize(&["--calibrate", "photos", "--weight-bits", "7"]).assert().success();
    let told = String::from_utf8_lossy(&made.get_output().stdout).into_owned();
    assert!(told.contains("tiny-int8 made of tiny, calibrated with 12 photos"), "{told}");
    assert!(told.contains("over 12 other photos") && told.contains("same cluster"), "{told}");
    let listed = place.fruitbatch(&["model", "list"]).assert().success();
    assert!(String::from_utf8_lossy(&listed.get_output().stdout).contains("tiny in 8-bit integers"));

    place.run("out", &["--precision", "int8"]).assert().success();
    place.assert_nothing_lost("out", 32);
    // The same by its own name; and never mixed with features of the other precision.
    let by_name = ["run", "photos", "--output", "out", "--model", "tiny-int8", "--image-size", "32"];
    place.fruitbatch(&[&by_name[..], &["--n-components", "4"]].concat()).assert().success();
    let mixed = place.run("out", &[]).assert().code(2);
    assert!(String::from_utf8_lossy(&mixed.get_output().stderr).contains("precision"));
    place.run("single", &[]).assert().success();
    assert_ne!(place.read("single/results.csv"), place.read("out/results.csv"));
}

#[test]
fn the_middle_of_photos_has_features_of_its_own() {
    let Some(place) = Place::with_photos("the_middle_of_photos_has_features_of_its_own", 3) else { return };
    place.run("out", &[]).assert().success();
    place.run("middle", &["--crop", "center:0.5"]).assert().success();
    let spec = place.json("middle/run.json")["embedding"].as_str().expect("is text").to_owned();
    assert!(spec.contains(" crop=center:0.5 "), "{spec}");
    assert_ne!(place.read("out/results.csv"), place.read("middle/results.csv"));
    let refused = place.run("out", &["--crop", "center:0.5"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("other features") && said.contains("crop=center:0.5"), "{said}");
    let refused = place.run("wrong", &["--crop", "middle"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("`crop`") && said.contains("center:SHARE"), "{said}");
}
