//! What the samples of a TIFF image mean, and how they become RGB. The accepted combinations are Pillow's.

use super::directory::{Directory, Numbers, Tag};
use crate::color::{Palette, clip_16_bit, cmyk_to_rgb, divide_by_alpha, unpack_bits};
use crate::error::DecodeError;
use crate::format::Format;

/// The samples of a pixel.
pub(super) struct SampleLayout {
    /// Samples a pixel, those without meaning included.
    pub(super) samples: usize,
    /// Bits a sample.
    pub(super) bits: u16,
    meaning: Meaning,
}

enum Meaning {
    /// Indices of up to 8 bits; gray is a palette too.
    Indexed(Palette),
    /// One sample of gray that is clipped to 0 to 255.
    Gray(NumberFormat),
    Rgb,
    /// Red, green and blue are stored multiplied by the fourth sample.
    RgbTimesAlpha,
    Cmyk,
    /// Becomes RGB when unpacked.
    Ycbcr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NumberFormat {
    Unsigned,
    Signed,
    Float,
}

impl SampleLayout {
    pub(super) fn read(directory: &Directory<'_>) -> Result<Self, DecodeError> {
        let photometric = directory.number(Tag::PhotometricInterpretation)?.unwrap_or(0);
        let samples = directory.number(Tag::SamplesPerPixel)?.unwrap_or(1);
        let bits = directory.numbers(Tag::BitsPerSample)?.unwrap_or(Numbers::ONE);
        let extra_samples = directory.numbers(Tag::ExtraSamples)?.unwrap_or(Numbers::NONE);
        let formats = directory.numbers(Tag::SampleFormat)?.unwrap_or(Numbers::ONE);
        let format = match formats.get(0) {
            Some(1) => NumberFormat::Unsigned,
            Some(2) => NumberFormat::Signed,
            Some(3) => NumberFormat::Float,
            _ => return Err(DecodeError::unsupported(format_args!("TIFF with sample format {formats:?}"))),
        };
        let unknown = || {
            DecodeError::unsupported(format_args!(
                "TIFF of photometric interpretation {photometric} with {samples} samples of {bits:?} bits"
            ))
        };
        let bits_of_all = match bits.get(0) {
            Some(first) if bits.iter().all(|bits| bits == first) => first,
            _ => return Err(unknown()),
        };
        let is_associated = extra_samples.get(0) == Some(1);
        let meaning = match (photometric, samples, bits_of_all, format) {
            (0 | 1, 1, 1 | 2 | 4 | 8, NumberFormat::Unsigned) | (1, 1, 8, NumberFormat::Signed) => {
                Meaning::Indexed(gray_palette(bits_of_all, photometric == 0))
            }
            (1, 2, 8, NumberFormat::Unsigned) if !is_associated => Meaning::Indexed(gray_palette(8, false)),
            (0 | 1, 1, 16, NumberFormat::Unsigned | NumberFormat::Signed) | (0 | 1, 1, 32, _) => {
                Meaning::Gray(format)
            }
            (2, 3..=6, 8, NumberFormat::Unsigned) | (2, 3 | 4, 16, NumberFormat::Unsigned) => {
                if is_associated && samples > 3 { Meaning::RgbTimesAlpha } else { Meaning::Rgb }
            }
            (3, 1, 1 | 2 | 4 | 8, NumberFormat::Unsigned) | (3, 2, 8, NumberFormat::Unsigned) => {
                Meaning::Indexed(color_map(directory, 1 << bits_of_all)?)
            }
            (5, 4..=6, 8, NumberFormat::Unsigned) | (5, 4, 16, NumberFormat::Unsigned) => Meaning::Cmyk,
            (6, 3, 8, NumberFormat::Unsigned) => Meaning::Ycbcr,
            _ => return Err(unknown()),
        };
        Ok(Self { samples: samples as usize, bits: bits_of_all as u16, meaning })
    }

    pub(super) fn is_ycbcr(&self) -> bool {
        matches!(self.meaning, Meaning::Ycbcr)
    }

