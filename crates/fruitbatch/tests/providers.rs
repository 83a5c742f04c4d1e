//! What carries the arithmetic out: providers, the kernels behind features, and the memory they may take.

use std::fs;

use arrow::array::{AsArray, Float32Array};
use assert_cmd::Command;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use support::{MODEL, Place};

mod support;

fn stderr(command: &mut Command, code: i32) -> String {
    let outcome = command.assert().code(code);
    String::from_utf8_lossy(&outcome.get_output().stderr).into_owned()
}

/// All features below OUT by path.
fn features(place: &Place, output: &str) -> Vec<(String, Vec<f32>)> {
    let mut rows = Vec::new();
    for part in fs::read_dir(place.path(output).join("features")).expect("is a folder") {
        let file = fs::File::open(part.expect("is readable").path()).expect("is readable");
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
        for batch in reader.expect("is Parquet") {
            let batch = batch.expect("is readable");
            let paths = batch.column_by_name("path").expect("a column").as_string::<i32>();
            let vectors = batch.column_by_name("features").expect("a column").as_fixed_size_list();
            for row in 0..batch.num_rows() {
                let vector = vectors.value(row);
                let vector: &Float32Array = vector.as_any().downcast_ref().expect("are float32");
                rows.push((paths.value(row).to_owned(), vector.values().to_vec()));
            }
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

#[test]
fn a_provider_that_is_not_there_ends_the_run_and_says_what_installs_it() {
    let name = "a_provider_that_is_not_there_ends_the_run_and_says_what_installs_it";
    let Some(place) = Place::with_photos(name, 2) else { return };
    for (provider, mends) in [("openvino", "make openvino"), ("cuda", "make gpu")] {
        let flags = ["--provider", provider];
        let told = stderr(place.run("out", &flags).env_remove("ORT_DYLIB_PATH"), 1);
        assert!(told.contains(mends), "{told}");
        // A library was named, and hasn't got it.
        let told = stderr(&mut place.run("out", &flags), 1);
        assert!(told.contains(&format!("has no {provider}")), "{told}");
        assert!(!place.path("out/results.csv").exists());
    }
    let told = stderr(&mut place.run("out", &["--provider", "gpu"]), 2);
    assert!(told.contains("`openvino`"), "{told}");
    let told = stderr(&mut place.run("out", &["--provider", "cpu", "--precision", "bf16"]), 2);
    assert!(told.contains("cpu doesn't compute in bf16"), "{told}");
}

#[test]
fn openvino_gives_the_same_features_in_fp32_and_nearly_the_same_in_bf16() {
    let name = "openvino_gives_the_same_features_in_fp32_and_nearly_the_same_in_bf16";
    let library = fruitbatch_vision::find_onnx_runtime_for(fruitbatch_vision::RuntimeBuild::OpenVino);
    let Ok(library) = library.map_err(|error| eprintln!("SKIPPED: {name}: {error}")) else { return };
    let Some(place) = Place::with_photos(name, 4) else { return };
    let run = |output: &str, flags: &[&str]| {
        let mut command = place.run(output, flags);
        command.env("ORT_DYLIB_PATH", &library);
        command
    };
    place.run("cpu", &[]).assert().success();
    let expected = features(&place, "cpu");
    assert_eq!(expected.len(), 16);
    for (output, precision, least) in [("fp32", "fp32", 0.999_999), ("bf16", "bf16", 0.999)] {
        let mut command = run(output, &["--provider", "openvino", "--precision", precision]);
        let outcome = command.output().expect("the program runs");
        let told = String::from_utf8_lossy(&outcome.stderr);
        if precision == "bf16" && told.contains("no bf16") {
            eprintln!("SKIPPED: {name}: this processor has no bf16");
            return;
        }
        assert!(outcome.status.success(), "{told}");
        assert!(told.contains("computing on openvino"), "{told}");
        for (found, expected) in features(&place, output).iter().zip(&expected) {
            assert_eq!(found.0, expected.0);
            let cosine = cosine(&found.1, &expected.1);
            assert!(cosine > least, "{output}: {cosine}");
        }
        let kernels = place.json(&format!("{output}/run.json"))["kernel_paths"].clone();
        let kernels = kernels[0].as_str().expect("one path").to_owned();
        assert!(kernels.ends_with(" openvino direct"), "{kernels}");
    }
    // Other arithmetic is another kind of features.
    let told = stderr(&mut run("cpu", &["--provider", "openvino"]), 2);
    assert!(told.contains("provider=openvino") && told.contains("--overwrite"), "{told}");
}

#[test]
fn features_of_other_kernels_are_warned_of_or_refused() {
    let Some(place) = Place::with_photos("features_of_other_kernels_are_warned_of_or_refused", 3) else {
        return;
    };
    place.run("out", &["--limit", "5"]).assert().success();
    let kernels = place.json("out/run.json")["kernel_paths"].clone();
    let own = kernels[0].as_str().expect("one path");
    assert!(own.starts_with(std::env::consts::ARCH) && own.ends_with(" cpu winograd"), "{own}");
    // As if another kind of processor had made them.
    let other = format!("{}-other cpu winograd", std::env::consts::ARCH);
    for entry in fs::read_dir(place.path("out/_fruitbatch/log")).expect("there is a log") {
        let file = entry.expect("is readable").path();
        let text = fs::read_to_string(&file).expect("is readable");
        fs::write(&file, text.replace(own, &other)).expect("can be written");
    }
    let told = stderr(&mut place.run("out", &["--require-uniform-cpu"]), 1);
    assert!(told.contains(own) && told.contains(&other) && told.contains("--require-uniform-cpu"), "{told}");
    let told = stderr(&mut place.run("out", &[]), 0);
    assert!(told.contains("different kernels"), "{told}");
    place.assert_nothing_lost("out", 12);
    // What is mixed already is refused as well.
    stderr(&mut place.run("out", &["--require-uniform-cpu"]), 1);
    place.run("out", &[]).assert().success();
    assert_eq!(place.json("out/run.json")["kernel_paths"].as_array().expect("a list").len(), 2);
}

#[test]
fn a_memory_limit_changes_nothing_but_the_memory() {
    let Some(place) = Place::with_photos("a_memory_limit_changes_nothing_but_the_memory", 3) else { return };
    place.run("out", &[]).assert().success();
    place.run("limited", &["--memory-limit", "200MB", "--slots", "1"]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("limited/results.csv"));
    let told = stderr(&mut place.run("little", &["--memory-limit", "20MB"]), 1);
    assert!(told.contains("bytes of memory at least"), "{told}");
    let told = stderr(&mut place.run("wrong", &["--memory-limit", "much"]), 2);
    assert!(told.contains("memory-limit"), "{told}");
}

#[test]
fn photos_at_native_size_come_in_all_sizes() {
    let Some(place) = Place::with_photos("photos_at_native_size_come_in_all_sizes", 3) else { return };
    place.fruitbatch(&["samples", "photos/large", "--per-label", "1", "--size", "200"]).assert().success();
    place.fruitbatch(&["samples", "photos/tiny", "--per-label", "1", "--size", "16"]).assert().success();
    let run = |output: &str, flags: &[&str]| {
        let native = [
            "run",
            "photos",
            "--output",
            output,
            "--model",
            MODEL,
            "--image-size",
            "native",
            "--n-components",
            "4",
        ];
        place.fruitbatch(&[&native, flags].concat())
    };
    run("out", &[]).assert().success();
    place.assert_nothing_lost("out", 20);
    // The same bits, whatever lies beside a photo in its batch.
    run("one", &["--batch-size", "1", "--slots", "1", "--chunk-size", "3"]).assert().success();
    assert_eq!(features(&place, "out"), features(&place, "one"));
    run("small", &["--max-side", "48"]).assert().success();
    let changed =
        features(&place, "out").iter().zip(&features(&place, "small")).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 4, "those of 200 pixels alone");
    let told = stderr(&mut run("flat", &["--pooling", "flatten"]), 2);
    assert!(told.contains("`flatten` needs photos of one size"), "{told}");
    let told = stderr(&mut place.run("square", &["--max-side", "48"]), 2);
    assert!(told.contains("--image-size native"), "{told}");
}
