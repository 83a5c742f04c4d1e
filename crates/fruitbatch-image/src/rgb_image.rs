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
