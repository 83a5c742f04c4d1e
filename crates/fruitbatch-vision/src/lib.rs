//! Models as SQL functions: catalogue, import, sessions, and the embed functions.
//!
//! A model has a name for people, and a digest for everything else. The [`Catalogue`] leads from one to the
//! other and knows what the model's file doesn't: preprocessing, width, smallest photo, licence, and where to
//! [`fetch()`](fetch::fetch) it. What the digest stands for is a *canonical* model, which [`import_model`]
//! makes of a classifier of any framework: NCHW, float32, free dimensions, ending in its last feature map.
//! [`EmbedSpec`] says how it is used, as one text, and [`embed_functions`] are what applies it to photos in a
//! query. [`ModelSessions`] are the loaded models behind them.
//!
//! # Example
//!
//! A generated model is imported, and a photo, no good one, is embedded in SQL:
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::sync::Arc;
//!
//! use datafusion::prelude::SessionContext;
//! use fruitbatch_testkit::tiny_models::TinyNet;
//! use fruitbatch_vision::{CachedModelFiles, Catalogue, ImportOptions, ModelSessions, cache};
//! use fruitbatch_vision::{embed_functions, import_model};
//!
//! # if fruitbatch_vision::find_onnx_runtime().is_err() { return Ok(()); }
//! // What `fruitbatch model import classifier.onnx --name tiny` does:
//! let classifier = TinyNet::new(0, 4).nchw_classifier();
//! let imported = import_model(classifier.into(), &ImportOptions::new("tiny"))?;
//! let cache_folder = tempfile::tempdir()?;
//! cache::store_model(cache_folder.path(), &imported.digest, &imported.canonical_bytes)?;
//! let mut catalogue = Catalogue::compiled_in();
//! catalogue.add(imported.entry);
//!
//! // What an executor does:
//! let files = Arc::new(CachedModelFiles::new(cache_folder.path()));
//! let models = Arc::new(ModelSessions::new(files, catalogue, NonZeroUsize::MIN));
//! let context = SessionContext::new();
//! for function in embed_functions(Arc::clone(&models)) {
//!     context.register_udf(function.as_ref().clone());
//! }
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! context.sql("CREATE TABLE photos AS VALUES (arrow_cast('no photo', 'Binary'))").await?.collect().await?;
//! let frame = context.sql("SELECT embed_or_failure(column1, 'tiny') AS answer FROM photos").await?;
//! let batches = frame.collect().await?;
//! assert_eq!(batches[0].num_rows(), 1);
//! assert_eq!(models.snapshot().failures["not-an-image"], 1);
//! # Ok::<_, datafusion::error::DataFusionError>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Same photo, same bits
//!
//! A photo's features don't depend on which photos share its batch, on the batch's size, nor on how many
//! threads or slots there are: every value of a network's output is computed from its own photo by the same
//! operations in the same order. Tests hold ONNX Runtime to that.
//!
//! # Whose fault
//!
//! What is wrong with a photo becomes a [`PhotoFailure`] in its row; what is wrong with a model or the
//! runtime is an [`EmbedError`] and ends the query.

pub mod cache;
mod catalogue;
mod counters;
mod crop;
mod digest;
mod embed;
mod embed_spec;
mod fast_convolutions;
pub mod fetch;
mod graph;
mod import;
mod inference;
mod inspect;
mod kernel_path;
mod memory;
mod mini_batches;
mod model_files;
mod pooling;
mod prepared_photo;
mod preprocessing;
mod provider;
mod quantize;
mod runtime;
mod sessions;
mod shapes;

pub use catalogue::{
    Catalogue, CatalogueEntry, CatalogueError, FeatureMapExtent, Layout, ModelSource, Quantized,
    is_model_name, record_entry, user_catalogue_path,
};
pub use counters::CounterSnapshot;
pub use crop::Crop;
pub use digest::{ModelDigest, ParseDigestError};
pub use embed::{embed_functions, embed_or_failure_fields, features_type};
pub use embed_spec::{Convolution, EmbedOptions, EmbedSpec, EmbedSpecError, ImageSize, Precision, Resize};
pub use import::{
    ImportError, ImportOptions, ImportReport, ImportedModel, InputLayout, TensorLayout, import_model,
    weights_digest,
};
pub use inference::InferenceError;
pub use inspect::{InspectError, ModelSummary, TensorSummary, inspect};
pub use kernel_path::bfloat16;
pub use memory::MemoryLimit;
pub use model_files::{CachedModelFiles, ModelFileError, ModelFiles, read_checked};
pub use pooling::{FEATURE_MAP_TENSOR, INPUT_TENSOR, Pooling, PoolingError, pooled_model};
pub use prepared_photo::PhotoFailure;
pub use preprocessing::{ChannelOrder, Preprocessing, PreprocessingError};
pub use provider::{Provider, ProviderChoice};
pub use quantize::{Calibration, QuantizeError, WeightBits, calibrate, quantized_model, saturates_here};
pub use runtime::{
    ONNX_RUNTIME_VERSION, OnnxRuntime, RuntimeBuild, RuntimeError, find_onnx_runtime, find_onnx_runtime_for,
    onnx_runtime, onnx_runtime_for,
};
pub use sessions::{EmbedError, EmbeddedPhotos, ModelSessions, PhotoOutcome};
