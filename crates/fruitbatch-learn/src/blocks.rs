//! Sums over fixed blocks of rows whose result depends on the rows alone: not on the number of threads, and not on how the
//! rows were dealt out to executors.
//!
//! Floating-point addition isn't associative, so a sum is only reproducible if its additions always happen in the same tree.
//! Here rows are cut into blocks of [`ROWS_PER_BLOCK`], counted from the first row in path order, and the blocks are merged
//! in a fixed binary tree over their numbers: 0 with 1, 2 with 3, then (0, 1) with (2, 3), and so on, always the earlier
//! block on the left. Whoever holds two siblings may merge them, so partial results combine on any machine in any order and
//! still give the same bits, and a run of n blocks needs about 2 log2(n) values in memory, not n.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::LearnError;

/// Rows in a block of every sum that decides a result. Changing it changes the last bits of results.
///
/// 1024 rows of 512 columns are 4 MiB in f64: enough for a matrix product at full speed, little enough to share a few
/// thousand rows among threads.
pub const ROWS_PER_BLOCK: usize = 1024;

/// A partial result over consecutive rows that can be joined with that of the rows that follow.
pub trait Merge {
    /// Joins the result of earlier rows (`self`) with that of the `later` rows.
    #[must_use]
    fn merge(self, later: Self) -> Self;
}

impl Merge for () {
    fn merge(self, (): Self) -> Self {}
}

impl Merge for f64 {
    fn merge(self, later: Self) -> Self {
        self + later
    }
}

impl<T> Merge for Vec<T> {
    fn merge(mut self, mut later: Self) -> Self {
        self.append(&mut later);
        self
    }
}

/// A node of the merge tree: the blocks from its key on, `2^level` of them.
#[derive(Debug, Clone)]
struct Node<M> {
    level: u32,
    value: M,
}

/// Collects the results of blocks, in any order and from anywhere, and merges them in the one fixed tree.
///
/// ```
/// use fruitbatch_learn::blocks::BlockAccumulator;
///
/// let blocks = [1e16, 1.0, -1e16, 3.0];
/// let mut one = BlockAccumulator::new();
/// for (index, value) in blocks.iter().enumerate() {
///     one.add_block(index as u64, *value)?;
/// }
/// let (mut first, mut second) = (BlockAccumulator::new(), BlockAccumulator::new());
/// second.add_block(3, blocks[3])?;
/// first.add_block(1, blocks[1])?;
/// second.add_block(0, blocks[0])?;
/// first.add_block(2, blocks[2])?;
/// second.absorb(first)?;
/// assert_eq!(one.finish(), second.finish());
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlockAccumulator<M> {
    /// Keyed by the first block of a node; no two nodes overlap and no two are siblings.
    nodes: BTreeMap<u64, Node<M>>,
}

impl<M> Default for BlockAccumulator<M> {
    fn default() -> Self {
        Self { nodes: BTreeMap::new() }
    }
}

impl<M: Merge> BlockAccumulator<M> {
    /// An accumulator without any block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the result of block number `block` (rows `block * ROWS_PER_BLOCK ..` of all rows).
    ///
    /// # Errors
    /// [`LearnError::BlockAddedTwice`] if the block is already in; nothing is changed then.
    pub fn add_block(&mut self, block: u64, value: M) -> Result<(), LearnError> {
        self.add_node(block, Node { level: 0, value })
    }

    /// Takes over everything that `other` has collected.
    ///
    /// # Errors
    /// [`LearnError::BlockAddedTwice`] if a block is in both; `self` then holds a part of `other` and is of no more use.
    pub fn absorb(&mut self, other: Self) -> Result<(), LearnError> {
        other.nodes.into_iter().try_for_each(|(first_block, node)| self.add_node(first_block, node))
    }

    /// The result over all blocks added, `None` if there was none.
    pub fn finish(self) -> Option<M> {
        self.nodes.into_values().map(|node| node.value).reduce(Merge::merge)
    }

