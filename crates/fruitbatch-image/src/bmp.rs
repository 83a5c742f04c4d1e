//! Windows and OS/2 bitmaps, uncompressed, with bit fields or run-length coded.
//!
//! Decoded here because Pillow expands 16-bit pixels in a way of its own (`sample * 255 / 31`, rounded down), fills what
//! run-length coding skips with index 0, and knows a closed list of bit field layouts.

use crate::color::{Palette, unpack_bits};
use crate::decode::Decoded;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;
use crate::orientation::Orientation;
use crate::rgb_image::RgbImage;

const FILE_HEADER_BYTES: usize = 14;

/// Decodes a bitmap.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let header = Header::read(bytes)?;
    limits.check_pixels(header.width, header.height)?;
    let layout = header.layout(bytes)?;
    let data = bytes.get(header.pixels_at(&layout)..).unwrap_or_default();
    let (width, height) = (header.width as usize, header.height as usize);
    // Memory is asked for once the data are known to be there: a header costs nothing to write.
    let reserve = || Vec::with_capacity(width * height * 3);
    let mut pixels: Vec<u8>;
    match &layout {
        Layout::Direct(pixel) => {
            let rows = header.rows(data)?;
            pixels = reserve();
            rows.for_each(|row| pixel.append(row, width, &mut pixels));
        }
        Layout::Indexed { bits, palette, .. } => {
            let rows = header.rows(data)?;
            pixels = reserve();
            for row in rows {
                pixels.extend(unpack_bits(row, *bits, width).flat_map(|index| palette.look_up(index)));
            }
        }
        Layout::RunLength { bits, palette, .. } => {
            let indices = RunLengthDecoder { data, position: 0, four_bits: *bits == 4, width }
                .decode(width * height)?;
            pixels = reserve();
            let rows = indices.chunks_exact(width);
            if header.top_down {
                rows.for_each(|row| pixels.extend_from_slice(&palette.to_rgb(row)));
            } else {
                rows.rev().for_each(|row| pixels.extend_from_slice(&palette.to_rgb(row)));
            }
        }
    }
    let image = RgbImage::from_checked(header.width, header.height, pixels);
    Ok(Decoded { image, orientation: Orientation::Upright })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    RunLength8,
    RunLength4,
    BitFields,
}

struct Header {
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: Compression,
    /// Entries of the palette.
    colors: usize,
    /// Bytes of a palette entry.
    entry_bytes: usize,
    /// Where the information header ends.
    end: usize,
    /// Where the file header says that the pixels begin.
    data_offset: usize,
}

