//! From the bytes of an RGB photo to the numbers a model was trained on.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The order of a model's three input planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl fmt::Display for ChannelOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
        })
    }
}

impl FromStr for ChannelOrder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "rgb" => Ok(Self::Rgb),
            "bgr" => Ok(Self::Bgr),
            _ => Err(()),
        }
    }
}

/// What becomes of a byte before the model sees it: `(byte / divisor - mean[c]) / std[c]`, in float32 and in
/// this order of operations, which are those of Keras and torchvision to the last bit. `mean` and `std` stand
/// in the model's channel order.
///
/// Four presets have names, those of Keras's `imagenet_utils.preprocess_input`:
///
/// | name | order | arithmetic |
/// |---|---|---|
/// | `caffe` | BGR | minus 103.939, 116.779, 123.68 |
/// | `torch` | RGB | by 255, minus 0.485, 0.456, 0.406, by 0.229, 0.224, 0.225 |
/// | `tf` | RGB | by 127.5, minus 1 |
/// | `none` | RGB | as they are, 0 to 255 |
///
/// ```
/// use fruitbatch_vision::{ChannelOrder, Preprocessing};
///
/// let caffe: Preprocessing = "caffe".parse().unwrap();
/// assert_eq!(caffe.channel_order, ChannelOrder::Bgr);
/// assert_eq!(caffe.preset_name(), Some("caffe"));
/// let mut planes = [0.0; 3];
/// caffe.write_planes(&[10, 20, 30], &mut planes);
/// assert_eq!(planes, [30.0 - 103.939_f32, 20.0 - 116.779, 10.0 - 123.68]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// The order of the model's input planes.
    pub channel_order: ChannelOrder,
    /// What every byte is divided by first; finite and positive.
    pub divisor: f32,
    /// What is subtracted from each plane then; finite.
    pub mean: [f32; 3],
    /// What each plane is divided by last; finite and positive.
    pub std: [f32; 3],
}

const PRESETS: [(&str, Preprocessing); 4] = [
    (
        "caffe",
        Preprocessing {
            channel_order: ChannelOrder::Bgr,
            divisor: 1.0,
            mean: [103.939, 116.779, 123.68],
            std: [1.0; 3],
        },
    ),
    (
        "torch",
        Preprocessing {
            channel_order: ChannelOrder::Rgb,
            divisor: 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        },
    ),
    ("tf", Preprocessing { channel_order: ChannelOrder::Rgb, divisor: 127.5, mean: [1.0; 3], std: [1.0; 3] }),
    ("none", Preprocessing { channel_order: ChannelOrder::Rgb, divisor: 1.0, mean: [0.0; 3], std: [1.0; 3] }),
];

/// A preprocessing that names no preset, or whose numbers make no sense.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessingError {
    /// No preset has this name.
    #[error(
        "no preprocessing is called `{name}`: expected `caffe`, `torch`, `tf`, `none` or a table with \
         `channel_order`, `divisor`, `mean` and `std`"
    )]
    UnknownPreset {
        /// The name given.
        name: String,
    },
    /// A number is not finite, or a divisor not positive.
    #[error("the preprocessing's `{key}` must be {expected}")]
    BadNumber {
        /// Which key.
        key: &'static str,
        /// What would be right.
        expected: &'static str,
    },
}

