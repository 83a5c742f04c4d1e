//! From a photo's own size to the one that the model takes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_image::{DecodeLimits, Filter, Resizer, decode};

mod common;

/// The sides of the photos: those of Fruits-360, and about a megapixel.
const SIZES: [u32; 2] = [100, 1024];
/// The side that they are brought to.
const TARGET: u32 = 224;

fn main() {
    let mut criterion = common::criterion();
    resizing(&mut criterion);
    criterion.final_summary();
}

fn resizing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resize");
    for size in SIZES {
        let photo = decode(&common::drawn_jpeg(size), &DecodeLimits::default())
            .expect("a drawn photo can be decoded");
        let mut resizer = Resizer::new();
        group.throughput(Throughput::Elements(u64::from(size) * u64::from(size)));
        group.bench_function(BenchmarkId::new("bicubic to 224", format!("{size}x{size}")), |bencher| {
            bencher.iter(|| resizer.resize(black_box(&photo), TARGET, TARGET, Filter::Bicubic));
        });
    }
    group.finish();
}
