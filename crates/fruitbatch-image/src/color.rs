//! From the samples that files hold to 8-bit RGB, with the arithmetic of Pillow's `convert("RGB")`.

/// Repeats each gray sample three times.
pub(crate) fn gray_to_rgb(gray: &[u8]) -> Vec<u8> {
    gray.iter().flat_map(|&sample| [sample; 3]).collect()
}

/// Keeps the first three of every four samples.
pub(crate) fn drop_fourth_sample(samples: &[u8]) -> Vec<u8> {
    samples.as_chunks::<4>().0.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]).collect()
}

/// A 16-bit gray sample as Pillow's conversion of mode `I;16` gives it: clipped at 255, not scaled.
pub(crate) fn clip_16_bit(sample: u16) -> u8 {
    sample.min(255) as u8
}

/// CMYK to RGB without a profile.
pub(crate) fn cmyk_to_rgb(samples: &[u8]) -> Vec<u8> {
    samples.as_chunks::<4>().0.iter().flat_map(|&pixel| cmyk_pixel_to_rgb(pixel)).collect()
}

/// CMYK that is stored inverted, Adobe's way, to RGB.
pub(crate) fn cmyk_inverted_to_rgb(samples: &[u8]) -> Vec<u8> {
    samples
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|&pixel| cmyk_pixel_to_rgb(pixel.map(|sample| 255 - sample)))
        .collect()
}

fn cmyk_pixel_to_rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let white = 255 - black;
    [cyan, magenta, yellow].map(|ink| white - multiply_as_fractions(ink, white))
}

/// `a * b / 255`, rounded.
fn multiply_as_fractions(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Undoes a multiplication by alpha, as Pillow reads associated alpha: rounded down and clipped, and black where alpha is
/// zero.
pub(crate) fn divide_by_alpha(sample: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (255 * u32::from(sample) / u32::from(alpha)).min(255) as u8,
    }
}

/// A palette of up to 256 RGB entries. An index without an entry is black.
pub(crate) struct Palette(Box<[[u8; 3]; 256]>);

impl Palette {
    pub(crate) fn new(entries: impl IntoIterator<Item = [u8; 3]>) -> Self {
        let mut palette = Box::new([[0; 3]; 256]);
        for (slot, entry) in palette.iter_mut().zip(entries) {
            *slot = entry;
        }
        Self(palette)
    }

    /// From red, green, blue, red, green, blue, ...
    pub(crate) fn from_rgb_bytes(bytes: &[u8]) -> Self {
        Self::new(bytes.as_chunks::<3>().0.iter().copied())
    }

    pub(crate) fn look_up(&self, index: u8) -> [u8; 3] {
        self.0[usize::from(index)]
    }

    pub(crate) fn to_rgb(&self, indices: &[u8]) -> Vec<u8> {
        indices.iter().flat_map(|&index| self.look_up(index)).collect()
    }
}

/// Takes apart a row of samples that are narrower than a byte, the highest bits first. `bits` is 1, 2 or 4; the padding
/// at the end of the row is left out.
pub(crate) fn unpack_bits(row: &[u8], bits: u8, samples: usize) -> impl Iterator<Item = u8> {
    let per_byte = 8 / usize::from(bits);
    let mask = ((1_u16 << bits) - 1) as u8;
    row.iter()
        .flat_map(move |&byte| (1..=per_byte).map(move |nth| byte >> (8 - nth * usize::from(bits)) & mask))
        .take(samples)
}
