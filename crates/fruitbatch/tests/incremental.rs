//! The speed layer: photos that come are assigned to the clusters of the model that is there, once or as long as is watched.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use support::{Place, rest_of_stderr, send, wait_for};

mod support;

const LABELS: usize = 4;
const PER_LABEL: usize = 10;
const DRAWN: usize = LABELS * PER_LABEL;

/// A photo that is there, under another name too.
fn add_photo(place: &Place, path: &str) {
    let folder = std::fs::read_dir(place.path("photos/Orange")).expect("is a folder");
    let photo: Option<PathBuf> = folder.map(|photo| photo.expect("is readable").path()).min();
    let target = place.path("photos").join(path);
    std::fs::create_dir_all(target.parent().expect("is in a folder")).expect("can be made");
    std::fs::copy(photo.expect("there are some"), target).expect("can be copied");
}

/// The files of the model by name.
fn model(place: &Place, output: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = std::fs::read_dir(place.path(output).join("model")).expect("there is a model");
    folder
        .map(|file| {
            let file = file.expect("is readable");
            (file.file_name().display().to_string(), std::fs::read(file.path()).expect("is readable"))
        })
        .collect()
}

/// The rows of results.csv by path.
fn rows(place: &Place, output: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    place.csv(&format!("{output}/results.csv")).into_iter().map(|row| (row["path"].clone(), row)).collect()
}

#[test]
fn photos_that_came_are_assigned_and_nothing_else_changes() {
    let Some(place) = Place::with_photos("photos_that_came_are_assigned_and_nothing_else_changes", PER_LABEL)
    else {
        return;
    };
    // There is no model yet: the first run fits one, as any run does.
    place.run("out", &["--incremental"]).assert().success();
    place.run("whole", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("whole/results.csv"));
    let (fitted, before, metrics) =
        (model(&place, "out"), rows(&place, "out"), place.json("out/metrics.json"));

    // More photos of a new label than any other has: it would be the first, were labels counted anew.
    for number in 0..=PER_LABEL {
        add_photo(&place, &format!("A new one/{number}.jpg"));
    }
    place.run("out", &["--incremental", "--n-clusters", "2"]).assert().success();
    place.assert_success_holds("out");
    place.assert_nothing_lost("out", DRAWN + PER_LABEL + 1);
    assert!(model(&place, "out") == fitted, "the model stays as it is, byte for byte");
    let after = rows(&place, "out");
    for (path, row) in &before {
        assert_eq!(&after[path], row, "{path}");
    }
    let added: Vec<_> = after.iter().filter(|(path, _)| !before.contains_key(*path)).collect();
    assert_eq!(added.len(), PER_LABEL + 1);
    // All copies of one photo, which is there under its own name.
    let twin = before.values().find(|row| row["distance"] == added[0].1["distance"]);
    for (path, row) in &added {
        assert_eq!(row["label_index"], LABELS.to_string(), "{path}");
        assert_eq!(Some(&row["cluster"]), twin.map(|twin| &twin["cluster"]), "{path}");
    }
    let told = place.json("out/metrics.json");
    assert_eq!(told["timings"]["photos_computed"], PER_LABEL + 1);
    assert_eq!(told["labels"][LABELS]["label"], "A new one");
    assert_eq!((&told["rows_fitted"], &told["inertia"]), (&metrics["rows_fitted"], &metrics["inertia"]));
    assert_eq!(told["rows"], DRAWN + PER_LABEL + 1);
    assert!(place.read("out/report.html").contains("A new one"));

    // A label whose photos are gone keeps its index, and those after it theirs.
    let gone = metrics["labels"][0]["label"].as_str().expect("is a name");
    std::fs::remove_dir_all(place.path("photos").join(gone)).expect("can be removed");
    let said = place.run("out", &["--incremental"]).assert().success();
    let said = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
    assert!(said.contains("10 not there or not selected any more"), "{said}");
    place.assert_nothing_lost("out", DRAWN + 1);
    for (path, row) in rows(&place, "out") {
        assert_eq!(row, after[&path], "{path}");
    }

    // Without the flag all is fitted anew.
    place.run("out", &[]).assert().success();
    assert!(model(&place, "out") != fitted);
    assert_eq!(place.json("out/metrics.json")["labels"][0]["label"], "A new one");
}

