//! `fruitbatch sql` as a user asks it: photos, features and results of real runs of a small model.

use std::collections::BTreeMap;

use fruitbatch_testkit::s3_server::S3Server;
use support::roles::Role;
use support::{IMAGE_SIZE, MODEL, Place, upload, with_credentials};

mod support;

/// Labels of the drawn photos.
const LABELS: usize = 4;

impl Place {
    fn sql(&self, query: &str, flags: &[&str]) -> assert_cmd::Command {
        self.fruitbatch(&[&["sql", query], flags].concat())
    }

    /// The answer as rows of texts by column.
    fn ask(&self, query: &str, flags: &[&str]) -> Vec<BTreeMap<String, String>> {
        let answered = self.sql(query, &[&["--format", "csv"], flags].concat()).assert().success();
        rows(&answered.get_output().stdout)
    }

    /// The spec of the features of a run.
    fn embedding(&self, output: &str) -> String {
        let lineage = self.json(&format!("{output}/model/manifest.json"));
        lineage["lineage"]["embedding"].as_str().expect("a text").to_owned()
    }
}

fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv).deserialize().collect::<Result<_, _>>().expect("is CSV")
}

fn counts(place: &Place, output: &str) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for row in place.csv(&format!("{output}/results.csv")) {
        *counts.entry((row["cluster"].clone(), row["label"].clone())).or_insert(0) += 1;
    }
    counts
}

#[test]
fn questions_about_a_run() {
    let Some(place) = Place::with_photos("questions_about_a_run", 6) else { return };
    place.run("out", &[]).assert().success();

    // Labels per cluster, in order.
    let found = place
        .ask("SELECT cluster, label, count(*) AS photos FROM results('out') GROUP BY ALL ORDER BY ALL", &[]);
    let found: Vec<_> = found
        .iter()
        .map(|row| ((row["cluster"].clone(), row["label"].clone()), row["photos"].parse().expect("a count")))
        .collect();
    assert_eq!(found, counts(&place, "out").into_iter().collect::<Vec<_>>());

    // The listing, without any photo being read.
    let labels =
        place.ask("SELECT label, count(*) n, sum(length) b FROM images('photos') GROUP BY label", &[]);
    assert_eq!(labels.len(), LABELS);
    let bytes: u64 = labels.iter().map(|row| row["b"].parse::<u64>().expect("bytes")).sum();
    assert_eq!(bytes, place.json("out/metrics.json")["bytes"].as_u64().expect("bytes"));

    // The photos most like one, which is itself the most like itself.
    let similar = place.ask(
        "SELECT b.path, cosine_similarity(a.features, b.features) AS similarity FROM features('out') a, \
         features('out') b WHERE a.path = 'Orange/0_48.jpg' ORDER BY similarity DESC, b.path LIMIT 10",
        &[],
    );
    assert_eq!(similar.len(), 10);
    assert_eq!(similar[0]["path"], "Orange/0_48.jpg");
    let similarities: Vec<f64> =
        similar.iter().map(|row| row["similarity"].parse().expect("a number")).collect();
    // The cosine of a vector and itself, up to the rounding of a root and its square.
    assert!((similarities[0] - 1.0).abs() < 1e-15 && similarities.is_sorted_by(|a, b| a >= b));

    // The model says of the features of the run what the run said: the same bits.
    let said = place.ask(
        "SELECT count(*) AS photos, sum(CASE WHEN cluster_of(f.features, 'out') = r.cluster \
         AND distance_of(f.features, 'out/model') = r.distance THEN 1 ELSE 0 END) AS same \
         FROM features('out') f JOIN results('out') r ON f.path = r.path",
        &[],
    );
    assert_eq!((said[0]["photos"].as_str(), said[0]["same"].as_str()), ("24", "24"));
    let labelled =
        place.ask("SELECT DISTINCT nearest_label_of(features, 'out') AS l FROM features('out')", &[]);
    let known: Vec<_> = place.json("out/metrics.json")["labels"].as_array().expect("a list").clone();
    assert!(labelled.iter().all(|row| known.iter().any(|label| label["label"] == row["l"])));
}

