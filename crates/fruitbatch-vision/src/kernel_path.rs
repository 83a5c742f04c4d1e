//! Which kernels make features: photos done by different ones may differ in the last bits.

use crate::embed_spec::{Convolution, EmbedSpec, Precision};

/// The instruction set, the provider and the way of convolving that a spec comes down to on this machine, such as
/// `x86_64-avx512 cpu winograd`: features made by the same path are the same bits.
pub fn kernel_path(spec: &EmbedSpec) -> String {
    let convolution = match (spec.convolution, spec.precision) {
        (Convolution::Auto, Precision::Fp32) => "winograd",
        (Convolution::Auto | Convolution::Direct, _) => "direct",
    };
    format!("{} {} {convolution}", instruction_set(spec.precision), spec.provider)
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

#[cfg(target_arch = "x86_64")]
fn integers() -> Option<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    (has!("avx512vnni") || has!("avxvnni")).then_some("vnni")
}

#[cfg(target_arch = "aarch64")]
fn integers() -> Option<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    if has!("i8mm") { Some("i8mm") } else { has!("dotprod").then_some("dotprod") }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn integers() -> Option<&'static str> {
    None
}

/// What the processor has for 16-bit floating point. The standard library has no name for it yet on stable Rust.
#[cfg(target_arch = "x86_64")]
pub(crate) fn bfloat16() -> Option<&'static str> {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    if has("amx_bf16") { Some("amx") } else { has("avx512_bf16").then_some("bf16") }
}

/// What the processor has for 16-bit floating point, as far as OpenVINO uses it.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn bfloat16() -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::embed_spec::EmbedOptions;

    #[test]
    fn paths_tell_kernels_apart_and_nothing_else() {
        let path = |change: fn(&mut EmbedOptions)| {
            let mut options = EmbedOptions::new("vgg16");
            change(&mut options);
            kernel_path(&EmbedSpec::resolve(&Catalogue::compiled_in(), &options).unwrap())
        };
        let reference = path(|_| {});
        assert!(
            reference.starts_with(std::env::consts::ARCH) && reference.ends_with(" cpu winograd"),
            "{reference}"
        );
        assert_eq!(reference, path(|options| options.batch_size = Some(1)));
        assert_ne!(reference, path(|options| options.convolution = Convolution::Direct));
    }
}
