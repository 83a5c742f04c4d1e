//! Mean and covariance of features, block by block on one thread: most of the time that scaler and PCA take.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_learn::blocks::{BlockAccumulator, ROWS_PER_BLOCK};
use fruitbatch_learn::moments::ColumnMoments;
use ndarray::{ArrayView2, Axis};

mod common;

/// Photos.
const ROWS: usize = 10_000;
/// Features of a photo.
const COLUMNS: usize = 512;

fn main() {
    let mut criterion = common::criterion();
    collecting(&mut criterion);
    criterion.final_summary();
}

fn collecting(criterion: &mut Criterion) {
    let rows = common::features(ROWS, COLUMNS);
    let size = format!("{ROWS}x{COLUMNS}");
    let mut group = criterion.benchmark_group("moments");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(BenchmarkId::new("covariance", &size), |bencher| {
        bencher.iter(|| common::moments(black_box(rows.view())));
    });
    group.bench_function(BenchmarkId::new("columns", &size), |bencher| {
        bencher.iter(|| column_moments(black_box(rows.view())));
    });
    group.finish();
}

fn column_moments(rows: ArrayView2<'_, f32>) -> ColumnMoments {
    let mut collected = BlockAccumulator::new();
    for (block, rows) in (0..).zip(rows.axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)) {
        collected.add_block(block, ColumnMoments::of_block(rows)).expect("each block is added once");
    }
    collected.finish().expect("there are rows")
}