#[test]
fn photos_are_embedded_on_the_way() {
    let Some(place) = Place::with_photos("photos_are_embedded_on_the_way", 6) else { return };
    place.run("out", &[]).assert().success();
    let embedding = place.embedding("out");
    let same = place.ask(
        &format!(
            "SELECT count(*) AS photos, sum(CASE WHEN embed(i.content, '{embedding}') = f.features THEN 1 ELSE 0 END) AS same, \
             sum(CASE WHEN cluster_of(embed(i.content, '{embedding}'), 'out') = r.cluster THEN 1 ELSE 0 END) AS clusters \
             FROM images('photos') i JOIN features('out') f ON i.path = f.path JOIN results('out') r ON i.path = r.path"
        ),
        &[],
    );
    assert_eq!(same[0].values().map(String::as_str).collect::<Vec<_>>(), ["24", "24", "24"]);

    // A photo that can't be used has no features, and no cluster.
    std::fs::write(place.path("photos/Orange/broken.jpg"), "no photo").expect("is written");
    let query = format!(
        "SELECT path, cluster_of(embed(content, '{embedding}'), 'out') AS cluster FROM images('photos/Orange') ORDER BY path"
    );
    let found = place.ask(&query, &[]);
    assert_eq!(found.len(), 7);
    for row in found {
        assert_eq!(row["cluster"].is_empty(), row["path"] == "broken.jpg", "{row:?}");
    }

    // With a limit, the photos behind it aren't read: these would end the query.
    for number in 0..40 {
        std::fs::write(place.path(&format!("photos/Orange/z{number}.jpg")), "no photo").expect("is written");
    }
    let mut limited = place.sql(
        &format!(
            "SELECT path, embed(content, '{embedding}') AS features FROM images('photos/*/*_48.jpg') LIMIT 3"
        ),
        &[],
    );
    let told = limited.unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("... 16 values]") && told.ends_with("(3 rows)\n"), "{told}");
}

#[test]
fn answers_come_in_every_form() {
    let Some(place) = Place::with_photos("answers_come_in_every_form", 3) else { return };
    place.run("out", &[]).assert().success();
    let query = "SELECT path, cluster, distance FROM results('out') ORDER BY path";
    let expected: Vec<_> = place.csv("out/results.csv");
    for file in ["a.csv", "a.json", "a.jsonl", "a.parquet"] {
        let told = place.sql(query, &["--output", file]).unwrap();
        assert_eq!(String::from_utf8_lossy(&told.stderr), format!("12 rows written to {file}\n"));
    }
    let csv = place.csv("a.csv");
    assert_eq!(csv.len(), expected.len());
    let lines: Vec<serde_json::Value> =
        place.read("a.jsonl").lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    assert_eq!(place.json("a.json"), serde_json::Value::Array(lines.clone()));
    for ((row, line), expected) in csv.iter().zip(&lines).zip(&expected) {
        assert_eq!(row["path"], expected["path"]);
        assert_eq!(line["path"], expected["path"].as_str());
        for number in [row["distance"].parse(), line["distance"].to_string().parse()] {
            assert_eq!(number.map(f64::to_bits), expected["distance"].parse().map(f64::to_bits));
        }
    }
    let file = std::fs::File::open(place.path("a.parquet")).expect("is there");
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).expect("is Parquet");
    assert_eq!(reader.map(|batch| batch.expect("is readable").num_rows()).sum::<usize>(), 12);
    let left: Vec<_> = std::fs::read_dir(place.path(""))
        .expect("is a folder")
        .map(|entry| entry.expect("is readable").file_name())
        .filter(|name| name.to_string_lossy().starts_with(".fruitbatch"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // Without rows, there are columns all the same.
    let none = "SELECT path, cluster FROM results('out') WHERE cluster < 0";
    for (flags, text) in [
        (["--format", "csv"], "path,cluster\n"),
        (["--format", "json"], "[]\n"),
        (["--format", "jsonl"], ""),
        (["--max-rows", "5"], " path  cluster\n(0 rows)\n"),
    ] {
        assert_eq!(String::from_utf8_lossy(&place.sql(none, &flags).unwrap().stdout), text, "{flags:?}");
    }
    let never = "SELECT path, 1 AS one FROM results('out') LIMIT 0";
    assert_eq!(place.sql(never, &["--format", "csv"]).unwrap().stdout, b"path,one\n");

    // A table ends where it was told to, and says so; bytes and features are told in brief.
    let told = place.sql("SELECT * FROM images('photos')", &["--max-rows", "2"]).unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains(" bytes>") && told.contains("(2 rows, and there are more"), "{told}");
    // Lists as text in CSV, bytes as digits.
    let wide = place.ask("SELECT features, X'00ff' AS bytes FROM features('out') LIMIT 1", &[]);
    let features: Vec<f32> = serde_json::from_str(&wide[0]["features"]).expect("a list of numbers");
    assert_eq!((features.len(), wide[0]["bytes"].as_str()), (16, "00ff"));
}

