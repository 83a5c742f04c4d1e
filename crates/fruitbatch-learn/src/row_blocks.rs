//! Rows that need not be in memory: they are read again and again, in order, block by block.
//!
//! All that is fitted takes its rows from a [`RowBlocks`]: a matrix in memory is one, rows that lie apart are one
//! ([`RowsByNumber`]), and whoever has them in files writes one. The blocks are those of [`blocks`](crate::blocks), so a result
//! doesn't depend on where its rows come from.

use std::num::NonZeroUsize;
use std::ops::Range;

use linfa::Float;
use ndarray::{Array2, ArrayBase, ArrayView2, Axis, CowArray, Data, Ix2, s};

use crate::LearnError;
use crate::blocks::{Merge, ROWS_PER_BLOCK, block_count, collect_blocks, reduce_shares, rows_of_block};

/// Rows of one width, in a fixed order, that can be read any number of times and are the same each time.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::ops::Range;
///
/// use fruitbatch_learn::blocks::rows_of_block;
/// use fruitbatch_learn::{ClusterCount, Components, FitOptions, LearnError, LearnSpec, RowBlocks, fit};
/// use ndarray::{Array2, CowArray, Ix2};
///
/// /// Rows that are made when they are asked for.
/// struct Waves;
///
/// impl RowBlocks for Waves {
///     type Value = f32;
///
///     fn row_count(&self) -> usize {
///         3_000
///     }
///
///     fn width(&self) -> usize {
///         4
///     }
///
///     fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f32, Ix2>, LearnError>> {
///         blocks.map(|block| {
///             let rows = rows_of_block(block, self.row_count());
///             let value = |(row, column)| ((rows.start + row) as f32 * (column + 1) as f32).sin();
///             Ok(Array2::from_shape_fn((rows.len(), self.width()), value).into())
///         })
///     }
/// }
///
/// let mut spec = LearnSpec::default();
/// spec.pca.n_components = Components::Count(2);
/// spec.kmeans.n_clusters = ClusterCount::Count(3);
/// // No scores in memory: they go to a file in the system's folder for such files.
/// let options = FitOptions { memory_budget_bytes: 0, ..FitOptions::from(NonZeroUsize::MIN) };
/// let fitted = fit(&Waves, None, None, &spec, options)?;
/// assert!(!fitted.projected.is_in_memory());
/// assert_eq!(fitted.projected.to_matrix()?.dim(), (3_000, 2));
/// # Ok::<(), LearnError>(())
/// ```
pub trait RowBlocks: Sync {
    /// What a row is made of: f32 or f64.
    type Value: Float;

    /// Number of rows.
    fn row_count(&self) -> usize;

    /// Number of values in a row.
    fn width(&self) -> usize;

    /// Reads consecutive blocks in order: block b is the rows from `b * ROWS_PER_BLOCK` on, [`ROWS_PER_BLOCK`] x width, the last
    /// one of all with as many rows as are left ([`rows_of_block`]).
    ///
    /// A pass over all rows is one such call on each thread, for contiguous ranges, so a source over files reads each
    /// file about once in a pass. A block is asked for when the one before is done with: a source that makes its blocks in
    /// the iterator's `next` has one in memory for each thread.
    ///
    /// # Errors
    /// An error ends the pass, and what is fitted fails with it: [`LearnError::unread`] makes one of any other. Blocks of another
    /// shape are refused with [`LearnError::BlockShape`].
    fn read(
        &self,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'_, Self::Value, Ix2>, LearnError>>;

    /// The rows of these numbers, in their order.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    ///
    /// # Panics
    /// Unless all numbers are below the number of rows.
    fn select(&self, rows: &[usize]) -> Result<Array2<Self::Value>, LearnError> {
        let mut selected = Array2::zeros((rows.len(), self.width()));
        let mut ascending: Vec<(usize, usize)> = rows.iter().copied().zip(0..).collect();
        ascending.sort_unstable();
        for of_one_block in
            ascending.chunk_by(|(one, _), (other, _)| one / ROWS_PER_BLOCK == other / ROWS_PER_BLOCK)
        {
            let block = of_one_block[0].0 / ROWS_PER_BLOCK;
            for values in read_blocks(self, block..block + 1) {
                let values = values?;
                for &(row, place) in of_one_block {
                    selected.row_mut(place).assign(&values.row(row % ROWS_PER_BLOCK));
                }
            }
        }
        Ok(selected)
    }

    /// All rows as one matrix: a view where they are one already, else a copy.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    fn to_matrix(&self) -> Result<CowArray<'_, Self::Value, Ix2>, LearnError> {
        let mut matrix = Array2::zeros((self.row_count(), self.width()));
        let blocks = matrix.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK);
        for (mut rows, read) in blocks.zip(read_blocks(self, 0..block_count(self.row_count()))) {
            rows.assign(&read?);
        }
        Ok(matrix.into())
    }
}

