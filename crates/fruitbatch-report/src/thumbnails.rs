//! Small photos, as they lie in the page.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail as shrink;
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Rgb};

use crate::ReportError;

/// JPEG bytes that [`ReportData::thumbnails`](crate::ReportData::thumbnails) may hold in all. In base64 they take 3.4 of the
/// page's 5 MB; what a page needs beside them leaves that room up to about 200 labels and clusters.
pub const THUMBNAIL_BUDGET_BYTES: usize = 2_500_000;

/// Longest side where there are few thumbnails, in pixels: sharp on screens with two of them a point.
const LARGE_SIDE: u32 = 128;
/// Longest side where there are many.
const SMALL_SIDE: u32 = 56;
/// So many large ones of about 4 KiB stay within [`THUMBNAIL_BUDGET_BYTES`].
const MANY: usize = 500;
/// Artefacts are hardly seen at this size.
const QUALITY: u8 = 80;

/// The longest side, in pixels, at which so many thumbnails of common photos stay within [`THUMBNAIL_BUDGET_BYTES`]: 128 for up
/// to 500, else 56 (about 1.5 KiB each).
pub fn thumbnail_side(thumbnails: usize) -> u32 {
    if thumbnails <= MANY { LARGE_SIDE } else { SMALL_SIDE }
}

/// A JPEG of the photo with `side` pixels on its longer side, or of its own size if that is smaller.
///
/// `rgb` holds three bytes a pixel, row by row from the top.
///
/// # Errors
/// [`ReportError::Thumbnail`] unless width, height and side are at least 1 and `rgb` has 3 x width x height bytes.
pub fn thumbnail(rgb: &[u8], width: u32, height: u32, side: u32) -> Result<Vec<u8>, ReportError> {
    let refused =
        |reason: &str| ReportError::Thumbnail { width, height, bytes: rgb.len(), reason: reason.to_owned() };
    if width == 0 || height == 0 || side == 0 {
        return Err(refused("a side is 0"));
    }
    if rgb.len() as u128 != 3 * u128::from(width) * u128::from(height) {
        return Err(refused("three bytes a pixel are needed"));
    }
    let photo = ImageBuffer::<Rgb<u8>, &[u8]>::from_raw(width, height, rgb)
        .ok_or_else(|| refused("three bytes a pixel are needed"))?;
    let longer = width.max(height);
    let mut jpeg = Vec::new();
    let mut encode = |pixels: &[u8], width: u32, height: u32| {
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).write_image(
            pixels,
            width,
            height,
            ExtendedColorType::Rgb8,
        )
    };
    if longer <= side {
        encode(rgb, width, height)
    } else {
        let scaled = |length: u32| {
            let rounded = (u64::from(length) * u64::from(side) + u64::from(longer) / 2) / u64::from(longer);
            (rounded as u32).max(1)
        };
        let small = shrink(&photo, scaled(width), scaled(height));
        encode(&small, small.width(), small.height())
    }
    .map_err(|error| refused(&error.to_string()))?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width and height as they stand in a baseline JPEG's frame header.
    fn size(jpeg: &[u8]) -> (u16, u16) {
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        let number = |at: usize| u16::from_be_bytes([jpeg[frame + at], jpeg[frame + at + 1]]);
        (number(7), number(5))
    }

    #[test]
    fn the_longer_side_is_what_was_asked_for() {
        for ((width, height), expected) in
            [((200, 100), (56, 28)), ((100, 200), (28, 56)), ((1_000, 1), (56, 1)), ((20, 10), (20, 10))]
        {
            let rgb = vec![90; 3 * width as usize * height as usize];
            assert_eq!(size(&thumbnail(&rgb, width, height, 56).unwrap()), expected);
        }
    }

    #[test]
    fn pixels_that_do_not_fit_are_refused() {
        for (bytes, width, height, side) in
            [(11, 2, 2, 56), (0, 0, 2, 56), (12, 2, 2, 0), (3, u32::MAX, u32::MAX, 56)]
        {
            let refused = thumbnail(&vec![0; bytes], width, height, side);
            assert!(matches!(refused, Err(ReportError::Thumbnail { .. })), "{refused:?}");
        }
    }
}
