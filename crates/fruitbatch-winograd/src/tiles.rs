//! From photos to transformed tiles, and from products back to rows of the output.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::conv::{Epilogue, Grid, Padding};
use crate::transform::{INPUT_TILE, OUTPUT_TILE, PRODUCTS, transform_input, transform_output};

/// What the output gets beyond the sums themselves.
#[derive(Clone, Copy)]
pub(crate) struct OutputRows<'a> {
    /// The first of them, counted over all photos.
    pub(crate) first: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: Epilogue,
}

/// Transforms the input of `tiles`, counted over all photos: of each tile its 36 positions by channels, `stride` numbers after the last
/// one's.
pub(crate) fn gather_tiles(
    grid: &Grid,
    tiles: Range<usize>,
    padding: Padding,
    channels: usize,
    input: &[f32],
    transformed: &mut [f32],
    stride: usize,
) {
    Arch::new().dispatch(Gather { grid, tiles, padding, channels, input, transformed, stride });
}

/// The other way round, into the rows of the output.
pub(crate) fn scatter_tiles(
    grid: &Grid,
    tiles: Range<usize>,
    rows: OutputRows<'_>,
    products: &[f32],
    stride: usize,
    output: &mut [f32],
) {
    Arch::new().dispatch(Scatter { grid, tiles, rows, products, stride, output });
}

struct Gather<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    padding: Padding,
    channels: usize,
    input: &'a [f32],
    transformed: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { grid, tiles, padding, channels, input, transformed, stride } = self;
        let zeros = vec![0.0; channels];
        for (tile, transformed) in tiles.zip(transformed.chunks_exact_mut(stride)) {
            let (tile_row, tile_column) = (tile / grid.tile_columns, tile % grid.tile_columns);
            let photo = tile_row / grid.tile_rows;
            let photo =
                &input[photo * grid.height * grid.width * channels..][..grid.height * grid.width * channels];
            let first_row = Grid::first_input(tile_row % grid.tile_rows);
            let first_column = Grid::first_input(tile_column);
            // A pixel of the padding is one of zeros, and so is one below or right of it, for a tile that isn't whole.
            let pixels: [&[f32]; PRODUCTS] = std::array::from_fn(|position| {
                let row = (first_row + position / INPUT_TILE).wrapping_sub(padding.top);
                let column = (first_column + position % INPUT_TILE).wrapping_sub(padding.left);
                if row < grid.height && column < grid.width {
                    &photo[(row * grid.width + column) * channels..][..channels]
                } else {
                    zeros.as_slice()
                }
            });
            transform_pixels(simd, &pixels, &mut transformed[..PRODUCTS * channels], channels);
        }
    }
}

#[inline(always)]
fn transform_pixels<S: Simd>(simd: S, pixels: &[&[f32]; PRODUCTS], transformed: &mut [f32], channels: usize) {
    let mut values = [simd.splat_f32s(0.0); PRODUCTS];
    for first in (0..channels).step_by(S::F32_LANES) {
        let end = (first + S::F32_LANES).min(channels);
        for (value, pixel) in values.iter_mut().zip(pixels) {
            *value = load(simd, &pixel[first..end]);
        }
        transform_input(simd, &mut values);
        for (value, position) in values.iter().zip(transformed.chunks_exact_mut(channels)) {
            store(simd, &mut position[first..end], *value);
        }
    }
}

struct Scatter<'a> {
    grid: &'a Grid,
    tiles: Range<usize>,
    rows: OutputRows<'a>,
    products: &'a [f32],
    stride: usize,
    output: &'a mut [f32],
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { grid, tiles, rows, products, stride, output } = self;
        let channels = rows.bias.len();
        let side = if rows.epilogue.max_pool_2x2 { OUTPUT_TILE / 2 } else { OUTPUT_TILE };
        for (tile, products) in tiles.zip(products.chunks_exact(stride)) {
            let (tile_row, tile_column) = (tile / grid.tile_columns, tile % grid.tile_columns);
            let row = grid.first_output_row(tile_row);
            let rows_here = (grid.first_output_row(tile_row + 1) - row).min(side);
            let column = tile_column * side;
            let columns_here = grid.output_columns.saturating_sub(column).min(side);
            let first_pixel = (row - rows.first) * grid.output_columns + column;
            for first in (0..channels).step_by(S::F32_LANES) {
                let end = (first + S::F32_LANES).min(channels);
                let mut values = [simd.splat_f32s(0.0); PRODUCTS];
                for (value, position) in values.iter_mut().zip(products.chunks_exact(channels)) {
                    *value = load(simd, &position[first..end]);
                }
                let mut values = transform_output(simd, &values);
                finish(simd, &mut values, load(simd, &rows.bias[first..end]), rows.epilogue);
                for i in 0..rows_here {
                    for j in 0..columns_here {
                        let pixel = (first_pixel + i * grid.output_columns + j) * channels;
                        let value = values[i * OUTPUT_TILE + j];
                        store(simd, &mut output[pixel + first..pixel + end], value);
                    }
                }
            }
        }
    }
}

/// Adds the bias, and so on. What is left after pooling are the first two rows and columns.
#[inline(always)]
fn finish<S: Simd>(
    simd: S,
    values: &mut [S::f32s; OUTPUT_TILE * OUTPUT_TILE],
    bias: S::f32s,
    epilogue: Epilogue,
) {
    let zero = simd.splat_f32s(0.0);
    for value in values.iter_mut() {
        *value = simd.add_f32s(*value, bias);
        if epilogue.relu {
            // Not the largest of both: which of them that gives for a NaN differs between processors.
            *value = simd.select_f32s(simd.less_than_f32s(*value, zero), zero, *value);
        }
    }
    if epilogue.max_pool_2x2 {
        for i in 0..OUTPUT_TILE / 2 {
            for j in 0..OUTPUT_TILE / 2 {
                let square = 2 * i * OUTPUT_TILE + 2 * j;
                let upper = larger(simd, values[square], values[square + 1]);
                let lower = larger(simd, values[square + OUTPUT_TILE], values[square + OUTPUT_TILE + 1]);
                values[i * OUTPUT_TILE + j] = larger(simd, upper, lower);
            }
        }
    }
}

/// The larger of two; a NaN if the first is one.
#[inline(always)]
fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.select_f32s(simd.less_than_f32s(a, b), b, a)
}

/// So many channels of a pixel: a whole vector, but for the last ones. Whole ones are read as they are: partial loads with their
/// masks are calls that cost more than the arithmetic between them.
#[inline(always)]
fn load<S: Simd>(simd: S, pixel: &[f32]) -> S::f32s {
    match S::as_simd_f32s(pixel) {
        ([whole], []) => *whole,
        _ => simd.partial_load_f32s(pixel),
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, pixel: &mut [f32], value: S::f32s) {
    match S::as_mut_simd_f32s(pixel) {
        ([whole], []) => *whole = value,
        _ => simd.partial_store_f32s(pixel, value),
    }
}
