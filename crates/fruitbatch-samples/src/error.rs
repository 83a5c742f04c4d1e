//! Why a set could not be drawn.

use std::io;
use std::path::PathBuf;

/// Why a set could not be drawn, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// An option is outside its range.
    #[error("`{option}` is {value}; choose {least} to {most}")]
    InvalidOption {
        /// The field of [`SampleOptions`](crate::SampleOptions).
        option: &'static str,
        /// As given.
        value: u64,
        /// The smallest value that is accepted.
        least: u64,
        /// The largest value that is accepted.
        most: u64,
    },
    /// The folder holds something that isn't part of this set.
    #[error("`{}` is not part of the sample set to be written, and nothing was changed; choose an empty folder", .path.display())]
    FolderInUse {
        /// The first foreign entry found.
        path: PathBuf,
    },
    /// The folder holds a sample photo of another seed, quality or version.
    #[error("`{}` holds another photo than the one to be written, and nothing was changed; \
             choose an empty folder, or remove that set first", .path.display())]
    OtherSet {
        /// The first photo found that differs.
        path: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("can't {action} `{}`; check permissions and free space", .path.display())]
    Io {
        /// What was tried: `create`, `read`, `write`, `list`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A drawn photo could not be encoded.
    #[error("can't encode `{path}` as JPEG")]
    Encode {
        /// The photo's path within the set.
        path: String,
        /// What the encoder said.
        source: image::ImageError,
    },
}
