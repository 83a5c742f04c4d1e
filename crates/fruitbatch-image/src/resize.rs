//! Resizing with Pillow's arithmetic.
//!
//! An output pixel is a weighted mean of the input pixels below the filter's support, which is widened by the scale
//! when shrinking (antialiasing). Weights are computed in `f64`, normalised to sum to one and rounded to 22 fractional
//! bits (`PRECISION_BITS = 32 - 8 - 2`: 8 bits of sample and 2 bits of head room in a 32-bit sum). Rows and columns are
//! resized one after the other, and the image in between is rounded to 8 bits, so the order shows in the result: rows
//! come first, except for an image that loses more than twice as much height as width. That exception is Pillow's since
//! its version 13; earlier versions always begin with the rows. Square images and all usual shapes of photos that shrink
//! to a square come out alike.
//!
//! All sums are integer arithmetic and the weights need no more than the four basic operations in `f64`, so the same bits
//! come out on every processor.

use crate::rgb_image::RgbImage;

/// Fractional bits of a weight.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// One half, added before the fraction is cut off.
const ROUNDING: i32 = 1 << (PRECISION_BITS - 1);

/// How output pixels are made from input pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Filter {
    /// Cubic convolution with a = -0.5 over four pixels each way (Pillow's `BICUBIC`).
    #[default]
    Bicubic,
    /// The triangle filter over two pixels each way (Pillow's `BILINEAR`).
    Bilinear,
    /// The pixel below the centre of the output pixel, without antialiasing (Pillow's `NEAREST`).
    Nearest,
}

/// Resizes images and keeps its buffers from one image to the next.
#[derive(Debug, Default)]
pub struct Resizer {
    /// The image after the first of two passes.
    intermediate: Vec<u8>,
}

impl Resizer {
    /// A resizer with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resizes `image` to `width` x `height` pixels, bit for bit as Pillow's `Image.resize` does.
    ///
    /// The same size gives a copy, whatever the filter. An image without pixels, or a target without pixels, gives
    /// black pixels as far as there are any.
    ///
    /// # Panics
    ///
    /// If the target has more bytes than can be addressed.
    pub fn resize(&mut self, image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
        if (image.width(), image.height()) == (width, height) {
            return image.clone();
        }
        let byte_count = RgbImage::byte_count(width, height).expect("the target fits the address space");
        let mut output = vec![0; byte_count];
        if !image.pixels().is_empty() && byte_count > 0 {
            match filter {
                Filter::Nearest => resize_nearest(image, width, height, &mut output),
                Filter::Bicubic => self.convolve(image, width, height, Kernel::BICUBIC, &mut output),
                Filter::Bilinear => self.convolve(image, width, height, Kernel::BILINEAR, &mut output),
            }
        }
        RgbImage::from_checked(width, height, output)
    }

    fn convolve(&mut self, image: &RgbImage, width: u32, height: u32, kernel: Kernel, output: &mut [u8]) {
        let (input_width, input_height) = (image.width(), image.height());
        let input = image.pixels();
        let row_weights = (width != input_width).then(|| Weights::new(input_width, width, kernel));
        let column_weights = (height != input_height).then(|| Weights::new(input_height, height, kernel));
        match (row_weights, column_weights) {
            (Some(row_weights), Some(column_weights)) => {
                if begins_with_columns(image, width, height) {
                    self.intermediate.resize(row_bytes(input_width) * height as usize, 0);
                    convolve_columns(input, row_bytes(input_width), &column_weights, &mut self.intermediate);
                    convolve_rows(&self.intermediate, row_bytes(input_width), &row_weights, output);
                } else {
                    self.intermediate.resize(row_bytes(width) * input_height as usize, 0);
                    convolve_rows(input, row_bytes(input_width), &row_weights, &mut self.intermediate);
                    convolve_columns(&self.intermediate, row_bytes(width), &column_weights, output);
                }
            }
            (Some(row_weights), None) => convolve_rows(input, row_bytes(input_width), &row_weights, output),
            (None, Some(column_weights)) => {
                convolve_columns(input, row_bytes(width), &column_weights, output);
            }
            (None, None) => output.copy_from_slice(input),
        }
    }
}

/// Whether the image loses more than twice as much height as width.
fn begins_with_columns(image: &RgbImage, width: u32, height: u32) -> bool {
    let lost_width = i64::from(image.width()) - i64::from(width);
    let lost_height = i64::from(image.height()) - i64::from(height);
    lost_height > 0 && lost_height > 2 * lost_width
}

/// Resizes one image; see [`Resizer::resize`], which saves allocations over many.
pub fn resize(image: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    Resizer::new().resize(image, width, height, filter)
}

/// A filter as a function of the distance from the centre.
#[derive(Clone, Copy)]
struct Kernel {
    /// Distance beyond which the weight is zero, in input pixels at scale 1.
    support: f64,
    weight: fn(f64) -> f64,
}

impl Kernel {
    const BILINEAR: Self = Self {
        support: 1.0,
        weight: |x| {
            let x = x.abs();
            if x < 1.0 { 1.0 - x } else { 0.0 }
        },
    };

    /// Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.5.
    const BICUBIC: Self = Self {
        support: 2.0,
        weight: |x| {
            const A: f64 = -0.5;
            let x = x.abs();
            if x < 1.0 {
                ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                (((x - 5.0) * x + 8.0) * x - 4.0) * A
            } else {
                0.0
            }
        },
    };
}

