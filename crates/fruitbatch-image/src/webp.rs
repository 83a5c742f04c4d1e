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
    check_lossy_frames(bytes.get(RIFF_HEADER_BYTES..).unwrap_or_default(), limits)?;
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

/// `RIFF`, a length and `WEBP`.
const RIFF_HEADER_BYTES: usize = 12;

/// Checks the sizes that lossy frames have by their own headers, of all frames since a file can be made to have two first
/// ones. The decoder compares them with the size of the canvas only after decoding.
fn check_lossy_frames(mut chunks: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    /// Name and length of a chunk.
    const CHUNK_HEADER_BYTES: usize = 8;
    /// Position, size and timing of an animation's frame, before its own chunks.
    const FRAME_HEADER_BYTES: usize = 16;
    /// Width and height in a key frame (RFC 6386, section 9.1), without the two bits of scale.
    const SIZE_AT: usize = 6;
    const SIZE_BITS: u16 = 0x3fff;
    while let Some((header, rest)) = chunks.split_at_checked(CHUNK_HEADER_BYTES) {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        match &header[..4] {
            b"VP8 " => {
                if let Some(&[width_low, width_high, height_low, height_high, ..]) = rest.get(SIZE_AT..) {
                    let width = u16::from_le_bytes([width_low, width_high]) & SIZE_BITS;
                    let height = u16::from_le_bytes([height_low, height_high]) & SIZE_BITS;
                    limits.check_pixels(width.into(), height.into())?;
                }
            }
            b"ANMF" => {
                chunks = rest.get(FRAME_HEADER_BYTES..).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        chunks = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(())
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
