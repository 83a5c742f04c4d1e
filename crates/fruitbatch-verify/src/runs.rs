//! Runs of the program, as a user starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fruitbatch_testkit::s3_server::S3Server;
use serde::Deserialize;
use tempfile::TempDir;

use crate::features::Features;

/// Why verifying could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error("`{}` can't be read: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("can't prepare a run: {0}")]
    Prepare(std::io::Error),
    #[error("`{command}` ended with {status}")]
    RunFailed { command: String, status: std::process::ExitStatus },
    #[error("{0}")]
    Unexpected(String),
}

/// The program under test.
#[derive(Debug)]
pub(crate) struct Fruitbatch {
    program: PathBuf,
}

/// A finished run and its outputs.
#[derive(Debug)]
pub(crate) struct Run {
    output: PathBuf,
    /// From the start of the process to its end.
    pub(crate) wall: Duration,
    _folder: TempDir,
}

/// What is looked at of metrics.json.
#[derive(Debug, Deserialize)]
pub(crate) struct Metrics {
    pub(crate) listed: u64,
    pub(crate) rows: u64,
    pub(crate) failures: u64,
    pub(crate) explained_variance_ratio: Vec<f64>,
    pub(crate) inertia: f64,
    pub(crate) ari: f64,
    pub(crate) nmi: f64,
    pub(crate) timings: Timings,
}

/// What is looked at of the timings.
#[derive(Debug, Deserialize)]
pub(crate) struct Timings {
    pub(crate) inference_seconds: f64,
    pub(crate) commit_seconds: f64,
    pub(crate) peak_memory_bytes: Option<u64>,
}

impl Fruitbatch {
    /// The `fruitbatch` that was built together with this program.
    pub(crate) fn beside_this_program() -> Result<Self, VerifyError> {
        let program = std::env::current_exe().map_err(VerifyError::Prepare)?.with_file_name("fruitbatch");
        if program.is_file() {
            Ok(Self { program })
        } else {
            Err(VerifyError::Unexpected(format!("`{}` isn't built: run `make build`", program.display())))
        }
    }

    /// Where it lies.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// `fruitbatch run PHOTOS --output OUT --n-components 10 --n-clusters 4` with more flags.
    pub(crate) fn run(&self, photos: &Path, flags: &[&str]) -> Result<Run, VerifyError> {
        self.run_with(photos, flags, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn run_with(
        &self,
        photos: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Run, VerifyError> {
        let folder = tempfile::tempdir().map_err(VerifyError::Prepare)?;
        let output = folder.path().join("out");
        let wall =
            self.carry_out(&photos.display().to_string(), &output.display().to_string(), flags, environment)?;
        Ok(Run { output, wall, _folder: folder })
    }

    /// The same, with the photos and the outputs on a real S3 server on this machine.
    pub(crate) fn run_from_s3(&self, photos: &Path, flags: &[&str]) -> Result<Run, VerifyError> {
        let folder = tempfile::tempdir().map_err(VerifyError::Prepare)?;
        let server = S3Server::start();
        server.create_bucket("fruits");
        upload(&server, photos)?;
        let wall = self.carry_out(
            "s3://fruits/photos/",
            "s3://fruits/out/",
            flags,
            &[
                ("AWS_ENDPOINT_URL", server.endpoint_url()),
                ("AWS_ACCESS_KEY_ID", server.access_key()),
                ("AWS_SECRET_ACCESS_KEY", server.secret_key()),
                ("AWS_REGION", "us-east-1"),
            ],
        )?;
        let output = folder.path().join("out");
        download(&server, &output).map_err(VerifyError::Prepare)?;
        Ok(Run { output, wall, _folder: folder })
    }

    fn carry_out(
        &self,
        input: &str,
        output: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Duration, VerifyError> {
        let mut command = Command::new(&self.program);
        command
            .args(["run", input, "--output", output, "--n-components", "10", "--n-clusters", "4"])
            // What is promised is about features and clusters; what is drawn of them takes a second more.
            .arg("--report=false")
            .args(flags)
            .envs(environment.iter().copied())
            .stdout(Stdio::null());
        let shown = format!(
            "fruitbatch run {input} --output {output} --n-components 10 --n-clusters 4 {}",
            flags.join(" ")
        );
        println!("{shown}");
        let began = Instant::now();
        let status = command.status().map_err(VerifyError::Prepare)?;
        let wall = began.elapsed();
        if status.success() { Ok(wall) } else { Err(VerifyError::RunFailed { command: shown, status }) }
    }
}

/// Puts the labelled photos below `folder` under `photos/` of the bucket.
fn upload(server: &S3Server, folder: &Path) -> Result<(), VerifyError> {
    let read = |path: &Path, source| VerifyError::Read { file: path.to_owned(), source };
    for label in std::fs::read_dir(folder).map_err(|source| read(folder, source))?.filter_map(Result::ok) {
        for photo in std::fs::read_dir(label.path())
            .map_err(|source| read(&label.path(), source))?
            .filter_map(Result::ok)
        {
            let content = std::fs::read(photo.path()).map_err(|source| read(&photo.path(), source))?;
            let (label, name) = (label.file_name(), photo.file_name());
            server.put_object("fruits", &format!("photos/{}/{}", label.display(), name.display()), content);
        }
    }
    Ok(())
}

/// Gets everything under `out/` of the bucket into `folder`.
fn download(server: &S3Server, folder: &Path) -> std::io::Result<()> {
    for key in server.keys("fruits") {
        if let (Some(name), Some(content)) = (key.strip_prefix("out/"), server.object("fruits", &key)) {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap_or(folder))?;
            std::fs::write(file, content)?;
        }
    }
    Ok(())
}

impl Run {
    /// metrics.json.
    pub(crate) fn metrics(&self) -> Result<Metrics, VerifyError> {
        serde_json::from_slice(&self.file("metrics.json")?)
            .map_err(|error| VerifyError::Unexpected(format!("metrics.json: {error}")))
    }

    /// The features of all current rows.
    pub(crate) fn features(&self) -> Result<Features, VerifyError> {
        let folder = self.output.join("features");
        let files = std::fs::read_dir(&folder)
            .map_err(|source| VerifyError::Read { file: folder.clone(), source })?;
        Features::read(files.filter_map(Result::ok).map(|entry| entry.path()))
    }

    /// The fitted model's files, by name.
    pub(crate) fn model_files(&self) -> Result<Vec<(String, Vec<u8>)>, VerifyError> {
        let folder = self.output.join("model");
        let files = std::fs::read_dir(&folder)
            .map_err(|source| VerifyError::Read { file: folder.clone(), source })?;
        files
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .map(|name| self.file(&format!("model/{name}")).map(|content| (name, content)))
            .collect()
    }

    /// One output's bytes.
    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>, VerifyError> {
        let file = self.output.join(name);
        std::fs::read(&file).map_err(|source| VerifyError::Read { file, source })
    }
}
