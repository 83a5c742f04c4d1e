//! `make verify`: runs fruitbatch as a user would, on real photos with the real model, and holds every figure that is promised
//! against a reference made by Pillow, Keras and scikit-learn.
//!
//! The reference lies in a folder beside the project (`../shared`, or `FRUITBATCH_SHARED`): photos in `data/fruits-928`,
//! features and figures in `reference`. Each promise is one line of the table at the end; one that is broken ends in
//! exit code 1.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use comfy_table::{Table, presets::NOTHING};

use crate::promise::{Promise, at_least, at_most, holds};
use crate::reference::Reference;
use crate::runs::{Fruitbatch, Run, VerifyError};

mod features;
mod fleet;
mod precision;
mod promise;
mod reference;
mod runs;

/// Features' mean relative error against the reference, by Euclidean length.
const MEAN_FEATURE_ERROR: f64 = 1e-3;
/// The same of the worst photo.
const WORST_FEATURE_ERROR: f64 = 1e-2;
/// Explained-variance ratios of the first ten components.
const VARIANCE_RATIO_ERROR: f64 = 1e-4;
/// Inertia, as a multiple of the best of the reference's 20 starts.
const INERTIA_FACTOR: f64 = 1.001;
/// ARI and NMI.
const AGREEMENT_ERROR: f64 = 0.02;
/// Share of the wall time that isn't inference, at 224.
const OVERHEAD: f64 = 0.10;
/// Of the wall time, spent waiting for the commit log.
const COMMIT_LOG: f64 = 0.01;
/// Features' mean relative error against direct convolutions.
const MEAN_ERROR_AGAINST_DIRECT: f64 = 2e-4;
/// How much faster a whole run is than with direct convolutions, at 224 and at 100. ONNX Runtime's are at the processor's peak, so a
/// plain script over it takes no less.
const GAIN_AT_224: f64 = 1.8;
const GAIN_AT_100: f64 = 1.6;
/// Peak memory of the whole process at batch 8 and 224, in MB.
const PEAK_MEMORY_MB: f64 = 900.0;

