//! WebP, with the `image-webp` crate.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use crate::color::drop_fourth_sample;
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// Decodes a WebP file, lossy or lossless; of an animation, the first frame on its canvas.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    check_length(bytes)?;
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(describe)?;
    decoder.set_memory_limit(limits.max_memory());
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    let mut samples = vec![
        0;
        decoder.output_buffer_size().ok_or_else(|| DecodeError::corrupt(
            Format::WebP,
            "its size can't be addressed"
        ))?
    ];
    decoder.read_image(&mut samples).map_err(describe)?;
    let pixels = if decoder.has_alpha() { drop_fourth_sample(&samples) } else { samples };
    // Metadata that can't be read is as good as none.
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    Ok(Decoded {
        image: RgbImage::from_checked(width, height, pixels),
        orientation: Orientation::from_metadata(exif.as_deref(), xmp.as_deref()),
    })
}

/// A RIFF file says in its header how long it is. A shorter one may still decode, to less than its pixels.
fn check_length(bytes: &[u8]) -> Result<(), DecodeError> {
    const HEADER_BYTES: u64 = 8;
    let announced =
        bytes.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |length| u32::from_le_bytes(*length));
    let announced = u64::from(announced) + HEADER_BYTES;
    if (bytes.len() as u64) < announced {
        return Err(DecodeError::truncated(
            Format::WebP,
            format_args!("{} of {announced} bytes", bytes.len()),
        ));
    }
    Ok(())
}

fn describe(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(error) => DecodeError::from_io(Format::WebP, &error),
        other => DecodeError::corrupt(Format::WebP, other),
    }
}
