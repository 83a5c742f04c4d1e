//! What can go wrong while a report is made.

/// Why no report was made. Nothing of this depends on the machine: the same data gives the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A number that a plot or a table shows is NaN or infinite.
    #[error("{what} holds a number that isn't finite; leave it out or give `None` where it is undefined")]
    NotFinite {
        /// The part of the report's data.
        what: &'static str,
    },
    /// Two parts of the data contradict each other.
    #[error("{what}: {reason}; give numbers that belong to the same run")]
    Inconsistent {
        /// The part of the report's data.
        what: &'static str,
        /// What doesn't fit, with the numbers.
        reason: String,
    },
    /// More points than a map in a page can take.
    #[error("the map has {got} photos, but at most {most} fit on a page; give a sample of them")]
    TooManyPoints {
        /// Points given.
        got: usize,
        /// [`MAX_MAP_POINTS`](crate::MAX_MAP_POINTS).
        most: usize,
    },
    /// Even without thumbnails the page is too large.
    #[error(
        "the report has {bytes} bytes without a single thumbnail, more than the {most} it may have; give fewer or shorter facts"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// [`MAX_REPORT_BYTES`](crate::MAX_REPORT_BYTES).
        most: usize,
    },
    /// Pixels that can't be made a thumbnail of.
    #[error("no thumbnail of {width} x {height} pixels in {bytes} bytes: {reason}")]
    Thumbnail {
        /// Pixels a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes given.
        bytes: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// A plot could not be drawn.
    #[error("`{plot}` could not be drawn: {reason}")]
    Drawing {
        /// The plot's file name.
        plot: String,
        /// What the drawing library says.
        reason: String,
    },
    /// The page could not be put together.
    #[error("the page could not be put together: {reason}")]
    Page {
        /// What the template library says.
        reason: String,
    },
}
