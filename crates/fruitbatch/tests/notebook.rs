//! `examples/explore.ipynb` runs on what a run leaves, and finds what the program finds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::Command;

use serde_json::Value;
use support::Place;

mod support;

/// A Python that has what the notebook imports, or word of why there is none.
fn python(test: &str) -> Option<OsString> {
    let python = std::env::var_os("FRUITBATCH_PYTHON");
    if python.is_none() {
        eprintln!(
            "SKIPPED: {test}: FRUITBATCH_PYTHON names no Python with pandas and matplotlib: run `make test`"
        );
    }
    python
}

/// What the notebook finds in an output.
fn explored(place: &Place, python: &OsStr, output: &str) -> Value {
    let told = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run_notebook.py"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/explore.ipynb"))
        .env("OUT", place.path(output))
        .env("MPLCONFIGDIR", place.path("matplotlib"))
        .output()
        .expect("FRUITBATCH_PYTHON can be started");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).expect("it tells JSON")
}

#[test]
fn the_notebook_finds_what_the_program_finds() {
    let test = "the_notebook_finds_what_the_program_finds";
    let Some(python) = python(test) else { return };
    let Some(place) = Place::with_photos(test, 12) else { return };
    place.run("out", &[]).assert().success();
    let (found, metrics) = (explored(&place, &python, "out"), place.json("out/metrics.json"));

    for count in ["rows", "by_label_and_cluster", "on_the_map"] {
        assert_eq!(found[count], 48, "{count}");
    }
    let by_label: BTreeMap<&str, &Value> = metrics["labels"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|label| (label["label"].as_str().expect("a text"), &label["photos"]))
        .collect();
    assert_eq!(found["by_label"], serde_json::json!(by_label));
    // Labels, the two maps in one, and the components.
    assert_eq!(found["figures"], 3);

    assert_eq!(found["kept"], metrics["n_components"]);
    let numbers = |list: &Value| -> Vec<f64> { serde_json::from_value(list.clone()).expect("numbers") };
    let (shares, ratios) = (numbers(&found["shares"]), numbers(&metrics["explained_variance_ratio"]));
    assert_eq!(shares.len(), ratios.len());
    for (share, ratio) in shares.iter().zip(ratios) {
        // Sums of the same numbers, in another order.
        assert!((share - ratio).abs() < 1e-12, "{share} is not {ratio}");
    }

    let query = format!(
        "SELECT cosine_similarity(a.features, b.features) AS similarity FROM features('out') a, features('out') b \
         WHERE a.path = '{}' AND b.path <> a.path ORDER BY similarity DESC LIMIT 10",
        found["photo"].as_str().expect("a path")
    );
    let answered = place.fruitbatch(&["sql", &query, "--format", "csv"]).assert().success();
    let expected: Vec<f64> = csv::Reader::from_reader(answered.get_output().stdout.as_slice())
        .deserialize::<f64>()
        .collect::<Result<_, _>>()
        .expect("numbers");
    let alike = found["most_alike"].as_array().expect("a list");
    assert_eq!((alike.len(), expected.len()), (10, 10));
    for (photo, expected) in alike.iter().zip(expected) {
        // numpy computes in Float32: some 16 features, each product off by up to 6e-8.
        let similarity = photo["similarity"].as_f64().expect("a number");
        assert!((similarity - expected).abs() < 1e-5, "{photo} is not {expected}");
    }
}

#[test]
fn the_notebook_does_without_labels_and_map() {
    let test = "the_notebook_does_without_labels_and_map";
    let Some(python) = python(test) else { return };
    let Some(place) = Place::with_photos(test, 3) else { return };
    place.run("out", &["--label", "none", "--n-clusters", "2", "--report=false"]).assert().success();
    let found = explored(&place, &python, "out");
    assert_eq!(found["by_label"], serde_json::json!({ "no label": 12 }));
    assert_eq!(found["on_the_map"], Value::Null);
    assert_eq!(found["most_alike"].as_array().expect("a list").len(), 10);
}
