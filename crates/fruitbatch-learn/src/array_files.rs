//! Arrays kept as files beside a manifest that holds the shape and digest of each: what models of every kind have in common.

use std::collections::BTreeMap;

use ndarray::{Array, ArrayBase, ArrayD, Data, Dimension, IxDyn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ModelError, npy};

/// What a manifest says of one array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArrayFile {
    shape: Vec<usize>,
    /// Of the whole file, in hex.
    sha256: String,
}

/// Name and content.
pub(crate) type File = (String, Vec<u8>);

/// What a manifest says of each array, by file name.
pub(crate) type ArrayFiles = BTreeMap<String, ArrayFile>;

/// The files of arrays, and what the manifest says of them.
pub(crate) fn write<D: Data<Elem = f64>>(arrays: &[(&str, ArrayBase<D, IxDyn>)]) -> (Vec<File>, ArrayFiles) {
    let files: Vec<File> =
        arrays.iter().map(|(name, array)| ((*name).to_owned(), npy::write(&array.view()))).collect();
    let entries = arrays
        .iter()
        .zip(&files)
        .map(|((_, array), (name, bytes))| {
            (name.clone(), ArrayFile { shape: array.shape().to_vec(), sha256: sha256(bytes) })
        })
        .collect();
    (files, entries)
}

/// The bytes of a file.
pub(crate) fn content<'a>(files: &'a [File], file: &str) -> Result<&'a [u8], ModelError> {
    files
        .iter()
        .find(|(name, _)| name == file)
        .map(|(_, bytes)| bytes.as_slice())
        .ok_or_else(|| ModelError::MissingFile { file: file.to_owned() })
}

/// An array that the manifest `manifest_file` has an entry for, checked against its digest and shape.
pub(crate) fn read(
    files: &[File],
    manifest_file: &'static str,
    entries: &ArrayFiles,
    file: &str,
) -> Result<ArrayD<f64>, ModelError> {
    let Some(entry) = entries.get(file) else {
        return Err(ModelError::Manifest {
            file: manifest_file,
            reason: format!("it doesn't name `{file}`"),
        });
    };
    let bytes = content(files, file)?;
    let found = sha256(bytes);
    if found != entry.sha256 {
        return Err(ModelError::Digest { file: file.to_owned(), found, expected: entry.sha256.clone() });
    }
    npy::read(bytes, &entry.shape).map_err(|reason| ModelError::Array { file: file.to_owned(), reason })
}

/// The same array with its number of dimensions known.
pub(crate) fn of_dimension<D: Dimension>(
    file: &str,
    array: ArrayD<f64>,
) -> Result<Array<f64, D>, ModelError> {
    array
        .into_dimensionality()
        .map_err(|error| ModelError::Array { file: file.to_owned(), reason: error.to_string() })
}

/// What all versions of every manifest have in common.
#[derive(Deserialize)]
struct ManifestVersion {
    format_version: u32,
    crate_version: String,
}

/// A manifest of the latest version that is supported, or an older one.
pub(crate) fn parse_manifest<M: DeserializeOwned>(
    file: &'static str,
    bytes: &[u8],
    latest: u32,
) -> Result<M, ModelError> {
    let unreadable = |error: serde_json::Error| ModelError::Manifest { file, reason: error.to_string() };
    let version: ManifestVersion = serde_json::from_slice(bytes).map_err(unreadable)?;
    if !(1..=latest).contains(&version.format_version) {
        return Err(ModelError::FormatVersion {
            found: version.format_version,
            supported: latest,
            written_by: version.crate_version,
        });
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
