//! The classifier head of a run.

use support::Place;

mod support;

#[test]
fn a_head_is_trained_tested_and_asked() {
    let Some(place) = Place::with_photos("a_head_is_trained_tested_and_asked", 15) else { return };
    place.run("out", &[]).assert().success();
    let results = place.read("out/results.csv");
    place.fruitbatch(&["train", "out", "--test-share", "0.2"]).assert().success();
    place.assert_success_holds("out");
    assert_eq!(place.read("out/results.csv"), results, "the clusters stay");

    let metrics = place.json("out/metrics.json");
    let test = &metrics["classifier"]["test"];
    assert_eq!((&test["rows"], &metrics["classifier"]["training"]["rows"]), (&12.into(), &48.into()));
    let supports: Vec<u64> = test["labels"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|label| label["support"].as_u64().expect("a count"))
        .collect();
    assert_eq!(supports, [3; 4], "a fifth of each label");
    // The confusion matrix adds up to the same accuracy.
    let confusion = place.csv("out/confusion.csv");
    let count = |row: usize, label: &str| confusion[row][label].parse::<u64>().expect("a count");
    let right: u64 = (0..4).map(|row| count(row, &confusion[row]["label"].clone())).sum();
    assert_eq!(test["accuracy"].as_f64(), Some(right as f64 / 12.0));
    assert!(place.read("out/report.html").contains("Multinomial logistic regression"));

    let said = place.fruitbatch(&["predict", "--model-dir", "out/model", "photos"]).assert().success();
    let mut right = 0;
    for row in csv::Reader::from_reader(said.get_output().stdout.as_slice()).deserialize() {
        let row: std::collections::BTreeMap<String, String> = row.expect("it is CSV");
        let probability: f64 = row["probability"].parse().expect("a number");
        assert!(probability > 0.25 && probability <= 1.0, "the most probable of four: {probability}");
        right += usize::from(row["path"].starts_with(&format!("{}/", row["label"])));
    }
    // Of the rows it was trained on most, and most of the others.
    assert!(right >= 48, "{right} of 60");

    // It belongs to what it was trained on: a fit without it takes it away, one with it trains it again.
    place.fruitbatch(&["fit", "out", "--classifier=false"]).assert().success();
    assert!(!place.path("out/model/classifier.json").exists() && !place.path("out/confusion.csv").exists());
    place.run("out", &["--classifier"]).assert().success();
    assert!(place.path("out/model/classifier.json").exists());
    place.assert_success_holds("out");
}

#[test]
fn a_head_needs_labels() {
    let Some(place) = Place::with_photos("a_head_needs_labels", 4) else { return };
    place.run("out", &["--label", "none", "--n-clusters", "2"]).assert().success();
    let refused = place.fruitbatch(&["train", "out"]).assert().failure();
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("label"), "{said}");
    let refused = place.fruitbatch(&["train", "out", "--test-share", "1.5"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("test-share"), "{said}");
}
