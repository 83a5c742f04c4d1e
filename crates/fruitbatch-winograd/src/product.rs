//! The products of matrices between the two transforms.

use gemm::{Parallelism, gemm};

use crate::conv::ChannelCounts;

/// Channels that are summed up in one go. The crate's own choice for more of them depends on the other sizes, and with it the order
/// of the sum; up to so many, it is one after the other whatever the sizes.
const SUMMED_AT_ONCE: usize = 512;

/// Columns of numbers, each from its beginning `stride` numbers after the last one's.
pub(crate) struct Columns<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) stride: usize,
}

/// The same, to be written.
pub(crate) struct ColumnsMut<'a> {
    pub(crate) numbers: &'a mut [f32],
    pub(crate) stride: usize,
}

/// `products` = `filters` x `tiles`: (output by input channels) x (input channels by tiles), with `count` tiles; the filters by input
/// channel, then output channel.
///
/// On the calling thread alone. The sums of a tile are the same bits whatever other tiles there are, as long as there are others.
pub(crate) fn multiply(
    tiles: &Columns<'_>,
    filters: &[f32],
    channels: ChannelCounts,
    products: &mut ColumnsMut<'_>,
    count: usize,
) {
    let ChannelCounts { input, output } = channels;
    assert_eq!(filters.len(), input * output);
    let last = count.saturating_sub(1);
    assert!(tiles.stride >= input && tiles.numbers.len() >= last * tiles.stride + input);
    assert!(products.stride >= output && products.numbers.len() >= last * products.stride + output);
    for first in (0..input).step_by(SUMMED_AT_ONCE) {
        let depth = SUMMED_AT_ONCE.min(input - first);
        // SAFETY: what is read and written lies inside the slices: their lengths are checked above, `first + depth` is at most
        // `input`, and the strides are those of their columns and, for the filters, of their rows. `products` is borrowed alone,
        // and its columns don't overlap.
        unsafe {
            gemm(
                output,
                count,
                depth,
                products.numbers.as_mut_ptr(),
                products.stride.cast_signed(),
                1,
                first > 0,
                filters[first * output..].as_ptr(),
                output.cast_signed(),
                1,
                tiles.numbers[first..].as_ptr(),
                tiles.stride.cast_signed(),
                1,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
