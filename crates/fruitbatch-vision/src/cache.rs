//! Where models, wheels and ONNX Runtime lie on this machine.
//!
//! ```text
//! <cache>/models/<hex digest>.onnx          canonical models
//! <cache>/wheels/                           downloaded packages
//! <cache>/onnxruntime/<version>/            the shared library
//! ```
//! `<cache>` is `$FRUITBATCH_CACHE_DIR`, else `$XDG_CACHE_HOME/fruitbatch`, else `~/.cache/fruitbatch`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::ModelDigest;

/// The project's cache folder; it need not exist yet.
///
/// # Errors
/// None of `FRUITBATCH_CACHE_DIR`, `XDG_CACHE_HOME` and `HOME` is set.
pub fn cache_dir() -> io::Result<PathBuf> {
    user_folder("FRUITBATCH_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
}

/// The user's configuration folder, `$XDG_CONFIG_HOME/fruitbatch`, else `~/.config/fruitbatch`; it need not
/// exist.
///
/// # Errors
/// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
pub fn config_dir() -> io::Result<PathBuf> {
    user_folder("FRUITBATCH_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")
}

/// Where the canonical model of this digest lies, or would lie, in the cache folder `cache`.
pub fn model_path(cache: &Path, digest: &ModelDigest) -> PathBuf {
    cache.join("models").join(format!("{}.onnx", digest.hex()))
}

/// Puts a canonical model into the cache folder `cache` under its digest and returns its path.
///
/// # Errors
/// The file can't be written.
pub fn store_model(cache: &Path, digest: &ModelDigest, canonical_bytes: &[u8]) -> io::Result<PathBuf> {
    let path = model_path(cache, digest);
    write_atomically(&path, canonical_bytes)?;
    Ok(path)
}

/// Writes a file so that a reader, or a crash, sees all of it or nothing; its folder is made if need be.
///
/// # Errors
/// The file can't be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut staged_name = OsString::from(".");
    staged_name.push(path.file_name().unwrap_or_default());
    staged_name.push(format!(".{}.partial", std::process::id()));
    let staged = folder.join(staged_name);
    let written = (|| {
        let mut file = File::create(&staged)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&staged, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The error that matters is the first one; a leftover is harmless.
        let _ = fs::remove_file(&staged);
    }
    written
}

fn user_folder(own_variable: &str, xdg_variable: &str, below_home: &str) -> io::Result<PathBuf> {
    let folder_in =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder_in(own_variable)
        .or_else(|| folder_in(xdg_variable).map(|folder| folder.join("fruitbatch")))
        .or_else(|| folder_in("HOME").map(|home| home.join(below_home).join("fruitbatch")))
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no home folder: set `{own_variable}` to a folder of your own"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_model_is_found_by_its_digest_and_leaves_nothing_else() {
        let cache = tempfile::tempdir().unwrap();
        let digest = ModelDigest::of(b"model");
        let path = store_model(cache.path(), &digest, b"model").unwrap();
        assert_eq!(path, model_path(cache.path(), &digest));
        store_model(cache.path(), &digest, b"model").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"model");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