    /// Brings an assembled image to RGB.
    pub(super) fn to_rgb(&self, image: &[u8], width: u32, height: u32) -> Vec<u8> {
        let width = width as usize;
        let row_bytes = (width * self.samples * usize::from(self.bits)).div_ceil(8);
        let mut pixels = Vec::with_capacity(width * height as usize * 3);
        for row in image.chunks_exact(row_bytes) {
            self.append_row(row, width, &mut pixels);
        }
        pixels
    }

    fn append_row(&self, row: &[u8], width: usize, pixels: &mut Vec<u8>) {
        match &self.meaning {
            Meaning::Indexed(palette) if self.bits < 8 => {
                let indices = unpack_bits(row, self.bits as u8, width);
                pixels.extend(indices.flat_map(|index| palette.look_up(index)));
            }
            Meaning::Indexed(palette) => {
                pixels.extend(row.chunks_exact(self.samples).flat_map(|pixel| palette.look_up(pixel[0])));
            }
            Meaning::Gray(format) if self.bits == 16 => {
                pixels.extend(row.as_chunks::<2>().0.iter().flat_map(|&sample| {
                    [match format {
                        NumberFormat::Signed => i16::from_ne_bytes(sample).clamp(0, 255) as u8,
                        _ => clip_16_bit(u16::from_ne_bytes(sample)),
                    }; 3]
                }));
            }
            Meaning::Gray(format) => {
                pixels.extend(row.as_chunks::<4>().0.iter().flat_map(|&sample| {
                    [match format {
                        // Casting cuts the fraction off and clamps.
                        NumberFormat::Float => f32::from_ne_bytes(sample) as u8,
                        // Pillow holds unsigned numbers as signed ones.
                        _ => i32::from_ne_bytes(sample).clamp(0, 255) as u8,
                    }; 3]
                }));
            }
            Meaning::Rgb | Meaning::Ycbcr => {
                for pixel in self.eight_bit_pixels(row) {
                    pixels.extend_from_slice(&pixel[..3]);
                }
            }
            Meaning::RgbTimesAlpha => {
                for [red, green, blue, alpha] in self.eight_bit_pixels(row) {
                    pixels.extend([red, green, blue].map(|sample| divide_by_alpha(sample, alpha)));
                }
            }
            Meaning::Cmyk => {
                for pixel in self.eight_bit_pixels(row) {
                    pixels.extend_from_slice(&cmyk_to_rgb(&pixel));
                }
            }
        }
    }

    /// The first four samples of each pixel (0 for a fourth one that is not there), of 16-bit samples the higher byte.
    fn eight_bit_pixels(&self, row: &[u8]) -> impl Iterator<Item = [u8; 4]> {
        let sample_bytes = usize::from(self.bits / 8);
        let higher_byte = if cfg!(target_endian = "big") { 0 } else { sample_bytes - 1 };
        let samples = self.samples.min(4);
        row.chunks_exact(self.samples * sample_bytes).map(move |pixel| {
            let mut eight_bit = [0; 4];
            for (nth, sample) in eight_bit.iter_mut().take(samples).enumerate() {
                *sample = pixel[nth * sample_bytes + higher_byte];
            }
            eight_bit
        })
    }
}

/// Shades from black to white, or from white to black.
fn gray_palette(bits: u64, starts_white: bool) -> Palette {
    let highest = (1_u64 << bits) - 1;
    Palette::new((0..=highest).map(|level| {
        let shade = (level * 255 / highest) as u8;
        [if starts_white { 255 - shade } else { shade }; 3]
    }))
}

/// All reds, then all greens, then all blues, of 16 bits each; the higher bytes are taken.
fn color_map(directory: &Directory<'_>, entries: usize) -> Result<Palette, DecodeError> {
    let map = directory.numbers(Tag::ColorMap)?.unwrap_or(Numbers::NONE);
    if map.len() < entries * 3 {
        return Err(DecodeError::corrupt(Format::Tiff, "its colour map is missing or too short"));
    }
    let higher_byte = |index| map.get(index).map_or(0, |sample| (sample / 256) as u8);
    Ok(Palette::new((0..entries).map(|entry| [0, 1, 2].map(|color| higher_byte(color * entries + entry)))))
}
