//! A place of its own for each test: folders, a model cache with one small model, and the program.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use fruitbatch_samples::{SampleOptions, draw_samples};
use fruitbatch_testkit::tiny_models::TinyNet;
use tempfile::TempDir;

/// The model that tests import, and the side of the photos they run it on.
pub(crate) const MODEL: &str = "tiny";
pub(crate) const IMAGE_SIZE: &str = "32";

pub(crate) struct Place {
    folder: TempDir,
    onnx_runtime: PathBuf,
}

impl Place {
    /// A place with `photos/` (four labels) and the small model imported; none, and a word about it, where ONNX Runtime
    /// isn't installed.
    pub(crate) fn with_photos(test: &str, per_label: usize) -> Option<Self> {
        let place = Self::empty(test)?;
        let options = SampleOptions { per_label, size: 48, ..SampleOptions::default() };
        draw_samples(&place.path("photos"), &options).expect("samples can be drawn");
        Some(place)
    }

    /// A place without photos.
    pub(crate) fn empty(test: &str) -> Option<Self> {
        let Some(onnx_runtime) = onnx_runtime() else {
            eprintln!("SKIPPED: {test}: ONNX Runtime isn't installed: run `make setup`");
            return None;
        };
        let place = Self { folder: tempfile::tempdir().expect("a temp dir can be made"), onnx_runtime };
        let model = place.path("classifier.onnx");
        std::fs::write(&model, TinyNet::new(7, 16).nchw_classifier()).expect("the model can be written");
        place
            .fruitbatch(&["model", "import", &model.display().to_string(), "--name", MODEL])
            .assert()
            .success();
        Some(place)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with these arguments, with nothing of the surroundings' configuration.
    pub(crate) fn fruitbatch(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("fruitbatch").expect("the program is built with its tests");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("FRUITBATCH_") || name.starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.folder.path())
            .env("FRUITBATCH_CACHE_DIR", self.path("cache"))
            .env("FRUITBATCH_MODELS", self.path("models.toml"))
            .env("ORT_DYLIB_PATH", &self.onnx_runtime)
            .args(arguments);
        command
    }

    /// `fruitbatch run photos --output OUT` with the small model and more flags.
    pub(crate) fn run(&self, output: &str, flags: &[&str]) -> Command {
        let mut arguments = vec![
            "run",
            "photos",
            "--output",
            output,
            "--model",
            MODEL,
            "--image-size",
            IMAGE_SIZE,
            "--n-components",
            "4",
        ];
        arguments.extend(flags);
        self.fruitbatch(&arguments)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.path(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn json(&self, file: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The rows of a CSV output, each by column name.
    pub(crate) fn csv(&self, file: &str) -> Vec<BTreeMap<String, String>> {
        csv::Reader::from_path(self.path(file))
            .and_then(|mut reader| reader.deserialize().collect())
            .unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Asserts the promise: every listed photo is in the results or in the failures, exactly once.
    pub(crate) fn assert_nothing_lost(&self, output: &str, listed: usize) {
        let metrics = self.json(&format!("{output}/metrics.json"));
        assert_eq!(metrics["listed"], listed);
        let mut paths: Vec<String> = self
            .csv(&format!("{output}/results.csv"))
            .into_iter()
            .chain(self.csv(&format!("{output}/failures.csv")))
            .map(|row| row["path"].clone())
            .collect();
        assert_eq!(paths.len(), listed, "rows and failures together");
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), listed, "every path once");
    }
}

/// Where ONNX Runtime lies: as the program itself would find it.
fn onnx_runtime() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return Some(PathBuf::from(path));
    }
    let cache = std::env::var_os("FRUITBATCH_CACHE_DIR")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("fruitbatch")))
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/fruitbatch")))?;
    let library = cache.join("onnxruntime/1.31.1/libonnxruntime.so.1.31.1");
    library.is_file().then_some(library)
}
