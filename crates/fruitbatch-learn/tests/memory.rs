//! Features that are read block by block are never held as a whole. A program of its own, whose memory is its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::num::NonZeroUsize;
use std::ops::Range;

use fruitbatch_learn::blocks::rows_of_block;
use fruitbatch_learn::{ClusterCount, Components, FitOptions, LearnError, LearnSpec, RowBlocks, fit};
use ndarray::{Array2, CowArray, Ix2};

/// 100,000 rows of 1 KiB: 100 MiB.
struct Made;

impl RowBlocks for Made {
    type Value = f32;

    fn row_count(&self) -> usize {
        100_000
    }

    fn width(&self) -> usize {
        256
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f32, Ix2>, LearnError>> {
        blocks.map(|block| {
            let rows = rows_of_block(block, self.row_count());
            let value = |(row, column): (usize, usize)| {
                let row = rows.start + row;
                ((row * 7_919 + column * 104_729 + row * (row + column) * 31) % 1_009) as f32
                    + (600 * (row % 3 * (column + 1) % 3)) as f32
            };
            Ok(Array2::from_shape_fn((rows.len(), self.width()), value).into())
        })
    }
}

/// The most memory that this process has taken so far; `None` where the system doesn't say.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kibibytes.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kibibytes| 1024 * kibibytes)
}

#[test]
fn a_fit_takes_far_less_memory_than_its_features() {
    let Some(before) = peak_bytes() else {
        eprintln!("SKIPPED: a_fit_takes_far_less_memory_than_its_features: no /proc/self/status");
        return;
    };
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(5);
    spec.kmeans.n_clusters = ClusterCount::Count(3);
    spec.kmeans.n_init = 1;
    let threads = NonZeroUsize::new(2).unwrap();
    let options = FitOptions { memory_budget_bytes: 0, ..FitOptions::from(threads) };
    let fitted = fit(&Made, None, None, &spec, options).unwrap();
    assert_eq!(fitted.clusters.len(), 100_000);

    let features = (4 * Made.row_count() * Made.width()) as u64;
    let taken = peak_bytes().unwrap() - before;
    // Two blocks a thread, some 20 matrices of 256 x 256 in f64, 70 bytes a row: 25 MiB.
    assert!(taken < features / 2, "{taken} bytes for {features} bytes of features");
}
