//! Which way up a photo was taken: EXIF (or XMP) orientation, found and applied.

use crate::rgb_image::RgbImage;
use crate::tiff::directory::{Directory, Tag};

/// How the stored rows have to be turned to stand upright: the values 1 to 8 of the EXIF tag `Orientation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Orientation {
    #[default]
    Upright,
    FlipHorizontal,
    Rotate180,
    FlipVertical,
    Transpose,
    Rotate90Clockwise,
    Transverse,
    Rotate90CounterClockwise,
}

impl Orientation {
    /// Any value beyond 1 to 8 is no orientation and leaves the image as it is.
    fn from_tag_value(value: u64) -> Self {
        match value {
            2 => Self::FlipHorizontal,
            3 => Self::Rotate180,
            4 => Self::FlipVertical,
            5 => Self::Transpose,
            6 => Self::Rotate90Clockwise,
            7 => Self::Transverse,
            8 => Self::Rotate90CounterClockwise,
            _ => Self::Upright,
        }
    }

    /// Reads the orientation out of a photo's metadata, EXIF before XMP as Pillow does. Metadata that can't be read
    /// is as good as none.
    pub(crate) fn from_metadata(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        exif.and_then(orientation_in_exif)
            .or_else(|| xmp.and_then(orientation_in_xmp))
            .map_or(Self::Upright, Self::from_tag_value)
    }

    /// The same for a format that holds the tag itself.
    pub(crate) fn from_tag_or_xmp(tag: Option<u64>, xmp: Option<&[u8]>) -> Self {
        tag.or_else(|| xmp.and_then(orientation_in_xmp)).map_or(Self::Upright, Self::from_tag_value)
    }

    fn swaps_sides(self) -> bool {
        matches!(
            self,
            Self::Transpose | Self::Rotate90Clockwise | Self::Transverse | Self::Rotate90CounterClockwise
        )
    }

    /// Turns an image upright.
    pub(crate) fn apply(self, image: RgbImage) -> RgbImage {
        if self == Self::Upright {
            return image;
        }
        let (width, height) = (image.width(), image.height());
        let (turned_width, turned_height) =
            if self.swaps_sides() { (height, width) } else { (width, height) };
        let (pixels, _) = image.pixels().as_chunks::<3>();
        let (last_column, last_row) =
            ((width as usize).saturating_sub(1), (height as usize).saturating_sub(1));
        let mut turned = Vec::with_capacity(image.pixels().len());
        for y in 0..turned_height as usize {
            for x in 0..turned_width as usize {
                let (column, row) = match self {
                    Self::Upright => (x, y),
                    Self::FlipHorizontal => (last_column - x, y),
                    Self::Rotate180 => (last_column - x, last_row - y),
                    Self::FlipVertical => (x, last_row - y),
                    Self::Transpose => (y, x),
                    Self::Rotate90Clockwise => (y, last_row - x),
                    Self::Transverse => (last_column - y, last_row - x),
                    Self::Rotate90CounterClockwise => (last_column - y, x),
                };
                turned.extend_from_slice(&pixels[row * width as usize + column]);
            }
        }
        RgbImage::from_checked(turned_width, turned_height, turned)
    }
}

/// Looks the tag up in an EXIF block (a TIFF file in small), with or without the `Exif` prefix.
fn orientation_in_exif(block: &[u8]) -> Option<u64> {
    const PREFIX: &[u8] = b"Exif\0\0";
    let mut tiff = block;
    // Some writers repeat the prefix.
    for _ in 0..2 {
        tiff = tiff.strip_prefix(PREFIX).unwrap_or(tiff);
    }
    let numbers = Directory::read(tiff).ok()?.numbers(Tag::Orientation).ok()??;
    if numbers.len() == 1 { numbers.get(0) } else { None }
}

/// Finds `tiff:Orientation="N"` or `<tiff:Orientation>N<` in an XMP packet. The first mention decides.
fn orientation_in_xmp(packet: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(position, _)| {
        let rest = &packet[position + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| u64::from(digit - b'0'))
    })
}