impl<F: Float, S: Data<Elem = F>> RowBlocks for ArrayBase<S, Ix2>
where
    Self: Sync,
{
    type Value = F;

    fn row_count(&self) -> usize {
        self.nrows()
    }

    fn width(&self) -> usize {
        self.ncols()
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, F, Ix2>, LearnError>> {
        blocks.map(|block| Ok(self.slice(s![rows_of_block(block, self.nrows()), ..]).into()))
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<F>, LearnError> {
        Ok(self.select(Axis(0), rows))
    }

    fn to_matrix(&self) -> Result<CowArray<'_, F, Ix2>, LearnError> {
        Ok(self.view().into())
    }
}

impl<B: RowBlocks> RowBlocks for &B {
    type Value = B::Value;

    fn row_count(&self) -> usize {
        (**self).row_count()
    }

    fn width(&self) -> usize {
        (**self).width()
    }

    fn read(
        &self,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'_, B::Value, Ix2>, LearnError>> {
        (**self).read(blocks)
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<B::Value>, LearnError> {
        (**self).select(rows)
    }

    fn to_matrix(&self) -> Result<CowArray<'_, B::Value, Ix2>, LearnError> {
        (**self).to_matrix()
    }
}

/// Rows in memory that lie apart, each a slice that is found by its number: only a block at a time is put together.
///
/// ```
/// use fruitbatch_learn::{RowBlocks, RowsByNumber};
///
/// let photos = [("a.jpg", vec![1.0_f32, 2.0]), ("b.jpg", vec![3.0, 4.0])];
/// let rows = RowsByNumber::new(photos.len(), 2, |row| photos[row].1.as_slice());
/// assert_eq!(rows.to_matrix()?, ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RowsByNumber<R> {
    row_count: usize,
    width: usize,
    row: R,
}

impl<R> RowsByNumber<R> {
    /// `row` gives the values of a row, from 0 to below `row_count`: `width` of them, or the fit fails with
    /// [`LearnError::RowWidth`].
    pub fn new<'r, F: 'r>(row_count: usize, width: usize, row: R) -> Self
    where
        R: Fn(usize) -> &'r [F],
    {
        Self { row_count, width, row }
    }
}

impl<'r, F: Float + 'r, R: Fn(usize) -> &'r [F] + Sync> RowBlocks for RowsByNumber<R> {
    type Value = F;

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, F, Ix2>, LearnError>> {
        blocks.map(|block| {
            let rows = rows_of_block(block, self.row_count);
            let mut values = Vec::with_capacity(rows.len() * self.width);
            for row in rows.clone() {
                let found = (self.row)(row);
                if found.len() != self.width {
                    return Err(LearnError::RowWidth { row, got: found.len(), expected: self.width });
                }
                values.extend_from_slice(found);
            }
            let block = Array2::from_shape_vec((rows.len(), self.width), values);
            Ok(block.expect("each row has as many values as the rows are wide").into())
        })
    }
}

/// These blocks, each of the shape that it has to have.
pub(crate) fn read_blocks<B: RowBlocks + ?Sized>(
    rows: &B,
    blocks: Range<usize>,
) -> impl Iterator<Item = Result<CowArray<'_, B::Value, Ix2>, LearnError>> {
    let (row_count, width) = (rows.row_count(), rows.width());
    let mut read = rows.read(blocks.clone());
    blocks.map(move |block| {
        let expected = (rows_of_block(block, row_count).len(), width);
        let found = read.next().transpose()?;
        match found {
            Some(values) if values.dim() == expected => Ok(values),
            other => {
                let got = other.map_or((0, 0), |values| values.dim());
                Err(LearnError::BlockShape { block, got, expected })
            }
        }
    })
}

/// Runs `work` on each block of `rows` on up to `threads` threads, and merges what it returns in the fixed tree. `None`
/// without rows.
pub(crate) fn reduce_rows<B: RowBlocks, M: Merge + Send>(
    threads: NonZeroUsize,
    rows: &B,
    work: impl Fn(ArrayView2<'_, B::Value>) -> M + Sync,
) -> Result<Option<M>, LearnError> {
    let items = vec![(); block_count(rows.row_count())];
    reduce_rows_with(threads, rows, items, |_, rows, ()| Ok(work(rows)))
}

/// As [`reduce_rows`], with the block's number and one item for each block, and work that may fail.
pub(crate) fn reduce_rows_with<B: RowBlocks, I: Send, M: Merge + Send>(
    threads: NonZeroUsize,
    rows: &B,
    items: Vec<I>,
    work: impl Fn(usize, ArrayView2<'_, B::Value>, I) -> Result<M, LearnError> + Sync,
) -> Result<Option<M>, LearnError> {
    reduce_shares(threads, items, |first_block, items, is_in_vain| {
        let blocks = read_blocks(rows, first_block..first_block + items.len());
        collect_blocks(first_block, blocks.zip(items), is_in_vain, |block, (rows, item)| {
            work(block, rows?.view(), item)
        })
    })
}