impl Preprocessing {
    /// The preset's name, where these numbers are one's.
    pub fn preset_name(&self) -> Option<&'static str> {
        PRESETS.iter().find(|(_, preset)| preset == self).map(|(name, _)| *name)
    }

    /// Checks that every number is finite and every divisor positive.
    ///
    /// # Errors
    /// Names the key that isn't.
    pub fn validated(self) -> Result<Self, PreprocessingError> {
        let usable_divisor = |divisor: f32| divisor.is_finite() && divisor > 0.0;
        if !usable_divisor(self.divisor) {
            return Err(PreprocessingError::BadNumber { key: "divisor", expected: "finite and positive" });
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return Err(PreprocessingError::BadNumber { key: "mean", expected: "three finite numbers" });
        }
        if !self.std.iter().all(|std| usable_divisor(*std)) {
            return Err(PreprocessingError::BadNumber {
                key: "std",
                expected: "three finite, positive numbers",
            });
        }
        Ok(self)
    }

    /// Writes interleaved RGB bytes as three planes of float32, each `rgb.len() / 3` values long, in the
    /// model's order.
    ///
    /// # Panics
    /// If `planes` is not as long as `rgb`.
    pub fn write_planes(&self, rgb: &[u8], planes: &mut [f32]) {
        assert_eq!(rgb.len(), planes.len(), "three planes hold as many values as the photo has bytes");
        for (plane_index, plane) in planes.chunks_exact_mut((rgb.len() / 3).max(1)).enumerate() {
            let source_channel = match self.channel_order {
                ChannelOrder::Rgb => plane_index,
                ChannelOrder::Bgr => 2 - plane_index,
            };
            // A byte has 256 values: the divisions are made once for each.
            let value_of_byte: [f32; 256] = std::array::from_fn(|byte| {
                (byte as f32 / self.divisor - self.mean[plane_index]) / self.std[plane_index]
            });
            for (value, pixel) in plane.iter_mut().zip(rgb.chunks_exact(3)) {
                *value = value_of_byte[usize::from(pixel[source_channel])];
            }
        }
    }
}

impl FromStr for Preprocessing {
    type Err = PreprocessingError;

    fn from_str(name: &str) -> Result<Self, PreprocessingError> {
        PRESETS
            .iter()
            .find(|(preset_name, _)| *preset_name == name)
            .map(|(_, preset)| *preset)
            .ok_or_else(|| PreprocessingError::UnknownPreset { name: name.to_owned() })
    }
}

/// As it stands in a catalogue: a preset's name, or all four keys.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenPreprocessing {
    Preset(String),
    Numbers(WrittenNumbers),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNumbers {
    channel_order: ChannelOrder,
    divisor: f32,
    mean: [f32; 3],
    std: [f32; 3],
}

impl<'de> Deserialize<'de> for Preprocessing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match WrittenPreprocessing::deserialize(deserializer)? {
            WrittenPreprocessing::Preset(name) => name.parse(),
            WrittenPreprocessing::Numbers(WrittenNumbers { channel_order, divisor, mean, std }) => {
                Self { channel_order, divisor, mean, std }.validated()
            }
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the same operations in the same order give the same bits")]
    fn presets_compute_what_keras_and_torchvision_compute() {
        // Two pixels: planes are filled pixel after pixel, in the model's channel order.
        let rgb = [0, 128, 255, 7, 8, 9];
        let mut planes = [0.0; 6];
        "torch".parse::<Preprocessing>().unwrap().write_planes(&rgb, &mut planes);
        assert_eq!(planes[0], (0.0_f32 / 255.0 - 0.485) / 0.229);
        assert_eq!(planes[1], (7.0_f32 / 255.0 - 0.485) / 0.229);
        assert_eq!(planes[2], (128.0_f32 / 255.0 - 0.456) / 0.224);
        assert_eq!(planes[5], (9.0_f32 / 255.0 - 0.406) / 0.225);
        "tf".parse::<Preprocessing>().unwrap().write_planes(&rgb, &mut planes);
        assert_eq!((planes[0], planes[4]), (-1.0, 1.0));
        "none".parse::<Preprocessing>().unwrap().write_planes(&rgb, &mut planes);
        assert_eq!(planes, [0.0, 7.0, 128.0, 8.0, 255.0, 9.0]);
    }

    #[test]
    fn unknown_presets_and_unusable_numbers_are_refused() {
        assert!("imagenet".parse::<Preprocessing>().is_err());
        let caffe: Preprocessing = "caffe".parse().unwrap();
        assert!(Preprocessing { std: [1.0, 0.0, 1.0], ..caffe }.validated().is_err());
        assert!(Preprocessing { divisor: f32::NAN, ..caffe }.validated().is_err());
        assert!(Preprocessing { mean: [f32::INFINITY; 3], ..caffe }.validated().is_err());
    }
}
