//! The steps of a run one by one: `extract`, and `fit` over what is there.

use support::{IMAGE_SIZE, MODEL, Place};

mod support;

const OUTPUTS: [&str; 4] = ["results.csv", "results.parquet", "failures.csv", "model/manifest.json"];

/// `fruitbatch extract photos --output OUT` with the small model.
fn extract(place: &Place, output: &str) -> assert_cmd::Command {
    let arguments = ["extract", "photos", "--output", output, "--model", MODEL, "--image-size", IMAGE_SIZE];
    place.fruitbatch(&arguments)
}

fn with_a_bad_photo(test: &str) -> Option<Place> {
    let place = Place::with_photos(test, 10)?;
    std::fs::write(place.path("photos/Orange/bad.jpg"), "no photo").expect("can be written");
    Some(place)
}

#[test]
fn extract_and_fit_come_to_what_run_does() {
    let Some(place) = with_a_bad_photo("extract_and_fit_come_to_what_run_does") else { return };
    place.run("whole", &[]).assert().success();

    let said = extract(&place, "out").assert().success();
    let said = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
    assert!(said.contains("fruitbatch fit out"), "{said}");
    assert!(!place.path("out/results.csv").exists() && !place.path("out/model").exists());
    place.assert_success_holds("out");
    let extracted = place.json("out/metrics.json");
    assert_eq!(
        (&extracted["listed"], &extracted["rows"], &extracted["failures"]),
        (&41.into(), &40.into(), &1.into())
    );

    // Neither the photos nor the model are needed any more.
    std::fs::rename(place.path("photos"), place.path("moved")).expect("can be moved");
    std::fs::rename(place.path("models.toml"), place.path("no-models.toml")).expect("can be moved");
    place.fruitbatch(&["fit", "out", "--n-components", "4"]).assert().success();
    place.assert_success_holds("out");
    place.assert_nothing_lost("out", 41);
    for file in OUTPUTS {
        if file != "model/manifest.json" {
            assert!(
                std::fs::read(place.path("out").join(file)).ok()
                    == std::fs::read(place.path("whole").join(file)).ok(),
                "{file}"
            );
        }
    }
    let (fitted, whole) = (place.json("out/metrics.json"), place.json("whole/metrics.json"));
    for figure in ["listed", "rows", "failures", "bytes", "skipped", "labels", "inertia", "ari", "silhouette"]
    {
        assert_eq!(fitted[figure], whole[figure], "{figure}");
    }
}

#[test]
fn fit_changes_what_it_is_told_and_nothing_else() {
    let Some(place) = with_a_bad_photo("fit_changes_what_it_is_told_and_nothing_else") else { return };
    place.run("out", &["--seed", "7"]).assert().success();
    let before = place.json("out/run.json");
    place.fruitbatch(&["fit", "out", "--n-clusters", "3"]).assert().success();
    place.assert_success_holds("out");
    place.assert_nothing_lost("out", 41);
    let (metrics, lineage) = (place.json("out/metrics.json"), place.json("out/run.json"));
    assert_eq!((&metrics["n_clusters"], &metrics["n_components"]), (&3.into(), &4.into()));
    assert_eq!(metrics["timings"]["photos_computed"], 0);
    assert_eq!((&lineage["config"]["n-clusters"], &lineage["config"]["seed"]), (&"3".into(), &7.into()));
    for key in ["embedding", "input_digest", "kernel_paths"] {
        assert_eq!(lineage[key], before[key], "{key}");
    }

    // A wrong number changes nothing.
    let before = place.read("out/results.csv");
    let refused = place.fruitbatch(&["fit", "out", "--n-clusters", "41"]).assert().failure();
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("41"), "{said}");
    assert!(place.path("out/_SUCCESS").exists() && place.read("out/results.csv") == before);
    place.assert_success_holds("out");
    place.fruitbatch(&["fit", "out", "--n-clusters", "4"]).assert().success();
    place.assert_success_holds("out");
}

#[test]
fn photos_that_are_not_selected_are_not_fitted_on() {
    let Some(place) = with_a_bad_photo("photos_that_are_not_selected_are_not_fitted_on") else { return };
    place.run("out", &[]).assert().success();
    place.run("out", &["--glob", "Orange/*"]).assert().success();
    let results = place.read("out/results.csv");
    place.fruitbatch(&["fit", "out"]).assert().success();
    assert_eq!(place.read("out/results.csv"), results);
    place.assert_nothing_lost("out", 11);
}

#[test]
fn there_must_be_something_to_fit_on() {
    let Some(place) = Place::empty("there_must_be_something_to_fit_on") else { return };
    std::fs::create_dir(place.path("out")).expect("can be made");
    let refused = place.fruitbatch(&["fit", "out"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("no run was started"), "{said}");
}
