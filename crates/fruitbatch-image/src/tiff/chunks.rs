//! Strips and tiles: where they lie in the file and where in the image.

use super::compression::{ChunkShape, Compression};
use super::directory::{Directory, Numbers, Tag};
use super::samples::SampleLayout;
use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;

/// The strips or tiles of an image. Strips are tiles as wide as the image.
pub(super) struct Chunks<'a> {
    width: usize,
    height: usize,
    chunk_width: usize,
    chunk_height: usize,
    /// Samples of a pixel that lie in the same chunk: all of them, or one where each has a plane of its own.
    samples_per_chunk: usize,
    planes: usize,
    bits: usize,
    offsets: Numbers<'a>,
    byte_counts: Numbers<'a>,
}

impl<'a> Chunks<'a> {
    pub(super) fn read(
        directory: &Directory<'a>,
        width: u32,
        height: u32,
        layout: &SampleLayout,
    ) -> Result<Self, DecodeError> {
        let samples = layout.samples;
        let is_planar = samples > 1 && directory.number(Tag::PlanarConfiguration)? == Some(2);
        let (samples_per_chunk, planes) = if is_planar { (1, samples) } else { (samples, 1) };
        let (chunk_width, chunk_height, offsets, byte_counts) = if let Some(tile_width) =
            directory.number(Tag::TileWidth)?
        {
            let tile_height = directory.number(Tag::TileLength)?.unwrap_or(0);
            (tile_width, tile_height, Tag::TileOffsets, Tag::TileByteCounts)
        } else {
            let strip_height = directory.number(Tag::RowsPerStrip)?.unwrap_or(u64::MAX).min(height.into());
            (width.into(), strip_height, Tag::StripOffsets, Tag::StripByteCounts)
        };
        let offsets = directory.numbers(offsets)?.unwrap_or(Numbers::NONE);
        let byte_counts = directory.numbers(byte_counts)?.unwrap_or(Numbers::NONE);
        let bits = usize::from(layout.bits);
        let fits = |side: u64| u32::try_from(side).ok().filter(|side| *side > 0).map(|side| side as usize);
        let (Some(chunk_width), Some(chunk_height)) = (fits(chunk_width), fits(chunk_height)) else {
            return Err(DecodeError::corrupt(
                Format::Tiff,
                format_args!("tiles of {chunk_width}x{chunk_height}"),
            ));
        };
        let (width, height) = (width as usize, height as usize);
        let columns = width.div_ceil(chunk_width);
        if columns > 1 && !(chunk_width * bits).is_multiple_of(8) {
            return Err(DecodeError::unsupported("TIFF with tiles that begin within a byte"));
        }
        let needed = columns * height.div_ceil(chunk_height) * planes;
        if offsets.len() < needed {
            return Err(DecodeError::corrupt(
                Format::Tiff,
                format_args!("{} strips or tiles where {needed} are needed", offsets.len()),
            ));
        }
        Ok(Self {
            width,
            height,
            chunk_width,
            chunk_height,
            samples_per_chunk,
            planes,
            bits,
            offsets,
            byte_counts,
        })
    }

    fn columns(&self) -> usize {
        self.width.div_ceil(self.chunk_width)
    }

    fn chunks_per_plane(&self) -> usize {
        self.columns() * self.height.div_ceil(self.chunk_height)
    }

    /// What all chunks unpack to, in bytes. Padding can make tiles any number of times larger than the image.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        let row_bytes =
            self.columns() as u64 * (self.chunk_width as u64).saturating_mul(self.pixel_bits()).div_ceil(8);
        row_bytes.saturating_mul(self.height as u64).saturating_mul(self.planes as u64)
    }

    fn pixel_bits(&self) -> u64 {
        (self.samples_per_chunk * self.bits) as u64
    }

    /// Unpacks all chunks into one image: samples interleaved, rows padded to whole bytes, 16- and 32-bit samples in the
    /// byte order of this machine.
    pub(super) fn assemble(
        &self,
        file: &[u8],
        compression: &Compression,
        limits: &DecodeLimits,
    ) -> Result<Vec<u8>, DecodeError> {
        let image_row_bytes = (self.width * self.planes * self.samples_per_chunk * self.bits).div_ceil(8);
        let mut image = vec![0; image_row_bytes * self.height];
        for index in 0..self.chunks_per_plane() * self.planes {
            let (plane, within_plane) = (index / self.chunks_per_plane(), index % self.chunks_per_plane());
            let left = within_plane % self.columns() * self.chunk_width;
            let top = within_plane / self.columns() * self.chunk_height;
            let shape = ChunkShape {
                width: self.chunk_width,
                height: self.chunk_height.min(self.height - top),
                stored_height: self.chunk_height,
                samples: self.samples_per_chunk,
                bits: self.bits,
            };
            let unpacked =
                compression.unpack(self.stored(index, file, compression, &shape)?, &shape, limits)?;
            let used_width = self.chunk_width.min(self.width - left);
            let rows = image.chunks_exact_mut(image_row_bytes).skip(top);
            for (chunk_row, row) in unpacked.chunks_exact(shape.row_bytes()).zip(rows) {
                if self.planes == 1 {
                    let start = left * shape.pixel_bits() / 8;
                    let bytes = (used_width * shape.pixel_bits()).div_ceil(8);
                    row[start..start + bytes].copy_from_slice(&chunk_row[..bytes]);
                } else {
                    let sample_bytes = self.bits / 8;
                    let pixels = row.chunks_exact_mut(self.planes * sample_bytes).skip(left);
                    for (sample, pixel) in chunk_row.chunks_exact(sample_bytes).take(used_width).zip(pixels) {
                        pixel[plane * sample_bytes..][..sample_bytes].copy_from_slice(sample);
                    }
                }
            }
        }
        Ok(image)
    }

    /// The bytes of a chunk as they lie in the file.
    fn stored<'file>(
        &self,
        index: usize,
        file: &'file [u8],
        compression: &Compression,
        shape: &ChunkShape,
    ) -> Result<&'file [u8], DecodeError> {
        /// No packing makes data ten times larger; libtiff cuts the stored length there too. Any number of strips and
        /// tiles may claim the whole file, and each would read through all of it.
        const MOST_GROWTH: usize = 10;
        /// Room for the tables that a JPEG datastream of a few pixels has.
        const LEAST_BYTES: usize = 4096;
        let unpacked_bytes = shape.row_bytes() * shape.height;
        let byte_count = if compression.is_none() {
            // The tables of lengths are often wrong, and the length is known.
            Some(unpacked_bytes)
        } else {
            self.byte_counts.get(index).and_then(|count| usize::try_from(count).ok())
        };
        let most_bytes = unpacked_bytes.saturating_mul(MOST_GROWTH).saturating_add(LEAST_BYTES);
        let cut_off =
            || DecodeError::truncated(Format::Tiff, format_args!("strip or tile {index} is cut off"));
        let start = self.offsets.get(index).and_then(|start| usize::try_from(start).ok());
        let rest = start.and_then(|start| file.get(start..)).ok_or_else(cut_off)?;
        let stored = match byte_count {
            Some(count) => rest.get(..count).ok_or_else(cut_off)?,
            None => rest,
        };
        Ok(&stored[..stored.len().min(most_bytes)])
    }
}
