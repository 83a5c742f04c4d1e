//! One convolution, from its filters to its output.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::error::ConvError;
use crate::product::{Columns, ColumnsMut, multiply};
use crate::tiles::{OutputRows, gather_tiles, scatter_tiles};
use crate::transform::{INPUT_TILE, OUTPUT_TILE, PRODUCTS, transform_filter};
use crate::workers::{Workers, Workspace};

/// Tiles that are dealt with together, where the filters of one position fit a core's cache ([`CACHED_FILTERS`]): few, so that what
/// is between the steps stays in it too. Measured on VGG16's layers.
const TILES_AT_ONCE: usize = 48;
/// The same for larger filters: many, so that their reading pays.
const TILES_AT_ONCE_OF_LARGE_FILTERS: usize = 192;
/// Numbers that fit a core's cache, beside others.
const CACHED_FILTERS: usize = 256 * 256;

/// A cache line of numbers between tiles. Without it, tiles whose size is a multiple of a page would all lie in the same few lines of
/// the cache.
const TILE_GAP: usize = 16;

/// What is done to each sum once it is there, in this order: the bias of its filter is added, ReLU, pooling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// Negative values become 0; a NaN stays one.
    pub relu: bool,
    /// The largest of each 2x2 square, without overlap; a last odd row or column is left out, as ONNX's `MaxPool` with
    /// strides of 2 and no padding does.
    pub max_pool_2x2: bool,
}

/// Rows and columns of zeros around a photo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Padding {
    /// Above the first row.
    pub top: usize,
    /// Left of the first column.
    pub left: usize,
    /// Below the last row.
    pub bottom: usize,
    /// Right of the last column.
    pub right: usize,
}

impl Padding {
    /// The same on all sides; 1 keeps a photo's size.
    pub fn all(padding: usize) -> Self {
        Self { top: padding, left: padding, bottom: padding, right: padding }
    }
}

/// A 3x3 convolution of stride 1 with its filters transformed once, for any number of photos of any size.
///
/// Numbers lie as photos, rows, columns, channels, the last the nearest ("NHWC").
#[derive(Debug)]
pub struct Conv3x3 {
    channels_in: usize,
    channels_out: usize,
    /// Of each of the [`PRODUCTS`] positions, the filters' values by input channel, then output channel.
    filters: Vec<f32>,
    bias: Vec<f32>,
    padding: Padding,
    epilogue: Epilogue,
}

impl Conv3x3 {
    /// `weights` as ONNX has them: output channels, input channels, 3 rows, 3 columns. No `bias` is one of zeros.
    ///
    /// # Errors
    /// If there are no channels, or the slices are of other lengths.
    pub fn new(
        weights: &[f32],
        channels: ChannelCounts,
        bias: Option<&[f32]>,
        padding: Padding,
        epilogue: Epilogue,
    ) -> Result<Self, ConvError> {
        let ChannelCounts { input: channels_in, output: channels_out } = channels;
        let expected = channels_in * channels_out * 9;
        if expected == 0 || weights.len() != expected {
            return Err(ConvError::Length { what: "weights", found: weights.len(), expected });
        }
        let bias = bias.map_or_else(|| vec![0.0; channels_out], <[f32]>::to_vec);
        if bias.len() != channels_out {
            return Err(ConvError::Length { what: "bias", found: bias.len(), expected: channels_out });
        }
        let mut filters = vec![0.0; PRODUCTS * channels_in * channels_out];
        let weights = weights.as_chunks::<9>().0;
        for input in 0..channels_in {
            for output in 0..channels_out {
                let transformed = transform_filter(&weights[output * channels_in + input]);
                for (position, value) in transformed.into_iter().enumerate() {
                    filters[(position * channels_in + input) * channels_out + output] = value;
                }
            }
        }
        Ok(Self { channels_in, channels_out, filters, bias, padding, epilogue })
    }

    /// Channels of input and output.
    pub fn channels(&self) -> ChannelCounts {
        ChannelCounts { input: self.channels_in, output: self.channels_out }
    }

