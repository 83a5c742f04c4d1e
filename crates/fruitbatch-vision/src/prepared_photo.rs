//! One photo, from its file's bytes to pixels of the size that the model gets.

use fruitbatch_image::{DecodeLimits, Resizer, RgbImage, decode};

use crate::embed_spec::{EmbedSpec, ImageSize};

/// The reason of a photo that is smaller than the model takes.
pub(crate) const TOO_SMALL: &str = "too-small";

/// Why a photo has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoFailure {
    /// One of a closed set: those of [`fruitbatch_image::DecodeError::reason`], and `too-small`.
    pub reason: &'static str,
    /// What exactly, for people.
    pub detail: String,
}

/// Decodes, orients and resizes photos as a spec says; keeps the resizer's buffers from photo to photo.
pub(crate) struct PhotoPreparer<'spec> {
    spec: &'spec EmbedSpec,
    limits: DecodeLimits,
    resizer: Resizer,
}

impl<'spec> PhotoPreparer<'spec> {
    pub(crate) fn new(spec: &'spec EmbedSpec) -> Self {
        let limits = DecodeLimits { max_pixels: spec.max_pixels, max_bytes: spec.max_bytes };
        Self { spec, limits, resizer: Resizer::new() }
    }

    pub(crate) fn prepare(&mut self, file: &[u8]) -> Result<RgbImage, PhotoFailure> {
        let photo = decode(file, &self.limits)
            .map_err(|error| PhotoFailure { reason: error.reason(), detail: error.to_string() })?;
        match self.spec.image_size {
            ImageSize::Square(size) => Ok(self.resizer.resize(&photo, size, size, self.spec.resize.into())),
            ImageSize::Native => {
                let (width, height, least) = (photo.width(), photo.height(), self.spec.min_image_size);
                if width.min(height) < least {
                    let detail =
                        format!("{width}x{height} pixels, and the model takes {least}x{least} at least");
                    return Err(PhotoFailure { reason: TOO_SMALL, detail });
                }
                Ok(photo)
            }
        }
    }
}
