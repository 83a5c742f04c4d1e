//! Where sessions get canonical models from.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use crate::cache::model_path;
use crate::digest::ModelDigest;

/// A place that holds canonical models by digest. It need not check them: whoever reads does.
pub trait ModelFiles: fmt::Debug + Send + Sync {
    /// The model's file.
    ///
    /// # Errors
    /// It isn't there or can't be read.
    fn read(&self, digest: &ModelDigest) -> Result<Bytes, ModelFileError>;

    /// Takes note of a place where the model can be had, as a query names it: for those who look for models elsewhere
    /// than in a folder of their own. It may be called often, and before each use of a model.
    fn take_note(&self, _digest: &ModelDigest, _place: &str) {}
}

/// Why a canonical model can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// It isn't there.
    #[error(
        "the model {digest} isn't in {place}; run `fruitbatch model fetch NAME`, or `fruitbatch model \
         import` if it is one of yours"
    )]
    Missing {
        /// The model.
        digest: ModelDigest,
        /// Where it was looked for.
        place: String,
    },
    /// It can't be read.
    #[error("the model {digest} can't be read from {place}: {reason}")]
    Unreadable {
        /// The model.
        digest: ModelDigest,
        /// Where it lies.
        place: String,
        /// Why.
        reason: String,
    },
    /// It is another one, or damaged.
    #[error(
        "the model in {place} has the digest {found} instead of {expected}; delete it and run `fruitbatch \
         model fetch` or `import` again"
    )]
    Mismatch {
        /// Where it lies.
        place: String,
        /// The digest asked for.
        expected: ModelDigest,
        /// The digest of what is there.
        found: ModelDigest,
    },
}

/// The models in a cache folder, as `model fetch` and `model import` put them there.
#[derive(Clone, Debug)]
pub struct CachedModelFiles {
    cache: PathBuf,
}

impl CachedModelFiles {
    /// The models in the cache folder `cache`, as [`crate::cache::cache_dir`] gives it.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self { cache: cache.into() }
    }
}

impl ModelFiles for CachedModelFiles {
    fn read(&self, digest: &ModelDigest) -> Result<Bytes, ModelFileError> {
        let path = model_path(&self.cache, digest);
        let place = path.display().to_string();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ModelFileError::Missing { digest: *digest, place })
            }
            Err(error) => {
                Err(ModelFileError::Unreadable { digest: *digest, place, reason: error.to_string() })
            }
        }
    }
}

/// Reads a model and checks that it is the one asked for.
///
/// # Errors
/// It is missing, can't be read, or is another one.
pub fn read_checked(files: &dyn ModelFiles, digest: &ModelDigest) -> Result<Bytes, ModelFileError> {
    let bytes = files.read(digest)?;
    let found = ModelDigest::of(&bytes);
    if found != *digest {
        let place = format!("{files:?}");
        return Err(ModelFileError::Mismatch { place, expected: *digest, found });
    }
    Ok(bytes)
}
