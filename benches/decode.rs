//! From a file's bytes to upright RGB pixels.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fruitbatch_image::{DecodeLimits, RgbImage, decode};

mod common;

/// The sides of the photos: those of Fruits-360, and about a megapixel.
const SIZES: [u32; 2] = [100, 1024];

fn main() {
    let mut criterion = common::criterion();
    decoding(&mut criterion);
    criterion.final_summary();
}

fn decoding(criterion: &mut Criterion) {
    let limits = DecodeLimits::default();
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES {
        let jpeg = common::drawn_jpeg(size);
        let png = png_of(&decode(&jpeg, &limits).expect("a drawn photo can be decoded"));
        group.throughput(Throughput::Elements(u64::from(size) * u64::from(size)));
        for (format, file) in [("jpeg", &jpeg), ("png", &png)] {
            group.bench_function(BenchmarkId::new(format, format!("{size}x{size}")), |bencher| {
                bencher.iter(|| decode(black_box(file), &limits).expect("it was decoded before"));
            });
        }
    }
    group.finish();
}

/// The same pixels as a PNG file.
fn png_of(photo: &RgbImage) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, photo.width(), photo.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory can always be written to");
    writer.write_image_data(photo.pixels()).expect("there are as many pixels as the header says");
    writer.finish().expect("memory can always be written to");
    file
}