#[test]
fn a_run_that_keeps_the_model_may_be_stopped_and_goes_on() {
    let Some(place) = Place::with_photos("a_run_that_keeps_the_model_may_be_stopped_and_goes_on", PER_LABEL)
    else {
        return;
    };
    place.run("out", &["--classifier"]).assert().success();
    let (fitted, confusion) = (model(&place, "out"), place.read("out/confusion.csv"));
    let test = place.json("out/metrics.json")["classifier"].clone();
    for number in 0..20 {
        add_photo(&place, &format!("Another/{number}.jpg"));
    }
    let flags = ["--incremental", "--progress", "json", "--chunk-size", "1", "--slots", "1"];
    let mut child = place.spawn(&place.run("out", &flags));
    wait_for(&mut child, "chunk-committed");
    send(&child, "-KILL");
    drop(rest_of_stderr(&mut child));
    assert!(!child.wait().expect("ends").success());
    assert!(!place.path("out/_SUCCESS").exists());

    // The command that goes on with what the last run was told.
    place.fruitbatch(&["retry", "out"]).assert().success();
    place.assert_success_holds("out");
    place.assert_nothing_lost("out", DRAWN + 20);
    assert!(model(&place, "out") == fitted, "the model stays as it is, byte for byte");
    assert_eq!(place.read("out/confusion.csv"), confusion);
    assert_eq!(place.json("out/metrics.json")["classifier"], test);

    // Half a model is none.
    std::fs::write(place.path("out/model/kmeans_centres.npy"), "something else").expect("can be written");
    let said = place.run("out", &["--incremental"]).assert().success();
    let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(said.contains("isn't whole, so another one is fitted"), "{said}");
    place.assert_success_holds("out");
}

#[test]
fn what_is_watched_is_folded_in_as_it_comes() {
    let Some(place) = Place::with_photos("what_is_watched_is_folded_in_as_it_comes", PER_LABEL) else {
        return;
    };
    let mut child = place.spawn(&place.run("out", &["--watch=200ms", "--progress", "none"]));
    let mut said = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let mut wait_until_said = |what: &str| {
        let line = said.by_ref().map(|line| line.expect("is text")).find(|line| line.contains(what));
        assert!(line.is_some(), "`{what}` was never said");
    };
    wait_until_said("watching");
    let fitted = model(&place, "out");
    let before = rows(&place, "out");
    assert_eq!(before.len(), DRAWN);

    add_photo(&place, "Unheard of/1.jpg");
    wait_until_said(" 1 new: 41 in the results, 0 failed");
    place.assert_success_holds("out");
    assert_eq!(rows(&place, "out")["Unheard of/1.jpg"]["label_index"], "4");

    std::fs::write(place.path("photos/Unheard of/none.jpg"), "no photo").expect("can be written");
    wait_until_said("41 in the results, 1 failed");
    std::fs::remove_dir_all(place.path("photos/Unheard of")).expect("can be removed");
    wait_until_said("40 in the results, 0 failed");
    assert_eq!(rows(&place, "out"), before);
    assert!(model(&place, "out") == fitted);

    // Between rounds OUT is anybody's: another command may fit anew, and the next round goes by that model.
    place.fruitbatch(&["fit", "out", "--n-clusters", "3", "--progress", "none"]).assert().success();
    add_photo(&place, "Unheard of/2.jpg");
    wait_until_said(" 1 new: 41 in the results, 0 failed");
    assert_eq!(place.json("out/metrics.json")["n_clusters"], 3);

    send(&child, "-TERM");
    assert_eq!(child.wait().expect("ends").code(), Some(0), "{}", rest_of_stderr(&mut child));
    place.assert_success_holds("out");
}

#[test]
fn photos_are_waited_for() {
    let Some(place) = Place::empty("photos_are_waited_for") else { return };
    std::fs::create_dir(place.path("photos")).expect("can be made");
    let flags = ["--watch=100ms", "--progress", "none", "--n-clusters", "2"];
    let mut child = place.spawn(&place.run("out", &flags));
    let mut warnings = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let mut wait_until_warned = |what: &str| {
        let line = warnings.by_ref().map(|line| line.expect("is text")).find(|line| line.contains(what));
        assert!(line.is_some(), "`{what}` was never said");
    };
    wait_until_warned("no photos were found");
    let options = fruitbatch_samples::SampleOptions { per_label: 1, size: 48, ..Default::default() };
    fruitbatch_samples::draw_samples(&place.path("drawn"), &options).expect("samples can be drawn");
    std::fs::rename(place.path("drawn/Orange"), place.path("photos/Orange")).expect("can be moved");
    wait_until_warned("there are 1 rows to fit on");
    for label in std::fs::read_dir(place.path("drawn")).expect("is a folder") {
        let label = label.expect("is readable");
        let target = place.path("photos").join(label.file_name());
        std::fs::rename(label.path(), target).expect("can be moved");
    }
    let mut said = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    assert!(said.any(|line| line.expect("is text").contains("watching")));
    send(&child, "-INT");
    let code = child.wait().expect("ends").code();
    // In a round that a photo came too late for, it goes on from there.
    assert!(matches!(code, Some(0 | 130)), "{code:?}");
    place.assert_success_holds("out");
}

#[test]
fn a_first_round_that_waiting_does_not_mend_ends_the_command() {
    let test = "a_first_round_that_waiting_does_not_mend_ends_the_command";
    let Some(place) = Place::with_photos(test, 1) else { return };
    std::fs::create_dir(place.path("out")).expect("can be made");
    std::fs::write(place.path("out/results.csv"), "somebody else's").expect("can be written");
    let refused = place.run("out", &["--watch"]).assert().failure();
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("which no run of fruitbatch wrote there"), "{said}");
}
