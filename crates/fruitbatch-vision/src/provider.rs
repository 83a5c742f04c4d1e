//! [`Provider`]: what carries a model's arithmetic out, by ONNX Runtime's name for it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
use ort::session::builder::SessionBuilder;

use crate::embed_spec::Precision;
use crate::inference::InferenceError;
use crate::kernel_path::bfloat16;
use crate::runtime::RuntimeBuild;

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The processor, by ONNX Runtime's own kernels and those of [`fruitbatch_winograd`].
    Cpu,
    /// OpenVINO, on the processor.
    OpenVino,
    /// An NVIDIA GPU.
    Cuda,
    /// An NVIDIA GPU, by kernels that TensorRT tunes when a model is loaded.
    TensorRt,
    /// Apple's accelerators, which round as they see fit.
    CoreMl,
}

impl Provider {
    /// All there are, the one that is always there first.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::OpenVino, Self::Cuda, Self::TensorRt, Self::CoreMl];

    /// The best for a precision that is installed on this machine: CUDA for fp32 if its build of ONNX Runtime and an
    /// NVIDIA driver are there; OpenVINO for bf16, which the processor's own kernels don't have; else the processor.
    pub fn best_here(precision: Precision) -> Self {
        // A library that `ORT_DYLIB_PATH` names may have any provider, and is used in place of all builds.
        let is_named = std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| !path.is_empty());
        let has_cuda = || !is_named && has_nvidia_driver() && RuntimeBuild::Cuda.is_installed();
        match precision {
            Precision::Fp32 if has_cuda() => Self::Cuda,
            precision => Self::on_processors(precision),
        }
    }

    /// The best for a precision on machines of which nothing is known but that they have a processor.
    pub fn on_processors(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 | Precision::Int8 => Self::Cpu,
            Precision::Bf16 => Self::OpenVino,
        }
    }

    /// Whether it computes in a precision.
    pub(crate) fn has(self, precision: Precision) -> bool {
        match precision {
            Precision::Fp32 => true,
            Precision::Bf16 => matches!(self, Self::OpenVino | Self::TensorRt),
            // Others round integers in ways of their own, which nobody has measured.
            Precision::Int8 => self == Self::Cpu,
        }
    }

    /// The build of ONNX Runtime that has it.
    pub fn build(self) -> RuntimeBuild {
        match self {
            Self::Cpu | Self::CoreMl => RuntimeBuild::Standard,
            Self::OpenVino => RuntimeBuild::OpenVino,
            Self::Cuda | Self::TensorRt => RuntimeBuild::Cuda,
        }
    }

    /// Whether the library that is loaded was built with it.
    pub(crate) fn is_in_loaded_library(self) -> bool {
        let available = match self {
            Self::Cpu => return true,
            Self::OpenVino => ep::OpenVINO::is_available(),
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
            Self::CoreMl => ep::CoreML::is_available(),
        };
        available.unwrap_or(false)
    }

    /// Has a session run on it, all of its model: a part that would be left to the processor is an error when the session is
    /// made.
    pub(crate) fn take_over(
        self,
        mut builder: SessionBuilder,
        precision: Precision,
        threads: usize,
    ) -> Result<SessionBuilder, InferenceError> {
        let error = |reason: String| InferenceError::Provider { provider: self, reason };
        let registered = match self {
            Self::Cpu => return Ok(builder),
            // It would compute in fp32 and not say so.
            Self::OpenVino if precision == Precision::Bf16 && bfloat16().is_none() => {
                return Err(error("this processor has neither AVX512_BF16 nor AMX, so no bf16".to_owned()));
            }
            Self::OpenVino => {
                let hint = if precision == Precision::Bf16 { "bf16" } else { "f32" };
                let load_config = format!(
                    r#"{{"CPU":{{"INFERENCE_PRECISION_HINT":"{hint}","INFERENCE_NUM_THREADS":"{threads}"}}}}"#
                );
                ep::OpenVINO::default()
                    .with_device_type("CPU")
                    .with_num_threads(threads)
                    .with_arbitrary_config("load_config", load_config)
                    .register(&mut builder)
            }
            // Products of TensorFloat-32 have 10 bits of a number, no fp32.
            Self::Cuda => ep::CUDA::default().with_tf32(false).register(&mut builder),
            // It takes TensorFloat-32 by itself, and has no option of its own to leave that.
            Self::TensorRt if precision == Precision::Fp32 && !is_tf32_off() => {
                return Err(error(
                    "it computes fp32 in TensorFloat-32 unless NVIDIA_TF32_OVERRIDE=0 is set".to_owned(),
                ));
            }
            Self::TensorRt => ep::TensorRT::default()
                .with_arbitrary_config("trt_bf16_enable", i32::from(precision == Precision::Bf16))
                .register(&mut builder),
            Self::CoreMl => ep::CoreML::default().register(&mut builder),
        };
        registered.map_err(|failure| error(failure.to_string()))?;
        builder.with_disable_cpu_fallback().map_err(|failure| error(failure.to_string()))
    }
}

/// Whether NVIDIA's libraries are told to compute fp32 in fp32.
fn is_tf32_off() -> bool {
    std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value == "0")
}

/// Whether there is an NVIDIA driver with a GPU, as far as the file system tells.
fn has_nvidia_driver() -> bool {
    ["/proc/driver/nvidia/gpus", "/dev/nvidiactl"].iter().any(|place| Path::new(place).exists())
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::CoreMl => "coreml",
        })
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|provider| provider.to_string() == text).ok_or_else(|| {
            let known = Self::ALL.map(|provider| format!("`{provider}`")).join(", ");
            format!("`{text}` is no provider: expected one of {known}")
        })
    }
}

/// Which provider a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderChoice {
    /// The best that there is.
    Auto,
    /// This one and no other.
    Only(Provider),
}

impl ProviderChoice {
    /// The one that was named, or else this.
    pub fn or_else(self, best: impl FnOnce() -> Provider) -> Provider {
        match self {
            Self::Auto => best(),
            Self::Only(provider) => provider,
        }
    }
}

impl FromStr for ProviderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            text => text.parse().map(Self::Only).map_err(|error: String| format!("{error}, or `auto`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_its_name() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(provider));
            assert_eq!(provider.to_string().parse(), Ok(ProviderChoice::Only(provider)));
        }
        assert_eq!("auto".parse(), Ok(ProviderChoice::Auto));
        assert!("gpu".parse::<ProviderChoice>().unwrap_err().contains("`openvino`"));
    }

    #[test]
    fn every_precision_has_a_provider_on_processors() {
        for precision in [Precision::Fp32, Precision::Bf16, Precision::Int8] {
            assert!(Provider::on_processors(precision).has(precision), "{precision}");
        }
    }
}
