//! How strips and tiles are packed.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use weezl::BitOrder;

use super::directory::{Directory, Tag};
use super::samples::SampleLayout;
use crate::error::DecodeError;
use crate::format::Format;
use crate::jpeg::libjpeg::{ColorTransform, decompress};
use crate::limits::DecodeLimits;

/// The part of an image that lies in one chunk, padding included.
pub(super) struct ChunkShape {
    pub(super) width: usize,
    /// Rows that lie in the image.
    pub(super) height: usize,
    /// Rows that may be stored: the last ones of an image can be padding.
    pub(super) stored_height: usize,
    /// Samples a pixel.
    pub(super) samples: usize,
    /// Bits a sample.
    pub(super) bits: usize,
}

impl ChunkShape {
    pub(super) fn pixel_bits(&self) -> usize {
        self.samples * self.bits
    }

    pub(super) fn row_bytes(&self) -> usize {
        (self.width * self.pixel_bits()).div_ceil(8)
    }
}

/// How chunks are packed, with all that is needed to unpack them.
pub(super) struct Compression {
    method: Method,
    /// Samples are stored as differences from their left neighbour.
    has_differences: bool,
    /// The lowest bit of a byte comes first.
    has_reversed_bits: bool,
    is_big_endian: bool,
}

enum Method {
    None,
    Lzw,
    Deflate(Box<RefCell<Decompress>>),
    PackBits,
    /// CCITT T.6, "group 4 fax".
    Group4,
    Jpeg {
        tables: Option<Vec<u8>>,
        transform: ColorTransform,
    },
}

impl Compression {
    pub(super) fn read(directory: &Directory<'_>, layout: &SampleLayout) -> Result<Self, DecodeError> {
        let method = match directory.number(Tag::Compression)?.unwrap_or(1) {
            1 => Method::None,
            4 => Method::Group4,
            5 => Method::Lzw,
            7 => Method::Jpeg {
                tables: directory.bytes(Tag::JpegTables)?.map(<[u8]>::to_vec),
                transform: if layout.is_ycbcr() {
                    ColorTransform::FromYcbcr
                } else {
                    ColorTransform::Identity
                },
            },
            8 | 32_946 => Method::Deflate(Box::new(RefCell::new(Decompress::new(true)))),
            32_773 => Method::PackBits,
            other => return Err(DecodeError::unsupported(format_args!("TIFF with compression {other}"))),
        };
        if layout.is_ycbcr() && !matches!(method, Method::Jpeg { .. }) {
            return Err(DecodeError::unsupported("TIFF with YCbCr samples other than JPEG"));
        }
        // The tag is for methods that ask for it alone.
        let predicts = matches!(method, Method::Lzw | Method::Deflate(_));
        let has_differences = match directory.number(Tag::Predictor)?.unwrap_or(1) {
            2 if predicts && layout.bits >= 8 => true,
            1 => false,
            _ if !predicts => false,
            other => return Err(DecodeError::unsupported(format_args!("TIFF with predictor {other}"))),
        };
        let has_reversed_bits =
            directory.number(Tag::FillOrder)? == Some(2) && !matches!(method, Method::Jpeg { .. });
        Ok(Self { method, has_differences, has_reversed_bits, is_big_endian: directory.is_big_endian() })
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self.method, Method::None)
    }

    /// Unpacks a chunk to exactly the size of its shape.
    pub(super) fn unpack(
        &self,
        stored: &[u8],
        shape: &ChunkShape,
        limits: &DecodeLimits,
    ) -> Result<Vec<u8>, DecodeError> {
        let reversed: Vec<u8>;
        let stored = if self.has_reversed_bits {
            reversed = stored.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            stored
        };
        let unpacked_bytes = shape.row_bytes() * shape.height;
        let mut unpacked = match &self.method {
            Method::None => stored.to_vec(),
            Method::Lzw => unpack_lzw(stored, unpacked_bytes)?,
            Method::Deflate(decompressor) => {
                unpack_deflate(stored, unpacked_bytes, &mut decompressor.borrow_mut())?
            }
            Method::PackBits => unpack_pack_bits(stored, unpacked_bytes),
            Method::Group4 => unpack_group_4(stored, shape)?,
            Method::Jpeg { tables, transform } => {
                return unpack_jpeg(stored, tables.as_deref(), *transform, shape, limits);
            }
        };
        if unpacked.len() < unpacked_bytes {
            return Err(DecodeError::corrupt(
                Format::Tiff,
                format_args!("a strip or tile holds {} of {unpacked_bytes} bytes", unpacked.len()),
            ));
        }
        unpacked.truncate(unpacked_bytes);
        self.to_native_samples(&mut unpacked, shape);
        Ok(unpacked)
    }

    /// Brings samples to this machine's byte order and adds up differences.
    fn to_native_samples(&self, unpacked: &mut [u8], shape: &ChunkShape) {
        if shape.bits == 16 {
            for sample in unpacked.as_chunks_mut::<2>().0 {
                let value = if self.is_big_endian {
                    u16::from_be_bytes(*sample)
                } else {
                    u16::from_le_bytes(*sample)
                };
                *sample = value.to_ne_bytes();
            }
        } else if shape.bits == 32 {
            for sample in unpacked.as_chunks_mut::<4>().0 {
                let value = if self.is_big_endian {
                    u32::from_be_bytes(*sample)
                } else {
                    u32::from_le_bytes(*sample)
                };
                *sample = value.to_ne_bytes();
            }
        }
        if !self.has_differences {
            return;
        }
        for row in unpacked.chunks_exact_mut(shape.row_bytes()) {
            match shape.bits {
                8 => {
                    for nth in shape.samples..row.len() {
                        row[nth] = row[nth].wrapping_add(row[nth - shape.samples]);
                    }
                }
                16 => {
                    let row = row.as_chunks_mut::<2>().0;
                    for nth in shape.samples..row.len() {
                        let left = u16::from_ne_bytes(row[nth - shape.samples]);
                        row[nth] = u16::from_ne_bytes(row[nth]).wrapping_add(left).to_ne_bytes();
                    }
                }
                _ => {
                    let row = row.as_chunks_mut::<4>().0;
                    for nth in shape.samples..row.len() {
                        let left = u32::from_ne_bytes(row[nth - shape.samples]);
                        row[nth] = u32::from_ne_bytes(row[nth]).wrapping_add(left).to_ne_bytes();
                    }
                }
            }
        }
    }
}

