//! From a photo's bytes to exact pixels: [`decode()`] and [`resize()`] give, bit for bit, what Pillow gives.
//!
//! Features of a network are comparable only where the pixels are. Everything here is therefore measured against one
//! reference, Pillow 13.0.0: [`decode()`] is its `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`, and
//! [`Resizer::resize`] its `Image.resize`.
//!
//! ```
//! use fruitbatch_image::{DecodeLimits, Filter, decode, resize};
//!
//! // A bitmap of two pixels: red on the left, blue on the right.
//! let file = [
//!     b"BM".as_slice(), &[62, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0],     // file header: length, offset of the pixels
//!     &[40, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 24, 0], &[0; 24], // 2 x 1 pixels of 24 bits
//!     &[0, 0, 255, 255, 0, 0, 0, 0],                                 // blue, green, red; padding
//! ]
//! .concat();
//!
//! let photo = decode(&file, &DecodeLimits::default())?;
//! assert_eq!((photo.width(), photo.height()), (2, 1));
//! assert_eq!(photo.pixels(), [255, 0, 0, 0, 0, 255]);
//!
//! let network_input = resize(&photo, 224, 224, Filter::Bicubic);
//! assert_eq!(network_input.pixels().len(), 224 * 224 * 3);
//!
//! // What is wrong with a file is one word out of a closed set, and a sentence.
//! let error = decode(b"<!DOCTYPE html><title>Not found</title>", &DecodeLimits::default()).unwrap_err();
//! assert_eq!(error.reason(), "not-an-image");
//! assert_eq!(error.to_string(), "the file is an HTML page; only image files can be decoded");
//! # Ok::<(), fruitbatch_image::DecodeError>(())
//! ```
//!
//! # What is decoded
//!
//! | format | variants | by |
//! |---|---|---|
//! | JPEG | baseline, progressive, arithmetic coding; gray, YCbCr, RGB, CMYK, YCCK; any subsampling; restart markers | libjpeg-turbo (`mozjpeg-sys`) |
//! | PNG | 1 to 16 bits; gray, palette, RGB, alpha; interlaced; the default image of an APNG | `png` |
//! | GIF | first frame, on its canvas | `gif` |
//! | WebP | lossy, lossless, alpha; first frame of an animation, on its canvas | `image-webp` |
//! | TIFF | first page; strips, tiles, planes, both byte orders, `BigTIFF`; 1 to 32 bits; gray, palette, RGB, alpha, CMYK; uncompressed, LZW, Deflate, `PackBits`, group 4 fax, JPEG | this crate, `weezl`, `flate2`, `fax`, libjpeg-turbo |
//! | BMP | 1 to 32 bits, bit fields, run-length coding, OS/2 headers | this crate |
//!
//! As in Pillow, alpha is dropped and not blended, 16-bit gray is *clipped* at 255 and not scaled (other 16-bit samples
//! give their higher byte), CMYK becomes RGB without a profile, colour profiles are not applied, and the orientation is
//! EXIF's, or XMP's where EXIF has none. Metadata that can't be read is ignored.
//!
//! Not decoded, and said so: JPEG of 12 bits or lossless, TIFF with YCbCr samples other than JPEG, with CIELAB, associated
//! alpha in gray, old-style JPEG, group 3 fax, Zstandard, LZMA or WebP compression or a floating-point predictor, GIF
//! without any palette, and other formats such as HEIC, AVIF, SVG or JPEG 2000.
//!
//! # Why this JPEG decoder
//!
//! A decoder in Rust would do if it gave the same pixels. Measured against Pillow on 934 photos (928 of 100x100 pixels at
//! 4:2:0, six of up to 1352x900), on one x86-64 core without assembly code:
//!
//! | decoder | largest difference | mean difference | identical photos | 100x100 pixels | 1352x900 pixels |
//! |---|---|---|---|---|---|
//! | `zune-jpeg` 0.5.15 | 7 | 0.225 | 0 of 934 | 0.05 ms | 21 ms |
//! | libjpeg-turbo (`mozjpeg-sys` 2.2.3) | 0 | 0 | 934 of 934 | 0.07 ms | 21 ms |
//! | Pillow 13.0.0 | | | | 0.11 ms | 21 ms |
//!
//! libjpeg-turbo's portable code is used, which needs a C compiler and nothing else. Its unsafe interface is confined to
//! one module, which suspends where the input ends (so that a cut-off file is told from a complete one just as Pillow does),
//! turns libjpeg's fatal errors into values, and limits scans and memory.
//!
//! The other decoders are exact too: over some 500 files of every kind that `tests/make_fixtures.py` writes, lossy WebP
//! among them, no pixel differs. `tests/pillow.rs` repeats that comparison with the Pillow of the machine.
//!
//! The one freedom taken is with *corrupt* files: where both decoders still find pixels in damaged data, these may differ,
//! and a few files are refused by one and not by the other. A wrong checksum in a PNG file is an error here, while Pillow
//! does not check those of the pixels. Bytes that are missing behind the last pixel are no error where that can be told.
//!
//! # Why this resizing
//!
//! `fast_image_resize` 6.1, which derives from Pillow, rounds its weights to 16 bits: 2 of 120 bicubic and bilinear resizes
//! were identical, and its choice of the nearest pixel differed in 9 of 60. The hand-written one is identical in all cases
//! tried, takes 0.26 ms from 100x100 to 224x224 (Pillow: 0.49 ms), and is the same portable code on every processor.
//!
//! # Hostile files
//!
//! - Sizes are checked against [`DecodeLimits`] from the header, before pixels are allocated or decoded; inner sizes (a
//!   GIF's frames, a WebP's bit stream, a TIFF's tiles, a PNG's compressed texts) likewise. Colour profiles aren't unpacked.
//! - Memory stays below what [`DecodeLimits`] states, asserted for ten thousand bad files by `tests/hostile_corpus.rs`.
//! - Only the first frame is ever decoded; a JPEG may have 100 scans, above 40 megapixels fewer, and 24 at any size. A TIFF's strips and tiles, which may all lie at the same
//!   place, are read no further than their pixels can take.
//! - No file is known that makes a decoder panic; they are others' code, though, so whoever must not fail catches it.
//! - There is no global state: calls on any number of threads are independent, which also suits fuzzing.

#![deny(unsafe_code)]

mod bmp;
mod color;
mod decode;
mod error;
mod format;
mod gif;
mod jpeg;
mod limits;
mod orientation;
mod png;
mod resize;
mod rgb_image;
mod tiff;
mod webp;

pub use crate::decode::decode;
pub use crate::error::DecodeError;
pub use crate::format::Format;
pub use crate::limits::DecodeLimits;
pub use crate::resize::{Filter, Resizer, resize};
pub use crate::rgb_image::RgbImage;
