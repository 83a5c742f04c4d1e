//! TIFF: strips and tiles ([`chunks`]) are unpacked ([`compression`]), put together and brought to RGB ([`samples`]) as the
//! [`directory`] says.
//!
//! Read here because of what the `tiff` crate's decoder would change: it knows no palettes, its JPEG decoder is not
//! libjpeg's, and its own limits let a file of 400 bytes reserve 256 MiB.

mod chunks;
mod compression;
pub(crate) mod directory;
mod samples;

use self::chunks::Chunks;
use self::compression::Compression;
use self::directory::{Directory, Tag};
use self::samples::SampleLayout;
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// Decodes the first page of a TIFF file.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let directory = Directory::read(bytes)?;
    let width = read_side(&directory, Tag::ImageWidth)?;
    let height = read_side(&directory, Tag::ImageLength)?;
    limits.check_pixels(width, height)?;
    let layout = SampleLayout::read(&directory)?;
    let compression = Compression::read(&directory, &layout)?;
    let chunks = Chunks::read(&directory, width, height, &layout)?;
    limits.check_memory(chunks.unpacked_bytes())?;
    let samples = chunks.assemble(bytes, &compression, limits)?;
    let pixels = layout.to_rgb(&samples, width, height);

    let orientation = directory.number(Tag::Orientation).ok().flatten();
    let xmp = directory.bytes(Tag::Xmp).ok().flatten();
    Ok(Decoded {
        image: RgbImage::from_checked(width, height, pixels),
        orientation: Orientation::from_tag_or_xmp(orientation, xmp),
    })
}

/// Width or height, which every image has.
fn read_side(directory: &Directory<'_>, tag: Tag) -> Result<u32, DecodeError> {
    let side = directory.number(tag)?.unwrap_or(0);
    u32::try_from(side)
        .ok()
        .filter(|side| *side > 0)
        .ok_or_else(|| DecodeError::corrupt(Format::Tiff, format_args!("{tag:?} is {side}")))
}