    fn add_node(&mut self, mut first_block: u64, mut node: Node<M>) -> Result<(), LearnError> {
        let last_block = first_block + ((1_u64 << node.level) - 1);
        if let Some((&other_first, other)) = self.nodes.range(..=last_block).next_back()
            && other_first + ((1_u64 << other.level) - 1) >= first_block
        {
            return Err(LearnError::BlockAddedTwice { block: first_block.max(other_first) });
        }
        loop {
            let sibling = first_block ^ (1_u64 << node.level);
            if self.nodes.get(&sibling).is_none_or(|found| found.level != node.level) {
                break;
            }
            let found = self.nodes.remove(&sibling).expect("the sibling was just looked up");
            let value = if sibling < first_block {
                found.value.merge(node.value)
            } else {
                node.value.merge(found.value)
            };
            first_block = first_block.min(sibling);
            node = Node { level: node.level + 1, value };
        }
        self.nodes.insert(first_block, node);
        Ok(())
    }
}

/// The number of blocks that `rows` rows fall into.
pub fn block_count(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_BLOCK)
}

/// The rows of block number `block` of `rows` rows; none behind the last block.
pub fn rows_of_block(block: usize, rows: usize) -> Range<usize> {
    let first = block.saturating_mul(ROWS_PER_BLOCK).min(rows);
    first..rows.min(first.saturating_add(ROWS_PER_BLOCK))
}

/// Runs `work` on each item (one for each block, in order) on up to `threads` threads and merges what it returns in the
/// fixed tree. `None` without items.
pub(crate) fn reduce_blocks<I, M, W>(threads: NonZeroUsize, items: Vec<I>, work: W) -> Option<M>
where
    I: Send,
    M: Merge + Send,
    W: Fn(usize, I) -> M + Sync,
{
    let Ok(merged) = try_reduce_blocks(threads, items, |block, item| Ok::<M, Infallible>(work(block, item)));
    merged
}

/// As [`reduce_blocks`], for work that may fail: with the error of the first block that failed.
pub(crate) fn try_reduce_blocks<I, M, E, W>(
    threads: NonZeroUsize,
    items: Vec<I>,
    work: W,
) -> Result<Option<M>, E>
where
    I: Send,
    M: Merge + Send,
    E: Send,
    W: Fn(usize, I) -> Result<M, E> + Sync,
{
    reduce_shares(threads, items, |first_block, items, is_in_vain| {
        collect_blocks(first_block, items.into_iter(), is_in_vain, &work)
    })
}

/// The results of the blocks from `first_block` on; of some of them if `is_in_vain` says that nobody wants them any more.
pub(crate) fn collect_blocks<I, M: Merge, E>(
    first_block: usize,
    items: impl Iterator<Item = I>,
    is_in_vain: &dyn Fn() -> bool,
    work: impl Fn(usize, I) -> Result<M, E>,
) -> Result<BlockAccumulator<M>, E> {
    let mut results = BlockAccumulator::new();
    for (block, item) in (first_block..).zip(items) {
        if is_in_vain() {
            break;
        }
        results.add_block(block as u64, work(block, item)?).expect("each block is visited once");
    }
    Ok(results)
}

