//! What the program says and how it ends: help, hints, layers of configuration, exit codes.

use std::fs;

use support::Place;

mod support;

fn stderr_of(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

fn stdout_of(assert: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

#[test]
fn wrong_flags_end_in_2_with_a_hint() {
    let Some(place) = Place::empty("wrong_flags_end_in_2_with_a_hint") else { return };
    let told = place.fruitbatch(&["run", "photos", "--output", "out", "--n-component", "5"]).assert().code(2);
    assert!(stderr_of(&told).contains("--n-components"), "{}", stderr_of(&told));
    for (arguments, word) in [
        (vec!["run", "photos"], "output"),
        (vec!["run", "photos", "--output", "out", "--n-components", "none"], "n-components"),
        (vec!["run", "photos", "--output", "out", "--n-clusters", "0"], "cluster"),
        (vec!["run", "photos", "--output", "out", "--pooling", "median"], "pooling"),
        (vec!["run", "photos", "--output", "out", "--image-size", "0"], "image_size"),
        (vec!["run", "photos", "--output", "out", "--label", "folder"], "label"),
        (vec!["run", "photos", "--output", "out", "--glob", "["], "glob"),
        (vec!["run", "photos", "--output", "out", "--scheduler", "yarn"], "scheduler"),
        (vec!["run", "http://host/photos", "--output", "out"], "input"),
        (vec!["run", "s3://user:secret@bucket/photos", "--output", "out"], "input"),
    ] {
        let told = place.fruitbatch(&arguments).assert().code(2);
        assert!(stderr_of(&told).contains(word), "{arguments:?}: {}", stderr_of(&told));
        assert!(!stderr_of(&told).contains("secret"), "a credential never reaches a message");
    }
}

#[test]
fn an_unknown_model_is_told_with_what_there_is() {
    let Some(place) = Place::empty("an_unknown_model_is_told_with_what_there_is") else { return };
    let told = place.fruitbatch(&["run", "photos", "--output", "out", "--model", "vgg61"]).assert().failure();
    assert!(stderr_of(&told).contains("vgg16"), "{}", stderr_of(&told));
    let told = place.fruitbatch(&["run", "photos", "--output", "out"]).assert().failure();
    assert!(
        stderr_of(&told).contains("photos") || stderr_of(&told).contains("model fetch"),
        "{}",
        stderr_of(&told)
    );
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let Some(place) = Place::empty("flags_win_over_environment_over_file_over_default") else { return };
    fs::write(place.path("run.toml"), "n-components = 5\nn-init = 3\nseed = 7\nlabel = \"none\"\n")
        .expect("writes");
    let told = place
        .fruitbatch(&[
            "run",
            "photos",
            "--output",
            "out",
            "--config",
            "run.toml",
            "--seed",
            "9",
            "--show-config",
        ])
        .env("FRUITBATCH_N_INIT", "4")
        .env("FRUITBATCH_SEED", "8")
        .assert()
        .success();
    let shown = stdout_of(&told);
    let line = |key: &str| {
        shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.first() == Some(&key))
            .unwrap_or_else(|| panic!("{key} is not in {shown}"))
    };
    assert_eq!(line("seed"), ["seed", "9", "flag"]);
    assert_eq!(line("n-init"), ["n-init", "4", "environment", "(FRUITBATCH_N_INIT)"]);
    assert_eq!(line("n-components"), ["n-components", "5", "file", "(run.toml)"]);
    assert_eq!(line("label"), ["label", "none", "file", "(run.toml)"]);
    assert_eq!(line("model"), ["model", "vgg16", "default"]);

    fs::write(place.path("wrong.toml"), "n-cluster = 5\n").expect("writes");
    let told =
        place.fruitbatch(&["run", "photos", "--output", "out", "--config", "wrong.toml"]).assert().code(2);
    assert!(stderr_of(&told).contains("did you mean `n-clusters`"), "{}", stderr_of(&told));
    fs::write(place.path("wrong.toml"), "batch-size = \"many\"\n").expect("writes");
    let told =
        place.fruitbatch(&["run", "photos", "--output", "out", "--config", "wrong.toml"]).assert().code(2);
    assert!(stderr_of(&told).contains("batch-size"), "{}", stderr_of(&told));
}

#[test]
fn a_dry_run_runs_nothing() {
    let Some(place) = Place::with_photos("a_dry_run_runs_nothing", 3) else { return };
    let told = place.run("out", &["--dry-run"]).assert().success();
    assert!(stdout_of(&told).contains("12 photos"), "{}", stdout_of(&told));
    assert!(!place.path("out").exists());
}

#[test]
fn progress_can_be_read_by_programs() {
    let Some(place) = Place::with_photos("progress_can_be_read_by_programs", 3) else { return };
    let told = place.run("out", &["--progress", "json"]).assert().success();
    let events: Vec<serde_json::Value> = stderr_of(&told)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(events.iter().any(|event| event["event"] == "listed" && event["photos"] == 12));
    let last = events.iter().rfind(|event| event["event"] == "progress").expect("progress is told");
    assert_eq!((&last["done"], &last["total"]), (&12.into(), &12.into()));
}

#[test]
fn a_place_without_photos_is_told() {
    let Some(place) = Place::empty("a_place_without_photos_is_told") else { return };
    let told = place.run("out", &[]).assert().code(1);
    assert!(stderr_of(&told).contains("photos"), "{}", stderr_of(&told));
    fs::create_dir(place.path("photos")).expect("can be made");
    place.run("out", &[]).assert().code(1);
}

#[test]
fn samples_can_be_drawn_twice() {
    let Some(place) = Place::empty("samples_can_be_drawn_twice") else { return };
    for _ in 0..2 {
        place.fruitbatch(&["samples", "drawn", "--per-label", "2"]).assert().success();
    }
    fs::create_dir(place.path("mine")).expect("can be made");
    fs::write(place.path("mine/letter.txt"), "dear").expect("writes");
    place.fruitbatch(&["samples", "mine"]).assert().failure();
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::process::{Command, Stdio};
    let Some(place) = Place::empty("a_closed_pipe_is_no_failure") else { return };
    let command = place.fruitbatch(&["model", "list"]);
    let mut listing = Command::new(command.get_program());
    listing.args(command.get_args()).current_dir(place.path("."));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => listing.env(name, value),
            None => listing.env_remove(name),
        };
    }
    let mut child = listing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("ends").success());
}

