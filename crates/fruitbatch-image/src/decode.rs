//! From bytes to an upright RGB image: sniff, check the limits, decode, turn.

use crate::bmp;
use crate::error::DecodeError;
use crate::format::{Format, Sniffed, sniff};
use crate::gif;
use crate::jpeg;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::png;
use crate::rgb_image::RgbImage;
use crate::tiff;
use crate::webp;

/// What a format's decoder hands over: pixels as they are stored, and how to turn them.
pub(crate) struct Decoded {
    pub(crate) image: RgbImage,
    pub(crate) orientation: Orientation,
}

/// Decodes a photo to upright 8-bit RGB: the pixels of Pillow's
/// `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`.
///
/// The format is told from the bytes. Of files with several images the first one is taken. Alpha is dropped, not blended;
/// colour profiles are not applied.
///
/// # Errors
///
/// See [`DecodeError`]; the size limits are checked against the header before anything is allocated for pixels.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    limits.check_bytes(bytes.len())?;
    let format = match sniff(bytes) {
        Sniffed::Decodable(format) => format,
        Sniffed::CutOff(format) => {
            return Err(DecodeError::truncated(format, "the file ends within its signature"));
        }
        Sniffed::OtherImage(name) => {
            return Err(DecodeError::unsupported(format_args!("the image format {name}")));
        }
        Sniffed::NotAnImage(found) => return Err(DecodeError::NotAnImage { found: found.to_string() }),
    };
    let decoder = match format {
        Format::Jpeg => jpeg::decode,
        Format::Png => png::decode,
        Format::Gif => gif::decode,
        Format::WebP => webp::decode,
        Format::Tiff => tiff::decode,
        Format::Bmp => bmp::decode,
    };
    let decoded = decoder(bytes, limits)?;
    Ok(decoded.orientation.apply(decoded.image))
}
