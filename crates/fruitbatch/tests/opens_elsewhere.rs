//! The outputs open in the tools that people use next: pandas, DuckDB and Spark.

use std::process::Command;

use support::Place;

mod support;

#[test]
fn results_open_in_pandas_duckdb_and_spark() {
    let test = "results_open_in_pandas_duckdb_and_spark";
    let Some(python) = std::env::var_os("FRUITBATCH_PYTHON") else {
        eprintln!(
            "SKIPPED: {test}: FRUITBATCH_PYTHON names no Python with pandas, duckdb and pyspark: run `make test`"
        );
        return;
    };
    let Some(place) = Place::with_photos(test, 4) else { return };
    let photos = place.path("photos");
    let label = std::fs::read_dir(&photos)
        .expect("is a folder")
        .next()
        .expect("has labels")
        .expect("is readable")
        .path();
    let photo = std::fs::read_dir(&label)
        .expect("is a folder")
        .next()
        .expect("has photos")
        .expect("is readable")
        .path();
    std::fs::copy(&photo, label.join("comma, \"quote\" & é.jpg")).expect("can be copied");
    std::fs::copy(&photo, photos.join("no label.jpg")).expect("can be copied");
    place.run("out", &[]).assert().success();

    let told = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/open_results.py"))
        .arg(place.path("out"))
        .output()
        .expect("FRUITBATCH_PYTHON can be started");
    let stdout = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(stdout.lines().collect::<Vec<_>>(), ["pandas 18", "duckdb 18", "spark 18"]);
}
