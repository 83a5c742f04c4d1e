//! New photos shown to a fitted model.

use std::collections::BTreeMap;

use support::Place;

mod support;

/// `fruitbatch predict` with the model of `out`.
fn predict(place: &Place, input: &str, flags: &[&str]) -> assert_cmd::Command {
    place.fruitbatch(&[&["predict", "--model-dir", "out/model", input], flags].concat())
}

fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv).deserialize().collect::<Result<_, _>>().expect("it is CSV")
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn stderr(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn photos_of_the_run_get_what_the_run_said() {
    let Some(place) = Place::with_photos("photos_of_the_run_get_what_the_run_said", 12) else { return };
    place.run("out", &[]).assert().success();
    let said = predict(&place, "photos", &[]).assert().success();
    let predicted = rows(&said.get_output().stdout);
    let results = place.csv("out/results.csv");
    assert_eq!(predicted.len(), results.len());
    for (predicted, result) in predicted.iter().zip(&results) {
        for column in ["path", "cluster", "distance"] {
            assert_eq!(number_or_text(&predicted[column]), number_or_text(&result[column]), "{column}");
        }
        assert_eq!(
            (&predicted["nearest_path"], number(&predicted["nearest_distance"])),
            (&result["path"], 0.0)
        );
        let membership = number(&predicted["membership"]);
        assert!(membership > 0.25 && membership <= 1.0, "{membership}: it is the nearest of four centres");
        let share = number(&predicted["nearest_label_share"]);
        assert!(share > 0.0 && share <= 1.0, "{share}");
        assert!(place.path("photos").join(&predicted["nearest_label"]).is_dir());
    }
    // With one voter, itself.
    let said = predict(&place, "photos", &["--n-neighbors", "1"]).assert().success();
    for (predicted, result) in rows(&said.get_output().stdout).iter().zip(&results) {
        assert_eq!(
            (&predicted["nearest_label"], number(&predicted["nearest_label_share"])),
            (&result["label"], 1.0)
        );
    }
}

fn number_or_text(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| text.to_owned())
}

#[test]
fn an_output_of_its_own_resumes_and_loses_nothing() {
    let Some(place) = Place::with_photos("an_output_of_its_own_resumes_and_loses_nothing", 6) else { return };
    place.run("out", &["--label", "none", "--n-clusters", "3"]).assert().success();
    std::fs::write(place.path("photos/bad.jpg"), "no photo").expect("can be written");
    for (format, computed) in [("csv", 25), ("jsonl", 0), ("parquet", 0)] {
        let said = predict(&place, "photos", &["--output", "placed", "--format", format]).assert().success();
        let file = format!("placed/predictions.{format}");
        let said = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
        assert!(said.contains(&file) && place.path(&file).is_file(), "{said}");
        let metrics = place.json("placed/metrics.json");
        assert_eq!(metrics["timings"]["photos_computed"], computed, "{format}");
        assert_eq!(
            (&metrics["listed"], &metrics["rows"], &metrics["failures"]),
            (&25.into(), &24.into(), &1.into())
        );
        place.assert_success_holds("placed");
    }
    assert!(!place.path("placed/predictions.csv").exists(), "only what was asked for last");
    assert_eq!(place.csv("placed/failures.csv")[0]["path"], "bad.jpg");

    // Mended, the photo is placed like the others, by the plan in the log.
    std::fs::copy(
        place.path("photos/Orange").join(first_file(&place, "photos/Orange")),
        place.path("photos/bad.jpg"),
    )
    .expect("can be copied");
    place.fruitbatch(&["retry", "placed"]).assert().success();
    assert_eq!(place.json("placed/metrics.json")["rows"], 25);
    predict(&place, "photos", &["--output", "placed", "--format", "jsonl"]).assert().success();
    let lines = place.read("placed/predictions.jsonl");
    let first: serde_json::Value =
        serde_json::from_str(lines.lines().next().expect("there is one")).expect("is JSON");
    assert!(first["cluster"].is_i64() && first["membership"].is_f64(), "{first}");
    assert!(first.get("nearest_label").is_none_or(serde_json::Value::is_null), "nobody has a label: {first}");
    assert_eq!(lines.lines().count(), 25);
}

fn first_file(place: &Place, folder: &str) -> String {
    let mut names: Vec<String> = std::fs::read_dir(place.path(folder))
        .expect("is a folder")
        .map(|entry| entry.expect("is readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.swap_remove(0)
}

#[test]
fn photos_that_cannot_be_used_are_named() {
    let Some(place) = Place::with_photos("photos_that_cannot_be_used_are_named", 5) else { return };
    place.run("out", &[]).assert().success();
    std::fs::create_dir(place.path("new")).expect("can be made");
    std::fs::write(place.path("new/bad.jpg"), "no photo").expect("can be written");
    let said = predict(&place, "new", &[]).assert().code(3);
    assert!(stderr(&said).contains("bad.jpg: not-an-image") && said.get_output().stdout.is_empty());
    std::fs::copy(
        place.path("photos/Orange").join(first_file(&place, "photos/Orange")),
        place.path("new/good.jpg"),
    )
    .expect("can be copied");
    let said = predict(&place, "new", &[]).assert().success();
    assert!(stderr(&said).contains("1 of 2 photos could not be used"), "{}", stderr(&said));
    assert_eq!(rows(&said.get_output().stdout)[0]["path"], "good.jpg");
    let one = predict(&place, "new/good.jpg", &[]).assert().success();
    assert_eq!(rows(&one.get_output().stdout).len(), 1);
    let refused = predict(&place, "new", &["--format", "parquet"]).assert().code(2);
    assert!(stderr(&refused).contains("--output"));
}

#[test]
fn a_model_is_used_whole_or_not_at_all() {
    let Some(place) = Place::with_photos("a_model_is_used_whole_or_not_at_all", 5) else { return };
    place.run("out", &[]).assert().success();
    let refused = |what: &str| {
        let refused = predict(&place, "photos", &[]).assert().failure();
        let said = stderr(&refused);
        assert!(said.contains(what), "{said}");
        assert!(refused.get_output().stdout.is_empty());
    };
    // A copy is as good as the original.
    std::fs::create_dir(place.path("copy")).expect("can be made");
    for file in std::fs::read_dir(place.path("out/model")).expect("is a folder") {
        let file = file.expect("is readable");
        std::fs::copy(file.path(), place.path("copy").join(file.file_name())).expect("can be copied");
    }
    place.fruitbatch(&["predict", "--model-dir", "copy", "photos"]).assert().success();

    for file in ["kmeans_centres.npy", "neighbours.parquet"] {
        let file = place.path("out/model").join(file);
        let whole = std::fs::read(&file).expect("is readable");
        let mut damaged = whole.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        std::fs::write(&file, damaged).expect("can be written");
        refused(&file.file_name().expect("it has a name").to_string_lossy());
        std::fs::remove_file(&file).expect("can be removed");
        refused(&file.file_name().expect("it has a name").to_string_lossy());
        std::fs::write(&file, whole).expect("can be written");
    }
    std::fs::rename(place.path("out/_SUCCESS"), place.path("success")).expect("can be moved");
    refused("is not complete");
    std::fs::rename(place.path("success"), place.path("out/_SUCCESS")).expect("can be moved");
    predict(&place, "photos", &[]).assert().success();
    let nothing = place.fruitbatch(&["predict", "--model-dir", "photos", "photos"]).assert().code(2);
    assert!(stderr(&nothing).contains("no manifest.json"));
}
