//! Fewer bits: what int8 and bf16 gain, and what they cost; and memory within a limit.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};

use fruitbatch_learn::LearnModel;
use fruitbatch_vision::{RuntimeBuild, bfloat16};
use ndarray::ArrayView2;

use crate::promise::{Promise, at_least, at_most, holds};
use crate::runs::{Fruitbatch, Run, VerifyError};

/// Times as fast as direct convolutions in fp32, over the whole run.
const INT8_GAIN: f64 = 3.3;
const BF16_GAIN: f64 = 1.8;
/// The cosine of a photo's features and those in fp32, on average.
const INT8_COSINE: f64 = 0.997;
const BF16_COSINE: f64 = 0.9999;
/// The share of photos that the scaler, PCA and centres fitted in fp32 put into the same cluster.
const INT8_SAME_CLUSTER: f64 = 0.95;
/// A limit below what a run takes without one, in MB.
const MEMORY_LIMIT_MB: f64 = 600.0;

/// `model quantize` on some of the photos, then all of them in int8.
pub(crate) fn int8(
    fruitbatch: &Fruitbatch,
    photos: &Path,
    single: &Run,
    direct: &Run,
) -> Result<Vec<Promise>, VerifyError> {
    let folder = tempfile::tempdir().map_err(VerifyError::Prepare)?;
    let catalogue = folder.path().join("models.toml").display().to_string();
    let environment = [("FRUITBATCH_MODELS", catalogue.as_str())];
    let command = format!("fruitbatch model quantize vgg16 --calibrate {}", photos.display());
    println!("{command}");
    let status = Command::new(fruitbatch.program())
        .args(["model", "quantize", "vgg16", "--calibrate"])
        .arg(photos)
        .envs(environment)
        .stdout(Stdio::null())
        .status()
        .map_err(VerifyError::Prepare)?;
    if !status.success() {
        return Err(VerifyError::RunFailed { command, status });
    }
    let run = fruitbatch.run_with(photos, &["--slots", "2", "--precision", "int8"], &environment)?;
    let gain = direct.wall.as_secs_f64() / run.wall.as_secs_f64();
    let cosines = run.features()?.cosines(&single.features()?)?;
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let worst = cosines.iter().copied().fold(1.0, f64::min);
    Ok(vec![
        at_least("224: int8: times as fast as fp32 with direct convolutions", gain, INT8_GAIN),
        at_least(format!("224: int8: mean cosine with fp32 (worst {worst:.4})"), mean, INT8_COSINE),
        at_least("224: int8: photos in the same cluster", same_cluster(single, &run)?, INT8_SAME_CLUSTER),
    ])
}

/// The same by OpenVINO in bf16, where that is installed.
pub(crate) fn bf16(
    fruitbatch: &Fruitbatch,
    photos: &Path,
    single: &Run,
    direct: &Run,
) -> Result<Vec<Promise>, VerifyError> {
    if !RuntimeBuild::OpenVino.is_installed() {
        println!("bf16 is left out: `{}` installs what it needs", RuntimeBuild::OpenVino.set_up());
        return Ok(Vec::new());
    }
    if bfloat16().is_none() {
        println!("bf16 is left out: this processor has none");
        return Ok(Vec::new());
    }
    let run = fruitbatch.run(photos, &["--slots", "2", "--precision", "bf16"])?;
    let gain = direct.wall.as_secs_f64() / run.wall.as_secs_f64();
    let cosines = run.features()?.cosines(&single.features()?)?;
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    Ok(vec![
        at_least("224: bf16: times as fast as fp32 with direct convolutions", gain, BF16_GAIN),
        at_least("224: bf16: mean cosine with fp32", mean, BF16_COSINE),
    ])
}

/// A run with less memory than it would take: the same bits, and no more than the limit.
pub(crate) fn memory_limit(
    fruitbatch: &Fruitbatch,
    photos: &Path,
    unlimited: &Run,
) -> Result<Vec<Promise>, VerifyError> {
    let limit = format!("{MEMORY_LIMIT_MB}MB");
    let run = fruitbatch.run(photos, &["--slots", "2", "--memory-limit", &limit])?;
    let peak = run.metrics()?.timings.peak_memory_bytes.unwrap_or(u64::MAX) as f64 / 1e6;
    Ok(vec![
        at_most(format!("224: peak memory in MB with --memory-limit {limit}"), peak, MEMORY_LIMIT_MB),
        holds(
            format!("224: --memory-limit {limit}: features bit for bit"),
            run.features()?.same_bits(&unlimited.features()?),
        ),
    ])
}

/// The share of photos that the model of `fitted` puts where it puts those of `fitted` itself.
fn same_cluster(fitted: &Run, other: &Run) -> Result<f64, VerifyError> {
    let unexpected =
        |error: &dyn std::fmt::Display| VerifyError::Unexpected(format!("the fitted model: {error}"));
    let model = LearnModel::from_files(&fitted.model_files()?).map_err(|error| unexpected(&error))?;
    let clusters = |run: &Run| -> Result<Vec<i32>, VerifyError> {
        let values = run.features()?.in_path_order();
        let rows = ArrayView2::from_shape((values.len() / model.width(), model.width()), &values)
            .map_err(|error| unexpected(&error))?;
        let placed = model.predict_rows(rows, NonZeroUsize::MIN).map_err(|error| unexpected(&error))?;
        Ok(placed.clusters)
    };
    let (expected, found) = (clusters(fitted)?, clusters(other)?);
    let same = expected.iter().zip(&found).filter(|(a, b)| a == b).count();
    Ok(same as f64 / expected.len() as f64)
}