    /// Rows and columns of the output for photos of `height` rows and `width` columns.
    ///
    /// # Errors
    /// If such a photo is smaller than the filter, or than the square that is pooled.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize), ConvError> {
        let (rows, columns) = self.convolved_size(height, width)?;
        if !self.epilogue.max_pool_2x2 {
            return Ok((rows, columns));
        }
        match (rows / 2, columns / 2) {
            (0, _) | (_, 0) => Err(ConvError::TooSmall { height, width }),
            halved => Ok(halved),
        }
    }

    fn convolved_size(&self, height: usize, width: usize) -> Result<(usize, usize), ConvError> {
        let Padding { top, left, bottom, right } = self.padding;
        match ((height + top + bottom).saturating_sub(2), (width + left + right).saturating_sub(2)) {
            (0, _) | (_, 0) => Err(ConvError::TooSmall { height, width }),
            size => Ok(size),
        }
    }

    /// Convolves `photos` photos of `height` x `width` pixels. `output` is overwritten.
    ///
    /// A photo's output is the same bits in any company and with any number of workers.
    ///
    /// # Errors
    /// If the photos are too small, or a slice is of another length. Nothing is written then.
    pub fn run(
        &self,
        [photos, height, width]: [usize; 3],
        input: &[f32],
        output: &mut [f32],
        workers: &dyn Workers,
        workspace: &Workspace,
    ) -> Result<(), ConvError> {
        let (rows, columns) = self.convolved_size(height, width)?;
        let (output_rows, output_columns) = self.output_size(height, width)?;
        let length = |what, found, expected| {
            if found == expected { Ok(()) } else { Err(ConvError::Length { what, found, expected }) }
        };
        length("input", input.len(), photos * height * width * self.channels_in)?;
        length("output", output.len(), photos * output_rows * output_columns * self.channels_out)?;
        let grid = Grid {
            height,
            width,
            rows,
            output_rows,
            output_columns,
            tile_rows: rows.div_ceil(OUTPUT_TILE),
            tile_columns: columns.div_ceil(OUTPUT_TILE),
        };

        // Each block is a range of rows of tiles, over the borders of photos, and owns the rows of the output that it makes.
        let blocks = self.blocks(photos * grid.tile_rows, grid.tile_columns, workers.count());
        let mut rest = output;
        let blocks: Vec<Block<'_>> = blocks
            .map(|block| {
                let numbers = (grid.first_output_row(block.end) - grid.first_output_row(block.start))
                    * output_columns
                    * self.channels_out;
                let (own, others) = std::mem::take(&mut rest).split_at_mut(numbers);
                rest = others;
                Mutex::new(Some((block, own)))
            })
            .collect();
        workers.for_each(blocks.len(), &|index| {
            let block = blocks[index].lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((tile_rows, own)) = block {
                workspace.with_buffer(|buffer| self.run_block(&grid, tile_rows, input, own, buffer));
            }
        });
        Ok(())
    }

    fn tiles_at_once(&self) -> usize {
        if self.channels_in * self.channels_out <= CACHED_FILTERS {
            TILES_AT_ONCE
        } else {
            TILES_AT_ONCE_OF_LARGE_FILTERS
        }
    }

    /// Ranges of so many rows of tiles: as many for each worker, and none with many more tiles than are dealt with at once.
    fn blocks(
        &self,
        tile_rows: usize,
        tile_columns: usize,
        workers: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let wanted =
            (tile_rows * tile_columns / self.tiles_at_once()).max(1).next_multiple_of(workers.max(1));
        let count = wanted.clamp(1, tile_rows.max(1));
        (0..count).map(move |index| index * tile_rows / count..(index + 1) * tile_rows / count)
    }

    fn run_block(
        &self,
        grid: &Grid,
        tile_rows: Range<usize>,
        input: &[f32],
        output: &mut [f32],
        buffer: &mut Vec<f32>,
    ) {
        let (stride_in, stride_out) =
            (PRODUCTS * self.channels_in + TILE_GAP, PRODUCTS * self.channels_out + TILE_GAP);
        let first_output_row = grid.first_output_row(tile_rows.start);
        let tiles = tile_rows.start * grid.tile_columns..tile_rows.end * grid.tile_columns;
        // As equal as can be: a few tiles at the end would take as long to read the filters for.
        let at_once = tiles.len().div_ceil((tiles.len() / self.tiles_at_once()).max(1)).max(1);
        for start in tiles.clone().step_by(at_once) {
            let tiles = start..tiles.end.min(start + at_once);
            // Never one alone: a product with one column is summed in another order, and bits must not depend on the company.
            let count = tiles.len().max(2);
            buffer.resize(count * (stride_in + stride_out), 0.0);
            let (transformed, products) = buffer.split_at_mut(count * stride_in);
            gather_tiles(grid, tiles.clone(), self.padding, self.channels_in, input, transformed, stride_in);
            let channels = self.channels();
            for (position, filters) in self.filters.chunks_exact(channels.input * channels.output).enumerate()
            {
                let transformed =
                    Columns { numbers: &transformed[position * channels.input..], stride: stride_in };
                let mut products =
                    ColumnsMut { numbers: &mut products[position * channels.output..], stride: stride_out };
                multiply(&transformed, filters, channels, &mut products, count);
            }
            let rows = OutputRows { first: first_output_row, bias: &self.bias, epilogue: self.epilogue };
            scatter_tiles(grid, tiles, rows, products, stride_out, output);
        }
    }
}

/// Channels before and after a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelCounts {
    /// Of its input.
    pub input: usize,
    /// Of its output.
    pub output: usize,
}

/// A range of rows of tiles and the output that they make, for whoever comes first.
type Block<'a> = Mutex<Option<(Range<usize>, &'a mut [f32])>>;

/// Where tiles lie on photos of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Of a photo.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Of what its convolution gives.
    pub(crate) rows: usize,
    /// Of what is left of that after pooling.
    pub(crate) output_rows: usize,
    pub(crate) output_columns: usize,
    /// Of a photo's tiles.
    pub(crate) tile_rows: usize,
    pub(crate) tile_columns: usize,
}

impl Grid {
    /// The output's row, counted over all photos, with which a row of tiles begins.
    pub(crate) fn first_output_row(&self, tile_row: usize) -> usize {
        let (photo, row) = (tile_row / self.tile_rows, tile_row % self.tile_rows);
        let rows_of_a_tile = if self.output_rows == self.rows { OUTPUT_TILE } else { OUTPUT_TILE / 2 };
        photo * self.output_rows + (row * rows_of_a_tile).min(self.output_rows)
    }

    /// The input's row, or column, with which a tile begins, counted from the first of the padding.
    pub(crate) fn first_input(tile: usize) -> usize {
        tile * (INPUT_TILE - 2)
    }
}
