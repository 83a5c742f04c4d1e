//! Exact principal components: from moments, as a fit finds them, from rows, and rows projected on them.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_learn::moments::Moments;
use fruitbatch_learn::{Components, Pca};
use linfa::traits::{Fit, Transformer};
use linfa::{DatasetBase, ParamGuard};

mod common;

/// Photos.
const ROWS: usize = 10_000;
/// Features of a photo.
const COLUMNS: usize = 512;
/// Components that are kept.
const COMPONENTS: usize = 50;

fn main() {
    let mut criterion = common::criterion();
    components(&mut criterion);
    criterion.final_summary();
}

fn components(criterion: &mut Criterion) {
    let rows = common::features(ROWS, COLUMNS);
    let moments = common::by_blocks(rows.view(), Moments::of_block);
    let params = Pca::params(Components::Count(COMPONENTS)).check().expect("the count is positive");
    let pca = params.fit_moments(&moments).expect("there are more rows and columns than components");
    let dataset = DatasetBase::from(rows.view());

    let size = format!("{ROWS}x{COLUMNS}");
    let mut group = criterion.benchmark_group("pca");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("fit moments", COLUMNS), |bencher| {
        bencher.iter(|| params.fit_moments(black_box(&moments)).expect("it was fitted before"));
    });
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function(BenchmarkId::new("fit rows", &size), |bencher| {
        bencher.iter(|| params.fit(black_box(&dataset)).expect("it was fitted before"));
    });
    group.bench_function(BenchmarkId::new("project rows", &size), |bencher| {
        bencher.iter(|| pca.transform(black_box(&rows)).expect("the rows are those fitted on"));
    });
    group.finish();
}