fn main() -> ExitCode {
    let shared = std::env::var_os("FRUITBATCH_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if !shared.join("data/fruits-928").is_dir() || !shared.join("reference").is_dir() {
        eprintln!(
            "nothing to verify against: `{}` has no data/fruits-928 and reference; set FRUITBATCH_SHARED to a folder that has",
            shared.display()
        );
        return ExitCode::from(2);
    }
    match verify(&shared.canonicalize().unwrap_or(shared)) {
        Ok(promises) => {
            println!("{}", table(&promises));
            let broken = promises.iter().filter(|promise| !promise.kept).count();
            println!("{} of {} promises kept", promises.len() - broken, promises.len());
            ExitCode::from(u8::from(broken > 0))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn verify(shared: &Path) -> Result<Vec<Promise>, VerifyError> {
    let fruitbatch = Fruitbatch::beside_this_program()?;
    let photos = shared.join("data/fruits-928");
    let mut promises = Vec::new();

    let small = Reference::read(shared, 100)?;
    let base = fruitbatch.run(&photos, &["--image-size", "100", "--slots", "2"])?;
    against_reference(&base, &small, &mut promises)?;

    against_direct(&fruitbatch, &photos, &base, 100, GAIN_AT_100, &mut promises)?;

    let base_features = base.features()?;
    let base_results = base.file("results.csv")?;
    for (what, flags) in [
        ("again, the same seed", ["--slots", "2", "--chunk-size", "4000"]),
        ("1 slot, chunks of 37", ["--slots", "1", "--chunk-size", "37"]),
        ("4 slots, chunks of 100", ["--slots", "4", "--chunk-size", "100"]),
    ] {
        let other = fruitbatch.run(&photos, &[&["--image-size", "100"], flags.as_slice()].concat())?;
        promises.push(holds(
            format!("100: {what}: features bit for bit"),
            other.features()?.same_bits(&base_features),
        ));
        promises.push(holds(
            format!("100: {what}: results.csv byte for byte"),
            other.file("results.csv")? == base_results,
        ));
    }
    let from_s3 = fruitbatch.run_from_s3(&photos, &["--image-size", "100", "--slots", "2"])?;
    promises.push(holds(
        "100: from S3 to S3: features bit for bit",
        from_s3.features()?.same_bits(&base_features),
    ));
    promises.push(holds(
        "100: from S3 to S3: results.csv byte for byte",
        from_s3.file("results.csv")? == base_results,
    ));

    let large = Reference::read(shared, 224)?;
    let default = fruitbatch.run(&photos, &["--slots", "2"])?;
    against_reference(&default, &large, &mut promises)?;
    let direct = against_direct(&fruitbatch, &photos, &default, 224, GAIN_AT_224, &mut promises)?;
    promises.extend(precision::int8(&fruitbatch, &photos, &default, &direct)?);
    promises.extend(precision::bf16(&fruitbatch, &photos, &default, &direct)?);
    promises.extend(precision::memory_limit(&fruitbatch, &photos, &default)?);
    let timings = &default.metrics()?.timings;
    let overhead = 1.0 - timings.inference_seconds / default.wall.as_secs_f64();
    promises.push(at_most("224: share of the wall time that isn't inference", overhead, OVERHEAD));
    promises.push(at_most(
        "224: share of the wall time spent on the commit log",
        timings.commit_seconds / default.wall.as_secs_f64(),
        COMMIT_LOG,
    ));
    promises.push(at_most(
        "224: peak memory in MB",
        timings.peak_memory_bytes.unwrap_or(u64::MAX) as f64 / 1e6,
        PEAK_MEMORY_MB,
    ));
    promises.extend(fleet::two_executors(&fruitbatch, &photos, &default)?);
    promises.extend(fleet::scheduling(&fruitbatch)?);
    println!(
        "224: {:.1} s wall for the whole process, {:.2} photos a second",
        default.wall.as_secs_f64(),
        default.metrics()?.rows as f64 / default.wall.as_secs_f64()
    );
    Ok(promises)
}

/// The same run with direct convolutions: about the same features, and how much slower.
fn against_direct(
    fruitbatch: &Fruitbatch,
    photos: &Path,
    run: &Run,
    size: u32,
    gain: f64,
    promises: &mut Vec<Promise>,
) -> Result<Run, VerifyError> {
    let flags = ["--slots", "2", "--convolution", "direct", "--image-size", &size.to_string()];
    let direct = fruitbatch.run(photos, &flags)?;
    let mean = mean(&run.features()?.relative_errors(&direct.features()?)?);
    promises.push(at_most(
        format!("{size}: features' mean relative error against direct convolutions"),
        mean,
        MEAN_ERROR_AGAINST_DIRECT,
    ));
    let faster = direct.wall.as_secs_f64() / run.wall.as_secs_f64();
    promises.push(at_least(format!("{size}: times as fast as with direct convolutions"), faster, gain));
    Ok(direct)
}

/// All promises about one run's numbers.
fn against_reference(
    run: &Run,
    reference: &Reference,
    promises: &mut Vec<Promise>,
) -> Result<(), VerifyError> {
    let size = reference.figures.size;
    let metrics = run.metrics()?;
    let errors = run.features()?.relative_errors(&reference.features)?;
    let mean = mean(&errors);
    let worst = errors.iter().copied().fold(0.0, f64::max);
    promises.push(holds(
        format!("{size}: listed = rows + failures = {}", reference.figures.n),
        metrics.listed == metrics.rows + metrics.failures && metrics.listed == reference.figures.n,
    ));
    promises.push(at_most(format!("{size}: features' mean relative error"), mean, MEAN_FEATURE_ERROR));
    promises.push(at_most(format!("{size}: features' worst relative error"), worst, WORST_FEATURE_ERROR));
    let variance = metrics
        .explained_variance_ratio
        .iter()
        .zip(&reference.figures.explained_variance_ratio_first10)
        .map(|(ours, theirs)| (ours - theirs).abs())
        .fold(0.0, f64::max);
    promises.push(at_least(
        format!("{size}: explained-variance ratios told"),
        metrics.explained_variance_ratio.len() as f64,
        512.0,
    ));
    promises.push(at_most(
        format!("{size}: error of the first ten explained-variance ratios"),
        variance,
        VARIANCE_RATIO_ERROR,
    ));
    promises.push(at_most(
        format!("{size}: inertia by the reference's best"),
        metrics.inertia / reference.figures.kmeans_inertia_best_of_20,
        INERTIA_FACTOR,
    ));
    promises.push(at_most(
        format!("{size}: ARI {:.4}, off the reference's by", metrics.ari),
        (metrics.ari - reference.figures.ari).abs(),
        AGREEMENT_ERROR,
    ));
    promises.push(at_most(
        format!("{size}: NMI {:.4}, off the reference's by", metrics.nmi),
        (metrics.nmi - reference.figures.nmi).abs(),
        AGREEMENT_ERROR,
    ));
    Ok(())
}

fn mean(errors: &[f64]) -> f64 {
    errors.iter().sum::<f64>() / errors.len() as f64
}

fn table(promises: &[Promise]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["promise", "measured", "must be", ""]);
    for promise in promises {
        let verdict = if promise.kept { "kept" } else { "BROKEN" };
        table.add_row([&promise.what, &promise.measured, &promise.bound, verdict]);
    }
    table
}