/// How pixels are stored.
enum Layout {
    Direct(DirectPixel),
    Indexed { bits: u8, palette: Palette, end: usize },
    RunLength { bits: u8, palette: Palette, end: usize },
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let data_offset = u32_at(bytes, 10)? as usize;
        let header_bytes = u32_at(bytes, FILE_HEADER_BYTES)? as usize;
        let at = |offset: usize| FILE_HEADER_BYTES + offset;
        let (width, height, top_down, bits, compression, colors, entry_bytes) = match header_bytes {
            12 => {
                let (width, height) = (u16_at(bytes, at(4))?, u16_at(bytes, at(6))?);
                (width.into(), height.into(), false, u16_at(bytes, at(10))?, Compression::None, 0, 3)
            }
            40 | 52 | 56 | 64 | 108 | 124 => {
                let signed_height = u32_at(bytes, at(8))?.cast_signed();
                let compression = match u32_at(bytes, at(16))? {
                    0 => Compression::None,
                    1 => Compression::RunLength8,
                    2 => Compression::RunLength4,
                    3 => Compression::BitFields,
                    other => {
                        return Err(DecodeError::unsupported(format_args!("BMP with compression {other}")));
                    }
                };
                (
                    u32_at(bytes, at(4))?,
                    signed_height.unsigned_abs(),
                    signed_height < 0,
                    u16_at(bytes, at(14))?,
                    compression,
                    u32_at(bytes, at(32))?,
                    4,
                )
            }
            other => {
                return Err(DecodeError::unsupported(format_args!("BMP with a header of {other} bytes")));
            }
        };
        if !matches!(bits, 1 | 4 | 8 | 16 | 24 | 32) {
            return Err(DecodeError::unsupported(format_args!("BMP with {bits} bits a pixel")));
        }
        if i32::try_from(width).is_err() || width == 0 || height == 0 {
            return Err(DecodeError::corrupt(Format::Bmp, format_args!("its size is {width}x{height}")));
        }
        let colors = match colors {
            0 if bits <= 8 => 1 << bits,
            colors => colors as usize,
        };
        let end = FILE_HEADER_BYTES + header_bytes;
        Ok(Self { width, height, top_down, bits, compression, colors, entry_bytes, end, data_offset })
    }

    fn layout(&self, bytes: &[u8]) -> Result<Layout, DecodeError> {
        match (self.compression, self.bits) {
            (Compression::RunLength8, 8) | (Compression::RunLength4, 4) => {
                let (palette, end) = self.palette(bytes)?;
                Ok(Layout::RunLength { bits: self.bits as u8, palette, end })
            }
            (Compression::None, 1 | 4 | 8) => {
                let (palette, end) = self.palette(bytes)?;
                Ok(Layout::Indexed { bits: self.bits as u8, palette, end })
            }
            (Compression::None, 16) => Ok(Layout::Direct(DirectPixel::Bits555)),
            (Compression::None, 24) => Ok(Layout::Direct(DirectPixel::BlueGreenRed)),
            (Compression::None, 32) => Ok(Layout::Direct(DirectPixel::Bytes { red: 2, green: 1, blue: 0 })),
            (Compression::BitFields, 16 | 24 | 32) => self.bit_fields(bytes).map(Layout::Direct),
            (compression, bits) => {
                Err(DecodeError::unsupported(format_args!("BMP of {bits} bits a pixel with {compression:?}")))
            }
        }
    }

    fn palette(&self, bytes: &[u8]) -> Result<(Palette, usize), DecodeError> {
        if self.colors > 1 << 16 {
            return Err(DecodeError::corrupt(
                Format::Bmp,
                format_args!("a palette of {} entries", self.colors),
            ));
        }
        let end = self.end + self.colors * self.entry_bytes;
        let entries = bytes
            .get(self.end..end)
            .ok_or_else(|| DecodeError::truncated(Format::Bmp, "the file ends within its palette"))?
            .chunks_exact(self.entry_bytes);
        Ok((Palette::new(entries.map(|entry| [entry[2], entry[1], entry[0]])), end))
    }

    fn bit_fields(&self, bytes: &[u8]) -> Result<DirectPixel, DecodeError> {
        let mask = |nth: usize| u32_at(bytes, FILE_HEADER_BYTES + 40 + nth * 4);
        let (red, green, blue) = (mask(0)?, mask(1)?, mask(2)?);
        let byte_of = |mask: u32| match mask {
            0xff => Some(0),
            0xff00 => Some(1),
            0x00ff_0000 => Some(2),
            0xff00_0000 => Some(3),
            _ => None,
        };
        match (self.bits, red, green, blue) {
            (16, 0xf800, 0x7e0, 0x1f) => Ok(DirectPixel::Bits565),
            (16, 0x7c00, 0x3e0, 0x1f) => Ok(DirectPixel::Bits555),
            (24, 0x00ff_0000, 0xff00, 0xff) => Ok(DirectPixel::BlueGreenRed),
            (32, 0, 0, 0) => Ok(DirectPixel::Bytes { red: 2, green: 1, blue: 0 }),
            (32, ..)
                if let (Some(red), Some(green), Some(blue)) =
                    (byte_of(red), byte_of(green), byte_of(blue)) =>
            {
                Ok(DirectPixel::Bytes { red, green, blue })
            }
            _ => Err(DecodeError::unsupported(format_args!(
                "BMP with the bit fields {red:#x}, {green:#x}, {blue:#x} in {} bits",
                self.bits
            ))),
        }
    }

    /// Where the pixels begin: where the file header says, or behind all headers if it says nothing.
    fn pixels_at(&self, layout: &Layout) -> usize {
        /// Three masks behind the oldest information header.
        const MASK_BYTES: usize = 12;
        let end = match layout {
            Layout::Indexed { end, .. } | Layout::RunLength { end, .. } => *end,
            Layout::Direct(_)
                if self.compression == Compression::BitFields && self.end == FILE_HEADER_BYTES + 40 =>
            {
                self.end + MASK_BYTES
            }
            Layout::Direct(_) => self.end,
        };
        if self.data_offset == 0 || (self.bits <= 8 && self.data_offset == self.end) {
            end
        } else {
            self.data_offset
        }
    }

    /// The rows of an image that is not run-length coded, from top to bottom.
    fn rows<'a>(&self, data: &'a [u8]) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, DecodeError> {
        // Rows are padded to four bytes.
        let row_bytes = (self.width as usize * usize::from(self.bits)).div_ceil(32) * 4;
        let used_bytes = (self.width as usize * usize::from(self.bits)).div_ceil(8);
        let height = self.height as usize;
        // The padding of the last row may be missing.
        if data.len() < row_bytes * (height - 1) + used_bytes {
            let complete = data.len() / row_bytes;
            return Err(DecodeError::truncated(Format::Bmp, format_args!("{complete} of {height} rows")));
        }
        let top_down = self.top_down;
        Ok((0..height).map(move |row| {
            let stored = if top_down { row } else { height - 1 - row };
            &data[stored * row_bytes..][..used_bytes]
        }))
    }
}

