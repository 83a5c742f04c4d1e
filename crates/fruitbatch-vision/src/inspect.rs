//! `model inspect`: what a model file holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fruitbatch_onnx::messages::{DimensionValue, Graph, ValueInfo};
use fruitbatch_onnx::{ReadModelError, read_model, tensors};

use crate::cache::model_path;
use crate::catalogue::{Catalogue, CatalogueEntry};
use crate::digest::ModelDigest;
use crate::shapes::{PhotoFit, follow_photo};

/// The photo side at which arithmetic is counted, in pixels.
const COUNTED_AT: u32 = 224;

/// What a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSummary {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its digest.
    pub digest: ModelDigest,
    /// Its catalogue entry, if there is one with this digest.
    pub entry: Option<CatalogueEntry>,
    /// The version of ONNX's own operators.
    pub opset: Option<i64>,
    /// What goes in; weights aren't counted among the inputs.
    pub inputs: Vec<TensorSummary>,
    /// What comes out.
    pub outputs: Vec<TensorSummary>,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all weights and other constants.
    pub parameters: u64,
    /// Multiplications (each with its addition) for one photo of 224 x 224, where the graph tells.
    pub multiply_accumulates_at_224: Option<u64>,
}

/// A tensor's name, type and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSummary {
    /// The name.
    pub name: String,
    /// The elements' type, such as `float32`.
    pub element_type: String,
    /// The dimensions: numbers, names of free ones, `?`.
    pub dimensions: Vec<String>,
}

/// Why a model can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is neither a known name, nor a digest, nor a file.
    #[error(
        "`{target}` is no model: neither a name of the catalogue, nor a digest, nor a file that is there"
    )]
    NoSuchModel {
        /// What was asked for.
        target: String,
    },
    /// It is known but not on this machine.
    #[error("the model {digest} isn't in {path}; run `fruitbatch model fetch` or `import`")]
    NotFetched {
        /// The model.
        digest: ModelDigest,
        /// Where it would lie.
        path: String,
    },
    /// The file can't be read as a model.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: ReadModelError,
    },
}

/// Looks into a model, given by its name in the catalogue, by digest or as a file.
///
/// # Errors
/// See [`InspectError`].
pub fn inspect(target: &str, catalogue: &Catalogue, cache: &Path) -> Result<ModelSummary, InspectError> {
    let known_digest = target.parse().ok().or_else(|| catalogue.get(target).ok().map(|entry| entry.digest));
    let path = known_digest.map_or_else(|| PathBuf::from(target), |digest| model_path(cache, &digest));
    let file = fs::read(&path).map_err(|_| match known_digest {
        Some(digest) => InspectError::NotFetched { digest, path: path.display().to_string() },
        None => InspectError::NoSuchModel { target: target.to_owned() },
    })?;
    let (bytes, digest) = (file.len() as u64, ModelDigest::of(&file));
    let model = read_model(Bytes::from(file))
        .map_err(|source| InspectError::Read { path: path.display().to_string(), source })?;
    let opset = model.opset_import.iter().find(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"));
    let opset = opset.map(|opset| opset.version);
    let graph = model.graph.unwrap_or_default();
    let is_weight = |value: &&ValueInfo| graph.initializer.iter().any(|tensor| tensor.name == value.name);
    Ok(ModelSummary {
        entry: catalogue.by_digest(&digest).ok().cloned(),
        opset,
        inputs: graph.input.iter().filter(|value| !is_weight(value)).map(tensor_summary).collect(),
        outputs: graph.output.iter().map(tensor_summary).collect(),
        operators: operator_counts(&graph),
        parameters: graph.initializer.iter().filter_map(|tensor| tensors::element_count(tensor).ok()).sum(),
        multiply_accumulates_at_224: match follow_photo(&graph, COUNTED_AT, COUNTED_AT) {
            PhotoFit::Fits { multiply_accumulates } => Some(multiply_accumulates),
            PhotoFit::NotFollowed | PhotoFit::TooSmall => None,
        },
        path,
        bytes,
        digest,
    })
}

fn operator_counts(graph: &Graph) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.node {
        *counts.entry(node.op_type.clone()).or_default() += 1;
    }
    counts
}

fn tensor_summary(value: &ValueInfo) -> TensorSummary {
    let tensor_type = value.r#type.as_ref().and_then(|value_type| value_type.tensor_type.as_ref());
    let dimensions = tensor_type.and_then(|tensor| tensor.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
    TensorSummary {
        name: value.name.clone(),
        element_type: tensor_type
            .map_or_else(|| "no tensor".to_owned(), |tensor| tensors::type_name(tensor.elem_type)),
        dimensions: dimensions
            .iter()
            .map(|dimension| match &dimension.value {
                Some(DimensionValue::Fixed(size)) => size.to_string(),
                Some(DimensionValue::Symbol(name)) => name.clone(),
                None => "?".to_owned(),
            })
            .collect(),
    }
}
