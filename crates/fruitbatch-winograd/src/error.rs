//! What can be wrong with a convolution's numbers.

/// Why a convolution can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvError {
    /// A slice isn't as long as its shape says.
    #[error("{what} has {found} numbers instead of {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// How long it is.
        found: usize,
        /// How long it should be.
        expected: usize,
    },
    /// Nothing would be left.
    #[error("{height} x {width} pixels are fewer than the filter needs")]
    TooSmall {
        /// Of the photos.
        height: usize,
        /// Of the photos.
        width: usize,
    },
}