/// A pixel that holds its colour itself.
enum DirectPixel {
    BlueGreenRed,
    /// Four bytes, with the positions of the colours among them.
    Bytes {
        red: usize,
        green: usize,
        blue: usize,
    },
    Bits555,
    Bits565,
}

impl DirectPixel {
    fn append(&self, row: &[u8], width: usize, pixels: &mut Vec<u8>) {
        match *self {
            Self::BlueGreenRed => {
                let stored = row.as_chunks::<3>().0.iter().take(width);
                pixels.extend(stored.flat_map(|&[blue, green, red]| [red, green, blue]));
            }
            Self::Bytes { red, green, blue } => {
                let stored = row.as_chunks::<4>().0.iter().take(width);
                pixels.extend(stored.flat_map(|pixel| [pixel[red], pixel[green], pixel[blue]]));
            }
            Self::Bits555 => Self::append_16_bit(row, width, [10, 5, 0], [31, 31, 31], pixels),
            Self::Bits565 => Self::append_16_bit(row, width, [11, 5, 0], [31, 63, 31], pixels),
        }
    }

    fn append_16_bit(row: &[u8], width: usize, shifts: [u16; 3], highest: [u16; 3], pixels: &mut Vec<u8>) {
        for &stored in row.as_chunks::<2>().0.iter().take(width) {
            let pixel = u16::from_le_bytes(stored);
            for (shift, highest) in shifts.into_iter().zip(highest) {
                pixels.push(((pixel >> shift & highest) * 255 / highest) as u8);
            }
        }
    }
}

/// Run-length coding, read the way Pillow reads it.
struct RunLengthDecoder<'a> {
    data: &'a [u8],
    position: usize,
    four_bits: bool,
    width: usize,
}

impl<'a> RunLengthDecoder<'a> {
    fn decode(mut self, pixel_count: usize) -> Result<Vec<u8>, DecodeError> {
        let mut indices: Vec<u8> = Vec::new();
        let mut column = 0;
        while indices.len() < pixel_count {
            let (count, value) = (self.byte()?, self.byte()?);
            match (count, value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(self.width), 0);
                    column = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let (right, up) = (usize::from(self.byte()?), usize::from(self.byte()?));
                    let skipped = (right + up * self.width).min(pixel_count - indices.len());
                    indices.resize(indices.len() + skipped, 0);
                    column = indices.len() % self.width;
                }
                (0, count) => {
                    let count = usize::from(count).min(pixel_count - indices.len());
                    let stored = self.bytes(if self.four_bits { count.div_ceil(2) } else { count })?;
                    if self.four_bits {
                        indices.extend(unpack_bits(stored, 4, count));
                    } else {
                        indices.extend_from_slice(stored);
                    }
                    column += usize::from(value);
                    self.position = self.position.next_multiple_of(2);
                }
                (count, value) => {
                    // A run ends with its row.
                    let count = usize::from(count).min(self.width.saturating_sub(column));
                    if self.four_bits {
                        indices
                            .extend((0..count).map(|nth| if nth % 2 == 0 { value >> 4 } else { value & 15 }));
                    } else {
                        indices.resize(indices.len() + count, value);
                    }
                    column += count;
                }
            }
        }
        if indices.len() < pixel_count {
            return Err(DecodeError::corrupt(
                Format::Bmp,
                format_args!("its runs end after {} of {pixel_count} pixels", indices.len()),
            ));
        }
        Ok(indices)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self
            .data
            .get(self.position..self.position + count)
            .ok_or_else(|| DecodeError::truncated(Format::Bmp, "the file ends within its runs"))?;
        self.position += count;
        Ok(bytes)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|bytes| u16::from_le_bytes(*bytes))
        .ok_or_else(header_cut_off)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|bytes| u32::from_le_bytes(*bytes))
        .ok_or_else(header_cut_off)
}

fn header_cut_off() -> DecodeError {
    DecodeError::truncated(Format::Bmp, "the file ends within its header")
}
