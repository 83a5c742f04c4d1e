//! Mean and covariance of features, block by block on one thread: most of the time that scaler and PCA take.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_learn::moments::{ColumnMoments, Moments};

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
        bencher.iter(|| common::by_blocks(black_box(rows.view()), Moments::of_block));
    });
    group.bench_function(BenchmarkId::new("columns", &size), |bencher| {
        bencher.iter(|| common::by_blocks(black_box(rows.view()), ColumnMoments::of_block));
    });
    group.finish();
}
