//! Why a photo gave no pixels.

use crate::format::Format;

/// Why the bytes of a photo could not be turned into pixels.
///
/// Every value is about the photo itself, never about the machine: decoding the same bytes again gives the same
/// error. [`DecodeError::reason`] is what a table of failures books, the message is its detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are no bytes at all.
    #[error("the file is empty; upload it again")]
    Empty,
    /// The bytes start like no image format that is known here.
    #[error("{found}; only image files can be decoded")]
    NotAnImage {
        /// What the bytes look like instead, as far as that can be told.
        found: String,
    },
    /// The file ends before its last pixel.
    #[error("the {format} file ends before the image is complete ({detail}); copy it again from its source")]
    Truncated {
        /// The format the file starts as.
        format: Format,
        /// Where it ended.
        detail: String,
    },
    /// An image, but of a format, or of a variant of a format, that is not decoded here.
    #[error("{what} is not supported; convert the photo to JPEG or PNG")]
    Unsupported {
        /// The format or the variant.
        what: String,
    },
    /// More pixels or bytes than the [limits](crate::DecodeLimits) allow. Nothing was allocated for them.
    #[error("{what} {value} is above the limit of {limit}; raise the limit or shrink the photo")]
    TooLarge {
        /// What is counted: `the pixel count` or `the file size in bytes`.
        what: &'static str,
        /// How many there are.
        value: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The file is complete but its content breaks the rules of its format.
    #[error("the {format} data is corrupt: {detail}; export the photo again")]
    Corrupt {
        /// The format the file starts as.
        format: Format,
        /// What the decoder stumbled over.
        detail: String,
    },
}

impl DecodeError {
    /// Every [`reason`](Self::reason) there is.
    pub const REASONS: [&'static str; 6] =
        ["empty", "not-an-image", "truncated", "unsupported", "too-large", "decode-error"];

    /// The kind of this error as one word, one of [`REASONS`](Self::REASONS).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage { .. } => "not-an-image",
            Self::Truncated { .. } => "truncated",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } => "too-large",
            Self::Corrupt { .. } => "decode-error",
        }
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "literals, errors and `format_args!` are passed as they are"
    )]
    pub(crate) fn truncated(format: Format, detail: impl ToString) -> Self {
        Self::Truncated { format, detail: detail.to_string() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "see `truncated`")]
    pub(crate) fn corrupt(format: Format, detail: impl ToString) -> Self {
        Self::Corrupt { format, detail: detail.to_string() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "see `truncated`")]
    pub(crate) fn unsupported(what: impl ToString) -> Self {
        Self::Unsupported { what: what.to_string() }
    }

    /// The same error of a file of another format, which holds the data that caused it.
    pub(crate) fn within(self, format: Format) -> Self {
        match self {
            Self::Truncated { detail, .. } => Self::Truncated { format, detail },
            Self::Corrupt { detail, .. } => Self::Corrupt { format, detail },
            other => other,
        }
    }

    /// Sorts an error of reading from memory: the one way to run out of bytes is a file that ends too soon.
    pub(crate) fn from_io(format: Format, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::truncated(format, "unexpected end of file"),
            _ => Self::corrupt(format, error),
        }
    }
}
