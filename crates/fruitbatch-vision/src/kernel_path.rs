//! Which kernels make features: photos done by different ones may differ in the last bits.

use crate::embed_spec::Precision;
use crate::provider::Provider;
use crate::runtime::loaded_version;

/// The instruction set (of a GPU its model), ONNX Runtime's version, the provider and the way of convolving that a model's run comes down to
/// in this process, such as `x86_64-avx512 onnxruntime-1.31.1 cpu winograd`: features made by the same path are the same bits.
/// `is_fast`: whether the model has convolutions that are computed by [`fruitbatch_winograd`].
pub(crate) fn kernel_path(provider: Provider, precision: Precision, is_fast: bool) -> String {
    let processor = match provider {
        Provider::Cpu | Provider::OpenVino | Provider::CoreMl => instruction_set(precision),
        Provider::Cuda | Provider::TensorRt => gpu(),
    };
    let version = loaded_version().unwrap_or_else(|| "unknown".to_owned());
    let convolution = if is_fast { "winograd" } else { "direct" };
    format!("{processor} onnxruntime-{version} {provider} {convolution}")
}

/// The model of the first GPU that NVIDIA's driver tells of.
fn gpu() -> String {
    let mut gpus: Vec<_> = std::fs::read_dir("/proc/driver/nvidia/gpus")
        .into_iter()
        .flatten()
        .flatten()
        .map(|gpu| gpu.path())
        .collect();
    gpus.sort();
    let about = gpus.first().and_then(|gpu| std::fs::read_to_string(gpu.join("information")).ok());
    let model = about.iter().flat_map(|about| about.lines()).find_map(|line| line.strip_prefix("Model:"));
    model.map_or_else(|| "gpu".to_owned(), |model| model.trim().replace(' ', "-"))
}

/// What decides which kernels ONNX Runtime, gemm and pulp choose.
fn instruction_set(precision: Precision) -> String {
    let mut name = format!("{}-{}", std::env::consts::ARCH, vectors());
    let extension = match precision {
        Precision::Fp32 => None,
        Precision::Int8 => integers(),
        Precision::Bf16 => bfloat16(),
    };
    if let Some(extension) = extension {
        name.push('-');
        name.push_str(extension);
    }
    name
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    use std::arch::is_x86_feature_detected as has;
    // The levels x86-64-v4 and v3, as far as vectors go.
    if has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl") {
        "avx512"
    } else if has!("avx2") && has!("fma") {
        "avx2"
    } else {
        "sse2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "neon"
}

/// What the processor has to multiply bytes and add up the products exactly, without which sums of full 8-bit weights overflow
/// on x86_64 (see [`saturates_here`](crate::saturates_here)).
#[cfg(target_arch = "x86_64")]
pub(crate) fn integers() -> Option<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    (has!("avx512vnni") || has!("avxvnni")).then_some("vnni")
}

/// What the processor has to multiply bytes and add up the products; exact without it too.
#[cfg(target_arch = "aarch64")]
pub(crate) fn integers() -> Option<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    if has!("i8mm") { Some("i8mm") } else { has!("dotprod").then_some("dotprod") }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn integers() -> Option<&'static str> {
    None
}

/// What the processor has for 16-bit floating point. The standard library has no name for it yet on stable Rust.
#[cfg(target_arch = "x86_64")]
pub fn bfloat16() -> Option<&'static str> {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    if has("amx_bf16") { Some("amx") } else { has("avx512_bf16").then_some("bf16") }
}

/// What the processor has for 16-bit floating point, as far as OpenVINO uses it.
#[cfg(not(target_arch = "x86_64"))]
pub fn bfloat16() -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_kernels_apart() {
        let reference = kernel_path(Provider::Cpu, Precision::Fp32, true);
        assert!(
            reference.starts_with(std::env::consts::ARCH) && reference.ends_with(" cpu winograd"),
            "{reference}"
        );
        assert_ne!(reference, kernel_path(Provider::Cpu, Precision::Fp32, false));
        assert_ne!(reference, kernel_path(Provider::OpenVino, Precision::Fp32, true));
    }
}
