//! Fits made-up features that are never in memory, and prints how long each stage took and the most memory there ever was:
//! `cargo run --release --example beyond_memory -- --rows 5000000`. docs/performance.md has its figures.

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use fruitbatch_learn::blocks::{block_count, rows_of_block};
use fruitbatch_learn::{ClusterCount, Components, FitOptions, LearnError, LearnSpec, RowBlocks, fit};
use ndarray::{Array2, CowArray, Ix2};
use rand::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

const USAGE: &str = "usage: beyond_memory [--rows N] [--columns N] [--components N] [--clusters N] [--groups N] [--n-init N] \
    [--max-iter N] [--threads N] [--memory-mib N] [--scratch FOLDER]";

/// What is fitted, and how.
struct Options {
    rows: usize,
    columns: usize,
    components: usize,
    clusters: usize,
    groups: usize,
    n_init: usize,
    max_iter: usize,
    threads: NonZeroUsize,
    memory_mib: u64,
    scratch: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            rows: 1_000_000,
            columns: 512,
            components: 10,
            clusters: 131,
            groups: 300,
            n_init: 1,
            max_iter: 300,
            threads: std::thread::available_parallelism()?,
            memory_mib: 256,
            scratch: None,
        };
        for pair in arguments.chunks(2) {
            let [flag, value] = pair else { return Err(USAGE.into()) };
            match flag.as_str() {
                "--rows" => options.rows = value.parse()?,
                "--columns" => options.columns = value.parse()?,
                "--components" => options.components = value.parse()?,
                "--clusters" => options.clusters = value.parse()?,
                "--groups" => options.groups = value.parse()?,
                "--n-init" => options.n_init = value.parse()?,
                "--max-iter" => options.max_iter = value.parse()?,
                "--threads" => options.threads = value.parse()?,
                "--memory-mib" => options.memory_mib = value.parse()?,
                "--scratch" => options.scratch = Some(value.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

/// Groups of rows about centres of their own, each block from a seed of its own: the same rows in every pass.
struct MadeUpRows {
    row_count: usize,
    /// Groups x columns.
    centres: Array2<f32>,
}

impl MadeUpRows {
    fn new(options: &Options) -> Self {
        let mut random = Xoshiro256Plus::seed_from_u64(u64::MAX);
        // Columns of falling spread, as those of a network's features after any rotation.
        let centres = Array2::from_shape_fn((options.groups, options.columns), |(_, column)| {
            40.0 / (column + 8) as f32 * nearly_normal(random.next_u64())
        });
        Self { row_count: options.rows, centres }
    }

    fn block(&self, block: usize) -> Array2<f32> {
        let mut random = Xoshiro256Plus::seed_from_u64(block as u64);
        let rows = rows_of_block(block, self.row_count).len();
        let mut values = Vec::with_capacity(rows * self.width());
        for _ in 0..rows {
            // The high bits are the better ones.
            let group = (random.next_u64() >> 32) as usize % self.centres.nrows();
            let centre = self.centres.row(group);
            values.extend(centre.iter().map(|centre| centre + nearly_normal(random.next_u64())));
        }
        Array2::from_shape_vec((rows, self.width()), values).expect("as many values as rows times columns")
    }
}

impl RowBlocks for MadeUpRows {
    type Value = f32;

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn width(&self) -> usize {
        self.centres.ncols()
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f32, Ix2>, LearnError>> {
        blocks.map(|block| Ok(self.block(block).into()))
    }
}

/// The sum of four uniform numbers, moved and stretched to mean 0 and variance 1: a bell, and quickly made.
fn nearly_normal(bits: u64) -> f32 {
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    // A uniform number below 2^16 has the variance 2^32 / 12.
    (sum as f32 - 131_070.0) / (65_536.0 / 3.0_f32.sqrt())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let rows = MadeUpRows::new(options);
    let blocks = block_count(options.rows);
    let start = Instant::now();
    let looked_at = blocks.min(200);
    for block in rows.read(0..looked_at) {
        std::hint::black_box(block?);
    }
    // Both passes make all rows.
    let making = 2.0 * start.elapsed().as_secs_f64() * blocks as f64 / looked_at.max(1) as f64;
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(options.components);
    spec.kmeans.n_clusters = ClusterCount::Count(options.clusters);
    spec.kmeans.n_init = options.n_init;
    spec.kmeans.max_iter = options.max_iter;
    let fit_options = FitOptions {
        threads: options.threads,
        memory_budget_bytes: options.memory_mib * 1024 * 1024,
        scratch_folder: options.scratch.clone(),
    };

    let start = Instant::now();
    let fitted = fit(&rows, None, None, &spec, fit_options)?;
    let total = start.elapsed().as_secs_f64();
    let (timings, report) = (&fitted.timings, &fitted.report);
    let features_mib = (4 * options.rows * options.columns) as f64 / 1024.0 / 1024.0;
    let scores_mib = (8 * options.rows * options.components) as f64 / 1024.0 / 1024.0;
    println!("rows                {} x {}, {features_mib:.0} MiB", options.rows, options.columns);
    println!(
        "scores              {} columns, {scores_mib:.0} MiB, {}",
        options.components,
        if fitted.projected.is_in_memory() { "in memory" } else { "on disk" }
    );
    println!("moments, components {:.1} s", timings.components_seconds);
    println!("projection          {:.1} s", timings.projection_seconds);
    println!("clusters            {:.1} s, {:?} rounds", timings.clustering_seconds, report.n_iter);
    println!("figures             {:.1} s", timings.scoring_seconds);
    println!("total               {total:.1} s on {} threads", options.threads);
    println!("making the rows     {making:.1} s of one thread, in the first two");
    println!("inertia             {:?}, silhouette {:?}", report.inertia, report.silhouette);
    match peak_mib() {
        Some(peak) => println!("peak                {peak:.0} MiB"),
        None => println!("peak                unknown: no /proc/self/status"),
    }
    Ok(())
}

/// The most memory that this process has taken.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kibibytes.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
}
