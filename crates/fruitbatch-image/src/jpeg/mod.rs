//! JPEG: the header read here, in safe code, the samples decoded by [`libjpeg`].

#[allow(unsafe_code, reason = "libjpeg is a C library")]
pub(crate) mod libjpeg;

use self::libjpeg::{ColorTransform, Samples, decompress};
use crate::color::{cmyk_inverted_to_rgb, gray_to_rgb};
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// Decodes a JPEG file.
///
/// Four components are taken as inverted CMYK whatever the Adobe marker says, as Pillow takes them: all software that
/// writes such files follows Adobe's convention.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let header = Header::read(bytes)?;
    limits.check_pixels(header.width, header.height)?;
    let Samples { width, height, components, interleaved } =
        decompress(bytes, None, ColorTransform::AsMarked, limits)?;
    let pixels = match components {
        1 => gray_to_rgb(&interleaved),
        3 => interleaved,
        _ => cmyk_inverted_to_rgb(&interleaved),
    };
    Ok(Decoded {
        image: RgbImage::from_checked(width, height, pixels),
        orientation: Orientation::from_metadata(header.exif.as_deref(), header.xmp),
    })
}

/// What the segments before the first scan say.
struct Header<'a> {
    width: u32,
    height: u32,
    /// All EXIF segments, joined.
    exif: Option<Vec<u8>>,
    xmp: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        const EXIF: &[u8] = b"Exif\0\0";
        const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
        let mut size = None;
        let mut exif: Option<Vec<u8>> = None;
        let mut xmp = None;
        for segment in Segments::new(bytes) {
            let Segment { marker, payload } = segment?;
            match marker {
                APP1 if payload.starts_with(EXIF) => match &mut exif {
                    // Blocks above 64 KiB go on in the next segment.
                    Some(exif) => exif.extend_from_slice(&payload[EXIF.len()..]),
                    None => exif = Some(payload.to_vec()),
                },
                APP1 => xmp = payload.strip_prefix(XMP).or(xmp),
                marker if is_start_of_frame(marker) => {
                    let &[precision, height_high, height_low, width_high, width_low, components, ..] =
                        payload
                    else {
                        return Err(DecodeError::corrupt(Format::Jpeg, "its frame header is too short"));
                    };
                    if precision != 8 {
                        return Err(DecodeError::unsupported(format_args!(
                            "JPEG with {precision} bits a sample"
                        )));
                    }
                    if !matches!(components, 1 | 3 | 4) {
                        return Err(DecodeError::unsupported(format_args!(
                            "JPEG with {components} components"
                        )));
                    }
                    let height = u16::from_be_bytes([height_high, height_low]);
                    let width = u16::from_be_bytes([width_high, width_low]);
                    size = Some((u32::from(width), u32::from(height)));
                }
                _ => {}
            }
        }
        let (width, height) =
            size.ok_or_else(|| DecodeError::corrupt(Format::Jpeg, "no frame header before its first scan"))?;
        Ok(Self { width, height, exif, xmp })
    }
}

const APP1: u8 = 0xe1;
const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// SOF0 to SOF15 without DHT, JPG and DAC, which lie among them.
fn is_start_of_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// One marker segment, without its length.
struct Segment<'a> {
    marker: u8,
    payload: &'a [u8],
}

/// The segments between the start of a JPEG file and its first scan.
struct Segments<'a> {
    rest: &'a [u8],
    at_end: bool,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        const START_OF_IMAGE_BYTES: usize = 2;
        Self { rest: bytes.get(START_OF_IMAGE_BYTES..).unwrap_or_default(), at_end: false }
    }

    fn read_segment(&mut self) -> Option<Segment<'a>> {
        let marker_at =
            self.rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
        let marker = self.rest[marker_at + 1];
        let after = &self.rest[marker_at + 2..];
        if matches!(marker, 0x01 | 0xd0..=0xd8 | END_OF_IMAGE) {
            self.rest = after;
            return Some(Segment { marker, payload: &[] });
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        let payload = after.get(2..length.max(2))?;
        self.rest = &after[length.max(2)..];
        Some(Segment { marker, payload })
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at_end {
            return None;
        }
        match self.read_segment() {
            Some(segment) if matches!(segment.marker, START_OF_SCAN | END_OF_IMAGE) => {
                self.at_end = true;
                Some(Ok(segment))
            }
            Some(segment) => Some(Ok(segment)),
            None => {
                self.at_end = true;
                Some(Err(DecodeError::truncated(Format::Jpeg, "the file ends within its header")))
            }
        }
    }
}
