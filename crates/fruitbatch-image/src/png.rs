//! PNG, with the `png` crate; samples are brought to 8-bit RGB here.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Info, Limits, Transformations};

use crate::color::{Palette, clip_16_bit, unpack_bits};
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

/// What a compressed text may inflate to, as in Pillow (`MAX_TEXT_CHUNK`).
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Decodes a PNG file (of an APNG file, the default image).
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), DecodeOptions::default());
    // Colour profiles aren't applied, and a small one can inflate to gigabytes.
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_limits(Limits { bytes: limits.max_memory() });
    decoder.set_transformations(Transformations::IDENTITY);
    let header = decoder.read_header_info().map_err(|error| describe(&error, limits))?;
    let (width, height) = (header.width, header.height);
    limits.check_pixels(width, height)?;

    let mut reader = decoder.read_info().map_err(|error| describe(&error, limits))?;
    let row_to_rgb = RowToRgb::new(reader.info())?;
    let byte_count = RgbImage::byte_count(width, height)
        .ok_or_else(|| DecodeError::corrupt(Format::Png, "its size can't be addressed"))?;
    let mut pixels = Vec::with_capacity(byte_count);
    if reader.info().interlaced {
        let mut samples = vec![0; reader.output_buffer_size().unwrap_or(0)];
        let frame = reader.next_frame(&mut samples).map_err(|error| describe(&error, limits))?;
        for row in samples.chunks_exact(frame.line_size) {
            row_to_rgb.append(row, &mut pixels);
        }
    } else {
        // Not until there is no row left: that would be an error where the file ends right behind its last row.
        for _ in 0..height {
            let Some(row) = reader.next_row().map_err(|error| describe(&error, limits))? else { break };
            row_to_rgb.append(row.data(), &mut pixels);
        }
    }
    // Metadata may follow the pixels. Whatever is wrong behind them harms no pixel.
    let _ = reader.finish();
    Ok(Decoded {
        image: RgbImage::from_checked(width, height, pixels),
        orientation: orientation(reader.info()),
    })
}

/// How the samples of one row become RGB.
struct RowToRgb {
    width: usize,
    color_type: ColorType,
    bits: u8,
    palette: Palette,
}

impl RowToRgb {
    fn new(info: &Info<'_>) -> Result<Self, DecodeError> {
        let palette = match (info.color_type, &info.palette) {
            (ColorType::Indexed, Some(palette)) => Palette::from_rgb_bytes(palette),
            (ColorType::Indexed, None) => {
                return Err(DecodeError::corrupt(Format::Png, "indexed colours without a palette"));
            }
            // Gray of fewer bits spans black to white: 85 times a two-bit sample, 17 times a four-bit sample.
            _ => {
                let levels = 1_u32 << (info.bit_depth as u8).min(8);
                Palette::new((0..levels).map(|level| [(level * 255 / (levels - 1)) as u8; 3]))
            }
        };
        Ok(Self {
            width: info.width as usize,
            color_type: info.color_type,
            bits: info.bit_depth as u8,
            palette,
        })
    }

    fn append(&self, row: &[u8], pixels: &mut Vec<u8>) {
        const EIGHT: u8 = BitDepth::Eight as u8;
        const SIXTEEN: u8 = BitDepth::Sixteen as u8;
        match (self.color_type, self.bits) {
            (ColorType::Rgb, EIGHT) => pixels.extend_from_slice(row),
            (ColorType::Rgba, EIGHT) => {
                pixels.extend(
                    row.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]),
                );
            }
            // Of the samples of two bytes, the higher byte is taken, except in gray without alpha, which is clipped.
            (ColorType::Rgb, SIXTEEN) => {
                pixels.extend(
                    row.as_chunks::<6>().0.iter().flat_map(|&[red, _, green, _, blue, _]| [red, green, blue]),
                );
            }
            (ColorType::Rgba, SIXTEEN) => {
                let colors = row.as_chunks::<8>().0.iter();
                pixels.extend(colors.flat_map(|&[red, _, green, _, blue, _, _, _]| [red, green, blue]));
            }
            (ColorType::GrayscaleAlpha, SIXTEEN) => {
                pixels.extend(row.as_chunks::<4>().0.iter().flat_map(|&[gray, _, _, _]| [gray; 3]));
            }
            (ColorType::Grayscale, SIXTEEN) => {
                let samples = row.as_chunks::<2>().0.iter();
                pixels.extend(samples.flat_map(|&sample| [clip_16_bit(u16::from_be_bytes(sample)); 3]));
            }
            (ColorType::GrayscaleAlpha, _) => {
                pixels.extend(row.as_chunks::<2>().0.iter().flat_map(|&[gray, _]| [gray; 3]));
            }
            (_, EIGHT) => pixels.extend(row.iter().flat_map(|&sample| self.palette.look_up(sample))),
            (_, bits) => {
                let samples = unpack_bits(row, bits, self.width);
                pixels.extend(samples.flat_map(|sample| self.palette.look_up(sample)));
            }
        }
    }
}

fn orientation(info: &Info<'_>) -> Orientation {
    let exif = info.exif_metadata.as_deref().map(<[u8]>::to_vec).or_else(|| exif_in_text(info));
    let xmp = info.utf8_text.iter().find(|chunk| chunk.keyword == "XML:com.adobe.xmp").and_then(|chunk| {
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
        chunk.get_text().ok()
    });
    Orientation::from_metadata(exif.as_deref(), xmp.as_deref().map(str::as_bytes))
}

/// EXIF as text, the way it was stored before PNG had a chunk for it: three lines of heading, then hexadecimal digits.
fn exif_in_text(info: &Info<'_>) -> Option<Vec<u8>> {
    const KEYWORD: &str = "Raw profile type exif";
    let text = match info.compressed_latin1_text.iter().find(|chunk| chunk.keyword == KEYWORD) {
        Some(chunk) => {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
            chunk.get_text().ok()?
        }
        None => info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == KEYWORD)?.text.clone(),
    };
    let digits: Vec<u32> = text
        .split('\n')
        .skip(3)
        .flat_map(str::chars)
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

fn describe(error: &DecodingError, limits: &DecodeLimits) -> DecodeError {
    match error {
        DecodingError::IoError(error) => DecodeError::from_io(Format::Png, error),
        DecodingError::LimitsExceeded => DecodeError::TooLarge {
            what: "the memory for the metadata in bytes (at least)",
            value: limits.max_memory() as u64 + 1,
            limit: limits.max_memory() as u64,
        },
        DecodingError::Format(_) | DecodingError::Parameter(_) => DecodeError::corrupt(Format::Png, error),
    }
}