/// Deals the items (one for each block, in order) out to up to `threads` threads, in contiguous shares of equal size, and merges
/// what `run` makes of the shares. It is told the number of its first block, and whether a share before its own has failed
/// meanwhile. The error is the one of the first share that fails, whichever fails first in time.
pub(crate) fn reduce_shares<I, M, E, R>(threads: NonZeroUsize, items: Vec<I>, run: R) -> Result<Option<M>, E>
where
    I: Send,
    M: Merge + Send,
    E: Send,
    R: Fn(usize, Vec<I>, &dyn Fn() -> bool) -> Result<BlockAccumulator<M>, E> + Sync,
{
    let item_count = items.len();
    let thread_count = threads.get().min(item_count);
    if thread_count <= 1 {
        return Ok(run(0, items, &|| false)?.finish());
    }
    // Equal work in each block, so equal and contiguous shares; contiguous ones merge most of their blocks on their thread.
    let mut items = items.into_iter();
    let shares: Vec<(usize, Vec<I>)> = (0..thread_count)
        .map(|index| {
            let (start, end) = (index * item_count / thread_count, (index + 1) * item_count / thread_count);
            (start, items.by_ref().take(end - start).collect())
        })
        .collect();
    let (run, first_failed) = (&run, &AtomicUsize::new(usize::MAX));
    let mut all = Ok(BlockAccumulator::new());
    thread::scope(|scope| {
        let workers: Vec<_> = shares
            .into_iter()
            .enumerate()
            .map(|(index, (start, share))| {
                scope.spawn(move || {
                    let results = run(start, share, &|| first_failed.load(Ordering::Relaxed) < index);
                    if results.is_err() {
                        first_failed.fetch_min(index, Ordering::Relaxed);
                    }
                    results
                })
            })
            .collect();
        for worker in workers {
            match (worker.join(), &mut all) {
                (Ok(Ok(results)), Ok(all)) => all.absorb(results).expect("each block is in one share"),
                (Ok(Err(error)), Ok(_)) => all = Err(error),
                (Ok(_), Err(_)) => {}
                (Err(panic), _) => std::panic::resume_unwind(panic),
            }
        }
    });
    Ok(all?.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(block: u64) -> f64 {
        // Sums of these differ in the last bits from one order of additions to another.
        1.0 / (block as f64 + 3.0)
    }

    #[test]
    fn any_order_and_grouping_gives_the_same_bits() {
        for blocks in [1_u64, 2, 3, 7, 8, 37] {
            let mut in_order = BlockAccumulator::new();
            for block in 0..blocks {
                in_order.add_block(block, value(block)).unwrap();
            }
            let expected = in_order.finish().unwrap();
            for parts in 1..5_u64 {
                let mut shuffled: Vec<BlockAccumulator<f64>> =
                    (0..parts).map(|_| BlockAccumulator::new()).collect();
                // 41 is coprime to every count above: a permutation of the blocks.
                for step in 0..blocks {
                    let block = (step * 41 + 5) % blocks;
                    shuffled[(block * 7 % parts) as usize].add_block(block, value(block)).unwrap();
                }
                let mut merged = BlockAccumulator::new();
                for part in shuffled.into_iter().rev() {
                    merged.absorb(part).unwrap();
                }
                assert_eq!(
                    merged.finish().unwrap().to_bits(),
                    expected.to_bits(),
                    "{blocks} blocks in {parts} parts"
                );
            }
        }
    }

    #[test]
    fn merged_results_keep_the_order_of_blocks() {
        for threads in 1..6 {
            let threads = NonZeroUsize::new(threads).unwrap();
            let order =
                reduce_blocks(threads, (0..29).collect(), |block, item: usize| vec![(block, item)]).unwrap();
            assert_eq!(order, (0..29).map(|index| (index, index)).collect::<Vec<_>>());
        }
        assert_eq!(reduce_blocks(NonZeroUsize::MIN, Vec::<()>::new(), |_, ()| 1.0), None);
    }

    #[test]
    fn of_several_failures_the_first_block_is_told_whichever_comes_first_in_time() {
        for threads in 1..6 {
            let threads = NonZeroUsize::new(threads).unwrap();
            let failure = try_reduce_blocks(threads, (0..40).collect(), |_, item: usize| {
                if item % 13 == 5 { Err(item) } else { Ok(()) }
            });
            assert_eq!(failure, Err(5));
        }
    }

    #[test]
    fn a_block_added_twice_is_refused_even_after_it_was_merged() {
        let mut sums = BlockAccumulator::new();
        for block in 0..4 {
            sums.add_block(block, 1.0).unwrap();
        }
        assert_eq!(sums.add_block(2, 1.0), Err(LearnError::BlockAddedTwice { block: 2 }));
        assert_eq!(sums.finish(), Some(4.0));
    }
}
