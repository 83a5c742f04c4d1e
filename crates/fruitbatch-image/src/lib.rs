//! From a photo's bytes to exact pixels: decoding, orientation and resizing as libjpeg-turbo and Pillow do them

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
