//! A photo's way from bytes to a network's input.

use fruitbatch_image::{DecodeLimits, Filter, decode, resize};

/// Enough for every branch, and few enough for thousands of files a second.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 18, max_bytes: 1 << 20 };

const REASONS: [&str; 6] = ["empty", "not-an-image", "truncated", "unsupported", "too-large", "decode-error"];

/// Any bytes give an image within the limits, or one of the known reasons why not.
pub(crate) fn check(bytes: &[u8]) {
    match decode(bytes, &LIMITS) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert!(pixels <= LIMITS.max_pixels, "{image:?}");
            assert_eq!(image.pixels().len() as u64, pixels * 3);
            let input = resize(&image, 32, 32, Filter::Bicubic);
            assert_eq!(input.pixels().len(), 32 * 32 * 3);
        }
        Err(error) => {
            assert!(REASONS.contains(&error.reason()), "{error:?}");
            assert!(error.to_string().len() < 500, "{error}");
        }
    }
}