#[test]
fn models_are_listed_and_inspected() {
    let Some(place) = Place::empty("models_are_listed_and_inspected") else { return };
    let listed = stdout_of(&place.fruitbatch(&["model", "list"]).assert().success());
    assert!(listed.contains("vgg16") && listed.contains(support::MODEL), "{listed}");
    let inspected = stdout_of(&place.fruitbatch(&["model", "inspect", support::MODEL]).assert().success());
    assert!(inspected.contains("Conv"), "{inspected}");
    fs::write(place.path("broken.onnx"), "no model").expect("writes");
    place.fruitbatch(&["model", "inspect", "broken.onnx"]).assert().failure();
    place.fruitbatch(&["model", "import", "broken.onnx", "--name", "broken"]).assert().failure();
}

#[test]
fn a_model_that_was_tampered_with_is_refused() {
    let Some(place) = Place::with_photos("a_model_that_was_tampered_with_is_refused", 2) else { return };
    let folder = place.path("cache/models");
    for entry in fs::read_dir(&folder).expect("the cache has models") {
        let file = entry.expect("is readable").path();
        let mut bytes = fs::read(&file).expect("is readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("writes");
    }
    let told = place.run("out", &[]).assert().code(1);
    assert!(stderr_of(&told).contains("sha256"), "{}", stderr_of(&told));
}