fn unpack_lzw(stored: &[u8], unpacked_bytes: usize) -> Result<Vec<u8>, DecodeError> {
    const CODE_BITS: u8 = 8;
    let mut unpacked = vec![0; unpacked_bytes];
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(BitOrder::Msb, CODE_BITS).build();
    let (mut read, mut written) = (0, 0);
    while written < unpacked_bytes {
        let step = decoder.decode_bytes(&stored[read..], &mut unpacked[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(DecodeError::corrupt(Format::Tiff, error)),
        }
    }
    unpacked.truncate(written);
    Ok(unpacked)
}

/// The decompressor is one for all chunks: to make one takes longer than to unpack a tile of a few pixels.
fn unpack_deflate(
    stored: &[u8],
    unpacked_bytes: usize,
    decompressor: &mut Decompress,
) -> Result<Vec<u8>, DecodeError> {
    decompressor.reset(true);
    let mut unpacked = vec![0; unpacked_bytes];
    let (mut read, mut written) = (0, 0);
    while written < unpacked_bytes {
        let (read_before, written_before) = (decompressor.total_in(), decompressor.total_out());
        let status = decompressor
            .decompress(&stored[read..], &mut unpacked[written..], FlushDecompress::None)
            .map_err(|error| DecodeError::corrupt(Format::Tiff, error))?;
        let read_now = (decompressor.total_in() - read_before) as usize;
        let written_now = (decompressor.total_out() - written_before) as usize;
        (read, written) = (read + read_now, written + written_now);
        if status == Status::StreamEnd || (read_now == 0 && written_now == 0) {
            break;
        }
    }
    unpacked.truncate(written);
    Ok(unpacked)
}

/// Apple's `PackBits` (TIFF 6.0, section 9).
fn unpack_pack_bits(mut stored: &[u8], unpacked_bytes: usize) -> Vec<u8> {
    let mut unpacked = Vec::with_capacity(unpacked_bytes);
    while unpacked.len() < unpacked_bytes {
        let Some((&head, rest)) = stored.split_first() else { break };
        stored = rest;
        match head.cast_signed() {
            -128 => {}
            literal @ 0.. => {
                let (bytes, rest) = stored.split_at(stored.len().min(literal as usize + 1));
                unpacked.extend_from_slice(bytes);
                stored = rest;
            }
            run => {
                let Some((&byte, rest)) = stored.split_first() else { break };
                unpacked.resize(unpacked.len() + usize::from(run.unsigned_abs()) + 1, byte);
                stored = rest;
            }
        }
    }
    unpacked
}

/// White is 0 and black is 1, as in the fax.
fn unpack_group_4(stored: &[u8], shape: &ChunkShape) -> Result<Vec<u8>, DecodeError> {
    let (Ok(width), 1) = (u16::try_from(shape.width), shape.pixel_bits()) else {
        return Err(DecodeError::unsupported(
            "TIFF with fax compression of more than one bit or 65,535 pixels a row",
        ));
    };
    let height = u16::try_from(shape.height).ok();
    let mut unpacked = Vec::with_capacity(shape.row_bytes() * shape.height);
    fax::decoder::decode_g4(stored.iter().copied(), width, height, |transitions| {
        if unpacked.len() >= shape.row_bytes() * shape.height {
            return;
        }
        let start = unpacked.len();
        unpacked.resize(start + shape.row_bytes(), 0);
        for (column, color) in fax::decoder::pels(transitions, width).enumerate() {
            if color == fax::Color::Black {
                unpacked[start + column / 8] |= 0x80 >> (column % 8);
            }
        }
    });
    Ok(unpacked)
}

/// Each chunk is a JPEG datastream of its own; common tables may lie apart.
fn unpack_jpeg(
    stored: &[u8],
    tables: Option<&[u8]>,
    transform: ColorTransform,
    shape: &ChunkShape,
    limits: &DecodeLimits,
) -> Result<Vec<u8>, DecodeError> {
    let another_size = || DecodeError::corrupt(Format::Tiff, "a strip or tile holds a JPEG of another size");
    // Many small tiles may share one large datastream: it must not be decoded for each of them.
    let tile_pixels = shape.width as u64 * shape.stored_height as u64;
    let tile_limits = DecodeLimits { max_pixels: tile_pixels.min(limits.max_pixels), ..*limits };
    let decoded = decompress(stored, tables, transform, &tile_limits).map_err(|error| match error {
        DecodeError::TooLarge { .. } => another_size(),
        other => other.within(Format::Tiff),
    })?;
    let is_expected = decoded.components == shape.samples
        && decoded.width as usize == shape.width
        && decoded.height as usize >= shape.height
        && shape.bits == 8;
    if !is_expected {
        return Err(another_size());
    }
    let mut samples = decoded.interleaved;
    samples.truncate(shape.row_bytes() * shape.height);
    Ok(samples)
}
