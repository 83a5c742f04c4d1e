//! One run of KMeans, first centres included.

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_learn::KMeans;
use linfa::DatasetBase;
use linfa::traits::Fit;

mod common;

/// Photos.
const ROWS: usize = 10_000;
/// Components of a photo.
const COLUMNS: usize = 50;

fn main() {
    let mut criterion = common::criterion();
    clustering(&mut criterion);
    criterion.final_summary();
}

fn clustering(criterion: &mut Criterion) {
    let rows = common::features(ROWS, COLUMNS).mapv(f64::from);
    let dataset = DatasetBase::from(rows.view());
    let mut group = criterion.benchmark_group("kmeans");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).expect("there is at least one");
        let params = KMeans::params(common::GROUPS).n_init(1).threads(threads);
        let id = BenchmarkId::new(format!("{ROWS}x{COLUMNS}, {} clusters", common::GROUPS), threads);
        group.bench_function(id, |bencher| {
            bencher.iter(|| params.fit(black_box(&dataset)).expect("there are more rows than clusters"));
        });
    }
    group.finish();
}
