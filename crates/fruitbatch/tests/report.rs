//! The report: every figure in it is the one in metrics.json, and it comes with each run that isn't told to do without.

use std::collections::BTreeMap;

use parquet::file::reader::{FileReader, SerializedFileReader};
use support::Place;

mod support;

/// What the picture of a photo begins with, in the page.
const PICTURE: &str = "src=\"data:image/jpeg;base64,";

/// The values of `data-figure` and `data-count` attributes of a page, by name.
fn values(page: &str, attribute: &str) -> BTreeMap<String, f64> {
    let start = format!("{attribute}=\"");
    page.split(&start)
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest.split_once('"').expect("the attribute ends");
            let (_, rest) = rest.split_once("data-value=\"").expect("a value follows");
            let (value, _) = rest.split_once('"').expect("it ends");
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{name}: `{value}` is no number")))
        })
        .collect()
}

#[test]
fn every_figure_in_the_report_is_that_of_the_metrics() {
    let Some(place) = Place::with_photos("every_figure_in_the_report_is_that_of_the_metrics", 12) else {
        return;
    };
    std::fs::write(place.path("photos/Orange/\"><script>alert(1).jpg"), "no photo").expect("can be written");
    place.run("out", &[]).assert().success();
    let (page, metrics) = (place.read("out/report.html"), place.json("out/metrics.json"));
    let figures = values(&page, "data-figure");
    for name in [
        "silhouette",
        "calinski_harabasz",
        "davies_bouldin",
        "inertia",
        "ari",
        "nmi",
        "homogeneity",
        "completeness",
        "purity",
    ] {
        assert_eq!(Some(figures[name]), metrics[name].as_f64(), "{name}");
    }
    let counts = values(&page, "data-count");
    for name in ["listed", "rows", "failures", "n_clusters", "n_components"] {
        assert_eq!(Some(counts[name]), metrics[name].as_f64(), "{name}");
    }
    assert!(page.contains("not-an-image") && !page.contains("<script>alert"), "a file's name is text");
    // The photos themselves are in it.
    assert!(page.matches(PICTURE).count() >= 4);

    let map = std::fs::File::open(place.path("out/tsne.parquet")).expect("it is there");
    let map = SerializedFileReader::new(map).expect("it is Parquet");
    assert_eq!(map.metadata().file_metadata().num_rows(), 48);
    for plot in ["scree", "map_by_label", "map_by_cluster", "contingency", "silhouette"] {
        let png = std::fs::read(place.path(&format!("out/plots/{plot}.png"))).expect("it is there");
        assert!(png.starts_with(b"\x89PNG"), "{plot}");
    }
    place.assert_success_holds("out");

    // Without it, what an earlier run drew goes: it would be of other photos.
    place.run("out", &["--report=false"]).assert().success();
    assert!(!place.path("out/report.html").exists() && !place.path("out/tsne.parquet").exists());
    place.assert_success_holds("out");
}

#[test]
fn the_report_does_without_photos_that_are_gone() {
    let Some(place) = Place::with_photos("the_report_does_without_photos_that_are_gone", 6) else { return };
    place.run("out", &["--label", "none", "--n-clusters", "2..5"]).assert().success();
    let page = place.read("out/report.html");
    assert!(page.contains(PICTURE));
    std::fs::rename(place.path("photos"), place.path("moved")).expect("can be moved");
    place.fruitbatch(&["fit", "out"]).assert().success();
    let page = place.read("out/report.html");
    assert!(!page.contains(PICTURE));
    let choice = &place.json("out/metrics.json")["n_clusters_choice"];
    let why = choice["why"].as_str().expect("it says why");
    assert!(page.contains(why), "{why}");
    assert_eq!(choice["tried"].as_array().expect("a list").len(), 4);
}

#[test]
fn runs_of_few_photos_have_a_report_too() {
    let Some(place) = Place::with_photos("runs_of_few_photos_have_a_report_too", 2) else { return };
    for photos in 2..=5 {
        let limit = photos.to_string();
        let model = ["--model", support::MODEL, "--image-size", support::IMAGE_SIZE];
        let flags = ["--limit", &limit, "--n-clusters", "1", "--n-components", "1"];
        let run = [&["run", "photos", "--output", "out"], &model[..], &flags[..]].concat();
        place.fruitbatch(&run).assert().success();
        assert_eq!(place.path("out/tsne.parquet").exists(), photos >= 4, "{photos}");
        assert!(place.path("out/report.html").exists());
    }
}

#[test]
fn clusters_by_density_have_noise_and_a_report() {
    let Some(place) = Place::with_photos("clusters_by_density_have_noise_and_a_report", 12) else { return };
    place.run("out", &["--algorithm", "hdbscan", "--min-cluster-size", "4"]).assert().success();
    let metrics = place.json("out/metrics.json");
    assert_eq!(metrics["inertia"], serde_json::Value::Null);
    let noise = place.csv("out/results.csv").iter().filter(|row| row["cluster"] == "-1").count();
    assert_eq!(metrics["noise_rows"], noise);
    assert!(place.path("out/report.html").exists());
    let said = place.fruitbatch(&["predict", "--model-dir", "out/model", "photos"]).assert().success();
    assert_eq!(String::from_utf8_lossy(&said.get_output().stdout).lines().count(), 49);
}