#[test]
fn what_goes_wrong_says_what_to_do() {
    let Some(place) = Place::with_photos("what_goes_wrong_says_what_to_do", 3) else { return };
    place.run("out", &[]).assert().success();
    place.run("flat", &["--pooling", "flatten"]).assert().success();
    place.run("unlabelled", &["--label", "none", "--n-clusters", "2"]).assert().success();
    place.run("stopped", &[]).assert().success();
    std::fs::remove_file(place.path("stopped/_SUCCESS")).expect("is there");
    place.run("damaged", &[]).assert().success();
    std::fs::write(place.path("damaged/results.parquet"), "other bytes").expect("is written");
    std::fs::create_dir(place.path("empty")).expect("is made");

    let embedding = place.embedding("out");
    let other_size = embedding.replace(&format!("image_size={IMAGE_SIZE} "), "image_size=40 ");
    for (code, query, part) in [
        (2, "SELEC 1", "can't be read"),
        (2, "DROP TABLE x", "`DROP TABLE"),
        (2, "COPY (SELECT 1) TO 'x.csv'", "`COPY` is refused"),
        (2, "SELECT 1; SELECT 2", "2 statements"),
        (2, "EXPLAIN ANALYZE SELECT 1", "EXPLAIN shows the plan"),
        (2, "SELECT * FROM photos('x')", "there is no table `photos(...)`"),
        (2, "SELECT * FROM results", "results('OUT')"),
        (2, "SELECT nothing FROM results('out')", "nothing"),
        (2, "SELECT no_function(path) FROM results('out')", "no_function"),
        (2, "SELECT cluster_of(path, 'out') FROM results('out')", "lists of numbers"),
        (2, "SELECT embed(content, 'vgg61') FROM images('photos')", "vgg61"),
        (2, "SELECT * FROM results('empty')", "no run was started on"),
        (2, "SELECT * FROM results('gone')", "no run was started on"),
        (2, "SELECT * FROM features('stopped')", "there is no `_SUCCESS`"),
        (1, "SELECT * FROM results('damaged')", "is not what its run wrote"),
        (1, "SELECT * FROM images('gone')", "gone"),
        (2, "SELECT cluster_of(features, 'out') FROM features('flat')", "width 16"),
        (2, "SELECT nearest_label_of(features, 'unlabelled') FROM features('unlabelled')", "no labels"),
        (
            2,
            "SELECT cosine_similarity(a.features, b.features) FROM features('out') a, features('flat') b",
            "one width",
        ),
        (
            2,
            &format!("SELECT cluster_of(embed(content, '{other_size}'), 'out') FROM images('photos')"),
            &format!("these are: embed(content, '{embedding}')"),
        ),
        // A number that makes no division.
        (1, "SELECT 1 / (cluster - cluster) FROM results('out')", "ivide by zero"),
    ] {
        let told = place.sql(query, &[]).assert().code(code);
        let said = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
        // Above it there may be what the engine logs.
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(part), "{query}: {said}");
        assert!(told.get_output().stdout.is_empty(), "{query}");
    }
    for (flags, part) in [
        (["--format", "parquet"].as_slice(), "--output FILE.parquet"),
        (&["--output", "answer.xlsx"], "doesn't say its format"),
        (&["--output", "s3://bucket/answer.csv"], "no local file"),
        (&["--output", "a.csv", "--format", "table"], "for the screen"),
        (&["--scheduler", "somewhere"], "df://HOST:PORT"),
    ] {
        let told = place.sql("SELECT 1", flags).assert().code(2);
        let said = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
        assert!(said.contains(part), "{flags:?}: {said}");
    }
    // An answer that fails leaves the file of before as it was.
    std::fs::write(place.path("answer.csv"), "before").expect("is written");
    place.sql("SELECT 1 / (cluster - cluster) FROM results('out')", &["-o", "answer.csv"]).assert().code(1);
    assert_eq!(place.read("answer.csv"), "before");
}

