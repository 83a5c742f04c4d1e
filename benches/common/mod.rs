//! What the benchmarks share: how long they measure, and what they measure on.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

use std::time::Duration;

use criterion::Criterion;
use fruitbatch_learn::blocks::{BlockAccumulator, Merge, ROWS_PER_BLOCK};
use fruitbatch_samples::{SampleOptions, draw_in_memory};
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Groups that the rows of [`features`] fall into.
pub(crate) const GROUPS: usize = 20;

/// A few seconds a benchmark, unless the command line says otherwise.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// A drawn photo of `size` x `size` pixels, as a JPEG file.
pub(crate) fn drawn_jpeg(size: u32) -> Vec<u8> {
    let options = SampleOptions { per_label: 1, size, ..SampleOptions::default() };
    let photos = draw_in_memory(&options).expect("the size is one that samples have");
    photos.into_iter().next().expect("a photo of each label is drawn").jpeg
}

/// Made-up features: [`GROUPS`] groups of rows, the same numbers every time.
pub(crate) fn features(rows: usize, columns: usize) -> Array2<f32> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let centres = Array2::from_shape_simple_fn((GROUPS, columns), || random.gen_range(0.0..4.0_f32));
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        centres[[row % GROUPS, column]] + random.gen_range(-1.0..1.0_f32)
    })
}

/// What comes of all rows, block by block on this thread: of `Moments::of_block`, say.
pub(crate) fn by_blocks<M: Merge>(
    rows: ArrayView2<'_, f32>,
    of_block: impl Fn(ArrayView2<'_, f32>) -> M,
) -> M {
    let mut collected = BlockAccumulator::new();
    for (block, rows) in (0..).zip(rows.axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)) {
        collected.add_block(block, of_block(rows)).expect("each block is added once");
    }
    collected.finish().expect("there are rows")
}
