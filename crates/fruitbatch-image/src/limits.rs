//! What a decoder may spend on one photo.

use crate::error::DecodeError;

/// The largest photo that is decoded, checked from the file's header before anything is allocated for its pixels.
///
/// The memory that a decoder takes follows from `max_pixels`. Photos take 3 bytes a pixel for the result, as much again where
/// samples are converted or turned, and up to 8 bytes a pixel more for the coefficients of a progressive JPEG. No file, however
/// it is made, takes more than 25 bytes a pixel and 64 MiB besides its own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height of the decoded image, in pixels.
    pub max_pixels: u64,
    /// Length of the encoded file, in bytes.
    pub max_bytes: u64,
}

impl DecodeLimits {
    /// 178,956,970 pixels (half a GiB of RGB), the number from which Pillow warns of a decompression bomb
    /// (`PIL.Image.MAX_IMAGE_PIXELS`, 1 GiB / 4 / 3 x 2).
    pub const DEFAULT_MAX_PIXELS: u64 = 178_956_970;

    /// 256 MiB: above any photo of a camera, raw files excepted.
    pub const DEFAULT_MAX_BYTES: u64 = 256 << 20;

    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), DecodeError> {
        let value = bytes as u64;
        if value > self.max_bytes {
            return Err(DecodeError::TooLarge {
                what: "the file size in bytes",
                value,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    pub(crate) fn check_pixels(&self, width: u32, height: u32) -> Result<(), DecodeError> {
        let value = u64::from(width) * u64::from(height);
        if value > self.max_pixels {
            return Err(DecodeError::TooLarge { what: "the pixel count", value, limit: self.max_pixels });
        }
        Ok(())
    }

    pub(crate) fn check_memory(&self, bytes: u64) -> Result<(), DecodeError> {
        let limit = self.max_memory() as u64;
        if bytes > limit {
            return Err(DecodeError::TooLarge { what: "the unpacked size in bytes", value: bytes, limit });
        }
        Ok(())
    }

    /// A ceiling for what one decoder allocates in all, for those that take such a number.
    pub(crate) fn max_memory(&self) -> usize {
        const BYTES_PER_PIXEL: u64 = 16;
        const SMALL_TABLES: u64 = 64 << 20;
        usize::try_from(self.max_pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(SMALL_TABLES))
            .unwrap_or(usize::MAX)
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: Self::DEFAULT_MAX_PIXELS, max_bytes: Self::DEFAULT_MAX_BYTES }
    }
}