/// The input pixels and fixed-point weights that make each output pixel along one axis.
struct Weights {
    /// First input pixel and count of input pixels of each output pixel.
    spans: Vec<(usize, usize)>,
    /// `taps` weights for each output pixel, of which the first `count` are used.
    fixed_point: Vec<i32>,
    taps: usize,
}

impl Weights {
    fn new(input_size: u32, output_size: u32, kernel: Kernel) -> Self {
        let scale = f64::from(input_size) / f64::from(output_size);
        let filter_scale = scale.max(1.0);
        let support = kernel.support * filter_scale;
        let taps = support.ceil() as usize * 2 + 1;
        let inverse_filter_scale = 1.0 / filter_scale;

        let mut spans = Vec::with_capacity(output_size as usize);
        let mut fixed_point = vec![0; output_size as usize * taps];
        let mut weights = vec![0.0_f64; taps];
        for (output, fixed_point) in (0..output_size).zip(fixed_point.chunks_exact_mut(taps)) {
            let center = (f64::from(output) + 0.5) * scale;
            // Casts cut the fraction off and clamp negative numbers to zero.
            let first = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(input_size);
            let count = (end - first) as usize;

            let mut sum = 0.0;
            for (offset, weight) in (0..end - first).zip(&mut weights) {
                let distance = f64::from(offset + first) - center + 0.5;
                *weight = (kernel.weight)(distance * inverse_filter_scale);
                sum += *weight;
            }
            for (fixed_point, weight) in fixed_point.iter_mut().zip(&weights[..count]) {
                let normalised = if sum == 0.0 { *weight } else { weight / sum };
                *fixed_point = to_fixed_point(normalised);
            }
            spans.push((first as usize, count));
        }
        Self { spans, fixed_point, taps }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.fixed_point.chunks_exact(self.taps);
        self.spans.iter().zip(weights).map(|(&(first, count), weights)| (first, &weights[..count]))
    }
}

fn to_fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_u32 << PRECISION_BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

fn to_sample(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// `sum + sample * weight`. It can't overflow, as the weights of a pixel add up to one and their magnitudes to less than
/// two; saying so with wrapping operations keeps the loops free of checks and lets them be vectorised.
fn multiply_add(sum: i32, sample: u8, weight: i32) -> i32 {
    sum.wrapping_add(i32::from(sample).wrapping_mul(weight))
}

fn row_bytes(width: u32) -> usize {
    width as usize * 3
}

fn convolve_rows(input: &[u8], input_row_bytes: usize, weights: &Weights, output: &mut [u8]) {
    let output_row_bytes = weights.spans.len() * 3;
    for (input_row, output_row) in
        input.chunks_exact(input_row_bytes).zip(output.chunks_exact_mut(output_row_bytes))
    {
        let (input_pixels, _) = input_row.as_chunks::<3>();
        let (output_pixels, _) = output_row.as_chunks_mut::<3>();
        for (output_pixel, (first, weights)) in output_pixels.iter_mut().zip(weights.iter()) {
            let [mut red, mut green, mut blue] = [ROUNDING; 3];
            for (pixel, weight) in input_pixels[first..first + weights.len()].iter().zip(weights) {
                red = multiply_add(red, pixel[0], *weight);
                green = multiply_add(green, pixel[1], *weight);
                blue = multiply_add(blue, pixel[2], *weight);
            }
            *output_pixel = [to_sample(red), to_sample(green), to_sample(blue)];
        }
    }
}

fn convolve_columns(input: &[u8], row_bytes: usize, weights: &Weights, output: &mut [u8]) {
    let mut sums = vec![0_i32; row_bytes];
    for (output_row, (first, weights)) in output.chunks_exact_mut(row_bytes).zip(weights.iter()) {
        sums.fill(ROUNDING);
        let input_rows = input[first * row_bytes..].chunks_exact(row_bytes);
        for (input_row, weight) in input_rows.zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(input_row) {
                *sum = multiply_add(*sum, *sample, *weight);
            }
        }
        for (sample, sum) in output_row.iter_mut().zip(&sums) {
            *sample = to_sample(*sum);
        }
    }
}

/// Source positions of one axis. Pillow walks by repeated addition, so its rounding errors are part of the result;
/// a position that they carry beyond the last pixel stays black.
fn nearest_positions(input_size: u32, output_size: u32) -> Vec<Option<usize>> {
    let step = f64::from(input_size) / f64::from(output_size);
    let mut position = step * 0.5;
    (0..output_size)
        .map(|_| {
            let pixel = position as u32;
            position += step;
            (pixel < input_size).then_some(pixel as usize)
        })
        .collect()
}

fn resize_nearest(image: &RgbImage, width: u32, height: u32, output: &mut [u8]) {
    let columns = nearest_positions(image.width(), width);
    let rows = nearest_positions(image.height(), height);
    let input_row_bytes = row_bytes(image.width());
    for (output_row, row) in output.chunks_exact_mut(row_bytes(width)).zip(rows) {
        let Some(row) = row else { continue };
        let (input_pixels, _) = image.pixels()[row * input_row_bytes..][..input_row_bytes].as_chunks::<3>();
        let (output_pixels, _) = output_row.as_chunks_mut::<3>();
        for (output_pixel, column) in output_pixels.iter_mut().zip(&columns) {
            if let Some(column) = column {
                *output_pixel = input_pixels[*column];
            }
        }
    }
}
