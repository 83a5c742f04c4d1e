//! A place of its own for each test: folders, a model cache with one small model, and the program.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use assert_cmd::Command;
use fruitbatch_samples::{SampleOptions, draw_samples};
use fruitbatch_testkit::s3_server::S3Server;
use fruitbatch_testkit::tiny_models::TinyNet;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) mod roles;

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
        self.run_on("photos", output, flags)
    }

    /// `fruitbatch run INPUT --output OUT` with the small model and more flags.
    pub(crate) fn run_on(&self, input: &str, output: &str, flags: &[&str]) -> Command {
        let mut arguments = vec![
            "run",
            input,
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

    /// `command` as a process that can be sent signals, what it says piped.
    pub(crate) fn spawn(&self, command: &Command) -> Child {
        let mut process = std::process::Command::new(command.get_program());
        process.args(command.get_args()).current_dir(self.folder.path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    }

    /// Asserts that while `_SUCCESS` is there, every file is as it says.
    pub(crate) fn assert_success_holds(&self, output: &str) {
        let Ok(text) = std::fs::read(self.path(output).join("_SUCCESS")) else { return };
        let success: serde_json::Value = serde_json::from_slice(&text).expect("_SUCCESS is JSON");
        for (file, digest) in success["sha256"].as_object().expect("digests by file") {
            let content = std::fs::read(self.path(output).join(file)).unwrap_or_default();
            assert_eq!(digest, &hex::encode(Sha256::digest(content)), "{output}/{file}");
        }
    }

    /// The entries of an output's commit log, in order.
    pub(crate) fn log_entries(&self, output: &str) -> Vec<serde_json::Value> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.path(output).join("_fruitbatch/log"))
            .expect("there is a log")
            .map(|entry| entry.expect("is readable").path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| serde_json::from_slice(&std::fs::read(file).expect("is readable")).expect("is JSON"))
            .collect()
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

/// Reads the events of `--progress json` until one of them is `event`.
pub(crate) fn wait_for(child: &mut Child, event: &str) {
    let stderr = child.stderr.as_mut().expect("stderr is piped");
    let mut lines = BufReader::new(stderr).lines();
    let wanted = format!("\"event\":\"{event}\"");
    assert!(lines.any(|line| line.expect("is text").contains(&wanted)), "{event} never came");
}

/// The rest of what a child says on stderr.
pub(crate) fn rest_of_stderr(child: &mut Child) -> String {
    let mut rest = String::new();
    child.stderr.as_mut().expect("stderr is piped").read_to_string(&mut rest).expect("is text");
    rest
}

pub(crate) fn send(child: &Child, signal: &str) {
    let sent = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(sent.success());
}

/// The program, told of the server the way AWS's own tools are.
pub(crate) fn with_credentials(mut command: Command, server: &S3Server) -> Command {
    command
        .env("AWS_ENDPOINT_URL_S3", server.endpoint_url())
        .env("AWS_ACCESS_KEY_ID", server.access_key())
        .env("AWS_SECRET_ACCESS_KEY", server.secret_key())
        .env("AWS_REGION", "eu-west-3");
    command
}

/// Uploads the drawn photos under `photos/`, each below the key that `rename` makes of its path.
pub(crate) fn upload(
    place: &Place,
    server: &S3Server,
    bucket: &str,
    rename: impl Fn(&str) -> String,
) -> usize {
    let mut photos = 0;
    for label in std::fs::read_dir(place.path("photos")).expect("is a folder") {
        let label = label.expect("is readable");
        for photo in std::fs::read_dir(label.path()).expect("is a folder") {
            let photo = photo.expect("is readable");
            let path = format!("{}/{}", label.file_name().display(), photo.file_name().display());
            server.put_object(
                bucket,
                &format!("photos/{}", rename(&path)),
                std::fs::read(photo.path()).expect("is readable"),
            );
            photos += 1;
        }
    }
    photos
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
