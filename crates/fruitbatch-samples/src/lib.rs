//! Draws a small labelled set of fruit photos, so that the whole chain can be tried and tested without any data of one's own.
//!
//! The set has the shape of the Fruits-360 study it stands in for: one folder a label, one fruit a label, turned
//! through 360 degrees in front of a white background, one photo a step:
//!
//! ```text
//! Apple Braeburn/0_100.jpg  6_100.jpg  ...  354_100.jpg     {degrees turned}_{size}.jpg
//! Apple Pink Lady/...
//! Orange/...
//! Strawberry/...
//! ```
//!
//! Nothing is a stencil: each fruit is a solid (`body.rs`) whose skin (`skin.rs`) - blush, streaks, speckles, pores, seeds - is
//! fixed to its surface and turns with it, with its stem, leaf or calyx (`attachments.rs`) hidden by the body where the body
//! is in front. Light, distance and position differ a little from photo to photo, as they do in a studio (`photo.rs`).
//! The two apples are relatives: the same species under two colour schemes and outlines that overlap, so that
//! telling them apart is work for a clustering, not a formality.
//!
//! # Determinism
//!
//! The same [`SampleOptions`] give the same bytes. The drawing uses only IEEE 754's exactly rounded operations
//! (`+ - * /` and square root; sines and arc cosines are polynomials of our own, see `portable_math.rs`), integer hashes,
//! integer rasterisation and an integer JPEG encoder, and no step depends on the platform's math library, on a hash map's order or on
//! the number of threads. So x86-64 and aarch64 draw the same bytes too; a pinned checksum in the tests
//! holds every machine that runs them to it. Another version of the `image` crate may encode the same pixels differently.
//!
//! # Example
//!
//! ```
//! use fruitbatch_samples::{SampleOptions, draw_samples};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let options = SampleOptions { per_label: 3, size: 32, ..SampleOptions::default() };
//! let photos = draw_samples(folder.path(), &options)?;
//!
//! assert_eq!(photos.len(), 4 * 3);
//! assert_eq!(photos[1].path.to_str(), Some("Apple Braeburn/120_32.jpg"));
//! assert!(folder.path().join(&photos[1].path).is_file());
//! # Ok(())
//! # }
//! ```

mod attachments;
mod body;
mod error;
mod folder;
mod fruit;
mod noise;
mod options;
mod photo;
mod portable_math;
mod skin;

use std::path::PathBuf;

pub use error::SampleError;
pub use folder::draw_samples;
pub use fruit::Fruit;
pub use options::SampleOptions;

/// One photo of the set, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePhoto {
    /// The fruit's name, which is also the folder's: `Apple Braeburn`.
    pub label: &'static str,
    /// Relative to the folder of the set: `Apple Braeburn/120_100.jpg`.
    pub path: PathBuf,
    /// How far the fruit was turned about the vertical for this photo, in whole degrees (0..360).
    pub degrees: usize,
    /// Of the JPEG file, in bytes.
    pub length: u64,
}

/// A photo in memory: what [`draw_samples`] writes to disk, for callers that put it somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawnPhoto {
    /// The fruit's name.
    pub label: &'static str,
    /// `/`-separated, relative to the set: `Apple Braeburn/120_100.jpg`.
    pub path: String,
    /// How far the fruit was turned, in whole degrees (0..360).
    pub degrees: usize,
    /// The encoded photo.
    pub jpeg: Vec<u8>,
}

/// Draws the whole set in memory, label after label, in the order of turning.
///
/// The labels are drawn on a thread each; the result doesn't depend on that.
///
/// # Errors
///
/// [`SampleError::InvalidOption`] if an option is outside its range.
pub fn draw_in_memory(options: &SampleOptions) -> Result<Vec<DrawnPhoto>, SampleError> {
    options.validate()?;
    let by_label: Vec<Vec<DrawnPhoto>> = std::thread::scope(|scope| {
        let drawings: Vec<_> =
            Fruit::ALL.iter().map(|&fruit| scope.spawn(move || draw_label(fruit, options))).collect();
        drawings
            .into_iter()
            .map(|drawing| drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<_, _>>()
    })?;
    Ok(by_label.into_iter().flatten().collect())
}

fn draw_label(fruit: Fruit, options: &SampleOptions) -> Result<Vec<DrawnPhoto>, SampleError> {
    let subject = photo::Subject::new(fruit, options.seed);
    (0..options.per_label)
        .map(|step| {
            let degrees = options.degrees(step);
            let path = format!("{}/{}", fruit.label(), options.file_name(step));
            let pixels = subject.photograph(degrees, options.size);
            let jpeg = photo::encode_jpeg(&pixels, options.size, options.quality)
                .map_err(|source| SampleError::Encode { path: path.clone(), source })?;
            Ok(DrawnPhoto { label: fruit.label(), path, degrees, jpeg })
        })
        .collect()
}
