//! What can be chosen about a set, and its ranges.

use crate::SampleError;

/// What set to draw. The defaults are the demo's: 4 labels of 60 photos, 100x100 pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleOptions {
    /// Photos of each fruit, at even steps of one full turn: 1 to 360.
    pub per_label: usize,
    /// Width and height of a photo in pixels: 16 to 1024.
    pub size: u32,
    /// Selects the individuals (another seed draws another Braeburn) and the small variations from photo to photo.
    pub seed: u64,
    /// JPEG quality: 1 to 100.
    pub quality: u8,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { per_label: 60, size: 100, seed: 0, quality: 92 }
    }
}

impl SampleOptions {
    pub(crate) fn validate(&self) -> Result<(), SampleError> {
        let in_range = |option, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SampleError::InvalidOption { option, value, least, most })
            }
        };
        in_range("per_label", self.per_label as u64, 1, 360)?;
        in_range("size", u64::from(self.size), 16, 1024)?;
        in_range("quality", u64::from(self.quality), 1, 100)
    }

    /// The turn at `step`, rounded down to whole degrees: distinct for every step because there are at most 360.
    pub(crate) fn degrees(&self, step: usize) -> usize {
        step * 360 / self.per_label
    }

    pub(crate) fn file_name(&self, step: usize) -> String {
        format!("{}_{}.jpg", self.degrees(step), self.size)
    }
}
