//! [`Crop`]: the part of a photo that becomes features.

use std::fmt;
use std::str::FromStr;

use fruitbatch_image::RgbImage;

/// The part of a photo that becomes features, cut out before it is resized. As text: `none`, `center` or `center:SHARE`.
///
/// ```
/// use fruitbatch_vision::Crop;
///
/// assert_eq!("center:0.5".parse(), Ok(Crop::Center(0.5)));
/// assert_eq!("center".parse(), Ok(Crop::Center(1.0)));
/// assert!("center:2".parse::<Crop>().is_err());
/// // 300 x 200 pixels: a square of half the shorter side, in the middle.
/// assert_eq!(Crop::Center(0.5).region(300, 200), (100, 50, 100, 100));
/// assert_eq!(Crop::None.region(300, 200), (0, 0, 300, 200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Crop {
    /// All of it.
    #[default]
    None,
    /// The square in the middle whose side is this share, above 0 and up to 1, of the photo's shorter side: things that are taken
    /// at the middle, on a background of no interest. 1 keeps a photo's proportions where it is resized to a square.
    Center(f32),
}

impl Crop {
    /// Left, top, width and height of the part of a photo of this size, in pixels; at least one pixel each way.
    pub fn region(self, width: u32, height: u32) -> (u32, u32, u32, u32) {
        match self {
            Self::None => (0, 0, width, height),
            Self::Center(share) => {
                let shorter = width.min(height);
                let side = (f64::from(share) * f64::from(shorter)).round() as u32;
                let side = side.clamp(1, shorter.max(1));
                (width.saturating_sub(side) / 2, height.saturating_sub(side) / 2, side, side)
            }
        }
    }

    /// The part of a photo.
    pub(crate) fn of(self, photo: RgbImage) -> RgbImage {
        match self {
            Self::None => photo,
            Self::Center(_) => {
                let (left, top, width, height) = self.region(photo.width(), photo.height());
                photo.crop(left, top, width, height).expect("the region lies within the photo")
            }
        }
    }
}

impl fmt::Display for Crop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Center(share) => write!(formatter, "center:{share}"),
        }
    }
}

impl FromStr for Crop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = match text {
            "none" => return Ok(Self::None),
            "center" => Some(1.0),
            text => text.strip_prefix("center:").and_then(|share| share.parse().ok()),
        };
        share.filter(|share: &f32| *share > 0.0 && *share <= 1.0).map(Self::Center).ok_or_else(|| {
            format!(
                "`{text}` is no crop: expected `none`, `center` or `center:SHARE` with a share above 0 and up to 1"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_crop_gives_it_back() {
        for crop in [Crop::None, Crop::Center(1.0), Crop::Center(0.875), Crop::Center(0.1)] {
            assert_eq!(crop.to_string().parse(), Ok(crop));
        }
        for wrong in
            ["", "middle", "center:", "center:0", "center:-1", "center:1.01", "center:nan", "center:inf"]
        {
            assert!(wrong.parse::<Crop>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_region_is_in_the_middle_and_within_the_photo() {
        assert_eq!(Crop::Center(1.0).region(100, 100), (0, 0, 100, 100));
        assert_eq!(Crop::Center(1.0).region(101, 50), (25, 0, 50, 50));
        assert_eq!(Crop::Center(0.875).region(256, 256), (16, 16, 224, 224));
        assert_eq!(Crop::Center(0.001).region(1, 4000), (0, 1999, 1, 1));
        assert_eq!(Crop::Center(1.0).region(u32::MAX, u32::MAX), (0, 0, u32::MAX, u32::MAX));
    }

    #[test]
    fn what_is_cut_out_is_the_pixels_of_the_region() {
        // A pixel's red is its column, its green its row.
        let pixels = (0..4_u8).flat_map(|row| (0..6_u8).flat_map(move |column| [column, row, 9])).collect();
        let photo = RgbImage::new(6, 4, pixels).unwrap();
        let middle = Crop::Center(0.5).of(photo.clone());
        assert_eq!((middle.width(), middle.height()), (2, 2));
        assert_eq!(middle.pixels(), [2, 1, 9, 3, 1, 9, 2, 2, 9, 3, 2, 9]);
        assert_eq!(Crop::None.of(photo.clone()), photo);
    }
}
