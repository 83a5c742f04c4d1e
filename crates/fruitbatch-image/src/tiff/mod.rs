//! TIFF: the `tiff` crate reads the directory; strips and tiles ([`chunks`]) are unpacked ([`compression`]), put together
//! and brought to RGB ([`samples`]) here.
//!
//! The `tiff` crate's own pixels are not used: it knows no palettes, and its JPEG decoder is not libjpeg's.

mod chunks;
mod compression;
mod samples;

use std::io::Cursor;

use tiff::TiffError;
use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::{ByteOrder, Tag};

use self::chunks::Chunks;
use self::compression::Compression;
use self::samples::SampleLayout;
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// The tag that holds an XMP packet (XMP specification, part 3, 1.1.3).
const XMP: Tag = Tag::Unknown(700);

/// Decodes the first page of a TIFF file.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let mut directory = Directory::read(bytes)?;
    let (width, height) = directory.size()?;
    limits.check_pixels(width, height)?;
    let layout = SampleLayout::read(&mut directory)?;
    let compression = Compression::read(&mut directory, &layout)?;
    let chunks = Chunks::read(&mut directory, width, height, &layout)?;
    limits.check_memory(chunks.unpacked_bytes())?;
    let samples = chunks.assemble(bytes, &compression, limits)?;
    let pixels = layout.to_rgb(&samples, width, height);

    let orientation = directory.number(Tag::Orientation).ok().flatten();
    let xmp = directory.bytes(XMP).ok().flatten();
    Ok(Decoded {
        image: RgbImage::from_checked(width, height, pixels),
        orientation: Orientation::from_tag_or_xmp(orientation, xmp.as_deref()),
    })
}

/// The first directory of a file.
struct Directory<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
}

impl<'a> Directory<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(Self { decoder: Decoder::new(Cursor::new(bytes)).map_err(describe)? })
    }

    /// Width and height in pixels, as stored.
    fn size(&mut self) -> Result<(u32, u32), DecodeError> {
        self.decoder.dimensions().map_err(describe)
    }

    fn is_big_endian(&self) -> bool {
        self.decoder.byte_order() == ByteOrder::BigEndian
    }

    fn value(&mut self, tag: Tag) -> Result<Option<Value>, DecodeError> {
        self.decoder.find_tag(tag).map_err(describe)
    }

    fn numbers(&mut self, tag: Tag) -> Result<Option<Vec<u64>>, DecodeError> {
        self.value(tag)?.map(|value| value.into_u64_vec().map_err(describe)).transpose()
    }

    /// The first number of a tag.
    fn number(&mut self, tag: Tag) -> Result<Option<u64>, DecodeError> {
        Ok(self.numbers(tag)?.and_then(|numbers| numbers.first().copied()))
    }

    fn bytes(&mut self, tag: Tag) -> Result<Option<Vec<u8>>, DecodeError> {
        self.value(tag)?.map(|value| value.into_u8_vec().map_err(describe)).transpose()
    }
}

fn describe(error: TiffError) -> DecodeError {
    match error {
        TiffError::IoError(error) => DecodeError::from_io(Format::Tiff, &error),
        TiffError::UnsupportedError(error) => DecodeError::unsupported(format_args!("this kind of TIFF ({error})")),
        other => DecodeError::corrupt(Format::Tiff, other),
    }
}
