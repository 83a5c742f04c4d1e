//! An image of 8-bit RGB samples.

/// An image in memory: rows from top to bottom without padding, three bytes (red, green, blue) a pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// Wraps samples of the shape `[height, width, 3]`. `None` where `pixels` has another length than that.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        (Self::byte_count(width, height) == Some(pixels.len())).then_some(Self { width, height, pixels })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The samples, of the shape `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Gives the samples away, of the shape `[height, width, 3]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// A copy of a part of it. `None` where the part doesn't lie within the image.
    pub fn crop(&self, left: u32, top: u32, width: u32, height: u32) -> Option<Self> {
        let is_within =
            |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
        if !is_within(left, width, self.width) || !is_within(top, height, self.height) {
            return None;
        }
        let bytes = |pixels: u32| 3 * pixels as usize;
        let mut pixels = Vec::with_capacity(Self::byte_count(width, height)?);
        if width > 0 {
            let rows = self.pixels.chunks_exact(bytes(self.width));
            for row in rows.skip(top as usize).take(height as usize) {
                pixels.extend_from_slice(&row[bytes(left)..bytes(left) + bytes(width)]);
            }
        }
        Some(Self { width, height, pixels })
    }

    /// How many bytes an image of this size holds, unless that is more than can be addressed.
    pub(crate) fn byte_count(width: u32, height: u32) -> Option<usize> {
        usize::try_from(width).ok()?.checked_mul(usize::try_from(height).ok()?)?.checked_mul(3)
    }

    /// The samples of an image whose size was checked before; a mismatch is a fault of this crate.
    pub(crate) fn from_checked(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self::new(width, height, pixels).expect("decoders fill exactly the size that they announced")
    }
}

impl std::fmt::Debug for RgbImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RgbImage")
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_the_image_or_there_is_none() {
        let image = RgbImage::new(3, 2, (0..18).collect()).unwrap();
        assert_eq!(image.crop(0, 0, 3, 2), Some(image.clone()));
        assert_eq!(image.crop(1, 1, 2, 1).unwrap().pixels(), [12, 13, 14, 15, 16, 17]);
        assert_eq!(image.crop(2, 0, 1, 2).unwrap().pixels(), [6, 7, 8, 15, 16, 17]);
        assert_eq!(image.crop(3, 2, 0, 0).unwrap().pixels(), []);
        for (left, top, width, height) in [(0, 0, 4, 1), (1, 0, 3, 1), (0, 2, 1, 1), (u32::MAX, 0, 1, 1)] {
            assert_eq!(image.crop(left, top, width, height), None);
        }
    }
}
