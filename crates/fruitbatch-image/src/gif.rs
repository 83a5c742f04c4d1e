//! GIF, with the `gif` crate: the first frame on its canvas.

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::color::Palette;
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// Decodes the first frame of a GIF file.
///
/// What the frame leaves of the canvas is filled with its transparent index, or index 0 if it has none; a frame that
/// juts out of the canvas enlarges it. Later frames are never read.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.allow_unknown_blocks(true);
    options.set_memory_limit(match std::num::NonZeroU64::new(limits.max_memory() as u64) {
        Some(bytes) => MemoryLimit::Bytes(bytes),
        None => MemoryLimit::Unlimited,
    });
    let mut decoder = options.read_info(bytes).map_err(describe)?;
    let (screen_width, screen_height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    limits.check_pixels(decoder.width().into(), decoder.height().into())?;

    let frame = decoder
        .next_frame_info()
        .map_err(describe)?
        .ok_or_else(|| DecodeError::truncated(Format::Gif, "the file ends before its first frame"))?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    let transparent = frame.transparent;
    let width = screen_width.max(left + frame_width);
    let height = screen_height.max(top + frame_height);
    limits.check_pixels(width as u32, height as u32)?;
    let palette = Palette::from_rgb_bytes(decoder.palette().map_err(describe)?);

    let mut frame = vec![0; frame_width * frame_height];
    decoder.read_into_buffer(&mut frame).map_err(describe)?;
    let indices = if (frame_width, frame_height) == (width, height) {
        frame
    } else {
        let mut canvas = vec![transparent.unwrap_or(0); width * height];
        if frame_width > 0 {
            for (row, frame_row) in frame.chunks_exact(frame_width).enumerate() {
                canvas[(top + row) * width + left..][..frame_width].copy_from_slice(frame_row);
            }
        }
        canvas
    };
    let image = RgbImage::from_checked(width as u32, height as u32, palette.to_rgb(&indices));
    Ok(Decoded { image, orientation: Orientation::Upright })
}

fn describe(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::UnexpectedEof => DecodeError::truncated(Format::Gif, "unexpected end of file"),
        DecodingError::Io(error) => DecodeError::from_io(Format::Gif, &error),
        other => DecodeError::corrupt(Format::Gif, other),
    }
}
