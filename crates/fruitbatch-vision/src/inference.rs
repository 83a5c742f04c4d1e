//! One model in ONNX Runtime: numbers in, numbers out.

use std::sync::{Mutex, PoisonError};

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{RunOptions, Session};
use ort::value::TensorRef;

use crate::embed_spec::Precision;
use crate::fast_convolutions::{FastConvolutions, operators};
use crate::provider::Provider;
use crate::runtime::{RuntimeError, onnx_runtime_for};

/// What can go wrong with a model in ONNX Runtime. None of it is a photo's fault.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// ONNX Runtime itself isn't usable.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// ONNX Runtime refuses the model.
    #[error("ONNX Runtime can't load the model: {0}")]
    Load(String),
    /// The provider can't be had, or can't run all of the model.
    #[error(
        "{provider} can't run the model, or not all of it: {reason}; see docs/providers.md for what it needs, or do without by \
         `--provider cpu`"
    )]
    Provider {
        /// Which.
        provider: Provider,
        /// What ONNX Runtime says.
        reason: String,
    },
    /// The model fails on a batch.
    #[error("ONNX Runtime failed on a batch of shape {shape:?}: {reason}")]
    Run {
        /// `[photos, channels, rows, columns]`.
        shape: [usize; 4],
        /// What it says.
        reason: String,
    },
    /// The model's output isn't what its catalogue entry promises.
    #[error(
        "the model answers a batch of shape {input:?} with shape {output:?} instead of {expected}; import \
         it anew"
    )]
    OutputShape {
        /// `[photos, channels, rows, columns]`.
        input: [usize; 4],
        /// The output's shape.
        output: Vec<i64>,
        /// What it should be.
        expected: String,
    },
}

/// How a session is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InferenceOptions {
    /// Threads that one run is spread over.
    pub threads: usize,
    /// Whether batches differ in size from run to run. Buffers are then given back after each, instead of
    /// kept for the next.
    pub varying_shapes: bool,
    /// What runs it, all of it.
    pub provider: Provider,
    /// The arithmetic, as far as it is the provider's to choose.
    pub precision: Precision,
}

impl InferenceOptions {
    /// On the processor, for batches of any size.
    pub(crate) fn on_cpu(threads: usize) -> Self {
        Self { threads, varying_shapes: true, provider: Provider::Cpu, precision: Precision::Fp32 }
    }
}

/// Held while a session is made.
static LOADING: Mutex<()> = Mutex::new(());

/// A loaded model with one input and one output.
pub(crate) struct InferenceSession {
    session: Session,
    run_options: RunOptions,
}

impl InferenceSession {
    /// `convolutions` are those that were taken out of the model.
    pub(crate) fn load(
        model: &[u8],
        convolutions: FastConvolutions,
        options: InferenceOptions,
    ) -> Result<Self, InferenceError> {
        let runtime = onnx_runtime_for(options.provider)?;
        let load_error = |error: ort::Error| InferenceError::Load(error.to_string());
        let builder = Session::builder(&runtime.environment)
            .map_err(load_error)?
            .with_intra_threads(options.threads.max(1))
            .map_err(|error| InferenceError::Load(error.to_string()))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| InferenceError::Load(error.to_string()))?
            .with_memory_pattern(!options.varying_shapes)
            .map_err(|error| InferenceError::Load(error.to_string()))?
            .with_log_level(ort::logging::LogLevel::Fatal)
            .map_err(|error| InferenceError::Load(error.to_string()))?;
        let builder = options.provider.take_over(builder, options.precision, options.threads.max(1))?;
        let mut builder = if convolutions.is_empty() {
            builder
        } else {
            let operators = operators(convolutions, options.threads.max(1)).map_err(load_error)?;
            builder.with_operators(operators).map_err(|error| InferenceError::Load(error.to_string()))?
        };
        let session = {
            // ONNX Runtime looks whether a domain is known before it makes it known, and fails if another session was faster.
            let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
            builder.commit_from_memory(model).map_err(|error| match options.provider {
                Provider::Cpu => load_error(error),
                provider => InferenceError::Provider { provider, reason: error.to_string() },
            })?
        };
        if session.inputs().len() != 1 || session.outputs().len() != 1 {
            let (inputs, outputs) = (session.inputs().len(), session.outputs().len());
            return Err(InferenceError::Load(format!(
                "it has {inputs} inputs and {outputs} outputs instead of one each"
            )));
        }
        let mut run_options = RunOptions::new().map_err(load_error)?;
        if options.varying_shapes && options.provider == Provider::Cpu {
            run_options.set("memory.enable_memory_arena_shrinkage", "cpu:0").map_err(load_error)?;
        }
        Ok(Self { session, run_options })
    }

    /// Runs one batch: `values` is row-major of shape `[photos, channels, rows, columns]`. Gives the output's
    /// shape and values.
    pub(crate) fn run(
        &mut self,
        values: &[f32],
        shape: [usize; 4],
    ) -> Result<(Vec<i64>, Vec<f32>), InferenceError> {
        let run_error = |error: ort::Error| InferenceError::Run { shape, reason: error.to_string() };
        let input = TensorRef::from_array_view((shape, values)).map_err(run_error)?;
        let outputs =
            self.session.run_with_options(ort::inputs![input], &self.run_options).map_err(run_error)?;
        let (output_shape, output_values) = outputs[0].try_extract_tensor::<f32>().map_err(run_error)?;
        Ok((output_shape.to_vec(), output_values.to_vec()))
    }
}
