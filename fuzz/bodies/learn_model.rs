//! A fitted model's folder, as it is read back.

use std::fmt::Write;
use std::num::NonZeroUsize;

use fruitbatch_learn::LearnModel;
use fruitbatch_learn::model::MANIFEST_FILE;
use ndarray::Array2;
use sha2::{Digest, Sha256};

/// A name and its content.
type File = (String, Vec<u8>);

/// Any files are refused, or are a model that comes back from its own files and can be applied.
pub(crate) fn check(bytes: &[u8]) {
    /// Wider models are sound too, and only slow.
    const WIDEST: usize = 256;
    let mut files = unpack(bytes);
    correct_digests(&mut files);
    let Ok(model) = LearnModel::from_files(&files) else { return };
    // Files, since a label without rows has a centre of NaN, which equals nothing.
    let written = model.to_files();
    assert_eq!(LearnModel::from_files(&written).expect("what was written is a model").to_files(), written);
    if model.width() <= WIDEST {
        let rows =
            Array2::<f32>::from_shape_fn((3, model.width()), |(row, column)| (row * 7 + column) as f32);
        let _ = model.predict_rows(rows.view(), NonZeroUsize::MIN);
    }
}

/// The manifest up to the first zero; then each array file: the length of its name, its name, its length in two bytes, its
/// content.
fn unpack(bytes: &[u8]) -> Vec<File> {
    let (manifest, mut rest) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, [].as_slice()),
    };
    let mut files = vec![(MANIFEST_FILE.to_owned(), manifest.to_vec())];
    while let Some((name_length, after)) = rest.split_first() {
        let Some((name, after)) = after.split_at_checked((*name_length).into()) else { break };
        let Some((length, after)) = after.split_first_chunk() else { break };
        let (content, after) = after.split_at(after.len().min(u16::from_le_bytes(*length).into()));
        files.push((String::from_utf8_lossy(name).into_owned(), content.to_vec()));
        rest = after;
    }
    files
}

/// The bytes that [`unpack`] takes apart to these files.
#[allow(dead_code, reason = "seeds are made by a test")]
pub(crate) fn pack(files: &[File]) -> Vec<u8> {
    let (manifests, arrays): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| name == MANIFEST_FILE);
    let mut bytes: Vec<u8> = manifests.into_iter().flat_map(|(_, content)| content.clone()).collect();
    bytes.push(0);
    for (name, content) in arrays {
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend((content.len() as u16).to_le_bytes());
        bytes.extend_from_slice(content);
    }
    bytes
}

/// Makes the manifest's digests right, or nothing would come past them.
fn correct_digests(files: &mut [File]) {
    let digests: Vec<(String, String)> = files
        .iter()
        .map(|(name, content)| {
            let digest = Sha256::digest(content).iter().fold(String::new(), |mut digits, byte| {
                let _ = write!(digits, "{byte:02x}");
                digits
            });
            (name.clone(), digest)
        })
        .collect();
    let Some((_, manifest)) = files.first_mut() else { return };
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(manifest) else { return };
    for (name, digest) in digests {
        if let Some(entry) = value.pointer_mut("/files").and_then(|files| files.get_mut(&name))
            && let Some(stated) = entry.get_mut("sha256")
        {
            *stated = digest.into();
        }
    }
    if let Ok(corrected) = serde_json::to_vec(&value) {
        *manifest = corrected;
    }
}