#[test]
fn the_query_may_come_by_standard_input() {
    let Some(place) = Place::empty("the_query_may_come_by_standard_input") else { return };
    let answered = place.sql("-", &["--format", "csv"]).write_stdin("SELECT 1 + 1 AS two;\n").unwrap();
    assert_eq!(answered.stdout, b"two\n2\n");
    let explained = place.sql("EXPLAIN SELECT 1 + 1 AS two", &[]).unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.starts_with("logical_plan\n"), "{explained}");
}

/// More photos than a plan holds; not one of them is read for this.
#[test]
fn a_long_listing_is_written_down() {
    let Some(place) = Place::empty("a_long_listing_is_written_down") else { return };
    let photos = fruitbatch_sql::LISTED_IN_PLAN + 1;
    for label in ["a", "b"] {
        std::fs::create_dir_all(place.path("many").join(label)).expect("is made");
    }
    for number in 0..photos {
        let label = if number % 2 == 0 { "a" } else { "b" };
        std::fs::write(place.path("many").join(label).join(format!("{number}.jpg")), "x")
            .expect("is written");
    }
    let temporary = place.path("temporary");
    std::fs::create_dir(&temporary).expect("is made");
    let mut command = place.sql(
        "SELECT label, count(*) AS n, count(DISTINCT path) AS paths, sum(length) AS bytes FROM images('many') GROUP BY ALL \
         ORDER BY ALL",
        &["--format", "csv"],
    );
    let answered = command.env("TMPDIR", &temporary).unwrap();
    let half = photos / 2;
    let expected = format!("label,n,paths,bytes\na,{0},{0},{0}\nb,{half},{half},{half}\n", photos - half);
    assert_eq!(String::from_utf8_lossy(&answered.stdout), expected);
    let left = std::fs::read_dir(&temporary).expect("is a folder").count();
    assert_eq!(left, 0, "what was written for the query is gone");
    let read = place.ask(
        "SELECT count(content) AS n FROM (SELECT content FROM images('many') WHERE label = 'b' LIMIT 700)",
        &[],
    );
    assert_eq!(read[0]["n"], "700");
}

#[test]
fn a_fleet_answers_as_this_process_does() {
    let Some(place) = Place::with_photos("a_fleet_answers_as_this_process_does", 6) else { return };
    let server = S3Server::start();
    server.create_bucket("fruits");
    upload(&place, &server, "fruits", str::to_owned);
    let run = [
        "run",
        "s3://fruits/photos/",
        "--output",
        "s3://fruits/out/",
        "--model",
        MODEL,
        "--image-size",
        IMAGE_SIZE,
        "--n-components",
        "4",
    ];
    with_credentials(place.fruitbatch(&run), &server).assert().success();
    let manifest = server.object("fruits", "out/model/manifest.json").expect("is there");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("is JSON");
    let embedding = manifest["lineage"]["embedding"].as_str().expect("a text").to_owned();

    let scheduler = Role::scheduler(&place, &[]);
    // Executors on a machine without the model, with credentials of their own.
    let flags = ["executor", "--scheduler", &scheduler.address, "--bind", "127.0.0.1:0", "--slots", "2"];
    let mut without_model = with_credentials(place.fruitbatch(&flags), &server);
    without_model.env("FRUITBATCH_CACHE_DIR", place.path("executor-cache"));
    let executor = Role::of(place.spawn(&without_model), false);

    let query = format!(
        "SELECT i.path, label, cluster_of(embed(content, '{embedding}'), 's3://fruits/out') AS cluster, \
         cosine_similarity(embed(content, '{embedding}'), f.features) AS similarity \
         FROM images('s3://fruits/photos/') i JOIN features('s3://fruits/out') f USING (path, label) ORDER BY path"
    );
    let ask = |flags: &[&str]| {
        let flags = [&["--format", "csv"], flags].concat();
        let answered = with_credentials(place.sql(&query, &flags), &server).assert().success();
        rows(&answered.get_output().stdout)
    };
    let here = ask(&[]);
    assert_eq!(here.len(), 24);
    let there = ask(&["--scheduler", &scheduler.url(), "--model-store", "s3://fruits/models/"]);
    assert_eq!(there, here);

    // Without an executor, nobody answers.
    drop(executor);
    let waited = ["--scheduler", &scheduler.url(), "--cluster-timeout", "1"];
    let told =
        with_credentials(place.sql("SELECT count(*) FROM results('s3://fruits/out')", &waited), &server)
            .assert()
            .code(1);
    let said = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(said.contains("has had no executor"), "{said}");
}
